//! Expressions: CEL, parsed and type-checked by the compiler against the closed list of names.
//!
//! The tree is our own: every name is resolved, every function is chosen for its operands' types, every constant
//! pattern has been compiled once. The data plane turns it into closures; nothing in it can fail to compile there.
//! Errors at run time are CEL's: a missing map entry, an index or a number out of range, a division by zero, a value
//! of another type below `caller.claims`, which is dynamic.

pub mod time;

use serde::{Deserialize, Serialize};

/// A checked expression, with its text for logs and explanations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Expression {
    /// What the user wrote.
    pub source: String,
    pub node: Node,
}

/// Nodes above one another, at most: the compiler refuses a deeper tree, so that walking one is safe on any stack. Chains
/// of `&&` and `||` are long and are to be balanced.
pub const MAX_DEPTH: usize = 128;

/// Comprehensions within one another, at most. What they cost together is bounded by the data plane's budget; this bound
/// keeps the budget out of what people write.
pub const MAX_NESTED_LOOPS: usize = 3;

/// A node. Its type is known to the compiler; where operands are dynamic, the function checks them at run time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Node {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(String),
    Bytes(Vec<u8>),
    /// Seconds and nanoseconds since the epoch.
    Timestamp(i64, u32),
    /// Nanoseconds.
    Duration(i64),
    Attribute(Attribute),
    /// A comprehension's variable, by its depth from the outermost (0).
    Variable(u32),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    /// A member of a map or of a dynamic value: an error if it is not there.
    Select {
        of: Box<Node>,
        member: String,
    },
    /// `has(of.member)`.
    Has {
        of: Box<Node>,
        member: String,
    },
    /// `of[index]`.
    Index {
        of: Box<Node>,
        index: Box<Node>,
    },
    /// Short-circuit, and an error only where the other side does not decide (CEL).
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Conditional {
        condition: Box<Node>,
        then: Box<Node>,
        otherwise: Box<Node>,
    },
    /// A regular expression that is a constant (RE2 syntax, linear time): `matches`.
    Matches {
        text: Box<Node>,
        pattern: String,
    },
    Call {
        function: Function,
        arguments: Vec<Node>,
    },
    /// `list.all(x, ..)` and its kin over a list or a map's keys.
    Comprehension {
        kind: Comprehension,
        over: Box<Node>,
        body: Box<Node>,
    },
    /// `list.map(x, condition, value)`.
    MapIf {
        over: Box<Node>,
        condition: Box<Node>,
        value: Box<Node>,
    },
}

/// The closed list of names, as docs/src/objects/expressions.md has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Attribute {
    RequestMethod,
    /// In normal form.
    RequestPath,
    /// Map of string to string; the first value of a repeated name.
    RequestQuery,
    /// Map of lower-case name to string; several values are joined by a comma.
    RequestHeaders,
    RequestHost,
    RequestScheme,
    RequestId,
    SourceAddress,
    SourcePort,
    CallerId,
    CallerMethod,
    CallerIssuer,
    CallerScopes,
    CallerGroups,
    /// Dynamic.
    CallerClaims,
    CallerPlan,
    RouteNamespace,
    RouteName,
    RouteRule,
    Now,
}

impl Attribute {
    fn is_of_caller(self) -> bool {
        match self {
            Self::CallerId
            | Self::CallerMethod
            | Self::CallerIssuer
            | Self::CallerScopes
            | Self::CallerGroups
            | Self::CallerClaims
            | Self::CallerPlan => true,
            Self::RequestMethod
            | Self::RequestPath
            | Self::RequestQuery
            | Self::RequestHeaders
            | Self::RequestHost
            | Self::RequestScheme
            | Self::RequestId
            | Self::SourceAddress
            | Self::SourcePort
            | Self::RouteNamespace
            | Self::RouteName
            | Self::RouteRule
            | Self::Now => false,
        }
    }
}

/// CEL's standard functions and operators, without overloads for types the environment cannot produce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Function {
    Not,
    Negate,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    /// `value in list` or `key in map`.
    In,
    Size,
    StartsWith,
    EndsWith,
    Contains,
    LowerAscii,
    UpperAscii,
    Trim,
    Split,
    /// `text.replace(from, to)`: every occurrence.
    Replace,
    /// `list.join(separator)`, of a list of strings.
    Join,
    /// `text.substring(from, to)`, in characters; without `to` up to the end.
    Substring,
    /// `text.indexOf(part)`, in characters; -1 if it is not there.
    IndexOf,
    ToInt,
    ToUint,
    ToDouble,
    ToString,
    ToBytes,
    ToBool,
    ToTimestamp,
    ToDuration,
    /// `timestamp.getHours(zone)`, the zone an optional IANA name or offset; UTC without.
    GetFullYear,
    /// From 0.
    GetMonth,
    /// Day of the month from 0.
    GetDayOfMonth,
    /// Day of the month from 1.
    GetDate,
    /// From 0, Sunday.
    GetDayOfWeek,
    GetDayOfYear,
    GetHours,
    GetMinutes,
    GetSeconds,
    GetMilliseconds,
    /// `cidr('10.0.0.0/8').containsIP(source.address)`: the arguments are a constant CIDR and the address. A text that is
    /// no address is an error.
    CidrContainsIp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Comprehension {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}

impl Node {
    /// Nodes above one another, this one included.
    pub fn depth(&self) -> usize {
        let mut deepest = 0;
        self.children(&mut |child| deepest = deepest.max(child.depth()));
        deepest + 1
    }

    /// Whether its value depends on who the caller is.
    pub fn reads_caller(&self) -> bool {
        if let Self::Attribute(attribute) = self {
            return attribute.is_of_caller();
        }
        let mut reads = false;
        self.children(&mut |child| reads |= child.reads_caller());
        reads
    }

    /// Hands every node directly below this one to `visit`.
    pub fn children<'a>(&'a self, visit: &mut dyn FnMut(&'a Self)) {
        match self {
            Self::Null
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Uint(_)
            | Self::Double(_)
            | Self::String(_)
            | Self::Bytes(_)
            | Self::Timestamp(..)
            | Self::Duration(_)
            | Self::Attribute(_)
            | Self::Variable(_) => {}
            Self::List(items) => items.iter().for_each(visit),
            Self::Map(entries) => entries.iter().for_each(|(key, value)| {
                visit(key);
                visit(value);
            }),
            Self::Select { of, .. } | Self::Has { of, .. } => visit(of),
            Self::Matches { text, .. } => visit(text),
            Self::Index { of: left, index: right }
            | Self::And(left, right)
            | Self::Or(left, right)
            | Self::Comprehension { over: left, body: right, .. } => {
                visit(left);
                visit(right);
            }
            Self::Conditional { condition: first, then: second, otherwise: third }
            | Self::MapIf { over: first, condition: second, value: third } => {
                visit(first);
                visit(second);
                visit(third);
            }
            Self::Call { arguments, .. } => arguments.iter().for_each(visit),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The form on the wire; who changes it raises [`crate::FORM`].
    #[test]
    fn the_form_is_pinned() {
        let tier = Node::Index {
            of: Box::new(Node::Attribute(Attribute::RequestHeaders)),
            index: Box::new(Node::String("x-tier".into())),
        };
        let loops = Node::Comprehension {
            kind: Comprehension::ExistsOne,
            over: Box::new(Node::List(vec![Node::Int(-1), Node::Uint(u64::MAX), Node::Double(0.5), Node::Null])),
            body: Box::new(Node::Call { function: Function::LessOrEqual, arguments: vec![Node::Variable(0), tier] }),
        };
        let times =
            Node::Map(vec![(Node::Timestamp(-1, 5), Node::Duration(1)), (Node::Bytes(vec![1]), Node::Bool(true))]);
        let node = Node::And(Box::new(loops), Box::new(times));
        let expected = json!({"source": "text", "node": {"and": [
            {"comprehension": {
                "kind": "existsOne",
                "over": {"list": [{"int": -1}, {"uint": u64::MAX}, {"double": 0.5}, "null"]},
                "body": {"call": {"function": "lessOrEqual", "arguments": [
                    {"variable": 0},
                    {"index": {"of": {"attribute": "requestHeaders"}, "index": {"string": "x-tier"}}},
                ]}},
            }},
            {"map": [[{"timestamp": [-1, 5]}, {"duration": 1}], [{"bytes": [1]}, {"bool": true}]]},
        ]}});
        let expression = Expression { source: "text".into(), node };
        assert_eq!(serde_json::to_value(&expression).unwrap(), expected);
        assert_eq!(serde_json::from_value::<Expression>(expected).unwrap(), expression);
        assert_eq!(expression.node.depth(), 5);
    }
}
