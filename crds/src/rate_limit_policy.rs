//! RateLimitPolicy: how much.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bounded::{Expression, ObjectName};
use crate::limit::Limit;
use crate::reference::{PolicyMode, PolicyTargetRef};
use crate::rules;
use crate::status::ObjectStatus;

/// How much may pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "ravelin.dev",
    version = "v1alpha1",
    kind = "RateLimitPolicy",
    plural = "ratelimitpolicies",
    namespaced,
    doc = "Says how much may pass: rates, quotas, requests at once. Policies of all levels add up: each must admit.",
    status = "ObjectStatus",
    derive = "PartialEq",
    category = "ravelin",
    printcolumn(
        name = "Target",
        type_ = "string",
        json_path = ".spec.targetRefs[*].name",
        description = "What the policy limits; of several the first"
    ),
    printcolumn(
        name = "Mode",
        type_ = "string",
        json_path = ".spec.mode",
        description = "Enforce, or Shadow: it refuses nothing"
    ),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].status",
        description = "Whether the policy is valid; if not, it closes what it limits"
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
#[x_kube(
    validation = Rule::new("(has(self.limits) && self.limits.size() > 0) || has(self.plans)").message("limits or plans must be set")
)]
#[x_kube(
    validation = Rule::new("!has(self.onStoreFailure) || (has(self.scope) && self.scope == 'Shared')")
        .message("onStoreFailure goes with the scope Shared")
)]
pub struct RateLimitPolicySpec {
    /// What the policy limits: ApiRoutes, one rule of an ApiRoute (sectionName), or the Namespace itself. At most 16.
    #[schemars(length(min = 1, max = 16))]
    pub target_refs: Vec<PolicyTargetRef>,
    /// Enforce (default), or Shadow: counts, refuses nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<PolicyMode>,
    /// Where it is counted: Replica (default; each by itself), or Shared (in the installation's Redis or Valkey).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<RateLimitScope>,
    /// What happens while the shared store is away: Local (default; each replica goes on with its last share), Allow or Deny.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_store_failure: Option<OnStoreFailure>,
    /// The limits; at most 64. Each must admit a request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"],
        "x-kubernetes-validations" = rules::parents_are_there()
    ))]
    pub limits: Vec<Limit>,
    /// CEL expression to an integer: the weight of a request that waits for a limit; 0 is served last. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Expression>")]
    pub priority: Option<String>,
    /// Adds the limits of the caller's Plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plans: Option<PlanSelection>,
}

/// Where limits are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RateLimitScope {
    #[default]
    Replica,
    Shared,
}

/// What happens while the shared store is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OnStoreFailure {
    #[default]
    Local,
    Allow,
    Deny,
}

/// Which Plan is a caller's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanSelection {
    /// CEL expression to the name of a Plan in this namespace, such as caller.plan.
    #[schemars(with = "Expression")]
    pub select: String,
    /// Name of the Plan for callers whom select gives none. Default: they have no plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<ObjectName>")]
    pub default: Option<String>,
    /// CEL expression to a string; each value has buckets of its own in each plan, such as caller.id. Default: one for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Expression>")]
    pub key: Option<String>,
}
