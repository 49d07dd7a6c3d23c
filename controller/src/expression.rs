//! Expressions: from what a user wrote to the tree that the data plane runs.
//!
//! The text is CEL. A library parses it; what follows is ours, since the library neither checks types nor knows our
//! closed environment: names become attributes ([`environment`]), operators and functions are checked against their
//! operands' types ([`check`], [`call`]), and what is constant and may be wrong (patterns, zones, times) is tried now,
//! with the code that the data plane uses. So an expression that compiles fails at run time only for what a request
//! lacks: a missing map entry, a number out of range, a claim of another type.
//!
//! Every expression costs a bounded amount to compile and to run: [`MAX_SOURCE`] bytes, [`MAX_DEPTH`] nodes above one
//! another, [`MAX_NESTED_LOOPS`] comprehensions within one another, and in the data plane a budget of steps.

mod call;
mod check;
mod constant;
mod environment;
mod function;
mod kind;
mod outline;
mod parse;
mod position;
mod signature;

use ravelin_snapshot::expression::{Expression, MAX_DEPTH};

use check::Checker;
use kind::Kind;

#[cfg(doc)]
use ravelin_snapshot::expression::MAX_NESTED_LOOPS;

/// Bytes of an expression; the CRDs say the same.
pub const MAX_SOURCE: usize = 4096;

/// What the place of an expression asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A `when`, `allow` or `deny`.
    Bool,
    /// A `key` or a header's value.
    String,
    /// A `cost` or a `priority`.
    Int,
}

/// Why an expression is refused, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (line {line}, column {column})")]
pub struct ExpressionError {
    /// Bytes before the place.
    pub offset: usize,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub message: String,
    /// What to write instead.
    pub remedy: String,
}

/// Compiles `source` for a place that asks for `expected`. A value below `caller.claims` has a type only at run time; it
/// is accepted anywhere, and an error there if it is of another.
pub fn compile(source: &str, expected: Type) -> Result<Expression, ExpressionError> {
    if source.len() > MAX_SOURCE {
        let message = format!("the expression has {} bytes, {MAX_SOURCE} are allowed", source.len());
        return Err(ExpressionError::at(
            source,
            MAX_SOURCE,
            message,
            "move a part of it to the backend, or split the rule",
        ));
    }
    if source.trim().is_empty() {
        return Err(ExpressionError::at(source, 0, "the expression is empty", "write one, or leave the field out"));
    }
    outline::check(source)?;
    let parsed = parse::parse(source)?;
    let mut checker = Checker::new(source, &parsed.info);
    let typed = checker.check(&parsed.root)?;
    let wanted = expected.kind();
    if typed.kind != wanted && typed.kind != Kind::Dyn {
        let message = format!("expected {wanted}, found {}", typed.kind);
        return Err(ExpressionError::at(source, checker.start(&parsed.root), message, remedy(expected, &typed.kind)));
    }
    if typed.node.depth() > MAX_DEPTH {
        let message = format!("the expression is nested more than {MAX_DEPTH} levels deep");
        return Err(ExpressionError::at(source, 0, message, "split the expression"));
    }
    Ok(Expression { source: source.to_owned(), node: typed.node })
}

impl Type {
    fn kind(self) -> Kind {
        match self {
            Self::Bool => Kind::Bool,
            Self::String => Kind::String,
            Self::Int => Kind::Int,
        }
    }
}

/// How a value of kind `found` becomes what is expected.
fn remedy(expected: Type, found: &Kind) -> &'static str {
    match (expected, found) {
        (Type::Bool, Kind::String) => "compare it, as in request.method == 'GET'",
        (Type::Bool, Kind::List(_)) => "ask for a member, as in 'admin' in caller.groups",
        (Type::Bool, _) => "write a condition, as in request.method == 'GET'",
        (Type::String, Kind::Bool) => "write both texts, as in condition ? 'a' : 'b'",
        (Type::String, Kind::List(_) | Kind::Map(..)) => "name one member of it",
        (Type::String, _) => "convert it with string(...)",
        (Type::Int, Kind::Bool) => "write both numbers, as in condition ? 10 : 1",
        (Type::Int, _) => "convert it with int(...)",
    }
}

#[cfg(test)]
mod tests;
