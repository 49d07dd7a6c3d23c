//! API keys: whose they are, and when each was used last.

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use aws_lc_rs::digest::{SHA256, digest};
use ravelin_snapshot::{
    auth::{self, ApiKey},
    hex,
};

use crate::request::Caller;

/// `caller.method`.
pub(super) const METHOD: &str = "apiKey";

/// Who has which key. Keys are looked up by their digest: to find one by timing is to find a preimage of SHA-256. There may be
/// very many, of which few are used: what a key says stays in the snapshot, and its caller is made when it is used first.
pub(super) struct Keys {
    said: Arc<auth::AuthPolicy>,
    /// Its place among those that are said.
    places: HashMap<[u8; 32], u32, foldhash::fast::RandomState>,
    /// Of each place.
    seen: Vec<OnceLock<Seen>>,
}

/// A key that was used.
#[derive(Clone)]
struct Seen {
    caller: Arc<Caller>,
    /// In seconds since the epoch. Written once a second at most, so that workers do not fight for it.
    last: Arc<AtomicU64>,
}

/// A key, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse<'k> {
    /// Of its Secret.
    pub name: &'k str,
    /// `caller.id`.
    pub id: &'k str,
    /// In seconds since the epoch; `None`: not since this process has known it.
    pub last: Option<u64>,
}

impl Keys {
    /// Uses go on from `before`'s.
    pub(super) fn compile(said: &Arc<auth::AuthPolicy>, before: Option<&Self>) -> Result<Self, String> {
        let mut keys = Self { said: Arc::clone(said), places: HashMap::default(), seen: Vec::new() };
        keys.places.reserve(keys.said().len());
        for (place, key) in (0..).zip(said_by(said)) {
            let digest = hex::sha256(key.sha256.expose())
                .ok_or_else(|| format!("the key of {} has no SHA-256 of 64 hex digits", key.id))?;
            let seen = before.and_then(|before| before.seen(&digest)).map(|(old, seen)| match *old == *key {
                true => seen.clone(),
                false => Seen { caller: caller(key), last: Arc::clone(&seen.last) },
            });
            keys.places.insert(digest, place);
            keys.seen.push(seen.map(OnceLock::from).unwrap_or_default());
        }
        Ok(keys)
    }

    pub(super) fn caller(&self, key: &[u8], now: SystemTime) -> Option<&Arc<Caller>> {
        // Invariant: SHA-256 is 32 bytes.
        let digest: [u8; 32] = digest(&SHA256, key).as_ref().try_into().expect("32 bytes (invariant)");
        let place = *self.places.get(&digest)? as usize;
        let said = self.said().get(place)?;
        let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if said.expires.is_some_and(|expires| i64::try_from(now).unwrap_or(i64::MAX) >= expires) {
            return None;
        }
        let seen = self.seen.get(place)?.get_or_init(|| Seen { caller: caller(said), last: Arc::default() });
        if seen.last.load(Relaxed) < now {
            seen.last.store(now, Relaxed);
        }
        Some(&seen.caller)
    }

    pub(super) fn uses(&self) -> impl Iterator<Item = KeyUse<'_>> {
        self.said().iter().zip(&self.seen).map(|(key, seen)| KeyUse {
            name: &key.name,
            id: &key.id,
            last: seen.get().map(|seen| seen.last.load(Relaxed)),
        })
    }

    fn said(&self) -> &[ApiKey] {
        said_by(&self.said)
    }

    fn seen(&self, digest: &[u8; 32]) -> Option<(&ApiKey, &Seen)> {
        let place = *self.places.get(digest)? as usize;
        Some((self.said().get(place)?, self.seen.get(place)?.get()?))
    }
}

fn said_by(policy: &auth::AuthPolicy) -> &[ApiKey] {
    let method = policy.authentication.as_ref().and_then(|said| said.api_key.as_ref());
    method.map(|method| method.keys.as_slice()).unwrap_or_default()
}

fn caller(key: &ApiKey) -> Arc<Caller> {
    let ApiKey { name: _, sha256: _, id, scopes, groups, plan, expires: _ } = key;
    Arc::new(Caller {
        id: id.clone(),
        method: METHOD,
        scopes: scopes.clone(),
        groups: groups.clone(),
        plan: plan.clone(),
        ..Caller::default()
    })
}
