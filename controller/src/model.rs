//! All objects at one instant: immutable once handed on, cheap to copy, cheap to compare with the one before.

mod shelf;

use ravelin_crds::{
    ApiRouteSpec, AuthPolicySpec, BackendPolicySpec, BackendSpec, PlanSpec, RateLimitPolicySpec, ReferenceGrantSpec,
};
use ravelin_snapshot::ObjectKey;

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
    pub namespaces: Shelf<ObjectKey, Object<Namespace>>,
    pub grants: Shelf<ObjectKey, Object<ReferenceGrantSpec>>,
}

impl Model {
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
