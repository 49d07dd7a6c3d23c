//! What is found out about one object while it is compiled.

use std::{borrow::Cow, fmt};

use super::text;
use crate::{
    object::Fault,
    verdict::{Finding, Reason, Severity, State, Verdict},
};

/// A place in an object, as `spec.rules[2].backendRefs[0].name`. It costs nothing until it is printed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field<'a> {
    Root(&'a str),
    Member(&'a Field<'a>, &'a str),
    Item(&'a Field<'a>, usize),
}

impl<'a> Field<'a> {
    pub(super) const SPEC: Field<'static> = Field::Root("spec");

    pub(super) fn member(&'a self, name: &'a str) -> Field<'a> {
        Field::Member(self, name)
    }

    pub(super) fn item(&'a self, index: usize) -> Field<'a> {
        Field::Item(self, index)
    }
}

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(name) => f.write_str(name),
            Self::Member(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Findings: what could not be read, then the rest in the order of fields. And how many of them break what they are in.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Notes {
    findings: Vec<Finding>,
    breaks: usize,
}

impl Notes {
    /// Notes of the faults, each of which breaks what it is in.
    pub(super) fn of_faults(faults: &[Fault]) -> Self {
        let mut notes = Self::default();
        for Fault { field, message, remedy } in faults {
            notes.error(field, Reason::Invalid, message, text::sentence(remedy));
        }
        notes
    }

    /// Errors of references concern the reference alone; all others break the rule or the object that they are in.
    pub(super) fn error(
        &mut self,
        field: impl fmt::Display,
        reason: Reason,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        if !is_of_reference(reason) {
            self.breaks += 1;
        }
        self.push(Severity::Error, field, reason, message, remedy);
    }

    pub(super) fn warning(
        &mut self,
        field: impl fmt::Display,
        reason: Reason,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.push(Severity::Warning, field, reason, message, remedy);
    }

    /// A value that has no meaning.
    pub(super) fn invalid(&mut self, field: impl fmt::Display, message: impl Into<String>, remedy: impl Into<String>) {
        self.error(field, Reason::Invalid, message, remedy);
    }

    /// Refuses a list that is longer than it may be. `what`: its entries.
    pub(super) fn at_most(
        &mut self,
        (count, most): (usize, usize),
        what: &str,
        field: impl fmt::Display,
        remedy: &str,
    ) {
        if count > most {
            self.invalid(field, format!("{count} {what} are more than {most}"), remedy);
        }
    }

    /// Refuses a field that is set and that this version does not implement.
    pub(super) fn unsupported<T>(&mut self, field: Field<'_>, set: Option<&T>) {
        if set.is_some() {
            self.error(field, Reason::Unsupported, "this field is not implemented yet", "Leave it out.");
        }
    }

    /// How much is broken so far; a part is broken if it is more behind the part than before it.
    pub(super) fn breaks(&self) -> usize {
        self.breaks
    }

    /// How many errors there are so far, those of references among them.
    pub(super) fn errors(&self) -> usize {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error).count()
    }

    /// Puts what `other` says behind what is said here.
    pub(super) fn append(&mut self, other: &Self) {
        self.findings.extend(other.findings.iter().cloned());
        self.breaks += other.breaks;
    }

    /// The first error of each sort is what its condition says.
    pub(super) fn verdict(self, generation: i64) -> Verdict {
        let state = |of_reference: bool, good: Reason, message: Cow<'static, str>| {
            let errors = || {
                let errors = self.findings.iter().filter(|finding| finding.severity == Severity::Error);
                errors.filter(|finding| is_of_reference(finding.reason) == of_reference)
            };
            match errors().next() {
                None => State { status: true, reason: good, message },
                Some(first) => {
                    State { status: false, reason: first.reason, message: explain(first, errors().count() - 1).into() }
                }
            }
        };
        let warnings = || self.findings.iter().filter(|finding| finding.severity == Severity::Warning);
        let good = match warnings().next() {
            None => "The object is valid.".into(),
            Some(first) => format!("The object is valid, but: {}", explain(first, warnings().count() - 1)).into(),
        };
        let accepted = state(false, Reason::Accepted, good);
        let resolved_refs = state(true, Reason::ResolvedRefs, "What the object refers to is there.".into());
        Verdict { generation, accepted, resolved_refs, findings: self.findings }
    }

    fn push(
        &mut self,
        severity: Severity,
        field: impl fmt::Display,
        reason: Reason,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let field = field.to_string();
        self.findings.push(Finding { severity, field, reason, message: message.into(), remedy: remedy.into() });
    }
}

/// Whether a reason belongs to `ResolvedRefs` rather than to `Accepted`.
fn is_of_reference(reason: Reason) -> bool {
    match reason {
        Reason::BackendNotFound
        | Reason::ReferenceNotFound
        | Reason::InvalidReference
        | Reason::RefNotPermitted
        | Reason::InvalidKind
        | Reason::UnsupportedProtocol => true,
        Reason::Accepted
        | Reason::ResolvedRefs
        | Reason::Invalid
        | Reason::Unsupported
        | Reason::SchemaOutdated
        | Reason::Conflicted
        | Reason::TargetNotFound
        | Reason::HostnameOwned
        | Reason::NoMatchingParent
        | Reason::Shadowed
        | Reason::Suspicious
        | Reason::Unreadable => false,
    }
}

fn explain(Finding { field, message, remedy, .. }: &Finding, others: usize) -> String {
    let place = if field.is_empty() { String::new() } else { format!("{field}: ") };
    let more = if others == 0 { String::new() } else { format!(" ({others} more)") };
    format!("{place}{message}. {remedy}{more}").trim_end().to_owned()
}

/// Whether a fault lies in `field`, or `field` in what could not be read.
pub(super) fn touches(faults: &[Fault], field: Field<'_>) -> bool {
    if faults.is_empty() {
        return false;
    }
    let field = field.to_string();
    faults.iter().any(|fault| is_within(&fault.field, &field) || is_within(&field, &fault.field))
}

fn is_within(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || outer.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_touches_what_it_is_in_and_what_is_in_it_and_no_neighbour() {
        let fault = |field: &str| [Fault { field: field.to_owned(), message: String::new(), remedy: String::new() }];
        let rules = Field::SPEC.member("rules");
        let rule = rules.item(1);
        for (field, touched) in [
            ("spec.rules[1].timeouts.request", true),
            ("spec.rules[1]", true),
            ("spec.rules", true),
            ("spec", true),
            ("", true),
            ("spec.rules[10]", false),
            ("spec.rules[0]", false),
            ("spec.rulesX", false),
        ] {
            assert_eq!(touches(&fault(field), rule), touched, "{field}");
        }
    }
}
