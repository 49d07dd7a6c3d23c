//! What is said on the wire, and how a snapshot is taken apart for it and put together again.
//!
//! Each side first says its [`Preface`]. The data plane then says what it holds ([`ToController::Hello`] and `Holds`),
//! the controller makes an offer (`Begin`, what differs, `Commit`), and no other before that one is answered.

use std::{collections::HashMap, fmt, hash::Hash, sync::Arc};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{
    Digest, ObjectKey, Part, Parts, PolicyKey, Revision, Snapshot,
    auth::AuthPolicy,
    backend::{Backend, BackendKey},
    certificate::Certificate,
    part::decode,
    rate_limit::RateLimitPolicy,
    route::Route,
};

use super::{Refusal, delivery::Name};

/// The first frame each way; other fields are let pass, so that any two versions can tell each other apart.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Preface {
    pub ravelin_snapshot: u32,
}

/// Goes up with every change of a frame or of a part's form.
pub(super) const PREFACE: Preface = Preface { ravelin_snapshot: crate::FORM };

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum ToController {
    /// `parts` of them follow in `Holds`.
    Hello {
        serving: Option<Name>,
        seen: Option<Name>,
        parts: u64,
    },
    Holds(Vec<(PartKey, Digest)>),
    Accept(Name),
    Refuse {
        name: Name,
        refusal: Refusal,
    },
    /// The offer does not fit what is held: say it all again, from nothing.
    Resync(Revision),
}

/// `V` is a [`Value`] on its way out and raw text on its way in, so that the digest is of the bytes that travelled.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum ToDataPlane<V> {
    /// What follows is the difference between the snapshot of digest `base` (nothing, if absent) and that of `name`.
    Begin {
        name: Name,
        base: Option<Digest>,
    },
    Put {
        key: PartKey,
        digest: Digest,
        value: V,
    },
    Remove(PartKey),
    Commit(Revision),
    /// Forget the offer.
    Abort(Revision),
}

/// Without values: they may be secret.
impl<V> fmt::Debug for ToDataPlane<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin { name, base } => write!(f, "Begin({name:?}, {base:?})"),
            Self::Put { key, digest, .. } => write!(f, "Put({key}, {digest})"),
            Self::Remove(key) => write!(f, "Remove({key})"),
            Self::Commit(revision) => write!(f, "Commit({revision})"),
            Self::Abort(revision) => write!(f, "Abort({revision})"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum PartKey {
    Route(ObjectKey),
    Backend(BackendKey),
    Auth(PolicyKey),
    Limits(PolicyKey),
    Certificate(ObjectKey),
}

impl fmt::Display for PartKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route(key) => write!(f, "route {key}"),
            Self::Backend(key) => write!(f, "backend {key}"),
            Self::Auth(key) => write!(f, "AuthPolicy {key}"),
            Self::Limits(key) => write!(f, "RateLimitPolicy {key}"),
            Self::Certificate(key) => write!(f, "certificate {key}"),
        }
    }
}

#[derive(Clone, Copy, Serialize)]
#[serde(untagged)]
pub(super) enum Value<'a> {
    Route(&'a Route),
    Backend(&'a Backend),
    Auth(&'a AuthPolicy),
    Limits(&'a RateLimitPolicy),
    Certificate(&'a Certificate),
}

/// What the controller knows of the snapshot that the data plane holds.
pub(super) enum Held {
    Nothing,
    /// As it said itself.
    Digests(Digest, HashMap<PartKey, Digest>),
    /// As it was last offered.
    Offered(Arc<Snapshot>),
}

impl Held {
    pub(super) fn digest(&self) -> Option<Digest> {
        match self {
            Self::Nothing => None,
            Self::Digests(digest, _) => Some(*digest),
            Self::Offered(snapshot) => Some(snapshot.digest()),
        }
    }

    /// What makes `new` of what is held, in the order of the keys.
    pub(super) fn changes<'a>(&self, new: &'a Snapshot) -> Vec<ToDataPlane<Value<'a>>> {
        let mut changes = Changes { held: self, new, found: Vec::new() };
        changes.look(|s| &s.routes, PartKey::Route, Value::Route);
        changes.look(|s| &s.backends, PartKey::Backend, Value::Backend);
        changes.look(|s| &s.auth, PartKey::Auth, Value::Auth);
        changes.look(|s| &s.limits, PartKey::Limits, Value::Limits);
        changes.look(|s| &s.certificates, PartKey::Certificate, Value::Certificate);
        if let Self::Digests(_, digests) = self {
            let gone = digests.keys().filter(|key| digest_of(new, key).is_none());
            changes.found.extend(gone.map(|key| (key.clone(), ToDataPlane::Remove(key.clone()))));
        }
        changes.found.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        changes.found.into_iter().map(|(_, change)| change).collect()
    }
}

struct Changes<'h, 'a> {
    held: &'h Held,
    new: &'a Snapshot,
    found: Vec<(PartKey, ToDataPlane<Value<'a>>)>,
}

impl<'a> Changes<'_, 'a> {
    fn look<K, T>(
        &mut self,
        pick: for<'s> fn(&'s Snapshot) -> &'s Parts<K, T>,
        name: fn(K) -> PartKey,
        value: fn(&'a T) -> Value<'a>,
    ) where
        K: Clone + Ord + Hash + Serialize + 'a,
    {
        let put = |key: &K, part: &'a Part<T>| {
            let key = name(key.clone());
            (key.clone(), ToDataPlane::Put { key, digest: part.digest(), value: value(part.value()) })
        };
        let new = pick(self.new);
        match self.held {
            Held::Offered(old) => self.found.extend(new.changes(pick(old)).map(|change| match change.after {
                // A shard's parts are reached through the new map, which outlives the comparison.
                Some(_) => put(change.key, new.get(change.key).expect("it is in the new map (invariant)")),
                None => (name(change.key.clone()), ToDataPlane::Remove(name(change.key.clone()))),
            })),
            Held::Nothing => self.found.extend(new.iter().map(|(key, part)| put(key, part))),
            Held::Digests(_, held) => {
                let differs = |(key, part): &(&K, &Part<T>)| held.get(&name((*key).clone())) != Some(&part.digest());
                self.found.extend(new.iter().filter(differs).map(|(key, part)| put(key, part)));
            }
        }
    }
}

fn digest_of(snapshot: &Snapshot, key: &PartKey) -> Option<Digest> {
    match key {
        PartKey::Route(key) => snapshot.routes.get(key).map(Part::digest),
        PartKey::Backend(key) => snapshot.backends.get(key).map(Part::digest),
        PartKey::Auth(key) => snapshot.auth.get(key).map(Part::digest),
        PartKey::Limits(key) => snapshot.limits.get(key).map(Part::digest),
        PartKey::Certificate(key) => snapshot.certificates.get(key).map(Part::digest),
    }
}

/// All parts of a snapshot with their digests, for `Holds`.
pub(super) fn digests(snapshot: &Snapshot) -> Vec<(PartKey, Digest)> {
    fn all<K: Clone + Ord + Hash + Serialize, T>(
        parts: &Parts<K, T>,
        name: fn(K) -> PartKey,
    ) -> impl Iterator<Item = (PartKey, Digest)> {
        parts.sorted().into_iter().map(move |(key, part)| (name(key.clone()), part.digest()))
    }
    all(&snapshot.routes, PartKey::Route)
        .chain(all(&snapshot.backends, PartKey::Backend))
        .chain(all(&snapshot.auth, PartKey::Auth))
        .chain(all(&snapshot.limits, PartKey::Limits))
        .chain(all(&snapshot.certificates, PartKey::Certificate))
        .collect()
}

/// Why a part is not taken.
#[derive(Debug)]
pub(super) enum Unfit {
    /// Its bytes are not those of its digest.
    Damaged,
    /// It is not of this version's form.
    Malformed(Refusal),
}

pub(super) fn put(snapshot: &mut Snapshot, key: &PartKey, digest: Digest, value: &RawValue) -> Result<(), Unfit> {
    match key.clone() {
        PartKey::Route(to) => set(&mut snapshot.routes, to, digest, value, Route::shrink),
        PartKey::Backend(to) => set(&mut snapshot.backends, to, digest, value, |_| {}),
        PartKey::Auth(to) => set(&mut snapshot.auth, to, digest, value, |_| {}),
        PartKey::Limits(to) => set(&mut snapshot.limits, to, digest, value, |_| {}),
        PartKey::Certificate(to) => set(&mut snapshot.certificates, to, digest, value, |_| {}),
    }
    .map_err(|unfit| unfit.map_or(Unfit::Damaged, |reason| Unfit::Malformed(Refusal { part: key.to_string(), reason })))
}

/// `Err(None)`: it is damaged. There are many parts of some kinds, and `shrink` gives back what reading them left.
fn set<K, T>(
    parts: &mut Parts<K, T>,
    key: K,
    digest: Digest,
    value: &RawValue,
    shrink: fn(&mut T),
) -> Result<(), Option<String>>
where
    K: Clone + Ord + Hash + Serialize,
    T: DeserializeOwned,
{
    let bytes = value.get().as_bytes();
    if Digest::of(bytes) != digest {
        return Err(None);
    }
    let mut value = decode(bytes).map_err(|malformed| Some(malformed.to_string()))?;
    shrink(&mut value);
    parts.insert(key, Part::received(digest, value));
    Ok(())
}

pub(super) fn remove(snapshot: &mut Snapshot, key: &PartKey) {
    match key {
        PartKey::Route(key) => drop(snapshot.routes.remove(key)),
        PartKey::Backend(key) => drop(snapshot.backends.remove(key)),
        PartKey::Auth(key) => drop(snapshot.auth.remove(key)),
        PartKey::Limits(key) => drop(snapshot.limits.remove(key)),
        PartKey::Certificate(key) => drop(snapshot.certificates.remove(key)),
    }
}
