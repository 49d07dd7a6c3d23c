//! Which policy binds where, and who wins.

use ravelin_snapshot::ObjectKey;

/// When an object was made (seconds; absent is last) and what it is called: the least is the most senior.
pub(super) type Seniority = (i64, ObjectKey);

/// What an AuthPolicy or a RateLimitPolicy is attached to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Target {
    Namespace(String),
    Route(ObjectKey),
    Rule(ObjectKey, String),
}
