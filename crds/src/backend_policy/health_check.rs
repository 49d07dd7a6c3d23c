//! How endpoints that are ill are found and left out.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bounded::{AbsolutePath, BodyText, GrpcService, PositiveDuration};
use crate::duration::Duration;

/// How endpoints that are ill are found and left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// Asks each endpoint now and then. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<ActiveHealthCheck>,
    /// Learns from the answers to requests. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passive: Option<PassiveHealthCheck>,
    /// When fewer than this many of a hundred endpoints are healthy, all are used, from 0 (never) to 100. Default: 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub panic_threshold: Option<u8>,
}

/// Questions to each endpoint; exactly one of `http`, `tcp`, `grpc`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.http), has(self.tcp), has(self.grpc)].exists_one(x, x)")
        .message("exactly one of http, tcp and grpc must be set")
)]
pub struct ActiveHealthCheck {
    /// Time between two questions, such as 5s. Default: 5s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PositiveDuration>")]
    pub interval: Option<Duration>,
    /// How long an answer may take, such as 1s. Default: 1s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PositiveDuration>")]
    pub timeout: Option<Duration>,
    /// Failures in a row after which an endpoint is left out. Default: 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub unhealthy_threshold: Option<u32>,
    /// Successes in a row after which it is used again. Default: 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub healthy_threshold: Option<u32>,
    /// Sends a GET request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpProbe>,
    /// Opens a connection: {}.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpProbe>,
    /// Calls grpc.health.v1.Health/Check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcProbe>,
}

/// A GET request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpProbe {
    /// Path that is asked for, such as /healthz.
    #[schemars(with = "AbsolutePath")]
    pub path: String,
    /// Status codes that are healthy. Default: 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(range(min = 100, max = 599)))]
    pub statuses: Option<Vec<u16>>,
    /// Text that the body must hold. Default: any body will do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<BodyText>")]
    pub body_contains: Option<String>,
}

/// A connection that is opened and closed; there is nothing to say about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TcpProbe {}

/// A call of gRPC's health service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrpcProbe {
    /// Service that is asked about, such as shop.Orders. Default: the server as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<GrpcService>")]
    pub service: Option<String>,
}

/// What is learnt from the answers to requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PassiveHealthCheck {
    /// Failures in a row (no connection, a reset, a time-out, a 5xx) after which an endpoint is left out. Default: 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub consecutive_errors: Option<u32>,
    /// For how long, such as 30s; longer each time. Default: 30s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PositiveDuration>")]
    pub eject_for: Option<Duration>,
    /// How many of a hundred endpoints may be left out so, from 0 to 100. Default: 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub max_ejected_percent: Option<u8>,
}
