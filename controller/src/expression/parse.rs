//! The parser: CEL's grammar is a library's work; its errors become ours.

use std::thread;

use cel::common::ast::SourceInfo;
use cel::{Env, IdedExpr, ParseErrors};

use super::{ExpressionError, position::offset_of};

pub(super) struct Parsed {
    pub(super) root: IdedExpr,
    /// Where each node is.
    pub(super) info: SourceInfo,
}

/// Enough for the deepest expression that [`super::outline`] lets through, in a build without optimisation.
const STACK: usize = 16 << 20;

/// Parses `source`, without expanding macros: `all`, `map` and their kin stay the calls that they are written as.
///
/// On a thread of its own, for its stack, and because a panic of the parser is to cost this expression and no more.
pub(super) fn parse(source: &str) -> Result<Parsed, ExpressionError> {
    let run = || Env::default().with_optional_support(false).parser().parse_with_source_info(source);
    let outcome = thread::scope(|scope| {
        let parser = thread::Builder::new().name("expression".into()).stack_size(STACK);
        parser.spawn_scoped(scope, run).map(thread::ScopedJoinHandle::join)
    });
    match outcome {
        Ok(Ok(Ok((root, info)))) => Ok(Parsed { root, info }),
        Ok(Ok(Err(errors))) => Err(first(source, &errors)),
        Ok(Err(_)) => Err(syntax(source, 0, "the expression cannot be read")),
        Err(error) => Err(syntax(source, 0, &format!("the expression cannot be read now: {error}"))),
    }
}

/// Of several errors the first; what follows is mostly its consequence.
fn first(source: &str, errors: &ParseErrors) -> ExpressionError {
    let Some(error) = errors.errors.first() else { return syntax(source, 0, "the expression cannot be read") };
    let (line, column) = (usize::try_from(error.pos.0).unwrap_or(0), usize::try_from(error.pos.1).unwrap_or(0));
    if line == 0 || column == 0 {
        return syntax(source, 0, "the expression cannot be read");
    }
    syntax(source, offset_of(source, line, column), &readable(&error.msg))
}

fn syntax(source: &str, offset: usize, message: &str) -> ExpressionError {
    let remedy = match source.as_bytes().get(offset) {
        Some(b'=') => "write == to compare",
        Some(b'&') => "write && for and",
        Some(b'|') => "write || for or",
        _ => "write a CEL expression, as in request.method == 'GET'",
    };
    ExpressionError::at(source, offset, message, remedy)
}

/// The generated parser lists every token that it would take; nobody wants to read two dozen.
fn readable(message: &str) -> String {
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let message = message
        .split(" expecting ")
        .next()
        .unwrap_or(message)
        .replace("'<EOF>'", "the end")
        .replace("<EOF>", "the end");
    let unexpected = ["mismatched input ", "extraneous input ", "no viable alternative at input "];
    if let Some(text) = message.strip_prefix("token recognition error at: '").and_then(|text| text.strip_suffix('\'')) {
        return format!("syntax error: {} is not expected here", text.trim());
    }
    match unexpected.iter().find_map(|start| message.strip_prefix(start)) {
        Some(found) => format!("syntax error: {found} is not expected here"),
        None => format!("syntax error: {message}"),
    }
}
