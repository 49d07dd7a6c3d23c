//! What operators and functions take and give.

use cel::common::ast::operators;
use ravelin_snapshot::expression::{Comprehension, Function};

use super::kind::Kind;

pub(super) fn unary(name: &str) -> Option<(Function, &'static str)> {
    match name {
        operators::LOGICAL_NOT => Some((Function::Not, "!")),
        operators::NEGATE => Some((Function::Negate, "-")),
        _ => None,
    }
}

pub(super) fn relation(name: &str) -> Option<(Function, &'static str)> {
    Some(match name {
        operators::EQUALS => (Function::Equal, "=="),
        operators::NOT_EQUALS => (Function::NotEqual, "!="),
        operators::LESS => (Function::Less, "<"),
        operators::LESS_EQUALS => (Function::LessOrEqual, "<="),
        operators::GREATER => (Function::Greater, ">"),
        operators::GREATER_EQUALS => (Function::GreaterOrEqual, ">="),
        _ => return None,
    })
}

pub(super) fn arithmetic(name: &str) -> Option<(Function, &'static str)> {
    Some(match name {
        operators::ADD => (Function::Add, "+"),
        operators::SUBSTRACT => (Function::Subtract, "-"),
        operators::MULTIPLY => (Function::Multiply, "*"),
        operators::DIVIDE => (Function::Divide, "/"),
        operators::MODULO => (Function::Remainder, "%"),
        _ => return None,
    })
}

pub(super) fn comprehension(name: &str) -> Option<Comprehension> {
    Some(match name {
        "all" => Comprehension::All,
        "exists" => Comprehension::Exists,
        "exists_one" | "existsOne" => Comprehension::ExistsOne,
        "filter" => Comprehension::Filter,
        "map" => Comprehension::Map,
        _ => return None,
    })
}

/// What an arithmetic operator gives; `None` if it does not take these. Numbers of different types do not mix (CEL).
pub(super) fn result(function: Function, left: &Kind, right: &Kind) -> Option<Kind> {
    use Kind::{Bytes, Double, Duration, Int, String, Timestamp, Uint};
    if let (Function::Add, Kind::List(left), Kind::List(right)) = (function, left, right) {
        return Some(Kind::list((**left).clone().join((**right).clone()).unwrap_or(Kind::Dyn)));
    }
    let overloads: &[(Kind, Kind, Kind)] = match function {
        Function::Add => &[
            (Int, Int, Int),
            (Uint, Uint, Uint),
            (Double, Double, Double),
            (String, String, String),
            (Bytes, Bytes, Bytes),
            (Timestamp, Duration, Timestamp),
            (Duration, Timestamp, Timestamp),
            (Duration, Duration, Duration),
        ],
        Function::Subtract => &[
            (Int, Int, Int),
            (Uint, Uint, Uint),
            (Double, Double, Double),
            (Timestamp, Timestamp, Duration),
            (Timestamp, Duration, Timestamp),
            (Duration, Duration, Duration),
        ],
        Function::Remainder => &[(Int, Int, Int), (Uint, Uint, Uint)],
        _ => &[(Int, Int, Int), (Uint, Uint, Uint), (Double, Double, Double)],
    };
    let list_and_any =
        function == Function::Add && matches!((left, right), (Kind::List(_), Kind::Dyn) | (Kind::Dyn, Kind::List(_)));
    let mut results = overloads.iter().filter(|(a, b, _)| left.fits(a) && right.fits(b)).map(|(_, _, result)| result);
    match (results.next(), results.next()) {
        (Some(only), None) if !list_and_any => Some(only.clone()),
        (Some(_), _) => Some(Kind::Dyn),
        (None, _) => list_and_any.then_some(Kind::Dyn),
    }
}

/// A method of a type, or one without a receiver.
pub(super) struct Signature {
    pub(super) function: Function,
    pub(super) receiver: Kind,
    pub(super) arguments: Vec<Kind>,
    /// Arguments that may be left out, from the last.
    pub(super) optional: usize,
    pub(super) result: Kind,
}

/// Every function's name, for suggestions.
pub(super) const NAMES: [&str; 40] = [
    "has",
    "all",
    "exists",
    "exists_one",
    "filter",
    "map",
    "matches",
    "size",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "bool",
    "timestamp",
    "duration",
    "dyn",
    "cidr",
    "containsIP",
    "startsWith",
    "endsWith",
    "contains",
    "lowerAscii",
    "upperAscii",
    "trim",
    "split",
    "replace",
    "join",
    "substring",
    "indexOf",
    "getFullYear",
    "getMonth",
    "getDayOfMonth",
    "getDate",
    "getDayOfWeek",
    "getDayOfYear",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
];

pub(super) fn method(name: &str) -> Option<Signature> {
    use Kind::{Bool, Int, String};
    let of_text = |function, arguments: &[Kind], result| Signature {
        function,
        receiver: String,
        arguments: arguments.to_vec(),
        optional: 0,
        result,
    };
    Some(match name {
        "startsWith" => of_text(Function::StartsWith, &[String], Bool),
        "endsWith" => of_text(Function::EndsWith, &[String], Bool),
        "contains" => of_text(Function::Contains, &[String], Bool),
        "lowerAscii" => of_text(Function::LowerAscii, &[], String),
        "upperAscii" => of_text(Function::UpperAscii, &[], String),
        "trim" => of_text(Function::Trim, &[], String),
        "split" => of_text(Function::Split, &[String], Kind::list(String)),
        "replace" => of_text(Function::Replace, &[String, String], String),
        "substring" => Signature { optional: 1, ..of_text(Function::Substring, &[Int, Int], String) },
        "indexOf" => of_text(Function::IndexOf, &[String], Int),
        "join" => {
            let signature = of_text(Function::Join, &[String], String);
            Signature { receiver: Kind::list(String), optional: 1, ..signature }
        }
        _ => Signature {
            function: calendar(name)?,
            receiver: Kind::Timestamp,
            arguments: vec![String],
            optional: 1,
            result: Int,
        },
    })
}

fn calendar(name: &str) -> Option<Function> {
    Some(match name {
        "getFullYear" => Function::GetFullYear,
        "getMonth" => Function::GetMonth,
        "getDayOfMonth" => Function::GetDayOfMonth,
        "getDate" => Function::GetDate,
        "getDayOfWeek" => Function::GetDayOfWeek,
        "getDayOfYear" => Function::GetDayOfYear,
        "getHours" => Function::GetHours,
        "getMinutes" => Function::GetMinutes,
        "getSeconds" => Function::GetSeconds,
        "getMilliseconds" => Function::GetMilliseconds,
        _ => return None,
    })
}

/// What of a timestamp a duration has too, as a total.
pub(super) fn is_total(function: Function) -> bool {
    matches!(function, Function::GetHours | Function::GetMinutes | Function::GetSeconds | Function::GetMilliseconds)
}

/// A conversion: what it gives and what it takes.
pub(super) fn conversion(name: &str) -> Option<(Function, Kind, &'static [Kind])> {
    use Kind::{Bool, Bytes, Double, Duration, Int, String, Timestamp, Uint};
    Some(match name {
        "int" => (Function::ToInt, Int, &[Int, Uint, Double, String, Timestamp]),
        "uint" => (Function::ToUint, Uint, &[Uint, Int, Double, String]),
        "double" => (Function::ToDouble, Double, &[Double, Int, Uint, String]),
        "string" => (Function::ToString, String, &[String, Bool, Int, Uint, Double, Bytes, Timestamp, Duration]),
        "bytes" => (Function::ToBytes, Bytes, &[Bytes, String]),
        "bool" => (Function::ToBool, Bool, &[Bool, String]),
        "timestamp" => (Function::ToTimestamp, Timestamp, &[Timestamp, String, Int]),
        "duration" => (Function::ToDuration, Duration, &[Duration, String]),
        _ => return None,
    })
}
