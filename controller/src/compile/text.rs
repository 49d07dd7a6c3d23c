//! Expressions and regular expressions: compiled here first with the data plane's own limits.

use ravelin_snapshot::expression::Expression;

use super::notes::{Field, Notes};
use crate::verdict::Reason;

/// An expression's source, at most.
const MAX_EXPRESSION: usize = 4096;

/// A boolean expression; `None` and a note if it is none.
pub(super) fn condition(source: &str, field: Field<'_>, notes: &mut Notes) -> Option<Expression> {
    if source.len() > MAX_EXPRESSION {
        let message = format!("the expression is longer than {MAX_EXPRESSION} bytes");
        notes.invalid(field, message, "Shorten it.");
        return None;
    }
    notes.error(field, Reason::Unsupported, "expressions are not implemented yet", "Leave it out.");
    None
}

/// Whether `pattern` compiles within bounds; a note if not.
pub(super) fn is_regex(pattern: &str, field: Field<'_>, notes: &mut Notes) -> bool {
    let message = format!("regular expressions are not implemented yet: {}", shown(pattern));
    notes.error(field, Reason::Unsupported, message, "Leave it out.");
    false
}

/// What a user wrote, for a message: quoted, and cut where it is long.
pub(super) fn shown(text: &str) -> String {
    let start: String = text.chars().take(64).collect();
    if start.len() == text.len() { format!("{start:?}") } else { format!("{start:?}...") }
}
