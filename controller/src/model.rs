//! All objects at one instant: immutable once handed on, cheap to copy, cheap to compare with the one before.

mod shelf;

use std::time::{SystemTime, UNIX_EPOCH};

use ravelin_crds::{
    ApiRouteSpec, AuthPolicySpec, BackendPolicySpec, BackendSpec, PlanSpec, RateLimitPolicySpec, ReferenceGrantSpec,
};
use ravelin_snapshot::{ObjectKey, certificate::Certificate};

use crate::object::{AnyObject, ConfigMap, EndpointSlice, Kind, Namespace, Object, ObjectRef, Secret, Service};
pub use shelf::{Shelf, ShelfChange};

/// One shelf a kind.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub routes: Shelf<ObjectKey, Object<ApiRouteSpec>>,
    pub backends: Shelf<ObjectKey, Object<BackendSpec>>,
    pub backend_policies: Shelf<ObjectKey, Object<BackendPolicySpec>>,
    pub auth_policies: Shelf<ObjectKey, Object<AuthPolicySpec>>,
    pub rate_limit_policies: Shelf<ObjectKey, Object<RateLimitPolicySpec>>,
    pub plans: Shelf<ObjectKey, Object<PlanSpec>>,
    pub services: Shelf<ObjectKey, Object<Service>>,
    pub endpoint_slices: Shelf<ObjectKey, Object<EndpointSlice>>,
    pub secrets: Shelf<ObjectKey, Object<Secret>>,
    pub config_maps: Shelf<ObjectKey, Object<ConfigMap>>,
    /// Those in files, for a dump of a cluster has them. Nothing is computed from them, and an API server is not asked for them.
    pub namespaces: Shelf<ObjectKey, Object<Namespace>>,
    pub grants: Shelf<ObjectKey, Object<ReferenceGrantSpec>>,
    /// What Secrets held that are broken or gone by now. No source says it: whoever compiles remembers it.
    pub kept_certificates: Shelf<ObjectKey, Certificate>,
    /// Seconds since the epoch: when all this is so. Without it nothing is said of what depends on time.
    pub clock: Option<i64>,
}

impl Model {
    /// The same at a moment.
    pub fn at(self, now: SystemTime) -> Self {
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self { clock: Some(i64::try_from(seconds).unwrap_or(i64::MAX)), ..self }
    }

    /// Puts an object in its place. One that equals what is there is not a change.
    pub fn set(&mut self, object: AnyObject) {
        let key = object.meta().key.clone();
        match object {
            AnyObject::ApiRoute(object) => self.routes.set(key, object),
            AnyObject::Backend(object) => self.backends.set(key, object),
            AnyObject::BackendPolicy(object) => self.backend_policies.set(key, object),
            AnyObject::AuthPolicy(object) => self.auth_policies.set(key, object),
            AnyObject::RateLimitPolicy(object) => self.rate_limit_policies.set(key, object),
            AnyObject::Plan(object) => self.plans.set(key, object),
            AnyObject::Service(object) => self.services.set(key, object),
            AnyObject::EndpointSlice(object) => self.endpoint_slices.set(key, object),
            AnyObject::Secret(object) => self.secrets.set(key, object),
            AnyObject::ConfigMap(object) => self.config_maps.set(key, object),
            AnyObject::Namespace(object) => self.namespaces.set(key, object),
            AnyObject::ReferenceGrant(object) => self.grants.set(key, object),
        }
    }

    /// Whether the object is there, equal in all.
    pub fn holds(&self, object: &AnyObject) -> bool {
        fn is<S: PartialEq>(shelf: &Shelf<ObjectKey, Object<S>>, object: &Object<S>) -> bool {
            shelf.get(&object.meta.key).is_some_and(|there| **there == *object)
        }
        match object {
            AnyObject::ApiRoute(object) => is(&self.routes, object),
            AnyObject::Backend(object) => is(&self.backends, object),
            AnyObject::BackendPolicy(object) => is(&self.backend_policies, object),
            AnyObject::AuthPolicy(object) => is(&self.auth_policies, object),
            AnyObject::RateLimitPolicy(object) => is(&self.rate_limit_policies, object),
            AnyObject::Plan(object) => is(&self.plans, object),
            AnyObject::Service(object) => is(&self.services, object),
            AnyObject::EndpointSlice(object) => is(&self.endpoint_slices, object),
            AnyObject::Secret(object) => is(&self.secrets, object),
            AnyObject::ConfigMap(object) => is(&self.config_maps, object),
            AnyObject::Namespace(object) => is(&self.namespaces, object),
            AnyObject::ReferenceGrant(object) => is(&self.grants, object),
        }
    }

    /// A copy of the object of that name.
    pub fn get(&self, object: &ObjectRef) -> Option<AnyObject> {
        fn copy<S: Clone + PartialEq>(shelf: &Shelf<ObjectKey, Object<S>>, key: &ObjectKey) -> Option<Object<S>> {
            shelf.get(key).map(|object| Object::clone(object))
        }
        let key = &object.key;
        match object.kind {
            Kind::ApiRoute => copy(&self.routes, key).map(AnyObject::ApiRoute),
            Kind::Backend => copy(&self.backends, key).map(AnyObject::Backend),
            Kind::BackendPolicy => copy(&self.backend_policies, key).map(AnyObject::BackendPolicy),
            Kind::AuthPolicy => copy(&self.auth_policies, key).map(AnyObject::AuthPolicy),
            Kind::RateLimitPolicy => copy(&self.rate_limit_policies, key).map(AnyObject::RateLimitPolicy),
            Kind::Plan => copy(&self.plans, key).map(AnyObject::Plan),
            Kind::Service => copy(&self.services, key).map(AnyObject::Service),
            Kind::EndpointSlice => copy(&self.endpoint_slices, key).map(AnyObject::EndpointSlice),
            Kind::Secret => copy(&self.secrets, key).map(AnyObject::Secret),
            Kind::ConfigMap => copy(&self.config_maps, key).map(AnyObject::ConfigMap),
            Kind::Namespace => copy(&self.namespaces, key).map(AnyObject::Namespace),
            Kind::ReferenceGrant => copy(&self.grants, key).map(AnyObject::ReferenceGrant),
        }
    }

    pub fn remove(&mut self, object: &ObjectRef) {
        let key = &object.key;
        match object.kind {
            Kind::ApiRoute => self.routes.remove(key),
            Kind::Backend => self.backends.remove(key),
            Kind::BackendPolicy => self.backend_policies.remove(key),
            Kind::AuthPolicy => self.auth_policies.remove(key),
            Kind::RateLimitPolicy => self.rate_limit_policies.remove(key),
            Kind::Plan => self.plans.remove(key),
            Kind::Service => self.services.remove(key),
            Kind::EndpointSlice => self.endpoint_slices.remove(key),
            Kind::Secret => self.secrets.remove(key),
            Kind::ConfigMap => self.config_maps.remove(key),
            Kind::Namespace => self.namespaces.remove(key),
            Kind::ReferenceGrant => self.grants.remove(key),
        }
    }
}
