//! Backends: where requests go, and how each is treated.

use std::{fmt, net::SocketAddr};

use serde::{Deserialize, Serialize};

/// A backend's name: one port of a Service, or a Backend object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendKey {
    pub kind: BackendKind,
    pub namespace: String,
    pub name: String,
    /// The Service's port (not the pod's); 0 for a Backend.
    pub port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum BackendKind {
    Service,
    Backend,
}

impl fmt::Display for BackendKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            BackendKind::Service => write!(f, "Service/{}/{}:{}", self.namespace, self.name, self.port),
            BackendKind::Backend => write!(f, "Backend/{}/{}", self.namespace, self.name),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backend {
    pub protocol: Protocol,
    pub algorithm: Algorithm,
    pub connections: Connections,
    /// Sorted; those that are ready. Empty is 503 `no_endpoints`.
    pub endpoints: Vec<Endpoint>,
}

/// From `appProtocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Protocol {
    Http1,
    /// HTTP/2 with prior knowledge.
    H2c,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Algorithm {
    RoundRobin,
    /// The better of two by requests in flight.
    LeastRequest,
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

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Endpoint {
    pub address: Address,
    /// Relative share among the endpoints of one backend; at least 1.
    pub weight: u32,
}

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
