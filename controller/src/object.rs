//! Objects as users wrote them, without what the compiler does not read.

mod prune;

use std::{collections::BTreeMap, fmt};

use ravelin_crds::{
    ApiRouteSpec, AuthPolicySpec, BackendPolicySpec, BackendSpec, PlanSpec, RateLimitPolicySpec, ReferenceGrantSpec,
};
use ravelin_snapshot::{ObjectKey, Secret as Hidden};
use serde::Serialize;

pub use prune::DEFAULT_NAMESPACE;
pub(crate) use prune::{OCSP_STAPLE, drop_others_values};

/// The kinds that the controller reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Kind {
    ApiRoute,
    Backend,
    BackendPolicy,
    AuthPolicy,
    RateLimitPolicy,
    Plan,
    Service,
    EndpointSlice,
    Secret,
    ConfigMap,
    Namespace,
    ReferenceGrant,
}

impl Kind {
    pub const ALL: [Self; 12] = [
        Self::ApiRoute,
        Self::Backend,
        Self::BackendPolicy,
        Self::AuthPolicy,
        Self::RateLimitPolicy,
        Self::Plan,
        Self::Service,
        Self::EndpointSlice,
        Self::Secret,
        Self::ConfigMap,
        Self::Namespace,
        Self::ReferenceGrant,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::ApiRoute => "ApiRoute",
            Self::Backend => "Backend",
            Self::BackendPolicy => "BackendPolicy",
            Self::AuthPolicy => "AuthPolicy",
            Self::RateLimitPolicy => "RateLimitPolicy",
            Self::Plan => "Plan",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
            Self::Namespace => "Namespace",
            Self::ReferenceGrant => "ReferenceGrant",
        }
    }

    /// Of `apiVersion`, without the version; empty is the core group.
    pub fn group(self) -> &'static str {
        match self {
            Self::ApiRoute
            | Self::Backend
            | Self::BackendPolicy
            | Self::AuthPolicy
            | Self::RateLimitPolicy
            | Self::Plan => ravelin_crds::GROUP,
            Self::Service | Self::Secret | Self::ConfigMap | Self::Namespace => "",
            Self::EndpointSlice => "discovery.k8s.io",
            Self::ReferenceGrant => "gateway.networking.k8s.io",
        }
    }

    /// Kinds of ours have statuses.
    pub fn is_ours(self) -> bool {
        self.group() == ravelin_crds::GROUP
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One object's name. A Namespace has itself as its namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ObjectRef {
    pub kind: Kind,
    #[serde(flatten)]
    pub key: ObjectKey,
}

impl ObjectRef {
    pub fn new(kind: Kind, key: ObjectKey) -> Self {
        Self { kind, key }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.key)
    }
}

/// An object: what it is called, what its user said, and what of that could not be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Object<S> {
    pub meta: Meta,
    /// What could be read; the default where nothing could.
    pub spec: S,
    /// What could not be read: an unknown field, a wrong type. The compiler closes or breaks what they touch, it never
    /// reads around them. Files are the usual source: an API server refuses such objects or drops the field. An element of a
    /// list that cannot be read leaves its place to a default, or takes the whole list with it: indices stay true.
    pub faults: Vec<Fault>,
}

/// Something in an object that has no meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// As `spec.rules[2].filters[0].urlRewrite`.
    pub field: String,
    pub message: String,
    pub remedy: String,
}

/// What of an object's metadata is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    pub key: ObjectKey,
    /// Seconds since the epoch; absent is newest.
    pub created: Option<i64>,
    /// What conditions speak of; 0 in files.
    pub generation: i64,
    /// Opaque but for equality and, since Kubernetes 1.35, order; `None` in files.
    pub resource_version: Option<u64>,
    pub labels: BTreeMap<String, String>,
}

/// A Service, as far as backends need it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    pub ports: Vec<ServicePort>,
    /// `type: ExternalName`: it has no endpoints that we may follow.
    pub external_name: Option<String>,
}

/// A port of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServicePort {
    /// Empty if it is the only one and has none. EndpointSlices name their ports so.
    pub name: String,
    pub port: u16,
    pub app_protocol: Option<String>,
    /// UDP and SCTP ports are no backends.
    pub tcp: bool,
}

/// An EndpointSlice of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointSlice {
    /// From the label `kubernetes.io/service-name`; empty is no Service's.
    pub service: String,
    pub endpoints: Vec<SliceEndpoint>,
    /// Name and number of each TCP port.
    pub ports: Vec<(String, u16)>,
}

/// A pod, or whatever else answers for a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// The first address counts (all are the same pod's).
    pub addresses: Vec<String>,
    /// Absent counts as true (Kubernetes' own reading).
    pub ready: bool,
    pub serving: bool,
    pub terminating: bool,
}

/// A Secret. Its values show themselves to nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secret {
    pub type_: String,
    /// Decoded from base64; values that are not UTF-8 are not kept, and their keys are in `binary`; but an OCSP staple stays in base64.
    pub data: BTreeMap<String, Hidden>,
    pub binary: Vec<String>,
}

/// A ConfigMap: only key sets of issuers and authorities of certificates are looked for in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigMap {
    pub data: BTreeMap<String, String>,
}

/// A Namespace: that it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {}

/// Any object, on its way from a source into the model.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "it lives for as long as it takes to put it into the model")]
pub enum AnyObject {
    ApiRoute(Object<ApiRouteSpec>),
    Backend(Object<BackendSpec>),
    BackendPolicy(Object<BackendPolicySpec>),
    AuthPolicy(Object<AuthPolicySpec>),
    RateLimitPolicy(Object<RateLimitPolicySpec>),
    Plan(Object<PlanSpec>),
    Service(Object<Service>),
    EndpointSlice(Object<EndpointSlice>),
    Secret(Object<Secret>),
    ConfigMap(Object<ConfigMap>),
    Namespace(Object<Namespace>),
    ReferenceGrant(Object<ReferenceGrantSpec>),
}

impl AnyObject {
    pub fn kind(&self) -> Kind {
        match self {
            Self::ApiRoute(_) => Kind::ApiRoute,
            Self::Backend(_) => Kind::Backend,
            Self::BackendPolicy(_) => Kind::BackendPolicy,
            Self::AuthPolicy(_) => Kind::AuthPolicy,
            Self::RateLimitPolicy(_) => Kind::RateLimitPolicy,
            Self::Plan(_) => Kind::Plan,
            Self::Service(_) => Kind::Service,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Secret(_) => Kind::Secret,
            Self::ConfigMap(_) => Kind::ConfigMap,
            Self::Namespace(_) => Kind::Namespace,
            Self::ReferenceGrant(_) => Kind::ReferenceGrant,
        }
    }

    pub fn meta(&self) -> &Meta {
        match self {
            Self::ApiRoute(object) => &object.meta,
            Self::Backend(object) => &object.meta,
            Self::BackendPolicy(object) => &object.meta,
            Self::AuthPolicy(object) => &object.meta,
            Self::RateLimitPolicy(object) => &object.meta,
            Self::Plan(object) => &object.meta,
            Self::Service(object) => &object.meta,
            Self::EndpointSlice(object) => &object.meta,
            Self::Secret(object) => &object.meta,
            Self::ConfigMap(object) => &object.meta,
            Self::Namespace(object) => &object.meta,
            Self::ReferenceGrant(object) => &object.meta,
        }
    }

    pub fn reference(&self) -> ObjectRef {
        ObjectRef::new(self.kind(), self.meta().key.clone())
    }
}
