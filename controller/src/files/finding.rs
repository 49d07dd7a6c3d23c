//! What is said about a file.

use crate::{
    files::yaml::Place,
    object::ObjectRef,
    verdict::{Finding, Reason, Severity},
};

/// A finding with its place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFinding {
    /// As the folder or the file was named; `-` is the standard input.
    pub file: String,
    /// Lines and columns count from 1; 0 is the file as a whole.
    pub place: Place,
    /// Absent where it cannot be said whose it is.
    pub object: Option<ObjectRef>,
    pub finding: Finding,
}

impl FileFinding {
    pub(super) fn new(file: &str, place: Place, object: Option<ObjectRef>, finding: Finding) -> Self {
        Self { file: file.to_owned(), place, object, finding }
    }

    /// About a file that cannot be read; what it last said stays.
    pub(super) fn unreadable(file: &str, message: impl Into<String>, remedy: &str) -> Self {
        let place = Place::default();
        Self::new(file, place, None, error(Reason::Unreadable, String::new(), message, remedy))
    }
}

pub(super) fn error(reason: Reason, field: String, message: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { severity: Severity::Error, field, reason, message: message.into(), remedy: remedy.into() }
}
