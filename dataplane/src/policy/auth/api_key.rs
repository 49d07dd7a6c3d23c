//! API keys: whose they are.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use ravelin_snapshot::{auth::ApiKey, hex};

use crate::request::Caller;

/// `caller.method`.
pub(super) const METHOD: &str = "apiKey";

/// Who has which key. Keys are looked up by their digest: to find one by timing is to find a preimage of SHA-256.
pub(super) struct Keys(HashMap<[u8; 32], Holder, foldhash::fast::RandomState>);

struct Holder {
    caller: Arc<Caller>,
    /// Seconds since the epoch.
    expires: Option<i64>,
}

impl Keys {
    pub(super) fn compile(said: &[ApiKey]) -> Result<Self, String> {
        let holder = |key: &ApiKey| {
            let ApiKey { sha256, id, scopes, groups, plan, expires } = key;
            let caller = Caller {
                id: id.clone(),
                method: METHOD,
                scopes: scopes.clone(),
                groups: groups.clone(),
                plan: plan.clone(),
                ..Caller::default()
            };
            let digest = hex::sha256(sha256.expose())
                .ok_or_else(|| format!("the key of {id} has no SHA-256 of 64 hex digits"))?;
            Ok((digest, Holder { caller: Arc::new(caller), expires: *expires }))
        };
        Ok(Self(said.iter().map(holder).collect::<Result<_, String>>()?))
    }

    pub(super) fn caller(&self, key: &[u8], now: SystemTime) -> Option<&Arc<Caller>> {
        // Invariant: SHA-256 is 32 bytes.
        let digest: [u8; 32] = digest(&SHA256, key).as_ref().try_into().expect("32 bytes (invariant)");
        let holder = self.0.get(&digest)?;
        let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let expired = holder.expires.is_some_and(|expires| i64::try_from(now).unwrap_or(i64::MAX) >= expires);
        (!expired).then_some(&holder.caller)
    }
}
