//! References to other objects. A reference's `group` may be left out: the kind says it.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bounded::{DataKey, Group, Kind, LabelKey, LabelValue, NamespaceName, ObjectName, SectionName};
use crate::rules;

/// The Gateway that a route attaches to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParentReference {
    /// API group of the parent. Default: gateway.networking.k8s.io.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Group>")]
    pub group: Option<String>,
    /// Kind of the parent. Default: Gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Kind>")]
    pub kind: Option<String>,
    /// Namespace of the parent. Default: the route's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<NamespaceName>")]
    pub namespace: Option<String>,
    /// Name of the parent.
    #[schemars(with = "ObjectName")]
    pub name: String,
    /// Name of one listener of the parent. Default: every listener that lets the route in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<SectionName>")]
    pub section_name: Option<String>,
    /// Port of the listeners to attach to. Default: every port.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
}

/// A backend: a Service with its port, or a Backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(rules::SERVICE_HAS_PORT).message("port must be set for a Service"))]
pub struct BackendObjectReference {
    /// API group of the backend. Default: the group of its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Group>")]
    pub group: Option<String>,
    /// Kind of the backend: Service (default) or Backend.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Kind>")]
    pub kind: Option<String>,
    /// Name of the backend.
    #[schemars(with = "ObjectName")]
    pub name: String,
    /// Namespace of the backend. Default: the route's own. Another one needs a ReferenceGrant there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<NamespaceName>")]
    pub namespace: Option<String>,
    /// Port of the Service. A Backend needs none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
}

/// An object in the same namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalObjectReference {
    /// API group of the object. Default: the group of its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Group>")]
    pub group: Option<String>,
    /// Kind of the object.
    #[schemars(with = "Kind")]
    pub kind: String,
    /// Name of the object.
    #[schemars(with = "ObjectName")]
    pub name: String,
}

/// A Secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// API group of the object. Default: the core group.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Group>")]
    pub group: Option<String>,
    /// Kind of the object. Default: Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Kind>")]
    pub kind: Option<String>,
    /// Name of the Secret.
    #[schemars(with = "ObjectName")]
    pub name: String,
    /// Namespace of the Secret. Default: the object's own. Another one needs a ReferenceGrant there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<NamespaceName>")]
    pub namespace: Option<String>,
}

/// A Secret in the same namespace, whose key the field prescribes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalSecretReference {
    /// Name of the Secret, in the policy's namespace.
    #[schemars(with = "ObjectName")]
    pub name: String,
}

/// One key of a Secret in the same namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyReference {
    /// Name of the Secret, in the policy's namespace.
    #[schemars(with = "ObjectName")]
    pub name: String,
    /// Key in the Secret's data.
    #[schemars(with = "DataKey")]
    pub key: String,
}

/// One key of a ConfigMap in the same namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapKeyReference {
    /// Name of the ConfigMap, in the policy's namespace.
    #[schemars(with = "ObjectName")]
    pub name: String,
    /// Key in the ConfigMap's data.
    #[schemars(with = "DataKey")]
    pub key: String,
}

/// Certificates of authorities, in the key `ca.crt` of a ConfigMap or a Secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaCertificateReference {
    /// API group of the object. Default: the core group.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Group>")]
    pub group: Option<String>,
    /// Kind of the object: ConfigMap or Secret.
    #[schemars(with = "Kind")]
    pub kind: String,
    /// Name of the object, in the policy's namespace. The certificates are PEM in its key ca.crt.
    #[schemars(with = "ObjectName")]
    pub name: String,
}

/// What a policy is attached to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyTargetRef {
    /// API group of the target. Default: the group of its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Group>")]
    pub group: Option<String>,
    /// Kind of the target.
    #[schemars(with = "Kind")]
    pub kind: String,
    /// Name of the target, in the policy's namespace.
    #[schemars(with = "ObjectName")]
    pub name: String,
    /// One part of the target: a rule of an ApiRoute, a port of a Service. Default: all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<SectionName>")]
    pub section_name: Option<String>,
}

/// Whether a policy acts or only watches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum PolicyMode {
    #[default]
    Enforce,
    Shadow,
}

/// Which objects of the namespace are meant, by their labels; all requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that must be there with exactly these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, LabelValue>", extend("maxProperties" = 16))]
    pub match_labels: BTreeMap<String, String>,
    /// Conditions on labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

/// A condition on one label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.values) && self.values.size() > 0) == (self.operator in ['In', 'NotIn'])")
        .message("values must be set for the operators In and NotIn, and for no other")
)]
pub struct LabelSelectorRequirement {
    /// Key of the label.
    #[schemars(with = "LabelKey")]
    pub key: String,
    /// How the label is judged: In, NotIn, Exists or DoesNotExist.
    pub operator: LabelSelectorOperator,
    /// Values for In and NotIn; none for the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<LabelValue>", length(max = 16))]
    pub values: Vec<String>,
}

/// How a label is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LabelSelectorOperator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}
