//! The table: which rule a request belongs to. Built from a snapshot, swapped whole.
//!
//! A [`Rule`] is in the data plane's own terms: header names are parsed, expressions are closures. Policies and backends
//! are reached through [`Slot`]s, so that a change of one of them rebuilds neither the rules nor the hosts that use it.

pub mod rule;
mod slots;

use std::sync::Arc;

use ravelin_snapshot::{ObjectKey, PolicyKey, Revision, Snapshot, backend::BackendKey, channel::Refusal};

use crate::{
    policy::{auth::AuthPolicy, limit::RateLimitPolicy},
    request::RequestView,
    upstream::Backend,
};
pub use rule::Rule;
pub use slots::{Slot, Slots};

/// Everything that one request needs, at one revision. Immutable; live state (buckets, counters) is in the policies and
/// backends, which move to the next table when their configuration is equal.
pub struct Table {
    pub revision: Revision,
    /// What it was built from: for the next build, for `/snapshot` and for the state file.
    pub snapshot: Arc<Snapshot>,
    routes: Vec<Arc<CompiledRoute>>,
    auth: Slots<PolicyKey, AuthPolicy>,
    limits: Slots<PolicyKey, RateLimitPolicy>,
    backends: Slots<BackendKey, Backend>,
}

/// A route object, ready to serve.
struct CompiledRoute {
    key: ObjectKey,
    route: ravelin_snapshot::Part<ravelin_snapshot::route::Route>,
    rules: Vec<Arc<Rule>>,
}

/// The rule that a request belongs to.
pub struct Found<'t> {
    pub rule: &'t Rule,
    /// Length of the prefix that matched, for a rewrite of it; `None` if the path matched otherwise.
    pub prefix: Option<usize>,
}

impl Table {
    /// Work in proportion to what changed since `previous`. A refusal names the part; the previous table goes on.
    pub fn build(snapshot: Arc<Snapshot>, previous: Option<&Self>) -> Result<Self, Refusal> {
        let mut table = Self {
            revision: snapshot.revision,
            auth: Slots::default(),
            limits: Slots::default(),
            backends: Slots::default(),
            routes: Vec::new(),
            snapshot,
        };
        let refuse = |kind: &str, key: String, reason: String| Refusal { part: format!("{kind} {key}"), reason };
        let snapshot = Arc::clone(&table.snapshot);
        for (key, part) in snapshot.auth.iter() {
            let policy = AuthPolicy::compile(key, part).map_err(|why| refuse("AuthPolicy", key.to_string(), why))?;
            table.auth.set(key, Arc::new(policy));
        }
        for (key, part) in snapshot.limits.iter() {
            let before = previous.and_then(|table| table.limits.by_key(key));
            let policy = RateLimitPolicy::compile(key, part, before.map(|before| &**before))
                .map_err(|why| refuse("RateLimitPolicy", key.to_string(), why))?;
            table.limits.set(key, Arc::new(policy));
        }
        for (key, part) in snapshot.backends.iter() {
            let before = previous.and_then(|table| table.backends.by_key(key));
            table.backends.set(key, Arc::new(Backend::new(key, part, before.map(|before| &**before))));
        }
        for (key, part) in snapshot.routes.sorted() {
            let rules = rule::compile(key, part, &table.auth, &table.limits, &table.backends)
                .map_err(|why| refuse("route", key.to_string(), why))?;
            table.routes.push(Arc::new(CompiledRoute { key: key.clone(), route: part.clone(), rules }));
        }
        Ok(table)
    }

    /// The rule for a request: the most specific host that has one, then Gateway API's precedence of matches.
    pub fn find(&self, request: &RequestView<'_>) -> Option<Found<'_>> {
        // The thin path: prefixes only, the longest wins.
        let rules = self.routes.iter().flat_map(|route| route.route.rules.iter().zip(&route.rules));
        let matches = rules.flat_map(|(said, rule)| said.matches.iter().map(move |one| (one, rule)));
        let found = matches.filter_map(|(one, rule)| match &one.path {
            ravelin_snapshot::route::PathMatch::Prefix(prefix) if request.path.starts_with(prefix.as_str()) => {
                Some(Found { rule, prefix: Some(prefix.len()) })
            }
            _ => None,
        });
        found.max_by_key(|found| found.prefix)
    }

    pub fn auth(&self, slot: Slot) -> &AuthPolicy {
        self.auth.get(slot)
    }

    pub fn limit(&self, slot: Slot) -> &RateLimitPolicy {
        self.limits.get(slot)
    }

    pub fn backend(&self, slot: Slot) -> &Arc<Backend> {
        self.backends.get(slot)
    }

    /// In no promised order: for the admin interface and metrics.
    pub fn backends(&self) -> impl Iterator<Item = &Arc<Backend>> {
        self.backends.iter()
    }

    pub fn limits(&self) -> impl Iterator<Item = &Arc<RateLimitPolicy>> {
        self.limits.iter()
    }

    pub fn auth_policies(&self) -> impl Iterator<Item = &Arc<AuthPolicy>> {
        self.auth.iter()
    }

    /// The names of all routes.
    pub fn routes(&self) -> impl Iterator<Item = &ObjectKey> {
        self.routes.iter().map(|route| &route.key)
    }
}
