//! Expressions, run: the snapshot's tree is made ready once ([`op`]), a request walks it ([`eval`]). Reading a member,
//! comparing, `in`, `startsWith`, `&&` and `||` allocate nothing.
//!
//! Semantics are CEL's: `&&` and `||` decide where one side can, errors of the other notwithstanding; integers do not
//! wrap; a missing map entry is an error. What an error means is the caller's to say (false in a `when`, the
//! empty key in a `key`, a refusal in an `allow` or `deny`: docs/src/objects/expressions.md).
//!
//! What is ours: a JSON number is an int if it is whole; texts that are not UTF-8 (in a header, in the query) are
//! errors; an evaluation has a budget ([`budget`]).

mod arithmetic;
mod budget;
mod calendar;
mod collection;
mod convert;
mod eval;
mod function;
mod op;
mod value;

use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;

use ravelin_snapshot::expression::Expression;

use crate::request::{Caller, RequestView, RuleName};
use budget::Budget;
use eval::Machine;
use op::Op;
use value::Value;

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
    root: Op,
}

impl Program {
    pub fn compile(expression: &Expression) -> Result<Self, CompileError> {
        Ok(Self { source: expression.source.as_str().into(), root: op::lower(&expression.node)? })
    }

    /// What the user wrote.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The verdict of a `when`, `allow` or `deny`.
    pub fn eval_bool(&self, scope: &Scope<'_>) -> Result<bool, EvalError> {
        Machine { scope, budget: Budget::new() }.test(&self.root, None)
    }

    /// A `key` or the value of a header; borrowed from the request where it can be.
    pub fn eval_string<'a>(&'a self, scope: &Scope<'a>) -> Result<Cow<'a, str>, EvalError> {
        match self.eval(scope)? {
            Value::Text(text) => Ok(text.into_cow()),
            _ => Err(EvalError::Type),
        }
    }

    /// A `cost`.
    pub fn eval_int(&self, scope: &Scope<'_>) -> Result<i64, EvalError> {
        match self.eval(scope)? {
            Value::Int(number) => Ok(number),
            _ => Err(EvalError::Type),
        }
    }

    fn eval<'a>(&'a self, scope: &Scope<'a>) -> Result<Value<'a>, EvalError> {
        Machine { scope, budget: Budget::new() }.eval(&self.root, None)
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Program({:?})", self.source)
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

#[cfg(test)]
mod tests;
