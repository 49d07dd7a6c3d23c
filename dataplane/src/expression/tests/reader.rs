//! From text to the tree, for tests of this half alone: it takes for granted that the text is well typed.

use cel::common::ast::{CallExpr, EntryExpr, Expr, LiteralValue, operators};
use cel::{Env, IdedExpr};
use ravelin_snapshot::expression::{Attribute, Comprehension, Expression, Function, Node, time};

pub(super) fn read(source: &str) -> Expression {
    let parsed = Env::default().parser().parse(source).unwrap_or_else(|error| panic!("{source}: {error}"));
    Expression { source: source.to_owned(), node: node(&parsed, &mut Vec::new()) }
}

fn node(expr: &IdedExpr, variables: &mut Vec<String>) -> Node {
    match &expr.expr {
        Expr::Literal(value) => literal(value),
        Expr::Ident(name) if name == "now" => Node::Attribute(Attribute::Now),
        Expr::Ident(name) => {
            let depth = variables.iter().rposition(|variable| variable == name);
            Node::Variable(u32::try_from(depth.unwrap_or_else(|| panic!("{name} is unknown"))).unwrap())
        }
        Expr::Select(select) => match &select.operand.expr {
            Expr::Ident(group) if !variables.contains(group) => attribute(group, &select.field),
            _ => Node::Select { of: boxed(&select.operand, variables), member: select.field.clone() },
        },
        Expr::List(list) => Node::List(list.elements.iter().map(|item| node(item, variables)).collect()),
        Expr::Map(map) => {
            let entries = map.entries.iter().map(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => (node(&entry.key, variables), node(&entry.value, variables)),
                EntryExpr::StructField(_) => panic!("a message"),
            });
            Node::Map(entries.collect())
        }
        Expr::Call(call) => read_call(call, variables),
        other => panic!("{other:?}"),
    }
}

fn boxed(expr: &IdedExpr, variables: &mut Vec<String>) -> Box<Node> {
    Box::new(node(expr, variables))
}

fn read_call(call: &CallExpr, variables: &mut Vec<String>) -> Node {
    let name = call.func_name.as_str();
    match (name, call.target.as_deref(), call.args.as_slice()) {
        (operators::LOGICAL_AND, _, [left, right]) => Node::And(boxed(left, variables), boxed(right, variables)),
        (operators::LOGICAL_OR, _, [left, right]) => Node::Or(boxed(left, variables), boxed(right, variables)),
        (operators::INDEX, _, [of, index]) => Node::Index { of: boxed(of, variables), index: boxed(index, variables) },
        (operators::CONDITIONAL, _, [condition, then, otherwise]) => Node::Conditional {
            condition: boxed(condition, variables),
            then: boxed(then, variables),
            otherwise: boxed(otherwise, variables),
        },
        ("has", None, [tested]) => match node(tested, variables) {
            Node::Select { of, member } => Node::Has { of, member },
            other => panic!("has of {other:?}"),
        },
        ("matches", Some(text), [pattern]) => match node(pattern, variables) {
            Node::String(pattern) => Node::Matches { text: boxed(text, variables), pattern },
            other => panic!("matches of {other:?}"),
        },
        ("map", Some(over), [variable, condition, value]) => {
            let over = boxed(over, variables);
            let [condition, value] = within(variable, [condition, value], variables);
            Node::MapIf { over, condition, value }
        }
        (_, Some(over), [variable, body]) if comprehension(name).is_some() => {
            let over = boxed(over, variables);
            let [body] = within(variable, [body], variables);
            Node::Comprehension { kind: comprehension(name).unwrap(), over, body }
        }
        ("containsIP", Some(range), [address]) => {
            let Expr::Call(range) = &range.expr else { panic!("containsIP of {range:?}") };
            let arguments = vec![node(&range.args[0], variables), node(address, variables)];
            Node::Call { function: Function::CidrContainsIp, arguments }
        }
        _ => {
            let operands = call.target.as_deref().into_iter().chain(&call.args);
            let arguments: Vec<Node> = operands.map(|operand| node(operand, variables)).collect();
            match (name, arguments.as_slice()) {
                ("dyn", [Node::String(text)]) => Node::String(text.clone()),
                ("timestamp", [Node::String(text)]) if let Some((seconds, nanos)) = time::parse_timestamp(text) => {
                    Node::Timestamp(seconds, nanos)
                }
                ("duration", [Node::String(text)]) if let Some(nanos) = time::parse_duration(text) => {
                    Node::Duration(nanos)
                }
                _ => Node::Call { function: function(name), arguments },
            }
        }
    }
}

fn within<const N: usize>(variable: &IdedExpr, bodies: [&IdedExpr; N], variables: &mut Vec<String>) -> [Box<Node>; N] {
    let Expr::Ident(name) = &variable.expr else { panic!("{variable:?} is no variable") };
    variables.push(name.clone());
    let bodies = bodies.map(|body| boxed(body, variables));
    variables.pop();
    bodies
}

fn comprehension(name: &str) -> Option<Comprehension> {
    Some(match name {
        "all" => Comprehension::All,
        "exists" => Comprehension::Exists,
        "exists_one" => Comprehension::ExistsOne,
        "filter" => Comprehension::Filter,
        "map" => Comprehension::Map,
        _ => return None,
    })
}

fn literal(value: &LiteralValue) -> Node {
    match value {
        LiteralValue::Null => Node::Null,
        LiteralValue::Boolean(value) => Node::Bool(*value.inner()),
        LiteralValue::Int(value) => Node::Int(*value.inner()),
        LiteralValue::UInt(value) => Node::Uint(*value.inner()),
        LiteralValue::Double(value) => Node::Double(*value.inner()),
        LiteralValue::String(value) => Node::String(value.inner().to_owned()),
        LiteralValue::Bytes(value) => Node::Bytes(value.inner().to_vec()),
    }
}

fn attribute(group: &str, member: &str) -> Node {
    Node::Attribute(match (group, member) {
        ("request", "method") => Attribute::RequestMethod,
        ("request", "path") => Attribute::RequestPath,
        ("request", "query") => Attribute::RequestQuery,
        ("request", "headers") => Attribute::RequestHeaders,
        ("request", "host") => Attribute::RequestHost,
        ("request", "scheme") => Attribute::RequestScheme,
        ("request", "id") => Attribute::RequestId,
        ("source", "address") => Attribute::SourceAddress,
        ("source", "port") => Attribute::SourcePort,
        ("caller", "id") => Attribute::CallerId,
        ("caller", "method") => Attribute::CallerMethod,
        ("caller", "issuer") => Attribute::CallerIssuer,
        ("caller", "scopes") => Attribute::CallerScopes,
        ("caller", "groups") => Attribute::CallerGroups,
        ("caller", "claims") => Attribute::CallerClaims,
        ("caller", "plan") => Attribute::CallerPlan,
        ("route", "namespace") => Attribute::RouteNamespace,
        ("route", "name") => Attribute::RouteName,
        ("route", "rule") => Attribute::RouteRule,
        other => panic!("{other:?} is unknown"),
    })
}

fn function(name: &str) -> Function {
    match name {
        operators::LOGICAL_NOT => Function::Not,
        operators::NEGATE => Function::Negate,
        operators::EQUALS => Function::Equal,
        operators::NOT_EQUALS => Function::NotEqual,
        operators::LESS => Function::Less,
        operators::LESS_EQUALS => Function::LessOrEqual,
        operators::GREATER => Function::Greater,
        operators::GREATER_EQUALS => Function::GreaterOrEqual,
        operators::ADD => Function::Add,
        operators::SUBSTRACT => Function::Subtract,
        operators::MULTIPLY => Function::Multiply,
        operators::DIVIDE => Function::Divide,
        operators::MODULO => Function::Remainder,
        operators::IN => Function::In,
        "size" => Function::Size,
        "startsWith" => Function::StartsWith,
        "endsWith" => Function::EndsWith,
        "contains" => Function::Contains,
        "lowerAscii" => Function::LowerAscii,
        "upperAscii" => Function::UpperAscii,
        "trim" => Function::Trim,
        "split" => Function::Split,
        "replace" => Function::Replace,
        "join" => Function::Join,
        "substring" => Function::Substring,
        "indexOf" => Function::IndexOf,
        "int" => Function::ToInt,
        "uint" => Function::ToUint,
        "double" => Function::ToDouble,
        "string" => Function::ToString,
        "bytes" => Function::ToBytes,
        "bool" => Function::ToBool,
        "timestamp" => Function::ToTimestamp,
        "duration" => Function::ToDuration,
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
        other => panic!("{other} is unknown"),
    }
}
