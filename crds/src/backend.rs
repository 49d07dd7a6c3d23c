//! Backend: endpoints that are not a Service.

use std::str::FromStr;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bounded::Address;
use crate::status::ObjectStatus;

/// Where the endpoints are and how they are spoken to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "ravelin.dev",
    version = "v1alpha1",
    kind = "Backend",
    namespaced,
    doc = "Endpoints that are not a Service: addresses or DNS names, inside or outside the cluster.",
    status = "ObjectStatus",
    derive = "PartialEq",
    category = "ravelin",
    printcolumn(
        name = "Endpoint",
        type_ = "string",
        json_path = ".spec.endpoints[*].address",
        description = "Where it is; of several endpoints the first"
    ),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Programmed\")].status",
        description = "Whether every ready replica has it"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct BackendSpec {
    /// The endpoints; at most 256.
    #[schemars(length(min = 1, max = 256), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["address", "port"]))]
    pub endpoints: Vec<BackendEndpoint>,
    /// What the endpoints speak: http (default), https (HTTP/2 or HTTP/1.1), kubernetes.io/h2c, kubernetes.io/ws or
    /// kubernetes.io/wss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<AppProtocol>,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendEndpoint {
    /// IP address or DNS name. A name stands for all addresses that it resolves to.
    #[schemars(with = "Address")]
    pub address: String,
    /// Port, from 1 to 65535.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Share of the requests, in proportion to the sum of all weights; 0 is none. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub weight: Option<u32>,
}

impl BackendEndpoint {
    pub fn weight(&self) -> u32 {
        self.weight.unwrap_or(1)
    }
}

/// What a backend speaks; on the port of a Service the same (KEP-3726).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum AppProtocol {
    #[default]
    #[serde(rename = "http")]
    Http,
    #[serde(rename = "https")]
    Https,
    #[serde(rename = "kubernetes.io/h2c")]
    H2c,
    #[serde(rename = "kubernetes.io/ws")]
    WebSocket,
    #[serde(rename = "kubernetes.io/wss")]
    WebSocketTls,
}

/// A Service's `appProtocol` that names nothing that we speak.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no appProtocol of ours: use http, https, kubernetes.io/h2c, kubernetes.io/ws or kubernetes.io/wss")]
pub struct UnknownAppProtocol(pub String);

impl FromStr for AppProtocol {
    type Err = UnknownAppProtocol;

    fn from_str(text: &str) -> Result<Self, UnknownAppProtocol> {
        match text {
            "http" => Ok(Self::Http),
            "https" => Ok(Self::Https),
            "kubernetes.io/h2c" => Ok(Self::H2c),
            "kubernetes.io/ws" => Ok(Self::WebSocket),
            "kubernetes.io/wss" => Ok(Self::WebSocketTls),
            other => Err(UnknownAppProtocol(other.to_owned())),
        }
    }
}
