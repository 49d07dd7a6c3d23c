//! Plan: the limits that a class of callers has bought.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::bounded::Text;
use crate::limit::Limit;
use crate::rules;
use crate::status::ObjectStatus;

/// The limits of a class of callers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "ravelin.dev",
    version = "v1alpha1",
    kind = "Plan",
    namespaced,
    doc = "The limits of a class of callers. A RateLimitPolicy selects the plan of each caller.",
    status = "ObjectStatus",
    derive = "PartialEq",
    category = "ravelin",
    printcolumn(
        name = "Display",
        type_ = "string",
        json_path = ".spec.displayName",
        description = "The plan's name for people"
    ),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].status",
        description = "Whether the plan is valid"
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
pub struct PlanSpec {
    /// The plan's name for people. Default: the object's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Text>")]
    pub display_name: Option<String>,
    /// The limits; at most 64. A caller who changes plans keeps what was counted under the same limit's name.
    #[schemars(length(min = 1, max = 64), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"],
        "x-kubernetes-validations" = rules::parents_are_there()
    ))]
    pub limits: Vec<Limit>,
}
