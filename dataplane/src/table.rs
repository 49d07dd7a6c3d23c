//! The table: which rule a request belongs to. Built from a snapshot, swapped whole.
//!
//! A [`Rule`] is in the data plane's own terms: header names are parsed, expressions are closures. Policies and backends
//! are reached through [`Slot`]s, so that a change of one of them rebuilds neither the rules nor the hosts that use it.
//!
//! A look-up goes from the host's patterns (`hosts`) to the path (`paths`) to the matches of that path by rank
//! (`candidate`). All maps share what did not change with the table before.

mod asking;
mod candidate;
pub mod extras;
mod hosts;
mod paths;
pub mod rule;
mod sharded;
mod slots;
#[cfg(test)]
mod tests;
mod trace;

use std::{sync::Arc, time::SystemTime};

use ravelin_snapshot::{
    HostPattern, ObjectKey, PolicyKey, Revision, Snapshot, backend::BackendKey, channel::Refusal, route::Route,
};
use tokio::runtime::Handle;

use crate::{
    filter::cors::{self, Cors},
    metrics::Label,
    policy::{
        auth::{AuthPolicy, Outside},
        limit::{Ledger, RateLimitPolicy, SharedStore},
    },
    reject::Reject,
    request::RequestView,
    server::tls::Certificates,
    session::Current,
    upstream::Backend,
};
use asking::Asking;
use candidate::Candidate;
use hosts::Hosts;
pub use rule::Rule;
use sharded::Sharded;
pub use slots::{Slot, Slots};
pub use trace::{Tried, Why};

/// Everything that one request needs, at one revision. Immutable but for live state: counts of limits and what is known of
/// endpoints are in the policies and backends, and move to the next table where they still mean the same; turns among backends,
/// mirrors and shared calls are in the rules, and begin anew with any change of their route.
#[derive(Clone, Default)]
pub struct Table {
    pub revision: Revision,
    /// Whether it was built from a snapshot: until then nobody knows what there is, and what there is not.
    told: bool,
    /// What it was built from: for the next build, for `/snapshot` and for the state file.
    pub snapshot: Arc<Snapshot>,
    hosts: Hosts,
    routes: Sharded<ObjectKey, Arc<CompiledRoute>>,
    auth: Slots<PolicyKey, AuthPolicy>,
    limits: Slots<PolicyKey, RateLimitPolicy>,
    backends: Slots<BackendKey, Backend>,
    certificates: Arc<Certificates>,
    asking: Arc<Asking>,
    /// Of quotas.
    ledger: Arc<Ledger>,
    /// Of shared limits; `None`: none is configured.
    store: Option<Arc<SharedStore>>,
    /// What policies have done beside the workers.
    outside: Arc<Outside>,
    /// Where names are resolved.
    runtime: Option<Handle>,
}

/// A route object, ready to serve.
struct CompiledRoute {
    /// What its counts are under, from table to table.
    label: Arc<Label>,
    said: Arc<Route>,
    rules: Box<[Arc<Rule>]>,
    /// Each with the rule and the match that it is of.
    candidates: Box<[(u32, u32, Arc<Candidate>)]>,
}

/// The rule that a request belongs to.
#[derive(Clone, Copy)]
pub struct Found<'t> {
    pub rule: &'t Rule,
    /// Length of the prefix that matched, for a rewrite of it; `None` if the path matched otherwise.
    pub prefix: Option<usize>,
}

impl Table {
    /// Every request is answered 503. Tables that are built from it keep what is used of quotas in `ledger`, count shared limits
    /// in `store`, ask from `runtime`, which is not a worker's, for the keys of issuers and the addresses of names, and have
    /// the cookies of log-ins sealed by `seals`.
    pub fn empty(ledger: Arc<Ledger>, store: Option<Arc<SharedStore>>, runtime: Handle, seals: Arc<Current>) -> Self {
        let outside = Arc::new(Outside::of(runtime.clone(), seals));
        Self { ledger, store, outside, runtime: Some(runtime), ..Self::default() }
    }

    /// Refuses all before the first snapshot.
    pub(crate) fn told(&self) -> Result<(), Reject> {
        if self.told { Ok(()) } else { Err(Reject::not_ready()) }
    }

    /// What is used of quotas.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Where shared limits count; `None`: none is configured.
    pub fn store(&self) -> Option<&Arc<SharedStore>> {
        self.store.as_ref()
    }

    /// Work in proportion to what changed since `previous`. A refusal names the part; the previous table goes on. Without a
    /// previous one the table is for looking at: nobody is asked for what the snapshot does not have.
    pub fn build(snapshot: Arc<Snapshot>, previous: Option<&Self>) -> Result<Self, Refusal> {
        let mut table = previous.cloned().unwrap_or_default();
        table.revision = snapshot.revision;
        table.told = true;
        let before = std::mem::replace(&mut table.snapshot, snapshot);
        // What rules may name comes first, what they no longer name goes last.
        table.set_policies(&before)?;
        table.set_backends(&before);
        table.set_routes(&before)?;
        table.certificates =
            Certificates::build(&table.snapshot, previous.map(|table| (&*before, &table.certificates)))?;
        table.asking = Asking::follow(&table.snapshot, &before, &table.asking);
        table.forget(&before);
        Ok(table)
    }

    fn set_policies(&mut self, before: &Snapshot) -> Result<(), Refusal> {
        let snapshot = Arc::clone(&self.snapshot);
        for change in snapshot.auth.changes(&before.auth) {
            if let Some(said) = change.after {
                let old = self.auth.by_key(change.key).map(|old| &**old);
                let policy = AuthPolicy::compile(change.key, said.value(), old, &self.outside)
                    .map_err(refusal("AuthPolicy", change.key))?;
                self.auth.set(change.key, Arc::new(policy));
            }
        }
        for change in snapshot.limits.changes(&before.limits) {
            if let Some(said) = change.after {
                let old = self.limits.by_key(change.key).map(|old| &**old);
                let policy = RateLimitPolicy::compile(change.key, said, old, &self.ledger, self.store.as_ref());
                let policy = policy.map_err(refusal("RateLimitPolicy", change.key))?;
                self.limits.set(change.key, Arc::new(policy));
            }
        }
        Ok(())
    }

    fn set_backends(&mut self, before: &Snapshot) {
        let snapshot = Arc::clone(&self.snapshot);
        for change in snapshot.backends.changes(&before.backends) {
            if let Some(said) = change.after {
                let old = self.backends.by_key(change.key).map(|old| &**old);
                self.backends.set(change.key, Arc::new(Backend::new(change.key, said, old, self.runtime.as_ref())));
            }
        }
    }

    fn set_routes(&mut self, before: &Snapshot) -> Result<(), Refusal> {
        let snapshot = Arc::clone(&self.snapshot);
        for change in snapshot.routes.changes(&before.routes) {
            let old = self.routes.remove(change.key);
            if let Some(old) = &old {
                for (pattern, path, candidate) in old.places() {
                    self.hosts.remove(pattern, path, candidate);
                }
            }
            if let Some(said) = change.after {
                let label = old.map_or_else(|| Label::new(change.key), |old| Arc::clone(&old.label));
                let route = self.compile(change.key, said.value(), label).map_err(refusal("route", change.key))?;
                for (pattern, path, candidate) in route.places() {
                    self.hosts.insert(pattern, path, candidate).map_err(refusal("route", change.key))?;
                }
                self.routes.insert(change.key.clone(), Arc::new(route));
            }
        }
        Ok(())
    }

    fn compile(&self, key: &ObjectKey, said: &Arc<Route>, label: Arc<Label>) -> Result<CompiledRoute, String> {
        let rules = rule::compile(key, said, &label, &self.auth, &self.limits, &self.backends)?;
        let mut candidates = Vec::with_capacity(said.rules.iter().map(|rule| rule.matches.len()).sum());
        for (at, rule) in rules.iter().enumerate() {
            for one in 0..said.rules[at].matches.len() {
                // Invariant: a list of 2^32 entries fits into no frame of the channel.
                let place = (number(at), number(one));
                candidates.push((place.0, place.1, Arc::new(Candidate::compile(key, said, place, rule)?)));
            }
        }
        let (rules, candidates) = (rules.into(), candidates.into());
        Ok(CompiledRoute { label, said: Arc::clone(said), rules, candidates })
    }

    fn forget(&mut self, before: &Snapshot) {
        let snapshot = Arc::clone(&self.snapshot);
        let gone = |after: bool| !after;
        for change in snapshot.auth.changes(&before.auth).filter(|change| gone(change.after.is_some())) {
            self.auth.remove(change.key);
        }
        for change in snapshot.limits.changes(&before.limits).filter(|change| gone(change.after.is_some())) {
            self.limits.remove(change.key);
        }
        for change in snapshot.backends.changes(&before.backends).filter(|change| gone(change.after.is_some())) {
            self.backends.remove(change.key);
        }
    }

    /// The rule for a request: the most specific host that has one, then Gateway API's precedence of matches.
    pub fn find(&self, request: &RequestView<'_>, now: SystemTime) -> Option<Found<'_>> {
        self.hosts.find(request, now)
    }

    /// If this is a preflight for a rule that answers those: the rule of the request that a browser asks leave for.
    pub fn preflight(&self, request: &RequestView<'_>, now: SystemTime) -> Option<(Found<'_>, &Cors)> {
        let method = cors::requested(request.method, request.headers)?;
        let found = self.find(&RequestView { method: &method, ..*request }, now)?;
        let cors = found.rule.filters.as_ref()?.cors.as_ref()?;
        Some((found, cors))
    }

    /// The policy in a rule's [`Guard`](rule::Guard). A slot is of this table and no other.
    pub fn auth(&self, slot: Slot) -> &AuthPolicy {
        self.auth.get(slot)
    }

    /// The policy in one of a rule's guards, as [`Table::auth`].
    pub fn limit(&self, slot: Slot) -> &RateLimitPolicy {
        self.limits.get(slot)
    }

    /// Of all hosts with TLS.
    pub fn certificates(&self) -> &Arc<Certificates> {
        &self.certificates
    }

    /// Whether a handshake for this name asks the client for a certificate.
    pub(crate) fn asks(&self, server_name: Option<&str>) -> bool {
        self.asking.asks(server_name)
    }

    /// A backend that policies ask.
    pub(crate) fn backend_of(&self, key: &BackendKey) -> Option<&Arc<Backend>> {
        self.backends.by_key(key)
    }

    /// The backend of a rule's [`Destination`](rule::Destination), as [`Table::auth`].
    pub fn backend(&self, slot: Slot) -> &Arc<Backend> {
        self.backends.get(slot)
    }

    /// In no promised order: for the admin interface and metrics.
    pub fn backends(&self) -> impl Iterator<Item = &Arc<Backend>> {
        self.backends.iter()
    }

    /// In no promised order, as the others.
    pub fn limits(&self) -> impl Iterator<Item = &Arc<RateLimitPolicy>> {
        self.limits.iter()
    }

    /// In no promised order, as the others.
    pub fn auth_policies(&self) -> impl Iterator<Item = &Arc<AuthPolicy>> {
        self.auth.iter()
    }

    /// All rules, in no promised order.
    pub fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.routes.iter().flat_map(|(_, route)| route.rules.iter())
    }
}

impl CompiledRoute {
    /// Where its matches stand in the table.
    fn places(&self) -> impl Iterator<Item = (&HostPattern, &ravelin_snapshot::route::PathMatch, &Arc<Candidate>)> {
        self.said.hosts.iter().flat_map(move |pattern| {
            self.candidates.iter().map(move |(rule, one, candidate)| {
                (pattern, &self.said.rules[*rule as usize].matches[*one as usize].path, candidate)
            })
        })
    }
}

fn number(at: usize) -> u32 {
    u32::try_from(at).expect("fewer than 2^32 (invariant)")
}

fn refusal(kind: &str, key: &ObjectKey) -> impl FnOnce(String) -> Refusal {
    move |reason| Refusal { part: format!("{kind} {key}"), reason }
}
