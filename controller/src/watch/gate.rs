//! No open door in between: watches of different kinds are not ordered, so a policy that was applied before its route
//! may be seen after it. A route whose spec is new waits until the policy watches are known to be as new as it is.
//!
//! How that is known: a consistent list of the policies' metadata, asked for after the route was seen, is at least as
//! new as the route. A watch that has shown the newest policy in that list has shown all of them, for a watch tells
//! changes in their order. So the list is the mark, and nothing waits for a periodic bookmark.

use std::collections::BTreeMap;

use ravelin_crds::ApiRouteSpec;
use ravelin_snapshot::ObjectKey;

use crate::object::Object;

/// What a consistent list of one policy watch's objects said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Of the list: it holds all that was written until then.
    pub at: u64,
    /// The newest object in it; 0 is none.
    pub newest: u64,
}

/// The routes that wait, and how new the policies are known to be.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// The latest form of each.
    held: BTreeMap<ObjectKey, Object<ApiRouteSpec>>,
    policies: BTreeMap<usize, Policies>,
}

#[derive(Debug, Default)]
struct Policies {
    /// The newest change that its watch has shown.
    shown: u64,
    /// It is as new as this, although its watch had nothing to show.
    known: u64,
    /// Counts as soon as its watch has shown what it names.
    mark: Option<Mark>,
}

impl Gate {
    /// `tracks`: the policy watches.
    pub(super) fn new(tracks: impl IntoIterator<Item = usize>) -> Self {
        let policies = tracks.into_iter().map(|track| (track, Policies::default())).collect();
        Self { held: BTreeMap::new(), policies }
    }

    /// A route whose spec is new. It comes back from here or, later, from [`Gate::release`].
    pub(super) fn admit(&mut self, route: Object<ApiRouteSpec>) -> Option<Object<ApiRouteSpec>> {
        let key = route.meta.key.clone();
        if version(&route) <= self.as_new_as() {
            self.held.remove(&key);
            return Some(route);
        }
        self.held.insert(key, route);
        None
    }

    /// A route that is gone, or is again what the model has.
    pub(super) fn forget(&mut self, route: &ObjectKey) {
        self.held.remove(route);
    }

    /// A policy watch has shown all changes up to this one.
    pub(super) fn shown(&mut self, track: usize, version: u64) {
        if let Some(policies) = self.policies.get_mut(&track) {
            policies.shown = policies.shown.max(version);
            policies.settle();
        }
    }

    pub(super) fn mark(&mut self, track: usize, mark: Mark) {
        if let Some(policies) = self.policies.get_mut(&track) {
            policies.mark = Some(mark);
            policies.settle();
        }
    }

    /// A policy watch begins anew: its list need not show what a mark names, if that is gone meanwhile.
    pub(super) fn relisted(&mut self, track: usize) {
        if let Some(policies) = self.policies.get_mut(&track) {
            policies.mark = None;
        }
    }

    /// The routes that need not wait any longer.
    pub(super) fn release(&mut self) -> Vec<Object<ApiRouteSpec>> {
        let as_new_as = self.as_new_as();
        self.held.extract_if(.., |_, route| version(route) <= as_new_as).map(|(_, route)| route).collect()
    }

    /// Whether only another list can let the rest go.
    pub(super) fn asks(&self) -> bool {
        !self.held.is_empty() && self.policies.values().all(|policies| policies.mark.is_none())
    }

    pub(super) fn is_open(&self) -> bool {
        self.held.is_empty()
    }

    /// The oldest change that waits: what is shown of routes from there on is not in the model yet.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.held.values().map(version).min()
    }

    fn as_new_as(&self) -> u64 {
        self.policies.values().map(|policies| policies.shown.max(policies.known)).min().unwrap_or_default()
    }
}

impl Policies {
    fn settle(&mut self) {
        if let Some(mark) = self.mark.take_if(|mark| mark.newest <= self.shown) {
            self.known = self.known.max(mark.at);
        }
    }
}

/// A version that is no number cannot be compared: its route waits for ever rather than being open.
fn version(route: &Object<ApiRouteSpec>) -> u64 {
    route.meta.resource_version.unwrap_or(u64::MAX)
}
