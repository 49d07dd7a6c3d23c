//! How requests are spread over the endpoints of a backend.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;
use crate::bounded::{CookieName, HeaderName, PositiveDuration, QueryParamName};

/// How requests are spread over the endpoints of a backend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.consistentHash) == (has(self.algorithm) && self.algorithm == 'ConsistentHash')")
        .message("consistentHash is needed for the algorithm ConsistentHash and for no other")
)]
pub struct LoadBalancing {
    /// Which endpoint is next: RoundRobin (default), LeastRequest, Random, PeakEwma, ServiceRate or ConsistentHash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<BalancingAlgorithm>,
    /// What keeps a caller on one endpoint; for the algorithm ConsistentHash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consistent_hash: Option<ConsistentHash>,
    /// How long a new endpoint is given a growing share. Default: it gets its whole share at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<Duration>,
}

/// Which endpoint is next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum BalancingAlgorithm {
    #[default]
    RoundRobin,
    LeastRequest,
    Random,
    PeakEwma,
    ServiceRate,
    ConsistentHash,
}

/// What is hashed; exactly one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.header), has(self.cookie), has(self.queryParam), has(self.sourceAddress)].exists_one(x, x)")
        .message("exactly one of header, cookie, queryParam and sourceAddress must be set")
)]
pub struct ConsistentHash {
    /// Name of a request header.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<HeaderName>")]
    pub header: Option<String>,
    /// A cookie, which the gateway sets when a request has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie: Option<ConsistentHashCookie>,
    /// Name of a query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<QueryParamName>")]
    pub query_param: Option<String>,
    /// The client's address: {}.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_address: Option<SourceAddress>,
}

/// A cookie that keeps a caller on one endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsistentHashCookie {
    /// Name of the cookie.
    #[schemars(with = "CookieName")]
    pub name: String,
    /// How long the cookie lives. Default: as long as the browser's session.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PositiveDuration>")]
    pub ttl: Option<Duration>,
}

/// The client's address is hashed; there is nothing to say about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceAddress {}
