//! The model by other keys than its own: whose slices, whose policies, who names a host.

use std::{
    borrow::Borrow,
    collections::{BTreeSet, HashMap, hash_map::Entry},
    hash::Hash,
};

use ravelin_snapshot::{HostPattern, ObjectKey, backend::BackendKind};

use super::{
    attach::{Attachments, Seniority},
    route::place::{Claimant, Spot},
};
use crate::object::Meta;

/// Many to many, one way.
#[derive(Debug)]
pub(super) struct Index<K, V>(HashMap<K, Values<V>, foldhash::fast::RandomState>);

/// Never empty. Most keys have one value, and a set of one is ten times as large.
#[derive(Debug)]
enum Values<V> {
    One(V),
    Many(BTreeSet<V>),
}

impl<K: Eq + Hash, V: Ord> Index<K, V> {
    pub(super) fn insert(&mut self, key: K, value: V) {
        match self.0.entry(key) {
            Entry::Vacant(place) => drop(place.insert(Values::One(value))),
            Entry::Occupied(mut place) => match place.get_mut() {
                Values::One(one) if *one == value => {}
                Values::Many(many) => drop(many.insert(value)),
                one @ Values::One(_) => {
                    let first = std::mem::replace(one, Values::Many(BTreeSet::new()));
                    *one = Values::Many(first.into_iter().chain([value]).collect());
                }
            },
        }
    }

    pub(super) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q, value: &V)
    where
        K: Borrow<Q>,
    {
        let is_last = match self.0.get_mut(key) {
            None => return,
            Some(Values::One(one)) => one == value,
            Some(Values::Many(many)) => {
                many.remove(value);
                many.is_empty()
            }
        };
        if is_last {
            self.0.remove(key);
        }
    }

    /// In order.
    pub(super) fn get<'a, Q: Eq + Hash + ?Sized>(&'a self, key: &Q) -> impl Iterator<Item = &'a V> + use<'a, K, V, Q>
    where
        K: Borrow<Q>,
    {
        let (one, many) = match self.0.get(key) {
            None => (None, None),
            Some(Values::One(one)) => (Some(one), None),
            Some(Values::Many(many)) => (None, Some(many)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// The key itself, if it has a value.
    pub(super) fn key<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&K>
    where
        K: Borrow<Q>,
    {
        self.0.get_key_value(key).map(|(key, _)| key)
    }
}

impl<V: Ord> Values<V> {
    fn into_iter(self) -> impl Iterator<Item = V> {
        let (one, many) = match self {
            Self::One(one) => (Some(one), None),
            Self::Many(many) => (None, Some(many)),
        };
        one.into_iter().chain(many.into_iter().flatten())
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
    /// Secrets that are keys of callers, by their namespace.
    pub(super) keys: Index<String, ObjectKey>,
    /// Routes by the hostnames that they name, the most senior first.
    pub(super) claims: Index<HostPattern, Seniority>,
    /// Matches of routes by where they stand.
    pub(super) places: Index<Spot, Claimant>,
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
