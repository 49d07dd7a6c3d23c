//! Expressions and regular expressions: compiled here first with the data plane's own limits.

use ravelin_snapshot::{
    expression::{Expression, Node},
    regex,
};

use super::notes::{Field, Notes};
pub(super) use crate::expression::Type;

/// An expression of that type; `None` and a note if it is none.
pub(super) fn expression(source: &str, expected: Type, field: Field<'_>, notes: &mut Notes) -> Option<Expression> {
    match crate::expression::compile(source, expected) {
        Ok(expression) => Some(expression),
        Err(error) => {
            notes.invalid(field, error.to_string(), sentence(&error.remedy));
            None
        }
    }
}

/// The `when` of a match. One that has no meaning is noted, and always true: the rule is broken and keeps its place.
pub(super) fn condition(source: &str, field: Field<'_>, notes: &mut Notes) -> Expression {
    expression(source, Type::Bool, field, notes)
        .unwrap_or_else(|| Expression { source: "true".to_owned(), node: Node::Bool(true) })
}

/// As remedies are written here.
pub(super) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let end = if text.is_empty() || text.ends_with(['.', '?', '!']) { "" } else { "." };
    format!("{first}{}{end}", chars.as_str())
}

/// Whether `pattern` compiles within the data plane's bounds; a note if not.
pub(super) fn is_regex(pattern: &str, field: Field<'_>, notes: &mut Notes) -> bool {
    match regex::build(pattern, true) {
        Ok(_) => true,
        Err(error) => {
            let remedy = "Write it in RE2's syntax, without look-around and back references, or make it smaller.";
            notes.invalid(field, format!("{}: {error}", shown(pattern)), remedy);
            false
        }
    }
}

/// What a user wrote, for a message: quoted, and cut where it is long.
pub(super) fn shown(text: &str) -> String {
    let start: String = text.chars().take(64).collect();
    if start.len() == text.len() { format!("{start:?}") } else { format!("{start:?}...") }
}
