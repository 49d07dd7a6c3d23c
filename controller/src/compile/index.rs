//! The model by other keys than its own: whose slices, whose policies, who names a host.

use std::{
    borrow::Borrow,
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

use ravelin_snapshot::{Digest, HostPattern, ObjectKey, backend::BackendKind};

use super::{
    attach::{Attachments, Seniority},
    route::place::Claimant,
};
use crate::object::Meta;

/// Many to many, one way.
#[derive(Debug)]
pub(super) struct Index<K, V>(HashMap<K, BTreeSet<V>, foldhash::fast::RandomState>);

impl<K: Eq + Hash, V: Ord> Index<K, V> {
    pub(super) fn insert(&mut self, key: K, value: V) {
        self.0.entry(key).or_default().insert(value);
    }

    pub(super) fn remove(&mut self, key: &K, value: &V) {
        if let Some(values) = self.0.get_mut(key) {
            values.remove(value);
            if values.is_empty() {
                self.0.remove(key);
            }
        }
    }

    /// In order.
    pub(super) fn get<'a, Q: Eq + Hash + ?Sized>(&'a self, key: &Q) -> impl Iterator<Item = &'a V> + use<'a, K, V, Q>
    where
        K: Borrow<Q>,
    {
        self.0.get(key).into_iter().flatten()
    }
}

impl<K, V> Default for Index<K, V> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

/// Kept up to date with the model.
#[derive(Debug, Default)]
pub(super) struct Indexes {
    /// Slices by their Service.
    pub(super) slices: Index<ObjectKey, ObjectKey>,
    /// ReferenceGrants by their namespace.
    pub(super) grants: Index<String, ObjectKey>,
    /// Secrets of the type of API keys, by their namespace.
    pub(super) api_keys: Index<String, ObjectKey>,
    /// Routes by the hostnames that they name, the most senior first.
    pub(super) claims: Index<HostPattern, Seniority>,
    /// Matches of routes by where they stand.
    pub(super) places: Index<Digest, Claimant>,
    /// AuthPolicies by their targets.
    pub(super) auth: Attachments,
    /// RateLimitPolicies by their targets.
    pub(super) limits: Attachments,
    /// BackendPolicies by their targets.
    pub(super) backend_policies: Index<(BackendKind, ObjectKey), ObjectKey>,
}

/// The order of age: the oldest is first, an object without a time last; then by name.
pub(super) fn seniority(meta: &Meta) -> Seniority {
    (meta.created.unwrap_or(i64::MAX), meta.key.clone())
}
