//! Expressions as closures: the snapshot's tree is compiled once, a request only runs what came of it.
//!
//! Semantics are CEL's: `&&` and `||` decide where one side can, errors of the other notwithstanding; integers do not
//! wrap; a missing map entry is an error. What an error means is the caller's to say (API.md: false in a `when`, the
//! empty key in a `key`, a refusal in an `allow` or `deny`).

use std::borrow::Cow;
use std::time::SystemTime;

use ravelin_snapshot::expression::Expression;

use crate::request::{Caller, RequestView, RuleName};

/// What an expression may read.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    pub request: &'a RequestView<'a>,
    pub caller: &'a Caller,
    pub route: &'a RuleName,
    pub now: SystemTime,
}

/// A compiled expression; shared by all workers.
pub struct Program {
    source: Box<str>,
}

impl Program {
    pub fn compile(expression: &Expression) -> Result<Self, CompileError> {
        Ok(Self { source: expression.source.as_str().into() })
    }

    /// What the user wrote.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The verdict of a `when`, `allow` or `deny`.
    pub fn eval_bool(&self, _scope: &Scope<'_>) -> Result<bool, EvalError> {
        Err(EvalError::Type)
    }

    /// A `key` or the value of a header; borrowed from the request where it can be.
    pub fn eval_string<'a>(&'a self, _scope: &Scope<'a>) -> Result<Cow<'a, str>, EvalError> {
        Err(EvalError::Type)
    }

    /// A `cost`.
    pub fn eval_int(&self, _scope: &Scope<'_>) -> Result<i64, EvalError> {
        Err(EvalError::Type)
    }
}

/// A tree that the compiler of this release does not make: from another release, or damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CompileError(pub String);

/// Why a program has no value for a request. It carries nothing of the request, so it may be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    #[error("no such key")]
    NoSuchKey,
    #[error("index out of range")]
    Index,
    #[error("a value of another type was expected")]
    Type,
    #[error("number out of range")]
    Overflow,
    #[error("division by zero")]
    DivisionByZero,
    #[error("text does not convert to this type")]
    Conversion,
    #[error("map has the same key twice")]
    DuplicateKey,
    #[error("unknown time zone")]
    TimeZone,
    #[error("evaluation takes too long")]
    Budget,
}
