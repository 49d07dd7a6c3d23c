//! From one document to one object: what it says, and the faults that it has.

use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use ravelin_crds::{ApiRouteRule, ApiRouteSpec, PolicyTargetRef, ReferenceGrantSpec};
use ravelin_snapshot::ObjectKey;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    schema::{self, Flaw, Strictness},
    yaml::{Node, Place, SyntaxError},
};
use crate::object::{AnyObject, Fault, Kind, Meta, Object};

/// An object with all flaws of its document. The flaws are its faults too.
pub(super) fn object_of(
    kind: Kind,
    root: &Node,
    mut flaws: Vec<Flaw>,
    syntax: Option<&SyntaxError>,
) -> (AnyObject, Vec<Flaw>) {
    let schema = schema::schema_of(kind);
    let given = flaws.len();
    let mut value = schema::check(schema, root, Strictness::Types, &mut flaws);
    if let Some(error) = syntax {
        // The document is cut: what it lacks is the same error.
        flaws.truncate(given);
        flaws.push(of_syntax(error));
    }
    let mut object = decode(kind, value.clone());
    if object.is_err() && !flaws.is_empty() {
        value = schema::check(schema, root, Strictness::Values, &mut Vec::new());
        object = decode(kind, value.clone());
    }
    let mut object = object.unwrap_or_else(|error| {
        if flaws.is_empty() {
            flaws.push(undecodable(kind, root.place, &error));
        }
        salvage(kind, &value)
    });
    name(&mut object, root.place);
    if !flaws.is_empty() {
        close(&mut object);
    }
    *faults_of(&mut object) = flaws.iter().map(Fault::from).collect();
    (object, flaws)
}

pub(super) fn of_syntax(error: &SyntaxError) -> Flaw {
    Flaw {
        place: error.place,
        field: String::new(),
        message: error.message.clone(),
        remedy: "correct the syntax".to_owned(),
    }
}

/// The schema knows less than the type. Its words are not shown where they could quote a secret.
fn undecodable(kind: Kind, place: Place, error: &serde_json::Error) -> Flaw {
    let message = match kind {
        Kind::Secret => "it cannot be read".to_owned(),
        _ => error.to_string(),
    };
    Flaw { place, field: String::new(), message, remedy: "correct the value that the message names".to_owned() }
}

impl From<&Flaw> for Fault {
    fn from(flaw: &Flaw) -> Self {
        Self { field: flaw.field.clone(), message: flaw.message.clone(), remedy: flaw.remedy.clone() }
    }
}

/// Takes what could be read as a whole.
fn decode(kind: Kind, mut value: Value) -> Result<AnyObject, serde_json::Error> {
    Ok(match kind {
        Kind::ApiRoute => AnyObject::ApiRoute(ours(value)?),
        Kind::Backend => AnyObject::Backend(ours(value)?),
        Kind::BackendPolicy => AnyObject::BackendPolicy(ours(value)?),
        Kind::AuthPolicy => AnyObject::AuthPolicy(ours(value)?),
        Kind::RateLimitPolicy => AnyObject::RateLimitPolicy(ours(value)?),
        Kind::Plan => AnyObject::Plan(ours(value)?),
        Kind::ReferenceGrant => AnyObject::ReferenceGrant(ours::<ReferenceGrantSpec>(value)?),
        Kind::Service | Kind::EndpointSlice | Kind::Secret | Kind::ConfigMap | Kind::Namespace => {
            // The types insist on their own names, which were judged already.
            if let Some(object) = value.as_object_mut() {
                object.remove("apiVersion");
                object.remove("kind");
                object.remove("status");
            }
            match kind {
                Kind::Service => serde_json::from_value::<core::Service>(value)?.into(),
                Kind::EndpointSlice => serde_json::from_value::<discovery::EndpointSlice>(value)?.into(),
                Kind::Secret => serde_json::from_value::<core::Secret>(value)?.into(),
                Kind::ConfigMap => serde_json::from_value::<core::ConfigMap>(value)?.into(),
                _ => serde_json::from_value::<core::Namespace>(value)?.into(),
            }
        }
    })
}

fn ours<S: DeserializeOwned>(mut value: Value) -> Result<Object<S>, serde_json::Error> {
    let meta = meta(&mut value)?;
    Ok(Object::new(meta, serde_json::from_value(value["spec"].take())?))
}

fn meta(value: &mut Value) -> Result<Meta, serde_json::Error> {
    let metadata = value["metadata"].take();
    let metadata = if metadata.is_null() { json!({}) } else { metadata };
    serde_json::from_value::<k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta>(metadata).map(Meta::from)
}

/// What can be read where the whole cannot: the name, what a policy is for, and a route's rules one by one.
fn salvage(kind: Kind, value: &Value) -> AnyObject {
    let mut value = value.clone();
    let meta = meta(&mut value).unwrap_or_default();
    let spec = &value["spec"];
    match kind {
        Kind::ApiRoute => AnyObject::ApiRoute(Object::new(meta, salvaged_route(spec))),
        Kind::Backend => AnyObject::Backend(Object::new(meta, part(spec))),
        Kind::BackendPolicy => {
            let mut object = Object::<ravelin_crds::BackendPolicySpec>::new(meta, Default::default());
            object.spec.target_refs = items(&spec["targetRefs"]);
            AnyObject::BackendPolicy(object)
        }
        Kind::AuthPolicy => {
            let mut object = Object::<ravelin_crds::AuthPolicySpec>::new(meta, Default::default());
            object.spec.target_refs = items(&spec["targetRefs"]);
            AnyObject::AuthPolicy(object)
        }
        Kind::RateLimitPolicy => {
            let mut object = Object::<ravelin_crds::RateLimitPolicySpec>::new(meta, Default::default());
            object.spec.target_refs = items(&spec["targetRefs"]);
            AnyObject::RateLimitPolicy(object)
        }
        Kind::Plan => AnyObject::Plan(Object::new(meta, part(spec))),
        Kind::ReferenceGrant => AnyObject::ReferenceGrant(Object::new(meta, part(spec))),
        Kind::Service => AnyObject::Service(Object::new(meta, Default::default())),
        Kind::EndpointSlice => AnyObject::EndpointSlice(Object::new(meta, Default::default())),
        Kind::Secret => AnyObject::Secret(Object::new(meta, Default::default())),
        Kind::ConfigMap => AnyObject::ConfigMap(Object::new(meta, Default::default())),
        Kind::Namespace => AnyObject::Namespace(Object::new(meta, Default::default())),
    }
}

fn salvaged_route(spec: &Value) -> ApiRouteSpec {
    ApiRouteSpec {
        parent_refs: items(&spec["parentRefs"]),
        hostnames: items(&spec["hostnames"]),
        tls: part(&spec["tls"]),
        rules: spec["rules"].as_array().into_iter().flatten().map(salvaged_rule).collect(),
    }
}

fn salvaged_rule(rule: &Value) -> ApiRouteRule {
    serde_json::from_value(rule.clone()).unwrap_or_else(|_| ApiRouteRule {
        name: part(&rule["name"]),
        // A match that cannot be read stands as one that matches everything: the rule is closed, not narrowed.
        matches: rule["matches"].as_array().into_iter().flatten().map(part).collect(),
        ..ApiRouteRule::default()
    })
}

fn part<T: DeserializeOwned + Default>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap_or_default()
}

fn items<T: DeserializeOwned>(value: &Value) -> Vec<T> {
    value.as_array().into_iter().flatten().filter_map(|item| serde_json::from_value(item.clone()).ok()).collect()
}

/// An object without a name is still one that closes what it is for.
fn name(object: &mut AnyObject, place: Place) {
    let kind = object.kind();
    let meta = meta_of(object);
    if meta.key.name.is_empty() {
        meta.key = ObjectKey::new(&meta.key.namespace, format!("unnamed-{}", place.line));
    }
    if kind == Kind::Namespace {
        meta.key = ObjectKey::new(&meta.key.name, &meta.key.name);
    }
}

/// A broken policy closes what it protects. If that cannot be read, it may be anything in its namespace.
fn close(object: &mut AnyObject) {
    let namespace = object.meta().key.namespace.clone();
    let targets = match object {
        AnyObject::AuthPolicy(policy) => &mut policy.spec.target_refs,
        AnyObject::RateLimitPolicy(policy) => &mut policy.spec.target_refs,
        _ => return,
    };
    if targets.is_empty() {
        targets.push(whole_namespace(namespace));
    }
}

pub(super) fn whole_namespace(namespace: String) -> PolicyTargetRef {
    PolicyTargetRef { group: None, kind: Kind::Namespace.as_str().to_owned(), name: namespace, section_name: None }
}

macro_rules! of_any {
    ($object:expr, $field:ident) => {
        match $object {
            AnyObject::ApiRoute(object) => &mut object.$field,
            AnyObject::Backend(object) => &mut object.$field,
            AnyObject::BackendPolicy(object) => &mut object.$field,
            AnyObject::AuthPolicy(object) => &mut object.$field,
            AnyObject::RateLimitPolicy(object) => &mut object.$field,
            AnyObject::Plan(object) => &mut object.$field,
            AnyObject::Service(object) => &mut object.$field,
            AnyObject::EndpointSlice(object) => &mut object.$field,
            AnyObject::Secret(object) => &mut object.$field,
            AnyObject::ConfigMap(object) => &mut object.$field,
            AnyObject::Namespace(object) => &mut object.$field,
            AnyObject::ReferenceGrant(object) => &mut object.$field,
        }
    };
}

pub(super) fn faults_of(object: &mut AnyObject) -> &mut Vec<Fault> {
    of_any!(object, faults)
}

fn meta_of(object: &mut AnyObject) -> &mut Meta {
    of_any!(object, meta)
}
