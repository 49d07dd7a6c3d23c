//! ApiRoute: who gets which request.

pub mod filter;
pub mod rule;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bounded::{ControllerName, Hostname};
use crate::reference::{ParentReference, SecretReference};
use crate::rules;
use crate::status::conditions;
pub use rule::ApiRouteRule;

/// Which requests go where, and what happens to them on the way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "ravelin.dev",
    version = "v1alpha1",
    kind = "ApiRoute",
    namespaced,
    doc = "Says which requests go to which backends, and what happens to them on the way.",
    status = "ApiRouteStatus",
    derive = "PartialEq",
    shortname = "ar",
    category = "ravelin",
    printcolumn(
        name = "Hosts",
        type_ = "string",
        json_path = ".spec.hostnames",
        description = "The host names that the route serves"
    ),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].status",
        description = "Whether the route is valid"
    ),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Programmed\")].status",
        description = "Whether every ready replica serves the route"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ApiRouteSpec {
    /// Gateways to attach to. Default: the gateway's own http and https listeners.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub parent_refs: Vec<ParentReference>,
    /// Host names to serve, such as api.shop.example or *.shop.example; at most 64. Default: every host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<Hostname>", length(max = 64))]
    pub hostnames: Vec<String>,
    /// Certificates for these host names on the https listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<RouteTls>,
    /// What happens to which request; at most 64. The most specific match wins, in Gateway API's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-validations" = rules::rule_names_unique()))]
    pub rules: Vec<ApiRouteRule>,
}

/// Certificates for the host names of a route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteTls {
    /// Secrets of type kubernetes.io/tls; at most 16. The one that fits the name that the client asks for is served.
    #[schemars(length(min = 1, max = 16))]
    pub certificate_refs: Vec<SecretReference>,
}

/// What became of an ApiRoute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiRouteStatus {
    /// What became of the route: Accepted (it is valid), ResolvedRefs (what it refers to exists) and Programmed (every ready
    /// replica serves it), each with the generation that it speaks of. With several parents: True when it is so for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// The same for each of spec.parentRefs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub parents: Vec<RouteParentStatus>,
}

/// What became of a route at one parent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteParentStatus {
    /// The parent, as in spec.parentRefs.
    pub parent_ref: ParentReference,
    /// Who wrote this entry: ravelin.dev/controller.
    #[schemars(with = "ControllerName")]
    pub controller_name: String,
    /// What became of the route at this parent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}
