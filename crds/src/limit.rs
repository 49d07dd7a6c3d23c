//! One limit, of a RateLimitPolicy or of a Plan.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bounded::{EntryName, Expression, Percentage, PositiveDuration, TimeZone};
use crate::duration::Duration;
use crate::quantity::Quantity;

/// One limit; exactly one of `rate`, `quota`, `concurrency`, `adaptive`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.rate), has(self.quota), has(self.concurrency), has(self.adaptive)].exists_one(x, x)")
        .message("exactly one of rate, quota, concurrency and adaptive must be set")
)]
#[x_kube(
    validation = Rule::new("has(self.rate) || !(has(self.algorithm) || has(self.approximate))")
        .message("algorithm and approximate go with rate")
)]
#[x_kube(
    validation = Rule::new("!has(self.maxDelay) || has(self.rate) || has(self.concurrency)")
        .message("maxDelay goes with rate or concurrency")
)]
#[x_kube(
    validation = Rule::new("!has(self.rate) || !has(self.rate.burst) || !has(self.algorithm) || self.algorithm == 'TokenBucket'")
        .message("burst goes with the algorithm TokenBucket")
)]
pub struct Limit {
    /// Name of the limit, unique in the policy: in the RateLimit headers, in refusals and in metrics.
    #[schemars(with = "EntryName")]
    pub name: String,
    /// How a rate is counted: TokenBucket (default), or SlidingWindow (never more than `requests` in any window of `per`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<LimitAlgorithm>,
    /// CEL expression to a string; each value has a bucket of its own, such as caller.id. Default: one bucket for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Expression>")]
    pub key: Option<String>,
    /// CEL expression; the limit is for requests for which it is true. Default: for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Expression>")]
    pub when: Option<String>,
    /// So many requests in so much time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// CEL expression to an integer: what a request takes from the limit; a negative one is 0. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Expression>")]
    pub cost: Option<String>,
    /// When it is counted: Main (default), where `caller` is known, or PreAuthentication.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<LimitPhase>,
    /// Name of another limit of this policy. A request takes from both, or from neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<EntryName>")]
    pub parent: Option<String>,
    /// So many requests in an hour, a day, a week or a month of the calendar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// So many requests at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub concurrency: Option<u32>,
    /// So many requests at once as the backend's latency allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<Adaptive>,
    /// How long a request may wait for its turn, in a bounded queue, such as 200ms. Default: it is refused at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delay: Option<Duration>,
    /// Refuses everything of a key for a while once it was refused too often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ban: Option<Ban>,
    /// Counts very many keys in little memory, with a small error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approximate: Option<Approximate>,
}

/// How a rate is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum LimitAlgorithm {
    #[default]
    TokenBucket,
    SlidingWindow,
}

/// When a limit is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum LimitPhase {
    PreAuthentication,
    #[default]
    Main,
}

/// So many requests in so much time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// Requests in the time of `per`.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub requests: u32,
    /// The time, such as 1s, 1m or 1h; more than 0s.
    #[schemars(with = "PositiveDuration")]
    pub per: Duration,
    /// Requests at once, for the algorithm TokenBucket. Default: as many as requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub burst: Option<u32>,
}

impl Rate {
    /// How many pass at once; `requests` unless said otherwise.
    pub fn burst(&self) -> u32 {
        self.burst.unwrap_or(self.requests)
    }
}

/// So many requests in a period of the calendar.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quota {
    /// Requests in the period.
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_i64))]
    pub requests: u64,
    /// The period: Hour, Day, Week (from Monday) or Month.
    pub per: CalendarPeriod,
    /// Time zone in which periods begin, such as Europe/Paris. Default: UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<TimeZone>")]
    pub time_zone: Option<String>,
}

/// A period of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum CalendarPeriod {
    Hour,
    Day,
    Week,
    Month,
}

/// A bound on requests at once that follows the backend's latency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.min) || !has(self.max) || self.min <= self.max").message("min must not be greater than max")
)]
pub struct Adaptive {
    /// Latency that is aimed at, such as 200ms.
    #[schemars(with = "PositiveDuration")]
    pub target: Duration,
    /// Requests at once that always pass. Default: 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub min: Option<u32>,
    /// Requests at once that never are exceeded. Default: 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub max: Option<u32>,
}

/// When a key is refused altogether, and for how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ban {
    /// Refusals after which the ban begins.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub after: u32,
    /// Time in which they are counted, such as 1m.
    #[schemars(with = "PositiveDuration")]
    pub within: Duration,
    /// How long the ban lasts, such as 10m. Refusals during it do not prolong it.
    #[serde(rename = "for")]
    #[schemars(with = "PositiveDuration")]
    pub duration: Duration,
}

/// How very many keys are counted in little memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approximate {
    /// Memory that is used, such as 4Mi. Default: what error and confidence need.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
    /// Largest error, as a part of all requests, such as 0.1%. Default: 0.1%.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Percentage>")]
    pub error: Option<String>,
    /// How sure it is that the error is not larger, such as 99.9%. Default: 99.9%.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Percentage>")]
    pub confidence: Option<String>,
}
