//! What functions and operators do with their operands.

use std::cmp::Ordering;

use ravelin_snapshot::expression::Function;
use ravelin_snapshot::expression::time::Zone;

use super::collection::List;
use super::eval::{Machine, Outcome};
use super::op::is_calendar;
use super::value::{Text, Value};
use super::{EvalError, arithmetic, calendar, convert};

impl<'a> Machine<'_, 'a> {
    #[inline(never)]
    pub(super) fn unary(&self, function: Function, operand: Value<'a>) -> Outcome<'a> {
        match function {
            Function::Negate => arithmetic::negate(&operand),
            Function::Size => self.size(&operand),
            Function::LowerAscii => self.cased(&operand, u8::is_ascii_uppercase, str::to_ascii_lowercase),
            Function::UpperAscii => self.cased(&operand, u8::is_ascii_lowercase, str::to_ascii_uppercase),
            Function::Trim => {
                let text = operand.as_text()?;
                let start = text.as_str().len() - text.as_str().trim_start().len();
                let trimmed = text.as_str().trim().len();
                Ok(Value::Text(text.part(start, start + trimmed)))
            }
            Function::Join => self.join(&operand, ""),
            part if is_calendar(part) => calendar::part(part, &operand, Zone::UTC),
            conversion => convert::convert(conversion, operand, &self.budget),
        }
    }

    #[inline(never)]
    pub(super) fn binary(&self, function: Function, left: &Value<'a>, right: &Value<'a>) -> Outcome<'a> {
        match function {
            Function::Equal => left.equals(right, &self.budget).map(Value::Bool),
            Function::NotEqual => left.equals(right, &self.budget).map(|equal| Value::Bool(!equal)),
            Function::Less => ordered(left, right, Ordering::is_lt),
            Function::LessOrEqual => ordered(left, right, Ordering::is_le),
            Function::Greater => ordered(left, right, Ordering::is_gt),
            Function::GreaterOrEqual => ordered(left, right, Ordering::is_ge),
            Function::Add => match (left, right) {
                (Value::Text(left), Value::Text(right)) => self.concatenate(left.as_str(), right.as_str()),
                (Value::List(left), Value::List(right)) => self.append(left, right),
                _ => arithmetic::binary(function, left, right, &self.budget),
            },
            Function::In => self.is_in(left, right).map(Value::Bool),
            Function::StartsWith => self.texts(left, right, |text, part| text.starts_with(part)),
            Function::EndsWith => self.texts(left, right, |text, part| text.ends_with(part)),
            Function::Contains => self.texts(left, right, |text, part| text.contains(part)),
            Function::IndexOf => self.index_of(left, right),
            Function::Split => self.split(left.as_text()?, right.as_text()?.as_str()),
            Function::Join => self.join(left, right.as_text()?.as_str()),
            Function::Substring => self.substring(left.as_text()?, right, None),
            part if is_calendar(part) => {
                let zone = Zone::parse(right.as_text()?.as_str()).ok_or(EvalError::TimeZone)?;
                calendar::part(part, left, zone)
            }
            _ => arithmetic::binary(function, left, right, &self.budget),
        }
    }

    #[inline(never)]
    pub(super) fn ternary(&self, function: Function, [text, first, second]: &[Value<'a>; 3]) -> Outcome<'a> {
        match function {
            Function::Substring => self.substring(text.as_text()?, first, Some(second)),
            _ => self.replace(text.as_text()?, first.as_text()?.as_str(), second.as_text()?.as_str()),
        }
    }

    fn is_in(&self, value: &Value<'a>, container: &Value<'a>) -> Result<bool, EvalError> {
        match container {
            Value::List(list) => list.contains(value, &self.budget),
            Value::Map(map) if value.is_key() => map.contains(value, &self.budget),
            _ => Err(EvalError::Type),
        }
    }

    fn texts(&self, text: &Value<'a>, part: &Value<'a>, test: impl Fn(&str, &str) -> bool) -> Outcome<'a> {
        let (text, part) = (text.as_text()?.as_str(), part.as_text()?.as_str());
        self.budget.spend_bytes(text.len())?;
        Ok(Value::Bool(test(text, part)))
    }

    /// In letters, as the user counts them.
    fn size(&self, of: &Value<'a>) -> Outcome<'a> {
        let size = match of {
            Value::Text(text) => {
                self.budget.spend_bytes(text.as_str().len())?;
                text.as_str().chars().count()
            }
            Value::Bytes(bytes) => bytes.as_slice().len(),
            Value::List(list) => list.len(),
            Value::Map(map) => map.len(&self.budget)?,
            _ => return Err(EvalError::Type),
        };
        int(size)
    }

    fn cased(&self, text: &Value<'a>, is_other: impl Fn(&u8) -> bool, change: impl Fn(&str) -> String) -> Outcome<'a> {
        let text = text.as_text()?;
        self.budget.spend_made(text.as_str().len())?;
        if text.as_str().as_bytes().iter().any(is_other) {
            return Ok(Value::Text(change(text.as_str()).into()));
        }
        Ok(Value::Text(text.clone()))
    }

    fn concatenate(&self, left: &str, right: &str) -> Outcome<'a> {
        self.budget.spend_made(left.len() + right.len())?;
        Ok(Value::Text([left, right].concat().into()))
    }

    fn append(&self, left: &List<'a>, right: &List<'a>) -> Outcome<'a> {
        self.budget.spend(left.len() + right.len())?;
        Ok(Value::List(List::Owned(left.items().chain(right.items()).collect())))
    }

    fn index_of(&self, text: &Value<'a>, part: &Value<'a>) -> Outcome<'a> {
        let (text, part) = (text.as_text()?.as_str(), part.as_text()?.as_str());
        self.budget.spend_bytes(text.len())?;
        match text.find(part) {
            Some(offset) => int(text[..offset].chars().count()),
            None => Ok(Value::Int(-1)),
        }
    }

    fn split(&self, text: &Text<'a>, separator: &str) -> Outcome<'a> {
        let whole = text.as_str();
        self.budget.spend_bytes(whole.len())?;
        let mut parts = Vec::new();
        let mut push = |start: usize, end: usize| -> Result<(), EvalError> {
            self.budget.spend(1)?;
            parts.push(Value::Text(text.part(start, end)));
            Ok(())
        };
        if separator.is_empty() {
            for (start, letter) in whole.char_indices() {
                push(start, start + letter.len_utf8())?;
            }
        } else {
            let mut start = 0;
            for (end, _) in whole.match_indices(separator) {
                push(start, end)?;
                start = end + separator.len();
            }
            push(start, whole.len())?;
        }
        Ok(Value::List(List::Owned(parts.into())))
    }

    fn join(&self, list: &Value<'a>, separator: &str) -> Outcome<'a> {
        let Value::List(list) = list else { return Err(EvalError::Type) };
        let mut joined = String::new();
        for (index, item) in list.items().enumerate() {
            let text = item.as_text()?.as_str();
            self.budget.spend(1)?;
            self.budget.spend_bytes(separator.len() + text.len())?;
            if index > 0 {
                joined.push_str(separator);
            }
            joined.push_str(text);
        }
        Ok(Value::Text(joined.into()))
    }

    fn replace(&self, text: &Text<'a>, from: &str, to: &str) -> Outcome<'a> {
        let text = text.as_str();
        self.budget.spend_bytes(text.len())?;
        // Counted first: a short text in place of every letter of a long one can be large.
        let grown = text.matches(from).count().saturating_mul(to.len());
        self.budget.spend_made(grown)?;
        Ok(Value::Text(text.replace(from, to).into()))
    }

    fn substring(&self, text: &Text<'a>, from: &Value<'a>, to: Option<&Value<'a>>) -> Outcome<'a> {
        let whole = text.as_str();
        self.budget.spend_bytes(whole.len())?;
        let start = offset(whole, from)?;
        let end = to.map_or(Ok(whole.len()), |to| offset(whole, to))?;
        if start > end {
            return Err(EvalError::Index);
        }
        Ok(Value::Text(text.part(start, end)))
    }
}

/// In bytes, where letter number `letter` begins; the end of `text` counts as one.
fn offset(text: &str, letter: &Value<'_>) -> Result<usize, EvalError> {
    let Value::Int(letter) = letter else { return Err(EvalError::Type) };
    let letter = usize::try_from(*letter).map_err(|_| EvalError::Index)?;
    let mut beginnings = text.char_indices().map(|(offset, _)| offset).chain([text.len()]);
    beginnings.nth(letter).ok_or(EvalError::Index)
}

fn ordered<'a>(left: &Value<'a>, right: &Value<'a>, holds: impl Fn(Ordering) -> bool) -> Outcome<'a> {
    Ok(Value::Bool(left.compare(right)?.is_some_and(holds)))
}

fn int<'a>(number: usize) -> Outcome<'a> {
    i64::try_from(number).map(Value::Int).map_err(|_| EvalError::Overflow)
}
