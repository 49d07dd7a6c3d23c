//! From objects that changed to what is marked to be computed again; the indexes follow on the way.

use std::{collections::BTreeSet, sync::Arc};

use ravelin_crds::ApiRouteSpec;
use ravelin_snapshot::{HostPattern, ObjectKey};

use super::Work;
use crate::{
    compile::{
        attach::Seniority,
        auth::keys,
        graph::{Fact, Unit},
        index::{Index, seniority},
        route,
    },
    model::{Model, Shelf, ShelfChange},
    object::Object,
};

impl Work<'_> {
    pub(super) fn follow(&mut self, before: &Model) {
        let model = self.model;
        self.follow_slices(before);
        self.follow_routes(before);
        self.follow_secrets(before);
        for change in model.backends.changes(&before.backends) {
            self.dirty.insert(Unit::BackendObject(change.key.clone()));
            self.fire(&Fact::BackendObject(change.key.clone()));
        }
        for change in model.services.changes(&before.services) {
            self.fire(&Fact::Service(change.key.clone()));
        }
        for change in model.config_maps.changes(&before.config_maps) {
            self.fire(&Fact::ConfigMap(change.key.clone()));
        }
        for change in model.grants.changes(&before.grants) {
            let namespace = &change.key.namespace;
            match change.after {
                Some(_) => self.index.grants.insert(namespace.clone(), change.key.clone()),
                None => self.index.grants.remove(namespace, change.key),
            }
            self.fire(&Fact::Grants(namespace.clone()));
        }
        for moment in self.graph.moments(before.clock, model.clock) {
            self.fire(&Fact::Moment(moment));
        }
        self.mark(&model.backend_policies, &before.backend_policies, Unit::BackendPolicy);
        self.mark(&model.auth_policies, &before.auth_policies, Unit::AuthPolicy);
        self.mark(&model.rate_limit_policies, &before.rate_limit_policies, Unit::RateLimitPolicy);
        self.mark(&model.plans, &before.plans, Unit::Plan);
    }

    fn mark<S: PartialEq>(
        &mut self,
        now: &Shelf<ObjectKey, Object<S>>,
        before: &Shelf<ObjectKey, Object<S>>,
        unit: impl Fn(ObjectKey) -> Unit,
    ) {
        self.dirty.extend(now.changes(before).map(|change: ShelfChange<'_, _, _>| unit(change.key.clone())));
    }

    fn follow_slices(&mut self, before: &Model) {
        let model = self.model;
        for change in model.endpoint_slices.changes(&before.endpoint_slices) {
            let service = |service: &str| ObjectKey::new(&change.key.namespace, service);
            if let Some(old) = change.before {
                self.index.slices.remove(&service(&old.spec.service), change.key);
                self.fire(&Fact::Slices(service(&old.spec.service)));
            }
            if let Some(new) = change.after {
                self.index.slices.insert(service(&new.spec.service), change.key.clone());
                self.fire(&Fact::Slices(service(&new.spec.service)));
            }
        }
    }

    fn follow_routes(&mut self, before: &Model) {
        let model = self.model;
        for change in model.routes.changes(&before.routes) {
            let claims = |object: Option<&Arc<Object<ApiRouteSpec>>>| -> BTreeSet<(HostPattern, Seniority)> {
                let object = object.into_iter();
                object.flat_map(|is| route::host::claims(is).map(|host| (host, seniority(&is.meta)))).collect()
            };
            let (old, new) = (claims(change.before), claims(change.after));
            for (host, was) in old.difference(&new) {
                self.reclaim(host, |claims| claims.remove(host, was));
            }
            for (host, is) in new.difference(&old) {
                self.reclaim(host, |claims| claims.insert(host.clone(), is.clone()));
            }
            self.dirty.insert(Unit::Route(change.key.clone()));
            self.fire(&Fact::Rules(change.key.clone()));
        }
    }

    /// Nobody asks for more than the most senior claim: one behind it changes nothing for anybody else.
    fn reclaim(&mut self, host: &HostPattern, change: impl FnOnce(&mut Index<HostPattern, Seniority>)) {
        let before = self.index.claims.get(host).next().cloned();
        change(&mut self.index.claims);
        if self.index.claims.get(host).next() != before.as_ref() {
            self.fire(&Fact::Claim(host.clone()));
        }
    }

    fn follow_secrets(&mut self, before: &Model) {
        let model = self.model;
        for change in model.kept_certificates.changes(&before.kept_certificates) {
            self.fire(&Fact::Secret(change.key.clone()));
        }
        for change in model.secrets.changes(&before.secrets) {
            self.fire(&Fact::Secret(change.key.clone()));
            let is_key = |secret: &Object<_>| keys::is_one(secret);
            let namespace = &change.key.namespace;
            let (was, is) = (change.before.is_some_and(|s| is_key(s)), change.after.is_some_and(|s| is_key(s)));
            match (was, is) {
                (false, false) => continue,
                (_, true) => self.index.keys.insert(namespace.clone(), change.key.clone()),
                (true, false) => self.index.keys.remove(namespace, change.key),
            }
            self.dirty.insert(Unit::Key(change.key.clone()));
        }
    }
}
