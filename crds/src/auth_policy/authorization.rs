//! Which callers may pass.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bounded::{AbsolutePath, EntryName, Expression, HeaderName, PositiveDuration};
use crate::duration::Duration;
use crate::quantity::Quantity;
use crate::reference::BackendObjectReference;

/// Which callers may pass: by rules, by another service, or both.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.rules) && self.rules.size() > 0) || has(self.external)")
        .message("rules or external must be set")
)]
pub struct Authorization {
    /// Rules; at most 64. Any deny that holds refuses; if there is an allow, one must hold; an error refuses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub rules: Vec<AuthorizationRule>,
    /// Another service that is asked, after the rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalAuthorization>,
}

/// One rule; exactly one of `allow` and `deny`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.allow) != has(self.deny)").message("exactly one of allow and deny must be set")
)]
pub struct AuthorizationRule {
    /// Name of the rule, unique in the policy; a refusal names it.
    #[schemars(with = "EntryName")]
    pub name: String,
    /// CEL expression that lets a request pass when it is true, such as 'orders:read' in caller.scopes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Expression>")]
    pub allow: Option<String>,
    /// CEL expression that refuses a request when it is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Expression>")]
    pub deny: Option<String>,
}

/// Another service that says whether a request may pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.path) || !has(self.protocol) || self.protocol == 'HTTP'")
        .message("path goes with the protocol HTTP")
)]
#[x_kube(validation = Rule::new("!has(self.cacheKey) || has(self.cacheFor)").message("cacheKey goes with cacheFor"))]
pub struct ExternalAuthorization {
    /// How the service is asked: HTTP (default), or GRPC (Envoy's ext_authz v3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<ExternalAuthProtocol>,
    /// The service that is asked.
    pub backend_ref: BackendObjectReference,
    /// Path that is asked for, over HTTP. Default: /.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<AbsolutePath>")]
    pub path: Option<String>,
    /// How long an answer may take, such as 200ms. Default: 200ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PositiveDuration>")]
    pub timeout: Option<Duration>,
    /// What happens without an answer: Deny (default) or Allow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnAuthFailure>,
    /// Request headers that the service sees; at most 64. Default: authorization.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<HeaderName>", length(max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub forward_headers: Vec<String>,
    /// Headers of its answer that go on to the backend; at most 64. What a client sends under these names never passes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<HeaderName>", length(max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub copy_headers: Vec<String>,
    /// Largest request body that is sent along, such as 8Ki; longer ones are refused. Default: 0, no body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_limit: Option<Quantity>,
    /// How long an answer is remembered, such as 5s. Default: not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_for: Option<Duration>,
    /// CEL expression to a string; requests with the same one share an answer. Default: all that is sent to the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Expression>")]
    pub cache_key: Option<String>,
}

/// How an authorization service is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ExternalAuthProtocol {
    #[default]
    Http,
    Grpc,
}

/// What happens when somebody who was asked does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OnAuthFailure {
    #[default]
    Deny,
    Allow,
}
