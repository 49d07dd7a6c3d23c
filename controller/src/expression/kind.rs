//! The types of values, as far as they are known before a request comes.

use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Timestamp,
    Duration,
    List(Box<Kind>),
    Map(Box<Kind>, Box<Kind>),
    /// Known only at run time.
    Dyn,
}

impl Kind {
    pub(super) fn list(of: Self) -> Self {
        Self::List(Box::new(of))
    }

    pub(super) fn map(key: Self, value: Self) -> Self {
        Self::Map(Box::new(key), Box::new(value))
    }

    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Uint | Self::Double)
    }

    /// `<` and its kin.
    pub(super) fn is_ordered(&self) -> bool {
        !matches!(self, Self::Null | Self::List(_) | Self::Map(..))
    }

    /// Whether a value of this kind may be one of `other`. Numbers of different types compare by value.
    pub(super) fn may_equal(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dyn, _) | (_, Self::Dyn) => true,
            (Self::List(left), Self::List(right)) => left.may_equal(right),
            (Self::Map(key, value), Self::Map(other_key, other_value)) => {
                key.may_equal(other_key) && value.may_equal(other_value)
            }
            (left, right) => left == right || left.is_number() && right.is_number(),
        }
    }

    /// Whether a value of this kind can be given where `wanted` is asked for.
    pub(super) fn fits(&self, wanted: &Self) -> bool {
        match (self, wanted) {
            (Self::Dyn, _) | (_, Self::Dyn) => true,
            (Self::List(left), Self::List(right)) => left.fits(right),
            (Self::Map(key, value), Self::Map(other_key, other_value)) => {
                key.fits(other_key) && value.fits(other_value)
            }
            (left, right) => left == right,
        }
    }

    /// The one kind of a value that has this kind or `other`; `None` if there is none but [`Kind::Dyn`].
    pub(super) fn join(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::List(left), Self::List(right)) => left.join(*right).map(Self::list),
            (Self::Map(key, value), Self::Map(other_key, other_value)) => {
                Some(Self::map(key.join(*other_key)?, value.join(*other_value)?))
            }
            (Self::Dyn, _) | (_, Self::Dyn) => Some(Self::Dyn),
            (left, right) => (left == right).then_some(left),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Timestamp => "timestamp",
            Self::Duration => "duration",
            Self::List(of) => return write!(out, "list({of})"),
            Self::Map(key, value) => return write!(out, "map({key}, {value})"),
            Self::Dyn => "any",
        };
        out.write_str(name)
    }
}
