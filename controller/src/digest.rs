//! What a table amounts to, in one word: the same for the same objects, wherever they were compiled.

use std::{collections::BTreeMap, fmt::Display};

use aws_lc_rs::digest::{SHA256, digest};
use ravelin_snapshot::{Parts, Snapshot, auth::AuthPolicy, route::Route};
use serde::Serialize;

/// Of hosts, routes and policies, with backends and secrets by name: endpoints and keys come and go in a cluster, ages are
/// its own, and none of them is in the files that somebody checks. SHA-256, in hex.
pub fn of_table(snapshot: &Snapshot) -> String {
    let ageless = |route: &Route| Route { created: None, ..route.clone() };
    let keyless = |policy: &AuthPolicy| {
        let mut policy = policy.clone();
        if let Some(method) = policy.authentication.as_mut().and_then(|methods| methods.api_key.as_mut()) {
            method.keys.clear();
        }
        policy
    };
    let table = (
        sorted(&snapshot.routes, ageless),
        sorted(&snapshot.auth, keyless),
        sorted(&snapshot.limits, Clone::clone),
        sorted(&snapshot.backends, |_| ()),
        sorted(&snapshot.certificates, |_| ()),
    );
    let bytes = serde_json::to_vec(&table).expect("a table holds nothing that JSON lacks (invariant)");
    digest(&SHA256, &bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sorted<K: Clone + Ord + std::hash::Hash + Serialize + Display, V: Serialize, W>(
    parts: &Parts<K, V>,
    view: impl Fn(&V) -> W,
) -> BTreeMap<String, W> {
    parts.iter().map(|(key, part)| (key.to_string(), view(part))).collect()
}
