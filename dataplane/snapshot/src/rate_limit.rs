//! How much: a RateLimitPolicy, compiled.

use serde::{Deserialize, Serialize};

use crate::{auth::Mode, expression::Expression};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimitPolicy {
    pub mode: Mode,
    /// All must admit, or nothing is taken.
    pub limits: Vec<Limit>,
}

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
    /// Where among the limits of the list its parent is: who takes from this one takes from that one too. There is no cycle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<usize>,
}

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
