//! From the types of Kubernetes to ours: what the compiler does not read (`managedFields`, annotations, statuses,
//! selectors) is dropped here, before it is kept anywhere.

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::{
    api::{core::v1 as core, discovery::v1 as discovery},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use ravelin_crds as crds;
use ravelin_snapshot::{ObjectKey, Secret as Hidden};

use super::{
    AnyObject, ConfigMap, EndpointSlice, Meta, Namespace, Object, Secret, Service, ServicePort, SliceEndpoint,
};

/// The namespace of an object that names none. An API server always names one; a file need not.
pub const DEFAULT_NAMESPACE: &str = "default";

/// The entry of a certificate's Secret that holds what the authority says of it.
pub(crate) const OCSP_STAPLE: &str = "tls.ocsp-staple";

/// The label by which an EndpointSlice names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

impl<S> Object<S> {
    /// An object without faults.
    pub fn new(meta: Meta, spec: S) -> Self {
        Self { meta, spec, faults: Vec::new() }
    }
}

impl From<ObjectMeta> for Meta {
    fn from(meta: ObjectMeta) -> Self {
        let namespace = meta.namespace.filter(|namespace| !namespace.is_empty());
        Self {
            key: ObjectKey::new(
                namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()),
                meta.name.unwrap_or_default(),
            ),
            created: meta.creation_timestamp.map(|time| time.0.as_second()),
            generation: meta.generation.unwrap_or_default(),
            resource_version: meta.resource_version.and_then(|version| version.parse().ok()),
            labels: meta.labels.unwrap_or_default(),
        }
    }
}

/// Kinds whose spec is kept as it is.
macro_rules! whole_specs {
    ($($kind:ident => $spec:ident),* $(,)?) => {$(
        impl From<crds::$kind> for Object<crds::$spec> {
            fn from(object: crds::$kind) -> Self {
                Self::new(object.metadata.into(), object.spec)
            }
        }

        impl From<crds::$kind> for AnyObject {
            fn from(object: crds::$kind) -> Self {
                Self::$kind(object.into())
            }
        }
    )*};
}

whole_specs! {
    Backend => BackendSpec,
    BackendPolicy => BackendPolicySpec,
    AuthPolicy => AuthPolicySpec,
    RateLimitPolicy => RateLimitPolicySpec,
    Plan => PlanSpec,
    ReferenceGrant => ReferenceGrantSpec,
}

impl From<crds::ApiRoute> for Object<crds::ApiRouteSpec> {
    fn from(object: crds::ApiRoute) -> Self {
        let mut spec = object.spec;
        // There are many routes. Lists that were read begin with the room of four, and mostly have one.
        spec.hostnames.shrink_to_fit();
        spec.rules.shrink_to_fit();
        for rule in &mut spec.rules {
            rule.matches.shrink_to_fit();
            rule.backend_refs.shrink_to_fit();
        }
        Self::new(object.metadata.into(), spec)
    }
}

macro_rules! pruned {
    ($($from:ty => $kind:ident),* $(,)?) => {$(
        impl From<$from> for AnyObject {
            fn from(object: $from) -> Self {
                Self::$kind(object.into())
            }
        }
    )*};
}

pruned! {
    crds::ApiRoute => ApiRoute,
    core::Service => Service,
    discovery::EndpointSlice => EndpointSlice,
    core::Secret => Secret,
    core::ConfigMap => ConfigMap,
    core::Namespace => Namespace,
}

impl From<core::Service> for Object<Service> {
    fn from(object: core::Service) -> Self {
        let spec = object.spec.unwrap_or_default();
        let external = spec.type_.as_deref() == Some("ExternalName");
        let service = Service {
            ports: spec.ports.unwrap_or_default().into_iter().filter_map(service_port).collect(),
            external_name: external.then(|| spec.external_name.unwrap_or_default()),
        };
        Self::new(object.metadata.into(), service)
    }
}

fn service_port(port: core::ServicePort) -> Option<ServicePort> {
    Some(ServicePort {
        name: port.name.unwrap_or_default(),
        port: port_number(port.port)?,
        app_protocol: port.app_protocol,
        tcp: is_tcp(port.protocol.as_deref()),
    })
}

/// An API server admits no other numbers; what a file says was checked.
fn port_number(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|port| *port != 0)
}

fn is_tcp(protocol: Option<&str>) -> bool {
    matches!(protocol, None | Some("" | "TCP"))
}

impl From<discovery::EndpointSlice> for Object<EndpointSlice> {
    fn from(object: discovery::EndpointSlice) -> Self {
        let mut meta = Meta::from(object.metadata);
        let service = meta.labels.remove(SERVICE_NAME).unwrap_or_default();
        // Kubernetes gives the address type FQDN no meaning.
        let has_addresses = object.address_type != "FQDN";
        let endpoints = if has_addresses { object.endpoints } else { Vec::new() };
        let ports = object.ports.unwrap_or_default().into_iter().filter(|port| is_tcp(port.protocol.as_deref()));
        let slice = EndpointSlice {
            service,
            endpoints: endpoints.into_iter().map(slice_endpoint).collect(),
            ports: ports.filter_map(|port| Some((port.name.unwrap_or_default(), port_number(port.port?)?))).collect(),
        };
        // Nobody selects EndpointSlices by label, and there are many.
        meta.labels.clear();
        Self::new(meta, slice)
    }
}

fn slice_endpoint(endpoint: discovery::Endpoint) -> SliceEndpoint {
    let conditions = endpoint.conditions.unwrap_or_default();
    SliceEndpoint {
        addresses: endpoint.addresses,
        ready: conditions.ready.unwrap_or(true),
        serving: conditions.serving.unwrap_or(true),
        terminating: conditions.terminating.unwrap_or(false),
    }
}

impl From<core::Secret> for Object<Secret> {
    fn from(object: core::Secret) -> Self {
        let mut secret = Secret { type_: object.type_.unwrap_or_else(|| "Opaque".to_owned()), ..Secret::default() };
        for (key, value) in object.data.unwrap_or_default() {
            match String::from_utf8(value.0) {
                Ok(text) => drop(secret.data.insert(key, Hidden::new(text))),
                // The one entry of bytes that somebody reads.
                Err(binary) if key == OCSP_STAPLE => {
                    drop(secret.data.insert(key, Hidden::new(STANDARD.encode(binary.as_bytes()))));
                }
                Err(_) => secret.binary.push(key),
            }
        }
        // As an API server merges them when it stores the object: `stringData` wins.
        for (key, value) in object.string_data.unwrap_or_default() {
            secret.binary.retain(|binary| *binary != key);
            secret.data.insert(key, Hidden::new(value));
        }
        Self::new(object.metadata.into(), secret)
    }
}

impl From<core::ConfigMap> for Object<ConfigMap> {
    fn from(object: core::ConfigMap) -> Self {
        Self::new(object.metadata.into(), ConfigMap { data: object.data.unwrap_or_default() })
    }
}

/// What is in a cluster's ConfigMaps and in its Secrets without a type of their own is mostly none of our business. Only what may
/// be a key set of an issuer, the certificates of an authority, or in a Secret the users or the client secret of a policy, stays; of the rest only the
/// names, so that a reference to it can be told what is wrong.
pub(crate) fn drop_others_values(object: &mut AnyObject) {
    let is_ours = |key: &str, value: &str| {
        let key_set = value.trim_start().starts_with('{') && value.contains("\"keys\"");
        key_set || (key == "ca.crt" && value.trim_start().starts_with("-----BEGIN CERTIFICATE-----"))
    };
    match object {
        AnyObject::ConfigMap(map) => {
            let others = map.spec.data.iter_mut().filter(|(key, value)| !is_ours(key, value));
            others.for_each(|(_, value)| *value = String::new());
        }
        AnyObject::Secret(secret) if secret.spec.type_ == "Opaque" => {
            const OURS: [&str; 3] = ["auth", "clientID", "clientSecret"];
            let ours = |key: &str, value: &Hidden| OURS.contains(&key) || is_ours(key, value.expose());
            let others = secret.spec.data.iter_mut().filter(|(key, value)| !ours(key, value));
            others.for_each(|(_, value)| *value = Hidden::new(""));
        }
        _ => {}
    }
}

impl From<core::Namespace> for Object<Namespace> {
    fn from(object: core::Namespace) -> Self {
        let mut meta = Meta::from(object.metadata);
        meta.key = ObjectKey::new(&meta.key.name, &meta.key.name);
        Self::new(meta, Namespace {})
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_secret_is_decoded_and_string_data_wins() {
        let secret: core::Secret = read(json!({
            "metadata": {"name": "s", "labels": {"app": "shop"}},
            "data": {"a": "b25l", "b": "b25l", "raw": "/w==", "raw2": "/w=="},
            "stringData": {"b": "two", "raw2": "text"},
        }));
        let object = Object::<Secret>::from(secret);
        assert_eq!(object.meta.key, ObjectKey::new("default", "s"));
        assert_eq!(object.meta.labels["app"], "shop");
        let shown: Vec<_> = object.spec.data.iter().map(|(key, value)| (key.as_str(), value.expose())).collect();
        assert_eq!(shown, [("a", "one"), ("b", "two"), ("raw2", "text")]);
        assert_eq!((object.spec.type_.as_str(), object.spec.binary), ("Opaque", vec!["raw".to_owned()]));
    }

    #[test]
    fn an_endpoint_slice_keeps_tcp_ports_and_reads_absent_conditions_as_kubernetes_does() {
        let slice: discovery::EndpointSlice = read(json!({
            "metadata": {"name": "s-1", "namespace": "shop", "resourceVersion": "7",
                "creationTimestamp": "1970-01-01T00:01:00Z", "labels": {"kubernetes.io/service-name": "s"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"]},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false, "serving": true, "terminating": true}}],
            "ports": [{"name": "http", "port": 8080}, {"name": "dns", "port": 53, "protocol": "UDP"}],
        }));
        let object = Object::<EndpointSlice>::from(slice);
        assert_eq!((object.meta.resource_version, object.meta.created), (Some(7), Some(60)));
        assert_eq!(object.spec.service, "s");
        assert_eq!(object.spec.ports, [("http".to_owned(), 8080)]);
        let states: Vec<_> = object.spec.endpoints.iter().map(|e| (e.ready, e.serving, e.terminating)).collect();
        assert_eq!(states, [(true, true, false), (false, true, true)]);
    }

    #[test]
    fn a_service_says_which_ports_are_backends_and_whether_it_is_external() {
        let service: core::Service = read(json!({
            "metadata": {"name": "s"},
            "spec": {"ports": [{"port": 80, "appProtocol": "kubernetes.io/h2c"}, {"name": "q", "port": 443, "protocol": "UDP"}]},
        }));
        let ports = Object::<Service>::from(service).spec.ports;
        assert_eq!((ports[0].port, ports[0].tcp, ports[1].tcp), (80, true, false));
        assert_eq!(ports[0].app_protocol.as_deref(), Some("kubernetes.io/h2c"));
        let external: core::Service =
            read(json!({"metadata": {"name": "s"}, "spec": {"type": "ExternalName", "externalName": "example.com"}}));
        assert_eq!(Object::<Service>::from(external).spec.external_name.as_deref(), Some("example.com"));
    }

    #[test]
    fn of_config_maps_and_untyped_secrets_only_key_sets_and_authorities_are_held() {
        let keys = r#"{"keys": []}"#;
        let map: core::ConfigMap =
            read(json!({"metadata": {"name": "m"}, "data": {"keys": keys, "app.conf": "password=hunter2"}}));
        let secret = |type_: &str| -> core::Secret {
            let encoded = |text: &str| k8s_openapi::ByteString(text.as_bytes().to_vec());
            let data = json!({"keys": encoded(keys), "account": encoded(r#"{"private_key": "hunter2"}"#)});
            read(json!({"metadata": {"name": "s"}, "type": type_, "data": data}))
        };
        let held = |object: AnyObject| {
            let mut object = object;
            drop_others_values(&mut object);
            match object {
                AnyObject::ConfigMap(map) => map.spec.data.into_values().collect::<Vec<_>>(),
                AnyObject::Secret(secret) => secret.spec.data.values().map(|value| value.expose().to_owned()).collect(),
                other => panic!("{other:?}"),
            }
        };
        let kept = |mut values: Vec<String>| {
            values.sort();
            values
        };
        assert_eq!(kept(held(map.into())), ["", keys]);
        let authority = "-----BEGIN CERTIFICATE-----";
        let data = json!({"ca.crt": authority, "other.crt": authority});
        let map: core::ConfigMap = read(json!({"metadata": {"name": "m"}, "data": data}));
        assert_eq!(kept(held(map.into())), ["", authority]);
        assert_eq!(kept(held(secret("Opaque").into())), ["", keys]);
        let users: core::Secret =
            read(json!({"metadata": {"name": "s"}, "stringData": {"auth": "ada:x", "other": "b:x"}}));
        assert_eq!(kept(held(users.into())), ["", "ada:x"]);
        assert_eq!(held(secret("kubernetes.io/tls").into()).iter().filter(|value| value.is_empty()).count(), 0);
    }

    #[test]
    fn a_namespace_is_its_own_namespace() {
        let namespace: core::Namespace = read(json!({"metadata": {"name": "shop"}}));
        assert_eq!(Object::<Namespace>::from(namespace).meta.key, ObjectKey::new("shop", "shop"));
    }
}
