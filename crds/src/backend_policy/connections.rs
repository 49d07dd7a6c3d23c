//! Bounds on what one backend is asked for: connections, breaker, retry budget.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bounded::PositiveDuration;
use crate::duration::Duration;

/// Bounds of connections, per endpoint and replica of the gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connections {
    /// Connections at once, per endpoint and replica. Default: 1024.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max: Option<u32>,
    /// Requests at once, per endpoint and replica. Default: 1024.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_requests: Option<u32>,
    /// Requests that may wait when max or maxRequests is reached; others are refused at once. Default: 1024.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max_pending: Option<u32>,
    /// How long a request may wait so, such as 1s. Default: 1s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_timeout: Option<Duration>,
    /// How long connecting may take, TLS included, such as 1s. Default: 1s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PositiveDuration>")]
    pub connect_timeout: Option<Duration>,
    /// How long an idle connection is kept, such as 60s. Default: 60s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PositiveDuration>")]
    pub idle_timeout: Option<Duration>,
}

/// When a backend is not called for a while, counted per replica. Either condition opens the breaker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.failurePercent) || has(self.consecutiveFailures)")
        .message("failurePercent or consecutiveFailures must say what opens the breaker")
)]
pub struct CircuitBreaker {
    /// Time over which failures are counted, such as 10s. Default: 10s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PositiveDuration>")]
    pub window: Option<Duration>,
    /// Requests in the window below which failurePercent is not judged. Default: 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub min_requests: Option<u32>,
    /// Failures in a hundred requests that open the breaker, from 1 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub failure_percent: Option<u8>,
    /// Failures in a row that open the breaker.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub consecutive_failures: Option<u32>,
    /// How long the backend is then left alone, such as 10s. Default: 10s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PositiveDuration>")]
    pub open_for: Option<Duration>,
    /// Requests at once that may then try it. Default: 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub half_open_requests: Option<u32>,
    /// Successes among them that close the breaker. Default: 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub success_threshold: Option<u32>,
}

/// The version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ProxyProtocol {
    V2,
}

/// How many requests in all are sent again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetryBudget {
    /// Retries in a hundred requests, from 0 to 100. Default: 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: Option<u8>,
    /// Retries a second that are always allowed. Default: 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub min_per_second: Option<u32>,
}
