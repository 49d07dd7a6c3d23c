//! How much: a RateLimitPolicy, compiled.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{auth::Mode, expression::Expression};

/// Limits that a request has to meet all together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimitPolicy {
    pub mode: Mode,
    /// All must admit, or nothing is taken.
    pub limits: Vec<Limit>,
    /// And those of the caller's plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plans: Option<Plans>,
    /// An integer: the weight of a request that waits; absent, or an error: 1. A negative one is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Expression>,
    /// Counts are in the store that all replicas share, and this is what happens while it is away; absent: each replica counts
    /// by itself. Adaptive and approximate limits are not shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<OnStoreFailure>,
}

/// What becomes of requests whose limits cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OnStoreFailure {
    /// Each replica has its share of the limit.
    Local,
    Allow,
    Deny,
}

/// The plans of a namespace, and which of them is whose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plans {
    /// A string: the name of a plan. An error, or a plan that is not there, is the default.
    pub select: Expression,
    /// Absent: who has no plan has no limits of one. It is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// A string: each value has counts of its own; absent: one for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Expression>,
    pub plans: BTreeMap<String, Plan>,
}

/// What belongs to a class of callers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Plan {
    /// All of the phase `Main`.
    Limits(Vec<Limit>),
    /// It cannot be enforced: who has it is refused.
    Broken,
}

/// One count a key, and what of it a request takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limit {
    pub name: String,
    /// A string; absent: one count for all. An error is the empty key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Expression>,
    /// A boolean; absent: always. An error is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Expression>,
    /// An integer; absent: 1, or as a child's. A negative cost is 0, an error is 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Expression>,
    pub phase: Phase,
    /// What is counted.
    pub count: Count,
    /// Another limit of the list: who takes from this one takes from that one too. There is no cycle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// How long a request may wait for its turn; absent: it is refused at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_delay_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ban: Option<Ban>,
}

/// A key that was refused `after` times within `within_ms` is refused altogether for `for_ms`. None is 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ban {
    pub after: u32,
    pub within_ms: u64,
    pub for_ms: u64,
}

/// When a limit is asked: before it is known who calls, or after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Before authentication: `caller` is anonymous.
    PreAuthentication,
    /// After authorization: `caller` is known.
    Main,
}

/// What a limit counts, and how much of it is too much.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Count {
    TokenBucket(TokenBucket),
    SlidingWindow(SlidingWindow),
    /// So many at once; not 0.
    Concurrency(u32),
    Quota(Quota),
    /// A sliding window that counts approximately, and never too little.
    Approximate {
        window: SlidingWindow,
        sketch: Sketch,
    },
    Adaptive(Adaptive),
}

/// So many at once as the backend's latency allows: from `min` to `max`. None is 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Adaptive {
    /// Until the head of the backend's answer.
    pub target_ms: u64,
    pub min: u32,
    pub max: u32,
}

/// A count-min sketch: rows, and cells of a row. Neither is 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sketch {
    pub width: u32,
    pub depth: u32,
}

impl Sketch {
    /// Slices of time that are kept.
    pub const SLICES: u32 = 9;

    /// Bytes of memory.
    pub fn bytes(&self) -> u64 {
        (u64::from(self.width) * u64::from(self.depth)).saturating_mul(u64::from(Self::SLICES) * 4)
    }
}

/// So many in a period of the calendar; not 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Quota {
    pub requests: u64,
    pub per: Period,
    /// An IANA name.
    pub time_zone: String,
}

/// The term of a quota, by the calendar of its time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Period {
    Hour,
    Day,
    /// From Monday.
    Week,
    Month,
}

/// `burst` at once, refilled evenly: `requests` every `per_ms`. None is 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenBucket {
    pub requests: u32,
    pub per_ms: u64,
    pub burst: u32,
}

/// Never more than `requests` in any window of `per_ms`. Neither is 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SlidingWindow {
    pub requests: u32,
    pub per_ms: u64,
}
