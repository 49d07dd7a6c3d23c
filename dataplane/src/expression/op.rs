//! The snapshot's tree, made ready to run: constants are values, patterns are automata, names of headers are hashed.

use http::HeaderName;
use ipnet::IpNet;
use ravelin_snapshot::expression::time::{NANOS, TIMESTAMP_SECONDS, Zone};
use ravelin_snapshot::expression::{Attribute, Comprehension, Function, MAX_DEPTH, MAX_NESTED_LOOPS, Node};
use ravelin_snapshot::regex;
use regex_automata::meta::Regex;

use super::CompileError;
use super::collection::{List, Map};
use super::value::{Blob, Text, Timestamp, Value};

pub(super) enum Op {
    Constant(Value<'static>),
    Attribute(Attribute),
    /// `request.headers[name]`
    Header(HeaderName),
    /// `name in request.headers`
    HasHeader(HeaderName),
    Variable(usize),
    List(Box<[Op]>),
    Map(Box<[(Op, Op)]>),
    Select {
        of: Box<Op>,
        member: Box<str>,
    },
    Has {
        of: Box<Op>,
        member: Box<str>,
    },
    /// Container and key.
    Index(Box<[Op; 2]>),
    And(Box<[Op; 2]>),
    Or(Box<[Op; 2]>),
    /// Condition, then, otherwise.
    Conditional(Box<[Op; 3]>),
    Matches {
        text: Box<Op>,
        regex: Box<Regex>,
    },
    Contains {
        range: IpNet,
        address: Box<Op>,
    },
    /// A part of a timestamp, in a zone that is known.
    Calendar {
        part: Function,
        of: Box<Op>,
        zone: Zone,
    },
    Unary(Function, Box<Op>),
    Binary(Function, Box<[Op; 2]>),
    /// `replace` and `substring`.
    Ternary(Function, Box<[Op; 3]>),
    Comprehension {
        kind: Comprehension,
        over: Box<Op>,
        body: Box<Op>,
        weight: usize,
    },
    MapIf {
        over: Box<Op>,
        condition: Box<Op>,
        value: Box<Op>,
        weight: usize,
    },
}

/// Makes `node` ready. What is refused here the compiler refuses too: such a tree comes from elsewhere.
pub(super) fn lower(node: &Node) -> Result<Op, CompileError> {
    Lowering { loops: 0 }.lower(node, MAX_DEPTH)
}

struct Lowering {
    /// Comprehensions around.
    loops: usize,
}

impl Lowering {
    /// `depth`: how many more nodes may be above one another.
    fn lower(&mut self, node: &Node, depth: usize) -> Result<Op, CompileError> {
        let Some(below) = depth.checked_sub(1) else { return Err(refused("nested too deeply")) };
        Ok(match node {
            Node::Null => Op::Constant(Value::Null),
            Node::Bool(value) => Op::Constant(Value::Bool(*value)),
            Node::Int(value) => Op::Constant(Value::Int(*value)),
            Node::Uint(value) => Op::Constant(Value::Uint(*value)),
            Node::Double(value) => Op::Constant(Value::Double(*value)),
            Node::String(text) => Op::Constant(Value::Text(Text::Owned(text.as_str().into()))),
            Node::Bytes(bytes) => Op::Constant(Value::Bytes(Blob::Owned(bytes.as_slice().into()))),
            Node::Timestamp(seconds, nanos) => Op::Constant(timestamp(*seconds, *nanos)?),
            Node::Duration(nanos) => Op::Constant(Value::Duration(*nanos)),
            Node::Attribute(attribute) => Op::Attribute(*attribute),
            Node::Variable(index) => self.variable(*index)?,
            Node::List(items) => list(self.all(items, below)?),
            Node::Map(entries) => self.map(entries, below)?,
            Node::Select { of, member } => match header_name(of, member) {
                Some(name) => Op::Header(name),
                None => Op::Select { of: self.boxed(of, below)?, member: member.as_str().into() },
            },
            Node::Has { of, member } => match header_name(of, member) {
                Some(name) => Op::HasHeader(name),
                None => Op::Has { of: self.boxed(of, below)?, member: member.as_str().into() },
            },
            // To a constant text `[]` is what `.` is.
            Node::Index { of, index } => match text(index) {
                Some(name) if let Some(name) = header_name(of, name) => Op::Header(name),
                Some(name) => Op::Select { of: self.boxed(of, below)?, member: name.into() },
                None => Op::Index(self.two(of, index, below)?),
            },
            Node::And(left, right) => Op::And(self.two(left, right, below)?),
            Node::Or(left, right) => Op::Or(self.two(left, right, below)?),
            Node::Conditional { condition, then, otherwise } => {
                Op::Conditional(self.three(condition, then, otherwise, below)?)
            }
            Node::Matches { text, pattern } => {
                let regex = regex::build(pattern, false).map_err(|error| refused(&error.to_string()))?;
                Op::Matches { text: self.boxed(text, below)?, regex: Box::new(regex) }
            }
            Node::Call { function, arguments } => self.call(*function, arguments, below)?,
            Node::Comprehension { kind, over, body } => Op::Comprehension {
                kind: *kind,
                over: self.boxed(over, below)?,
                body: self.within(body, below)?,
                weight: size(body),
            },
            Node::MapIf { over, condition, value } => Op::MapIf {
                over: self.boxed(over, below)?,
                condition: self.within(condition, below)?,
                value: self.within(value, below)?,
                weight: size(condition) + size(value),
            },
        })
    }

    fn call(&mut self, function: Function, arguments: &[Node], below: usize) -> Result<Op, CompileError> {
        match (function, arguments) {
            (Function::In, [name, of]) if let Some(name) = text(name).and_then(|name| header_name(of, name)) => {
                Ok(Op::HasHeader(name))
            }
            (Function::CidrContainsIp, [range, address]) => {
                let range = text(range).and_then(|text| text.parse().ok()).ok_or_else(|| refused("no CIDR"))?;
                Ok(Op::Contains { range, address: self.boxed(address, below)? })
            }
            (part, [of, zone])
                if is_calendar(part)
                    && let Some(zone) = text(zone) =>
            {
                let zone = Zone::parse(zone).ok_or_else(|| refused("unknown time zone"))?;
                Ok(Op::Calendar { part, of: self.boxed(of, below)?, zone })
            }
            (function, [operand]) if takes(function).contains(&1) => {
                Ok(Op::Unary(function, self.boxed(operand, below)?))
            }
            (function, [left, right]) if takes(function).contains(&2) => {
                Ok(Op::Binary(function, self.two(left, right, below)?))
            }
            (function, [first, second, third]) if takes(function).contains(&3) => {
                Ok(Op::Ternary(function, self.three(first, second, third, below)?))
            }
            _ => Err(refused("a function with the wrong number of arguments")),
        }
    }

    fn variable(&self, index: u32) -> Result<Op, CompileError> {
        let index = usize::try_from(index).ok().filter(|index| *index < self.loops);
        index.map(Op::Variable).ok_or_else(|| refused("a variable outside of its comprehension"))
    }

    fn within(&mut self, body: &Node, below: usize) -> Result<Box<Op>, CompileError> {
        if self.loops == MAX_NESTED_LOOPS {
            return Err(refused("comprehensions are nested too deeply"));
        }
        self.loops += 1;
        let body = self.boxed(body, below);
        self.loops -= 1;
        body
    }

    fn map(&mut self, entries: &[(Node, Node)], below: usize) -> Result<Op, CompileError> {
        let mut lowered = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            lowered.push((self.lower(key, below)?, self.lower(value, below)?));
        }
        // Keys of constants are the compiler's to compare: what is the same text twice is an error in any case.
        let constant = |(key, value): &(Op, Op)| Some((constant(key).filter(Value::is_key)?, self::constant(value)?));
        Ok(match lowered.iter().map(constant).collect::<Option<Vec<_>>>().filter(|entries| distinct(entries)) {
            Some(entries) => Op::Constant(Value::Map(Map::Owned(entries.into()))),
            None => Op::Map(lowered.into()),
        })
    }

    fn all(&mut self, nodes: &[Node], below: usize) -> Result<Vec<Op>, CompileError> {
        nodes.iter().map(|node| self.lower(node, below)).collect()
    }

    fn boxed(&mut self, node: &Node, below: usize) -> Result<Box<Op>, CompileError> {
        self.lower(node, below).map(Box::new)
    }

    fn two(&mut self, left: &Node, right: &Node, below: usize) -> Result<Box<[Op; 2]>, CompileError> {
        Ok(Box::new([self.lower(left, below)?, self.lower(right, below)?]))
    }

    fn three(&mut self, a: &Node, b: &Node, c: &Node, below: usize) -> Result<Box<[Op; 3]>, CompileError> {
        Ok(Box::new([self.lower(a, below)?, self.lower(b, below)?, self.lower(c, below)?]))
    }
}

fn refused(why: &str) -> CompileError {
    CompileError(why.to_owned())
}

fn text(node: &Node) -> Option<&str> {
    match node {
        Node::String(text) => Some(text),
        _ => None,
    }
}

/// `name` as a header's, if `of` is the request's headers; names are in lower case there.
fn header_name(of: &Node, name: &str) -> Option<HeaderName> {
    let of_headers = *of == Node::Attribute(Attribute::RequestHeaders);
    HeaderName::from_bytes(name.as_bytes()).ok().filter(|header| of_headers && header.as_str() == name)
}

fn timestamp(seconds: i64, nanos: u32) -> Result<Value<'static>, CompileError> {
    if TIMESTAMP_SECONDS.contains(&seconds) && i64::from(nanos) < NANOS {
        return Ok(Value::Timestamp(Timestamp { seconds, nanos }));
    }
    Err(refused("a timestamp out of range"))
}

fn list(items: Vec<Op>) -> Op {
    match items.iter().map(constant).collect::<Option<Vec<_>>>() {
        Some(values) => Op::Constant(Value::List(List::Owned(values.into()))),
        None => Op::List(items.into()),
    }
}

fn constant(op: &Op) -> Option<Value<'static>> {
    match op {
        Op::Constant(value) => Some(value.clone()),
        _ => None,
    }
}

fn distinct(entries: &[(Value<'_>, Value<'_>)]) -> bool {
    let budget = super::budget::Budget::new();
    let same = |i: usize, key: &Value<'_>| {
        entries[..i].iter().any(|(other, _)| !matches!(other.equals(key, &budget), Ok(false)))
    };
    !entries.iter().enumerate().any(|(i, (key, _))| same(i, key))
}

/// Nodes at and below `node`.
fn size(node: &Node) -> usize {
    let mut sum = 1;
    node.children(&mut |child| sum += size(child));
    sum
}

pub(super) fn is_calendar(function: Function) -> bool {
    matches!(
        function,
        Function::GetFullYear
            | Function::GetMonth
            | Function::GetDayOfMonth
            | Function::GetDate
            | Function::GetDayOfWeek
            | Function::GetDayOfYear
            | Function::GetHours
            | Function::GetMinutes
            | Function::GetSeconds
            | Function::GetMilliseconds
    )
}

/// How many operands a function has.
fn takes(function: Function) -> std::ops::RangeInclusive<usize> {
    match function {
        Function::Not
        | Function::Negate
        | Function::Size
        | Function::LowerAscii
        | Function::UpperAscii
        | Function::Trim
        | Function::ToInt
        | Function::ToUint
        | Function::ToDouble
        | Function::ToString
        | Function::ToBytes
        | Function::ToBool
        | Function::ToTimestamp
        | Function::ToDuration => 1..=1,
        Function::Equal
        | Function::NotEqual
        | Function::Less
        | Function::LessOrEqual
        | Function::Greater
        | Function::GreaterOrEqual
        | Function::Add
        | Function::Subtract
        | Function::Multiply
        | Function::Divide
        | Function::Remainder
        | Function::In
        | Function::StartsWith
        | Function::EndsWith
        | Function::Contains
        | Function::Split
        | Function::IndexOf
        | Function::CidrContainsIp => 2..=2,
        Function::Replace => 3..=3,
        Function::Substring => 2..=3,
        Function::Join
        | Function::GetFullYear
        | Function::GetMonth
        | Function::GetDayOfMonth
        | Function::GetDate
        | Function::GetDayOfWeek
        | Function::GetDayOfYear
        | Function::GetHours
        | Function::GetMinutes
        | Function::GetSeconds
        | Function::GetMilliseconds => 1..=2,
    }
}
