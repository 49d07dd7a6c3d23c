//! Running a program: the walk over its nodes. What functions do is in [`super::function`].

use std::net::IpAddr;
use std::time::UNIX_EPOCH;

use ravelin_snapshot::expression::{Attribute, Comprehension, Function};

use super::budget::Budget;
use super::collection::{List, Map, header};
use super::op::Op;
use super::value::{Text, Timestamp, Value};
use super::{EvalError, Scope, calendar};

pub(super) struct Machine<'s, 'a> {
    pub(super) scope: &'s Scope<'a>,
    pub(super) budget: Budget,
}

/// A comprehension's variable, and those of the comprehensions around it.
pub(super) struct Frame<'f, 'a> {
    depth: usize,
    value: Value<'a>,
    outer: Option<&'f Frame<'f, 'a>>,
}

pub(super) type Outcome<'a> = Result<Value<'a>, EvalError>;

type Frames<'f, 'a> = Option<&'f Frame<'f, 'a>>;

// What is rare is kept out of line: the frame of `eval` is on the stack once a node.
impl<'a> Machine<'_, 'a> {
    pub(super) fn eval(&self, op: &'a Op, frames: Frames<'_, 'a>) -> Outcome<'a> {
        match op {
            Op::Constant(value) => Ok(value.borrow()),
            Op::Attribute(attribute) => Ok(self.attribute(*attribute)),
            Op::Header(name) => header(self.scope.request.headers, name, &self.budget)?.ok_or(EvalError::NoSuchKey),
            Op::Select { of, member } => self.select(self.eval(of, frames)?, member),
            Op::Index(operands) => self.index(self.eval(&operands[0], frames)?, &self.eval(&operands[1], frames)?),
            Op::Conditional(operands) => {
                let chosen = if self.test(&operands[0], frames)? { &operands[1] } else { &operands[2] };
                self.eval(chosen, frames)
            }
            Op::Variable(depth) => variable(*depth, frames).cloned().ok_or(EvalError::Type),
            Op::List(items) => self.list(items, frames),
            Op::Map(entries) => self.map(entries, frames),
            Op::Calendar { part, of, zone } => calendar::part(*part, &self.eval(of, frames)?, *zone),
            Op::Unary(function, operand) if *function != Function::Not => {
                self.unary(*function, self.eval(operand, frames)?)
            }
            Op::Binary(function, operands) => {
                self.binary(*function, &self.eval(&operands[0], frames)?, &self.eval(&operands[1], frames)?)
            }
            Op::Ternary(function, operands) => {
                let [text, first, second] = &**operands;
                let operands = [self.eval(text, frames)?, self.eval(first, frames)?, self.eval(second, frames)?];
                self.ternary(*function, &operands)
            }
            Op::Comprehension { kind: kind @ (Comprehension::Filter | Comprehension::Map), over, body, weight } => {
                self.collect(*kind, over, body, *weight, frames)
            }
            Op::MapIf { over, condition, value, weight } => self.map_if(over, [condition, value], *weight, frames),
            Op::And(_)
            | Op::Or(_)
            | Op::Unary(..)
            | Op::Has { .. }
            | Op::HasHeader(_)
            | Op::Matches { .. }
            | Op::Contains { .. }
            | Op::Comprehension { .. } => self.test(op, frames).map(Value::Bool),
        }
    }

    /// The value of `op` where a bool is asked for.
    pub(super) fn test(&self, op: &'a Op, frames: Frames<'_, 'a>) -> Result<bool, EvalError> {
        match op {
            Op::And(operands) => self.decide(operands, false, frames),
            Op::Or(operands) => self.decide(operands, true, frames),
            Op::Unary(Function::Not, operand) => Ok(!self.test(operand, frames)?),
            Op::Binary(function, operands) if let Some(decided) = self.compare_texts(*function, operands, frames) => {
                decided
            }
            Op::HasHeader(name) => Ok(self.scope.request.headers.contains_key(name)),
            Op::Has { of, member } => match self.eval(of, frames)? {
                Value::Map(map) => map.contains(&Value::text(member), &self.budget),
                _ => Err(EvalError::Type),
            },
            Op::Matches { text, regex } => {
                let text = self.eval(text, frames)?;
                let text = text.as_text()?.as_str();
                self.budget.spend_bytes(text.len().saturating_mul(4))?;
                Ok(regex.is_match(text))
            }
            Op::Contains { range, address } => Ok(range.contains(&self.address(address, frames)?)),
            Op::Comprehension { kind, over, body, weight } if is_test(*kind) => {
                self.quantify(*kind, over, body, *weight, frames)
            }
            _ => self.eval(op, frames)?.as_bool(),
        }
    }

    /// `&&` is decided by false, `||` by true, whichever side has it and whatever error the other side is.
    fn decide(&self, operands: &'a [Op; 2], decisive: bool, frames: Frames<'_, 'a>) -> Result<bool, EvalError> {
        let left = self.test(&operands[0], frames);
        if left == Ok(decisive) || left == Err(EvalError::Budget) {
            return left;
        }
        let right = self.test(&operands[1], frames);
        if right == Ok(decisive) || right == Err(EvalError::Budget) {
            return right;
        }
        left.and(right)
    }

    /// What most conditions are, without making values of their operands: texts that are there, compared. `None` if it
    /// is something else.
    fn compare_texts(
        &self,
        function: Function,
        [left, right]: &'a [Op; 2],
        frames: Frames<'_, 'a>,
    ) -> Option<Result<bool, EvalError>> {
        let text = self.text(left, frames)?;
        if function == Function::In {
            return match right {
                Op::Constant(Value::List(list)) => Some(list.contains_text(text, &self.budget)),
                Op::Attribute(Attribute::CallerScopes) => {
                    Some(List::Texts(&self.scope.caller.scopes).contains_text(text, &self.budget))
                }
                Op::Attribute(Attribute::CallerGroups) => {
                    Some(List::Texts(&self.scope.caller.groups).contains_text(text, &self.budget))
                }
                _ => None,
            };
        }
        let part = self.text(right, frames)?;
        let holds = match function {
            Function::Equal => text == part,
            Function::NotEqual => text != part,
            Function::StartsWith => text.starts_with(part),
            Function::EndsWith => text.ends_with(part),
            Function::Contains => text.contains(part),
            _ => return None,
        };
        Some(self.budget.spend_bytes(text.len()).map(|()| holds))
    }

    /// The text that `op` is, if it is one that lies in the program, the request or the caller.
    fn text(&self, op: &'a Op, frames: Frames<'_, 'a>) -> Option<&'a str> {
        match op {
            Op::Constant(Value::Text(text)) => Some(text.as_str()),
            Op::Attribute(attribute) => self.text_of(*attribute),
            Op::Header(name) => {
                let mut values = self.scope.request.headers.get_all(name).into_iter();
                let value = values.next().filter(|_| values.next().is_none())?;
                std::str::from_utf8(value.as_bytes()).ok()
            }
            Op::Select { of, member } if let Op::Attribute(Attribute::CallerClaims) = **of => {
                self.scope.caller.claims.get(&**member)?.as_str()
            }
            Op::Variable(depth) => match variable(*depth, frames)? {
                Value::Text(Text::Borrowed(text)) => Some(text),
                _ => None,
            },
            _ => None,
        }
    }

    fn text_of(&self, attribute: Attribute) -> Option<&'a str> {
        let Scope { request, caller, route, .. } = *self.scope;
        Some(match attribute {
            Attribute::RequestMethod => request.method.as_str(),
            Attribute::RequestPath => request.path,
            Attribute::RequestHost => request.host,
            Attribute::RequestScheme => request.scheme.as_str(),
            Attribute::RequestId => request.id,
            Attribute::CallerId => &caller.id,
            Attribute::CallerMethod => caller.method,
            Attribute::CallerIssuer => &caller.issuer,
            Attribute::CallerPlan => &caller.plan,
            Attribute::RouteNamespace => &route.route.namespace,
            Attribute::RouteName => &route.route.name,
            Attribute::RouteRule => &route.rule,
            Attribute::RequestQuery
            | Attribute::RequestHeaders
            | Attribute::SourceAddress
            | Attribute::SourcePort
            | Attribute::CallerScopes
            | Attribute::CallerGroups
            | Attribute::CallerClaims
            | Attribute::Now => return None,
        })
    }

    fn attribute(&self, attribute: Attribute) -> Value<'a> {
        let Scope { request, caller, now, .. } = *self.scope;
        match attribute {
            Attribute::RequestQuery => Value::Map(Map::Query(request.query)),
            Attribute::RequestHeaders => Value::Map(Map::Headers(request.headers)),
            Attribute::SourceAddress => Value::Text(Text::print(request.source.ip().to_canonical())),
            Attribute::SourcePort => Value::Int(request.source.port().into()),
            Attribute::CallerScopes => Value::List(List::Texts(&caller.scopes)),
            Attribute::CallerGroups => Value::List(List::Texts(&caller.groups)),
            Attribute::CallerClaims => match &caller.claims {
                serde_json::Value::Null => Value::Map(Map::Values(&[])),
                claims => Value::json(claims),
            },
            Attribute::Now => Value::Timestamp(timestamp(now)),
            text => self.text_of(text).map_or(Value::Null, Value::text),
        }
    }

    fn select(&self, of: Value<'a>, member: &str) -> Outcome<'a> {
        match of {
            Value::Map(map) => map.named(member, &self.budget)?.ok_or(EvalError::NoSuchKey),
            _ => Err(EvalError::Type),
        }
    }

    fn index(&self, of: Value<'a>, index: &Value<'a>) -> Outcome<'a> {
        match of {
            Value::List(list) => position(index)?.and_then(|index| list.get(index)).ok_or(EvalError::Index),
            Value::Map(map) if index.is_key() => map.get(index, &self.budget)?.ok_or(EvalError::NoSuchKey),
            _ => Err(EvalError::Type),
        }
    }

    /// The address that `op` is; the client's own is not printed first.
    fn address(&self, op: &'a Op, frames: Frames<'_, 'a>) -> Result<IpAddr, EvalError> {
        if let Op::Attribute(Attribute::SourceAddress) = op {
            return Ok(self.scope.request.source.ip().to_canonical());
        }
        let text = self.eval(op, frames)?;
        let address: IpAddr = text.as_text()?.as_str().parse().map_err(|_| EvalError::Conversion)?;
        Ok(address.to_canonical())
    }

    #[inline(never)]
    fn list(&self, items: &'a [Op], frames: Frames<'_, 'a>) -> Outcome<'a> {
        self.budget.spend(items.len())?;
        let values: Result<Vec<_>, _> = items.iter().map(|item| self.eval(item, frames)).collect();
        Ok(Value::List(List::Owned(values?.into())))
    }

    #[inline(never)]
    fn map(&self, entries: &'a [(Op, Op)], frames: Frames<'_, 'a>) -> Outcome<'a> {
        let mut values: Vec<(Value<'a>, Value<'a>)> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let key = self.eval(key, frames)?;
            if !matches!(key, Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Text(_)) {
                return Err(EvalError::Type);
            }
            let value = self.eval(value, frames)?;
            self.budget.spend(values.len() + 1)?;
            for (other, _) in &values {
                if other.equals(&key, &self.budget)? {
                    return Err(EvalError::DuplicateKey);
                }
            }
            values.push((key, value));
        }
        Ok(Value::Map(Map::Owned(values.into())))
    }

    /// `all`, `exists` and `exists_one`. As with `&&` and `||`, a member that decides outdoes another's error.
    #[inline(never)]
    fn quantify(
        &self,
        kind: Comprehension,
        over: &'a Op,
        body: &'a Op,
        weight: usize,
        frames: Frames<'_, 'a>,
    ) -> Result<bool, EvalError> {
        let members = self.members(over, frames)?;
        let (mut found, mut error) = (0, None);
        for value in members.items() {
            self.budget.spend(weight + 1)?;
            let holds = self.test(body, Some(&Frame::new(value, frames)));
            match (kind, holds) {
                (_, Err(EvalError::Budget)) => return Err(EvalError::Budget),
                (Comprehension::All, Ok(false)) => return Ok(false),
                (Comprehension::Exists, Ok(true)) => return Ok(true),
                (Comprehension::All | Comprehension::Exists, Err(failed)) => error = error.or(Some(failed)),
                (_, holds) => found += usize::from(holds?),
            }
        }
        match error {
            Some(error) => Err(error),
            None if kind == Comprehension::ExistsOne => Ok(found == 1),
            None => Ok(kind == Comprehension::All),
        }
    }

    /// `filter` and `map`.
    #[inline(never)]
    fn collect(
        &self,
        kind: Comprehension,
        over: &'a Op,
        body: &'a Op,
        weight: usize,
        frames: Frames<'_, 'a>,
    ) -> Outcome<'a> {
        let mut collected = Vec::new();
        for value in self.members(over, frames)?.items() {
            self.budget.spend(weight + 1)?;
            let frame = Frame::new(value, frames);
            if kind == Comprehension::Map {
                collected.push(self.eval(body, Some(&frame))?);
            } else if self.test(body, Some(&frame))? {
                collected.push(frame.value);
            }
        }
        Ok(Value::List(List::Owned(collected.into())))
    }

    #[inline(never)]
    fn map_if(
        &self,
        over: &'a Op,
        [condition, value]: [&'a Op; 2],
        weight: usize,
        frames: Frames<'_, 'a>,
    ) -> Outcome<'a> {
        let mut collected = Vec::new();
        for member in self.members(over, frames)?.items() {
            self.budget.spend(weight + 1)?;
            let frame = Frame::new(member, frames);
            if self.test(condition, Some(&frame))? {
                collected.push(self.eval(value, Some(&frame))?);
            }
        }
        Ok(Value::List(List::Owned(collected.into())))
    }

    /// What a comprehension runs over: a list's items, a map's keys.
    fn members(&self, over: &'a Op, frames: Frames<'_, 'a>) -> Result<List<'a>, EvalError> {
        match self.eval(over, frames)? {
            Value::List(list) => Ok(list),
            Value::Map(map) => Ok(List::Owned(map.keys(&self.budget)?.into())),
            _ => Err(EvalError::Type),
        }
    }
}

impl<'f, 'a> Frame<'f, 'a> {
    fn new(value: Value<'a>, outer: Frames<'f, 'a>) -> Self {
        Self { depth: outer.map_or(0, |outer| outer.depth + 1), value, outer }
    }
}

fn variable<'f, 'a>(depth: usize, frames: Frames<'f, 'a>) -> Option<&'f Value<'a>> {
    let mut frame = frames?;
    while frame.depth > depth {
        frame = frame.outer?;
    }
    Some(&frame.value)
}

fn is_test(kind: Comprehension) -> bool {
    matches!(kind, Comprehension::All | Comprehension::Exists | Comprehension::ExistsOne)
}

/// Where in a list: a whole number of any type. `None` is beyond any list.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // of what was found to be whole and in range
fn position(index: &Value<'_>) -> Result<Option<usize>, EvalError> {
    match index {
        Value::Int(index) => Ok(usize::try_from(*index).ok()),
        Value::Uint(index) => Ok(usize::try_from(*index).ok()),
        Value::Double(index) if index.fract() == 0.0 => {
            Ok((0.0..f64::from(u32::MAX)).contains(index).then_some(*index as usize))
        }
        _ => Err(EvalError::Type),
    }
}

fn timestamp(time: std::time::SystemTime) -> Timestamp {
    let nanos = match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i128::try_from(since.as_nanos()).unwrap_or(i128::MAX),
        Err(before) => -i128::try_from(before.duration().as_nanos()).unwrap_or(i128::MAX),
    };
    Timestamp::from_nanos(nanos).unwrap_or(Timestamp { seconds: 0, nanos: 0 })
}
