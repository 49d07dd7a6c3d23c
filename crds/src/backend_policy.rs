//! BackendPolicy: how to treat a backend.

pub mod connections;
pub mod health_check;
pub mod tls;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::load_balancing::LoadBalancing;
use crate::reference::PolicyTargetRef;
use crate::status::ObjectStatus;
use connections::{CircuitBreaker, Connections, ProxyProtocol, RetryBudget};
use health_check::HealthCheck;
use tls::BackendTls;

/// How backends are treated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "ravelin.dev",
    version = "v1alpha1",
    kind = "BackendPolicy",
    plural = "backendpolicies",
    namespaced,
    doc = "Says how backends are treated: balancing, connections, health, breakers, TLS.",
    status = "ObjectStatus",
    derive = "PartialEq",
    category = "ravelin",
    printcolumn(
        name = "Target",
        type_ = "string",
        json_path = ".spec.targetRefs[*].name",
        description = "What the policy is for; of several the first"
    ),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].status",
        description = "Whether the policy is valid"
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
#[x_kube(
    validation = Rule::new("self.targetRefs.all(t, t.kind in ['Service', 'Backend'])")
        .message("targetRefs: kind must be Service or Backend")
)]
#[x_kube(
    validation = Rule::new("self.targetRefs.all(t, !has(t.sectionName) || t.kind == 'Service')")
        .message("targetRefs: only a Service has sections (its named ports)")
)]
pub struct BackendPolicySpec {
    /// Backends in this namespace that the policy is for: of kind Service or Backend; sectionName is the name of a Service's
    /// port. At most 16.
    #[schemars(length(min = 1, max = 16))]
    pub target_refs: Vec<PolicyTargetRef>,
    /// How requests are spread over the endpoints. Default: RoundRobin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancing: Option<LoadBalancing>,
    /// Bounds of the connections to each endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<Connections>,
    /// How endpoints that are ill are found and left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// Stops calling a backend that fails, for a while. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub circuit_breaker: Option<CircuitBreaker>,
    /// PROXY protocol header that each connection to the backend begins with: V2. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Bounds how many requests in all are sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_budget: Option<RetryBudget>,
    /// TLS to the backend. Default: plain, unless the backend's appProtocol says otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTls>,
}
