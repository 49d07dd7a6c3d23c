//! Keeps the model as the watches' notes say, and tells when it is a world.

use std::collections::BTreeSet;

use ravelin_crds::ApiRouteSpec;
use ravelin_snapshot::ObjectKey;

use super::{
    Observed,
    gate::{Gate, Mark},
    schemas::Lacking,
    stream::{Seen, Told},
};
use crate::{
    model::{Model, Shelf},
    object::{AnyObject, Kind, Meta, Object, ObjectRef},
    publish::World,
};

/// One watch of one kind.
#[derive(Debug)]
pub(super) struct Track {
    kind: Kind,
    namespace: Option<String>,
    /// The objects of this watch that are in the model.
    keys: BTreeSet<ObjectKey>,
    /// While a list is under way: what it has named.
    listing: Option<BTreeSet<ObjectKey>>,
    complete: bool,
    /// The newest change that was shown, and the newest of an unfinished list.
    shown: u64,
    listed: u64,
}

impl Track {
    pub(super) fn new(kind: Kind, namespace: Option<String>) -> Self {
        let (keys, listing) = (BTreeSet::new(), None);
        Self { kind, namespace, keys, listing, complete: false, shown: 0, listed: 0 }
    }

    /// The name of its mark.
    fn name(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{}/{namespace}", self.kind),
            None => self.kind.to_string(),
        }
    }

    fn is_policy(&self) -> bool {
        matches!(self.kind, Kind::AuthPolicy | Kind::RateLimitPolicy)
    }
}

pub(super) struct Keeper {
    tracks: Vec<Track>,
    gate: Gate,
    model: Model,
    observed: Observed,
    /// Something of it is not in the last world.
    changed: bool,
    /// At the installed CRDs.
    looked: bool,
    whole: bool,
}

impl Keeper {
    pub(super) fn new(tracks: Vec<Track>) -> Self {
        let gate = Gate::new(tracks.iter().enumerate().filter(|(_, track)| track.is_policy()).map(|(index, _)| index));
        let (model, observed) = (Model::default(), Observed::default());
        Self { tracks, gate, model, observed, changed: true, looked: false, whole: false }
    }

    /// The watches of policies: number, kind and namespace.
    pub(super) fn policies(&self) -> impl Iterator<Item = (usize, Kind, Option<&str>)> {
        let policies = self.tracks.iter().enumerate().filter(|(_, track)| track.is_policy());
        policies.map(|(index, track)| (index, track.kind, track.namespace.as_deref()))
    }

    pub(super) fn note(&mut self, index: usize, told: Told) {
        let track = &mut self.tracks[index];
        match told {
            Told::Listing => (track.listing, track.listed) = (Some(BTreeSet::new()), 0),
            Told::Complete | Told::Unknown => {
                let named = track.listing.take().unwrap_or_default();
                let gone: Vec<_> = track.keys.difference(&named).cloned().collect();
                (track.keys, track.complete) = (named, true);
                let shown = track.listed;
                self.gate.relisted(index);
                for key in gone {
                    self.remove(index, key);
                }
                self.shown(index, shown);
            }
            Told::Is(seen) => {
                let meta = seen.object.meta();
                let version = meta.resource_version.unwrap_or_default();
                track.keys.insert(meta.key.clone());
                match &mut track.listing {
                    Some(named) => {
                        named.insert(meta.key.clone());
                        track.listed = track.listed.max(version);
                        self.set(*seen);
                    }
                    None => {
                        self.set(*seen);
                        self.shown(index, version);
                    }
                }
            }
            Told::Gone { key, version } => {
                track.keys.remove(&key);
                // A watch of another type may have shown a newer Secret of this name already.
                let newer = self.model.secrets.get(&key).is_some_and(|secret| secret.meta.resource_version > version);
                if track.kind != Kind::Secret || !newer {
                    self.remove(index, key);
                }
                self.shown(index, version.unwrap_or_default());
            }
        }
    }

    /// What the installed CRDs lack.
    pub(super) fn schemas(&mut self, lacking: Lacking) {
        (self.observed.lacking, self.looked, self.changed) = (lacking, true, true);
    }

    pub(super) fn mark(&mut self, index: usize, mark: Mark) {
        self.gate.mark(index, mark);
        self.release();
    }

    /// Whether routes wait that only a new look at the policies can let in.
    pub(super) fn asks(&self) -> bool {
        self.gate.asks() && self.tracks.iter().all(|track| track.complete)
    }

    /// The world, if it is complete and not the last one.
    pub(super) fn world(&mut self) -> Option<World> {
        if !self.whole {
            // The first world has all routes that were there: none waits.
            self.whole = self.looked && self.gate.is_open() && self.tracks.iter().all(|track| track.complete);
        }
        if !self.whole || !std::mem::take(&mut self.changed) {
            return None;
        }
        Some(World { model: self.model.clone(), observed: self.observed.clone(), ..World::default() })
    }

    fn shown(&mut self, index: usize, version: u64) {
        let track = &mut self.tracks[index];
        track.shown = track.shown.max(version);
        if track.is_policy() {
            let shown = track.shown;
            self.gate.shown(index, shown);
            self.release();
        }
        if self.tracks[index].kind.is_ours() {
            self.set_mark(index);
        }
    }

    /// The model has all up to what was shown, but for routes that wait.
    fn set_mark(&mut self, index: usize) {
        let track = &self.tracks[index];
        let waiting = self.gate.oldest().filter(|_| track.kind == Kind::ApiRoute);
        let version = waiting.map_or(track.shown, |oldest| track.shown.min(oldest.saturating_sub(1)));
        if self.observed.marks.of(track.kind, track.namespace.as_deref().unwrap_or_default()).map(|(_, at)| at)
            != Some(version)
        {
            self.observed.marks.set(track.name(), version);
            self.changed = true;
        }
    }

    fn release(&mut self) {
        let released = self.gate.release();
        if released.is_empty() {
            return;
        }
        for route in released {
            self.model.set(AnyObject::ApiRoute(route));
        }
        self.changed = true;
        let routes: Vec<_> = (0..self.tracks.len()).filter(|i| self.tracks[*i].kind == Kind::ApiRoute).collect();
        for index in routes {
            self.set_mark(index);
        }
    }

    fn set(&mut self, seen: Seen) {
        let Seen { object, written } = seen;
        let reference = object.reference();
        if reference.kind.is_ours() {
            self.observed.written.set(reference.clone(), written.unwrap_or_default());
            self.changed = true;
        }
        // An echo of our own status is no change: the model keeps the version at which it saw what the user said.
        if is_known(&self.model, &object) {
            if reference.kind == Kind::ApiRoute {
                self.gate.forget(&reference.key);
            }
            return;
        }
        self.changed = true;
        match object {
            AnyObject::ApiRoute(route) if self.is_new(&route) => {
                if let Some(route) = self.gate.admit(route) {
                    self.model.set(AnyObject::ApiRoute(route));
                }
            }
            object => self.model.set(object),
        }
    }

    /// Whether the route says something that policies have to be as new as.
    fn is_new(&self, route: &Object<ApiRouteSpec>) -> bool {
        let old = self.model.routes.get(&route.meta.key);
        old.is_none_or(|old| {
            old.spec != route.spec || old.faults != route.faults || old.meta.created != route.meta.created
        })
    }

    fn remove(&mut self, index: usize, key: ObjectKey) {
        let reference = ObjectRef::new(self.tracks[index].kind, key);
        if reference.kind == Kind::ApiRoute {
            self.gate.forget(&reference.key);
        }
        self.observed.written.remove(&reference);
        self.model.remove(&reference);
        self.changed = true;
    }
}

/// Whether the model has the object already, but for its version.
fn is_known(model: &Model, object: &AnyObject) -> bool {
    fn same<S: PartialEq>(shelf: &Shelf<ObjectKey, Object<S>>, new: &Object<S>) -> bool {
        shelf.get(&new.meta.key).is_some_and(|old| {
            let meta = Meta { resource_version: old.meta.resource_version, ..new.meta.clone() };
            old.meta == meta && old.spec == new.spec && old.faults == new.faults
        })
    }
    match object {
        AnyObject::ApiRoute(new) => same(&model.routes, new),
        AnyObject::Backend(new) => same(&model.backends, new),
        AnyObject::BackendPolicy(new) => same(&model.backend_policies, new),
        AnyObject::AuthPolicy(new) => same(&model.auth_policies, new),
        AnyObject::RateLimitPolicy(new) => same(&model.rate_limit_policies, new),
        AnyObject::Plan(new) => same(&model.plans, new),
        AnyObject::Service(new) => same(&model.services, new),
        AnyObject::EndpointSlice(new) => same(&model.endpoint_slices, new),
        AnyObject::Secret(new) => same(&model.secrets, new),
        AnyObject::ConfigMap(new) => same(&model.config_maps, new),
        AnyObject::Namespace(new) => same(&model.namespaces, new),
        AnyObject::ReferenceGrant(new) => same(&model.grants, new),
    }
}

#[cfg(test)]
mod tests;
