//! AuthPolicy: who may.

pub mod authentication;
pub mod authorization;
pub mod jwt;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bounded::{Cidr, Expression, HeaderName};
use crate::matches::{Method, PathMatch};
use crate::reference::{PolicyMode, PolicyTargetRef};
use crate::status::ObjectStatus;
use authentication::Authentication;
use authorization::Authorization;

/// Who may pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "ravelin.dev",
    version = "v1alpha1",
    kind = "AuthPolicy",
    plural = "authpolicies",
    namespaced,
    doc = "Says who may pass: by address, by credential, by rule.",
    status = "ObjectStatus",
    derive = "PartialEq",
    category = "ravelin",
    printcolumn(
        name = "Target",
        type_ = "string",
        json_path = ".spec.targetRefs[*].name",
        description = "What the policy protects; of several the first"
    ),
    printcolumn(
        name = "Mode",
        type_ = "string",
        json_path = ".spec.mode",
        description = "Enforce, or Shadow: it denies nobody"
    ),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].status",
        description = "Whether the policy is valid; if not, it closes what it protects"
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
    validation = Rule::new("self.targetRefs.all(t, t.kind in ['ApiRoute', 'Namespace'])")
        .message("targetRefs: kind must be ApiRoute or Namespace")
)]
#[x_kube(
    validation = Rule::new("self.targetRefs.all(t, !has(t.sectionName) || t.kind == 'ApiRoute')")
        .message("targetRefs: only an ApiRoute has sections (its named rules)")
)]
pub struct AuthPolicySpec {
    /// What the policy protects: ApiRoutes, one rule of an ApiRoute (sectionName), or the Namespace itself. At most 16.
    #[schemars(length(min = 1, max = 16))]
    pub target_refs: Vec<PolicyTargetRef>,
    /// Whether a policy closer to the request may not replace this one. Default: false.
    #[serde(rename = "override", skip_serializing_if = "Option::is_none")]
    pub overrides: Option<bool>,
    /// Enforce (default), or Shadow: judges and counts, denies nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<PolicyMode>,
    /// Requests that the policy is not for; at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub exclude: Vec<Exclusion>,
    /// Which client addresses may pass. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// How callers show who they are. Default: they need not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
    /// Which callers may pass. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    /// Headers that tell the backend about the caller; at most 16. What a client sends under these names never passes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["header"]))]
    pub forward: Vec<ForwardedHeader>,
}

/// Requests that a policy is not for; all that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.path) || has(self.method)").message("path or method must be set"))]
pub struct Exclusion {
    /// The path. Default: every path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,
    /// The method. Default: every method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
}

/// Which client addresses may pass; `deny` goes first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.allow) || has(self.deny)").message("allow or deny must be set"))]
pub struct Network {
    /// Ranges of which one must hold the client's address, such as 10.0.0.0/8 or 2001:db8::/32; at most 256. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<Cidr>>", length(min = 1, max = 256))]
    pub allow: Option<Vec<String>>,
    /// Ranges of which none may hold the client's address; at most 256. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<Cidr>>", length(min = 1, max = 256))]
    pub deny: Option<Vec<String>>,
}

/// A header that tells the backend about the caller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForwardedHeader {
    /// Name of the header, in any case.
    #[schemars(with = "HeaderName")]
    pub header: String,
    /// CEL expression to the value, such as caller.id. An error in it leaves the header out.
    #[schemars(with = "Expression")]
    pub value: String,
}
