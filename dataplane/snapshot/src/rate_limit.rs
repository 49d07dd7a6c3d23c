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
    /// A string; absent: one bucket for all. An error is the empty key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Expression>,
    /// A boolean; absent: always. An error is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Expression>,
    /// An integer; absent: 1. A negative cost is 0, an error is 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Expression>,
    pub phase: Phase,
    pub bucket: TokenBucket,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Before authentication: `caller` is anonymous.
    PreAuthentication,
    /// After authorization: `caller` is known.
    Main,
}

/// `burst` at once, refilled evenly: `requests` every `per_ms`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenBucket {
    pub requests: u64,
    pub per_ms: u64,
    pub burst: u64,
}
