//! Which kinds there are, and the schema of each.

use std::sync::{LazyLock, OnceLock};

use k8s_openapi::{
    api::{core::v1 as core, discovery::v1 as discovery},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
    schemars::{JsonSchema, generate::SchemaSettings},
};
use serde_json::{Value, json};

use super::{Schema, check::nearest};
use crate::object::Kind;

/// A name of Kubernetes: RFC 1123's labels with dots.
const NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
const NAMESPACE: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
const LABEL_VALUE: &str = r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$";

/// Kinds of the core group that a folder may well hold and that mean nothing to us.
const OTHER_CORE_KINDS: [&str; 14] = [
    "Binding",
    "ComponentStatus",
    "Endpoints",
    "Event",
    "LimitRange",
    "Node",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Pod",
    "PodTemplate",
    "ReplicationController",
    "ResourceQuota",
    "ServiceAccount",
    "Status",
];

/// What `apiVersion` and `kind` of a document name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Kind(Kind),
    /// A kind of somebody else's.
    Foreign,
    /// A kind of Gateway API, which a later version reads.
    NotYet,
    /// No kind at all, or one of ours misspelt: the kind that was likely meant.
    Wrong {
        field: &'static str,
        message: String,
        remedy: String,
        meant: Option<Kind>,
    },
}

pub(crate) fn find(api_version: &str, kind: &str) -> Found {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let same_kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind);
    if let Some(known) = same_kind {
        let versions = versions(known);
        if versions.contains(&api_version) {
            return Found::Kind(known);
        }
        // `Service` of Knative, `Backend` of whom ever: not ours. A group that is nearly ours is a slip.
        let ours = known.group() == ravelin_crds::GROUP && known != Kind::Backend;
        if group == known.group() || ours || nearest(group, &[known.group()]).is_some() {
            return Found::Wrong {
                field: "apiVersion",
                message: format!("`{api_version}` has no kind {kind}"),
                remedy: format!("write {}", versions.join(" or ")),
                meant: Some(known),
            };
        }
        return Found::Foreign;
    }
    let of_group = Kind::ALL.into_iter().filter(|known| known.group() == group);
    let names: Vec<_> = of_group.map(Kind::as_str).collect();
    if group == "gateway.networking.k8s.io" && nearest(kind, &names).is_none() {
        return Found::NotYet;
    }
    if names.is_empty() || (group.is_empty() && OTHER_CORE_KINDS.contains(&kind)) {
        return Found::Foreign;
    }
    let near = nearest(kind, &names);
    Found::Wrong {
        field: "kind",
        message: format!("`{api_version}` has no kind `{}`", kind.chars().take(64).collect::<String>()),
        remedy: near.map_or_else(|| format!("there are {}", names.join(", ")), |near| format!("did you mean {near}?")),
        meant: near.and_then(|near| Kind::ALL.into_iter().find(|known| known.as_str() == near)),
    }
}

fn versions(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::ApiRoute
        | Kind::Backend
        | Kind::BackendPolicy
        | Kind::AuthPolicy
        | Kind::RateLimitPolicy
        | Kind::Plan => &["ravelin.dev/v1alpha1"],
        Kind::Service | Kind::Secret | Kind::ConfigMap | Kind::Namespace => &["v1"],
        Kind::EndpointSlice => &["discovery.k8s.io/v1"],
        Kind::ReferenceGrant => &["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"],
    }
}

/// What a whole document of the kind must be.
pub(crate) fn schema_of(kind: Kind) -> &'static Schema {
    static ALL: [OnceLock<Schema>; Kind::ALL.len()] = [const { OnceLock::new() }; Kind::ALL.len()];
    ALL[kind as usize].get_or_init(|| build(kind))
}

fn build(kind: Kind) -> Schema {
    let mut schema = match kind {
        Kind::ApiRoute
        | Kind::Backend
        | Kind::BackendPolicy
        | Kind::AuthPolicy
        | Kind::RateLimitPolicy
        | Kind::Plan => Schema::new(&of_crd(kind)),
        Kind::Service => of_type::<core::Service>(),
        Kind::EndpointSlice => of_type::<discovery::EndpointSlice>(),
        Kind::Secret => of_type::<core::Secret>(),
        Kind::ConfigMap => of_type::<core::ConfigMap>(),
        Kind::Namespace => of_type::<core::Namespace>(),
        Kind::ReferenceGrant => Schema::new(&reference_grant()),
    };
    match kind {
        Kind::Secret => {
            for field in ["data", "stringData"] {
                schema.field_mut(field).into_iter().for_each(Schema::keep_secret);
            }
        }
        Kind::Service => limit_ports(schema.field_mut("spec")),
        Kind::EndpointSlice => limit_ports(Some(&mut schema)),
        _ => {}
    }
    for field in ["apiVersion", "kind"] {
        schema.set_field(field, Schema::new(&json!({"type": "string"})));
    }
    schema.set_field("metadata", metadata(kind));
    // What somebody else reports is not read.
    schema.set_field("status", Schema::default());
    schema.require("metadata");
    schema
}

fn of_crd(kind: Kind) -> Value {
    static CRDS: LazyLock<Vec<CustomResourceDefinition>> = LazyLock::new(ravelin_crds::generate::all);
    // Every kind of ours has a CRD with one version. (invariant)
    let crd = CRDS.iter().find(|crd| crd.spec.names.kind == kind.as_str()).expect("a kind of ours has a CRD");
    let schema = crd.spec.versions[0].schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
    serde_json::to_value(schema).expect("a schema is JSON (invariant)")
}

fn of_type<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::openapi3().with(|settings| settings.inline_subschemas = true);
    let mut schema = Schema::new(settings.into_generator().into_root_schema_for::<T>().as_value());
    schema.allow_null();
    schema
}

fn metadata(kind: Kind) -> Schema {
    let mut schema = of_type::<ObjectMeta>();
    let (name, longest) = match kind {
        Kind::Namespace | Kind::Service => (NAMESPACE, 63),
        _ => (NAME, 253),
    };
    let text = |pattern, longest| json!({"type": "string", "minLength": 1, "maxLength": longest, "pattern": pattern});
    schema.set_field("name", Schema::new(&text(name, longest)));
    let mut namespace = Schema::new(&text(NAMESPACE, 63));
    namespace.nullable = true;
    schema.set_field("namespace", namespace);
    let label = json!({"type": "string", "maxLength": 63, "pattern": LABEL_VALUE});
    let mut labels = Schema::new(&json!({"type": "object", "additionalProperties": label}));
    labels.nullable = true;
    schema.set_field("labels", labels);
    schema.require("name");
    schema.nullable = false;
    schema
}

/// What Kubernetes checks in Go and not in its schema.
fn limit_ports(holder: Option<&mut Schema>) {
    let Some(super::Shape::List { items, .. }) =
        holder.and_then(|holder| holder.field_mut("ports")).map(|ports| &mut ports.shape)
    else {
        return;
    };
    if let Some(port) = items.field_mut("port") {
        port.shape = super::Shape::Integer { min: 1, max: 65535 };
    }
}

fn reference_grant() -> Value {
    let text = |max: u64| json!({"type": "string", "maxLength": max});
    let list = |fields: Value, required: Value| {
        let item = json!({"type": "object", "properties": fields, "required": required});
        json!({"type": "array", "minItems": 1, "maxItems": 16, "items": item})
    };
    let from = json!({"group": text(253), "kind": text(63), "namespace": text(63)});
    let to = json!({"group": text(253), "kind": text(63), "name": text(253)});
    json!({"type": "object", "required": ["spec"], "properties": {"spec": {
        "type": "object",
        "required": ["from", "to"],
        "properties": {
            "from": list(from, json!(["group", "kind", "namespace"])),
            "to": list(to, json!(["group", "kind"])),
        },
    }}})
}
