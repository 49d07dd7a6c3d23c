//! Values while an expression runs. They borrow from the request, the caller and the program; a clone allocates nothing.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::{self, Write};
use std::sync::Arc;

use super::EvalError;
use super::budget::Budget;
use super::collection::{List, Map};

#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Text<'a>),
    Bytes(Blob<'a>),
    Timestamp(Timestamp),
    /// Nanoseconds.
    Duration(i64),
    List(List<'a>),
    Map(Map<'a>),
}

/// Since the epoch; ordered in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Timestamp {
    pub(super) seconds: i64,
    pub(super) nanos: u32,
}

#[derive(Clone, Debug)]
pub(super) enum Blob<'a> {
    Borrowed(&'a [u8]),
    Owned(Arc<[u8]>),
}

#[derive(Clone, Debug)]
pub(super) enum Text<'a> {
    Borrowed(&'a str),
    /// What is short and made here: an address, a number.
    Short(Short),
    Owned(Arc<str>),
}

/// A text in place. The longest is an IPv6 address (39 letters).
#[derive(Clone, Copy, Debug)]
pub(super) struct Short {
    length: u8,
    letters: [u8; 39],
}

impl<'a> Value<'a> {
    /// A constant of the program, without what it owns.
    pub(super) fn borrow(&'a self) -> Self {
        match self {
            Self::Text(text) => Self::Text(Text::Borrowed(text.as_str())),
            Self::Bytes(bytes) => Self::Bytes(Blob::Borrowed(bytes.as_slice())),
            Self::List(list) => Self::List(list.borrow()),
            Self::Map(map) => Self::Map(map.borrow()),
            other => other.clone(),
        }
    }

    pub(super) fn text(text: &'a str) -> Self {
        Self::Text(Text::Borrowed(text))
    }

    /// JSON's numbers are ints where they are whole and fit, then uints, else doubles.
    pub(super) fn json(value: &'a serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(*value),
            serde_json::Value::String(text) => Self::text(text),
            serde_json::Value::Array(items) => Self::List(List::Json(items)),
            serde_json::Value::Object(entries) => Self::Map(Map::Json(entries)),
            serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => Self::Int(number),
                (None, Some(number)) => Self::Uint(number),
                (None, None) => Self::Double(number.as_f64().unwrap_or(f64::NAN)),
            },
        }
    }

    pub(super) fn as_bool(&self) -> Result<bool, EvalError> {
        match self {
            Self::Bool(value) => Ok(*value),
            _ => Err(EvalError::Type),
        }
    }

    pub(super) fn as_text(&self) -> Result<&Text<'a>, EvalError> {
        match self {
            Self::Text(text) => Ok(text),
            _ => Err(EvalError::Type),
        }
    }

    /// What may be asked of a map.
    pub(super) fn is_key(&self) -> bool {
        matches!(self, Self::Bool(_) | Self::Int(_) | Self::Uint(_) | Self::Double(_) | Self::Text(_))
    }

    /// CEL's `==`: numbers by value, others only with their own type.
    pub(super) fn equals(&self, other: &Value<'_>, budget: &Budget) -> Result<bool, EvalError> {
        match (self, other) {
            (Self::Text(left), Value::Text(right)) => {
                budget.spend_bytes(left.as_str().len().min(right.as_str().len()))?;
                Ok(left.as_str() == right.as_str())
            }
            (Self::Null, Value::Null) => Ok(true),
            (Self::Bool(left), Value::Bool(right)) => Ok(left == right),
            (Self::Bytes(left), Value::Bytes(right)) => Ok(left.as_slice() == right.as_slice()),
            (Self::Timestamp(left), Value::Timestamp(right)) => Ok(left == right),
            (Self::Duration(left), Value::Duration(right)) => Ok(left == right),
            (Self::List(left), Value::List(right)) => left.equals(right, budget),
            (Self::Map(left), Value::Map(right)) => left.equals(right, budget),
            (left, right) => Ok(left.compare_numbers(right) == Some(Ordering::Equal)),
        }
    }

    /// The order of two values; `None` where one is not a number, as nothing is then less or greater.
    pub(super) fn compare(&self, other: &Value<'_>) -> Result<Option<Ordering>, EvalError> {
        Ok(Some(match (self, other) {
            (Self::Text(left), Value::Text(right)) => left.as_str().cmp(right.as_str()),
            (Self::Bool(left), Value::Bool(right)) => left.cmp(right),
            (Self::Bytes(left), Value::Bytes(right)) => left.as_slice().cmp(right.as_slice()),
            (Self::Timestamp(left), Value::Timestamp(right)) => left.cmp(right),
            (Self::Duration(left), Value::Duration(right)) => left.cmp(right),
            (left, right) if left.is_number() && right.is_number() => return Ok(left.compare_numbers(right)),
            _ => return Err(EvalError::Type),
        }))
    }

    fn is_number(&self) -> bool {
        matches!(self, Self::Int(_) | Self::Uint(_) | Self::Double(_))
    }

    #[allow(clippy::cast_precision_loss)] // CEL compares with a double as doubles
    fn compare_numbers(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(left), Value::Int(right)) => Some(left.cmp(right)),
            (Self::Uint(left), Value::Uint(right)) => Some(left.cmp(right)),
            (Self::Int(left), Value::Uint(right)) => Some(i128::from(*left).cmp(&i128::from(*right))),
            (Self::Uint(left), Value::Int(right)) => Some(i128::from(*left).cmp(&i128::from(*right))),
            (Self::Double(left), Value::Double(right)) => left.partial_cmp(right),
            (Self::Double(left), Value::Int(right)) => left.partial_cmp(&(*right as f64)),
            (Self::Double(left), Value::Uint(right)) => left.partial_cmp(&(*right as f64)),
            (Self::Int(left), Value::Double(right)) => (*left as f64).partial_cmp(right),
            (Self::Uint(left), Value::Double(right)) => (*left as f64).partial_cmp(right),
            _ => None,
        }
    }
}

impl<'a> Text<'a> {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Short(short) => short.as_str(),
            Self::Owned(text) => text,
        }
    }

    pub(super) fn into_cow(self) -> Cow<'a, str> {
        match self {
            Self::Borrowed(text) => Cow::Borrowed(text),
            Self::Short(short) => Cow::Owned(short.as_str().to_owned()),
            Self::Owned(text) => Cow::Owned((*text).to_owned()),
        }
    }

    /// The part from byte `start` to byte `end`, which are at letters' beginnings.
    pub(super) fn part(&self, start: usize, end: usize) -> Self {
        match self {
            Self::Borrowed(text) => Self::Borrowed(&text[start..end]),
            other => Self::Owned(other.as_str()[start..end].into()),
        }
    }

    /// What `value` prints; in place if it is short.
    pub(super) fn print(value: impl fmt::Display) -> Self {
        let mut short = Short { length: 0, letters: [0; 39] };
        match write!(short, "{value}") {
            Ok(()) => Self::Short(short),
            Err(fmt::Error) => Self::Owned(value.to_string().into()),
        }
    }
}

impl<'a> From<Cow<'a, str>> for Text<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        match text {
            Cow::Borrowed(text) => Self::Borrowed(text),
            Cow::Owned(text) => Self::Owned(text.into()),
        }
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self::Owned(text.into())
    }
}

impl Short {
    fn as_str(&self) -> &str {
        // Only `write_str` fills it, with whole texts (invariant).
        std::str::from_utf8(&self.letters[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let start = usize::from(self.length);
        let end = start + text.len();
        self.letters.get_mut(start..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = u8::try_from(end).map_err(|_| fmt::Error)?;
        Ok(())
    }
}

impl Blob<'_> {
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}
