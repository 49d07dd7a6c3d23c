//! Gateway API's ReferenceGrant: who in other namespaces may refer to what in this one.
//!
//! Read only, so no CRD is generated and nothing is validated: what names nothing that we know grants nothing.

use std::borrow::Cow;

use kube::Resource;
use kube::api::{ObjectMeta, TypeMeta};
use serde::{Deserialize, Serialize};

/// A ReferenceGrant; of one shape in `v1` and `v1beta1`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReferenceGrant {
    // Only `apiVersion` and `kind`: an unknown field beside them is still seen by what reads files.
    #[serde(rename = "apiVersion", default, skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    #[serde(default)]
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub spec: ReferenceGrantSpec,
}

/// Whoever is in `from` may refer to whatever is in `to`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReferenceGrantSpec {
    #[serde(default)]
    pub from: Vec<ReferenceGrantFrom>,
    #[serde(default)]
    pub to: Vec<ReferenceGrantTo>,
}

/// Objects of this kind in that namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReferenceGrantFrom {
    #[serde(default)]
    pub group: String,
    pub kind: String,
    pub namespace: String,
}

/// Objects of this kind in the grant's own namespace; all of them, or one by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReferenceGrantTo {
    #[serde(default)]
    pub group: String,
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Under which version the API server offers the kind: `Api::<ReferenceGrant>::all_with(client, &version)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReferenceGrantVersion {
    #[default]
    V1,
    V1Beta1,
}

impl ReferenceGrant {
    pub const GROUP: &'static str = "gateway.networking.k8s.io";
    pub const KIND: &'static str = "ReferenceGrant";
    pub const PLURAL: &'static str = "referencegrants";

    pub fn types(version: ReferenceGrantVersion) -> TypeMeta {
        TypeMeta { api_version: Self::api_version(&version).into_owned(), kind: Self::KIND.to_owned() }
    }
}

impl ReferenceGrantVersion {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1Beta1 => "v1beta1",
        }
    }
}

impl Resource for ReferenceGrant {
    type DynamicType = ReferenceGrantVersion;
    // Namespaced; this scope is the one that lets `Api::namespaced_with` name the version.
    type Scope = kube::core::DynamicResourceScope;

    fn kind(_: &ReferenceGrantVersion) -> Cow<'_, str> {
        Self::KIND.into()
    }

    fn group(_: &ReferenceGrantVersion) -> Cow<'_, str> {
        Self::GROUP.into()
    }

    fn version(version: &ReferenceGrantVersion) -> Cow<'_, str> {
        version.as_str().into()
    }

    fn plural(_: &ReferenceGrantVersion) -> Cow<'_, str> {
        Self::PLURAL.into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
