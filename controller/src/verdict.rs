//! What is said about an object: data first, words for people from it. Conditions, `check` and `/objects` print the same, but
//! for `Programmed`, which is no verdict: statuses have it from all replicas, `/objects` from its own data plane.

use std::borrow::Cow;

use serde::Serialize;

/// What became of one object. Equal inputs give equal verdicts on every replica, so nothing here speaks of the time at which it
/// was judged; what ends, such as a certificate, is said once it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The generation that was judged.
    pub generation: i64,
    pub accepted: State,
    pub resolved_refs: State,
    /// What could not be read, then the rest in the order of fields. Errors first show in `accepted` or `resolved_refs`; warnings are only here.
    pub findings: Vec<Finding>,
}

/// The status, reason and message of a condition that the compiler decides. `Programmed` is decided by who serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    pub status: bool,
    pub reason: Reason,
    /// For people: the field and the remedy.
    pub message: Cow<'static, str>,
}

/// Something to know about an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    pub severity: Severity,
    /// As `spec.rules[2].backendRefs[0].name`; empty is the object.
    pub field: String,
    pub reason: Reason,
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
}

/// Stable words: the `reason` of conditions and findings. Gateway API's where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Reason {
    /// `Accepted: True`.
    Accepted,
    /// `ResolvedRefs: True`.
    ResolvedRefs,
    /// A value has no meaning: an expression, a regular expression, a range, an unknown field.
    Invalid,
    /// A field has a meaning that this version does not implement.
    Unsupported,
    /// The installed CRDs are older than the program: the object may say less than its user did.
    SchemaOutdated,
    /// Another, older object has this place.
    Conflicted,
    /// What a policy is for is not there.
    TargetNotFound,
    /// The hostname belongs to another namespace.
    HostnameOwned,
    /// No Gateway of ours is there (`parentRefs`).
    NoMatchingParent,
    BackendNotFound,
    /// A Secret or ConfigMap is missing, or a key of it, or what it holds is not what is needed.
    ReferenceNotFound,
    InvalidReference,
    /// Another namespace's object, without a ReferenceGrant.
    RefNotPermitted,
    InvalidKind,
    UnsupportedProtocol,
    /// A rule that no request can reach: another one takes all of its requests.
    Shadowed,
    /// It works, and is likely not what was meant.
    Suspicious,
    /// A file that could not be read as YAML or JSON; what it last said stays.
    Unreadable,
}
