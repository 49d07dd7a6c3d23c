//! Backends: where requests go, and how each is treated.

mod tls;

use std::{fmt, net::SocketAddr};

use serde::{Deserialize, Serialize};

use crate::ObjectKey;
pub use tls::{AltName, ClientCertificate, Tls};

/// A backend's name: one port of a Service, or a Backend object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Form", into = "Form")]
pub struct BackendKey {
    pub kind: BackendKind,
    pub object: ObjectKey,
    /// The Service's port (not the pod's); 0 for a Backend.
    pub port: u16,
}

/// How a key is written.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Form {
    kind: BackendKind,
    namespace: String,
    name: String,
    port: u16,
}

impl From<Form> for BackendKey {
    fn from(Form { kind, namespace, name, port }: Form) -> Self {
        Self { kind, object: ObjectKey::new(namespace, name), port }
    }
}

impl From<BackendKey> for Form {
    fn from(BackendKey { kind, object, port }: BackendKey) -> Self {
        Self { kind, namespace: object.namespace.clone(), name: object.name.clone(), port }
    }
}

/// What a backend was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum BackendKind {
    Service,
    Backend,
}

impl fmt::Display for BackendKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            BackendKind::Service => write!(f, "Service/{}:{}", self.object, self.port),
            BackendKind::Backend => write!(f, "Backend/{}", self.object),
        }
    }
}

/// Endpoints, and how they are treated: what a Service or a Backend and its BackendPolicy came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backend {
    pub protocol: Protocol,
    /// Absent: connections are plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Box<Tls>>,
    /// A connection begins with a PROXY header (version 2) and serves one request, of the client that it names. Never with
    /// [`Protocol::H2c`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proxy_protocol: bool,
    #[serde(default, skip_serializing_if = "Balancing::is_default")]
    pub balancing: Balancing,
    pub connections: Connections,
    #[serde(default, skip_serializing_if = "RetryBudget::is_default")]
    pub retry_budget: RetryBudget,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<Breaker>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Sorted; those that are ready. Empty is 503 `no_endpoints`.
    pub endpoints: Vec<Endpoint>,
}

impl Backend {
    /// With no policy: all defaults.
    pub fn plain(protocol: Protocol, endpoints: Vec<Endpoint>) -> Self {
        Self {
            protocol,
            tls: None,
            proxy_protocol: false,
            balancing: Balancing::default(),
            connections: Connections::default(),
            retry_budget: RetryBudget::default(),
            breaker: None,
            health: None,
            endpoints,
        }
    }
}

/// From `appProtocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Protocol {
    Http1,
    /// HTTP/2 with prior knowledge; over TLS, HTTP/2 alone.
    H2c,
    /// Over TLS: HTTP/2 or HTTP/1.1, as the backend chooses.
    Negotiated,
}

/// How requests are spread over the endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Balancing {
    #[serde(default)]
    pub algorithm: Algorithm,
    /// How long the share of a new endpoint grows; not for a consistent hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start_ms: Option<u64>,
}

impl Balancing {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Which endpoint is next, of those that have a share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Algorithm {
    #[default]
    RoundRobin,
    /// The better of two by requests in flight.
    LeastRequest,
    Random,
    /// The better of two by the time of their answers, in which peaks count at once, and by requests in flight.
    PeakEwma,
    /// Shares that follow the rates at which endpoints answer: none is without.
    ServiceRate,
    /// The same key goes to the same endpoint.
    ConsistentHash(HashOn),
}

/// What is hashed. A request that has none goes anywhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HashOn {
    /// In lower case.
    Header(String),
    /// Set by the gateway when a request has none; without `ttl_ms` for the browser's session.
    #[serde(rename_all = "camelCase")]
    Cookie {
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ttl_ms: Option<u64>,
    },
    QueryParam(String),
    SourceAddress,
}

/// How many requests in all are sent again, per replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RetryBudget {
    /// Of the requests of the last seconds.
    pub percent: u8,
    /// Allowed always.
    pub min_per_second: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { percent: 20, min_per_second: 3 }
    }
}

impl RetryBudget {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// When a backend is left alone, counted per replica. Either condition opens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Breaker {
    /// Time over which `failure_percent` is judged.
    pub window_ms: u64,
    /// Below so many requests in the window it is not judged.
    pub min_requests: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_percent: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consecutive_failures: Option<u32>,
    pub open_for_ms: u64,
    /// Requests at once that may try it afterwards.
    pub half_open_requests: u32,
    /// Successes of those that close it.
    pub success_threshold: u32,
}

/// How endpoints that are ill are found and left out, per replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Health {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<ActiveCheck>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passive: Option<Passive>,
    /// Below this percentage of healthy endpoints all are used; 0 is never.
    pub panic_percent: u8,
}

/// Questions to each endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActiveCheck {
    pub interval_ms: u64,
    pub timeout_ms: u64,
    /// Failures in a row that make it ill.
    pub unhealthy_threshold: u32,
    /// Successes in a row that make it well.
    pub healthy_threshold: u32,
    pub probe: Probe,
}

/// What is asked of an endpoint to know how it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Probe {
    /// A GET request. `statuses` are sorted and never empty.
    #[serde(rename_all = "camelCase")]
    Http {
        path: String,
        statuses: Vec<u16>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body_contains: Option<String>,
    },
    /// A connection that is opened and closed.
    Tcp,
    /// grpc.health.v1.Health/Check; the empty service is the server as a whole.
    Grpc { service: String },
}

/// What is learnt from the answers to requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Passive {
    /// Failures in a row that eject an endpoint.
    pub consecutive_errors: u32,
    /// The first time; longer each time.
    pub eject_for_ms: u64,
    /// Of the endpoints, at once.
    pub max_ejected_percent: u8,
}

/// Per endpoint and replica; milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connections {
    pub max: u32,
    pub max_requests: u32,
    /// Requests that may wait for a place; the next is 503 `overloaded`.
    pub max_pending: u32,
    pub pending_timeout_ms: u64,
    pub connect_timeout_ms: u64,
    pub idle_timeout_ms: u64,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            max: 1024,
            max_requests: 1024,
            max_pending: 1024,
            pending_timeout_ms: 1_000,
            connect_timeout_ms: 1_000,
            idle_timeout_ms: 60_000,
        }
    }
}

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Endpoint {
    pub address: Address,
    /// Relative share among the endpoints of one backend; at least 1.
    pub weight: u32,
}

/// An address, or a name whose addresses are all endpoints.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Address {
    Ip(SocketAddr),
    /// A DNS name, resolved by the data plane; the last good answer is kept while the resolver fails.
    Dns {
        name: String,
        port: u16,
    },
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "{address}"),
            Self::Dns { name, port } => write!(f, "{name}:{port}"),
        }
    }
}
