//! How much: rates, quotas and requests at once, per key, of which all must admit or nothing is taken.
//!
//! A limit is a rule and what is remembered of its keys ([`count`]); [`admit`] asks all limits of a request.

mod adaptive;
mod admit;
mod ban;
mod bucket;
mod calendar;
mod count;
mod gate;
mod keys;
mod ledger;
mod line;
mod permit;
mod plan;
mod preview;
mod quota;
mod shared;
mod sketch;
mod usage;
mod window;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use http::HeaderValue;
pub use ravelin_snapshot::rate_limit::Phase;
use ravelin_snapshot::{PolicyKey, auth::Mode, expression::Expression, rate_limit};

use crate::{
    expression::{Program, Scope},
    metrics::Counter,
    reject::{Reason, Reject},
};
use admit::{Attempt, Limits, Refusal};
use ban::Bans;
use count::{Count, Moment, Owner};
use keys::Key;
pub use ledger::Ledger;
pub use permit::{Permit, Seats};
use plan::{Planned, Plans};
pub use preview::{Foreseen, Preview};
use shared::Sharing;
pub use shared::{Address, AddressError, Settings as StoreSettings, Standing as StoreStanding, Store as SharedStore};
pub use usage::{Unreachable, Usage};

/// A RateLimitPolicy and what it has counted. Shared by all workers.
pub struct RateLimitPolicy {
    pub key: PolicyKey,
    pub mode: Mode,
    limits: Limits,
    plans: Option<Plans>,
    priority: Option<Program>,
    shared: Option<rate_limit::OnStoreFailure>,
}

/// What a limit has done, for metrics.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    pub name: &'a str,
    /// Requests that it refused, or would have refused in `Shadow`.
    pub refused: u64,
    /// Keys that are remembered.
    pub keys: usize,
    /// Bytes that they take.
    pub bytes: usize,
    /// Keys that were forgotten before their time, because there were too many.
    pub evicted: u64,
    /// Requests of a shared limit that a lease admitted: nobody had to ask the store.
    pub leased: Option<u64>,
}

/// One limit and what lives of it.
struct Limit {
    said: rate_limit::Limit,
    key: Option<Program>,
    /// The key depends on who the caller is.
    key_of_caller: bool,
    when: Option<Program>,
    cost: Option<Program>,
    /// Where in its list its parent is.
    parent: Option<usize>,
    count: Count,
    bans: Option<Arc<Bans>>,
    refused: Arc<Counter>,
    /// `RateLimit-Policy`, where it is always the same.
    policy_field: Option<HeaderValue>,
}

impl RateLimitPolicy {
    /// Limits whose configuration equals `before`'s keep what they counted, and those of plans what was counted by their
    /// name; counts of refusals go on by name. The error is for a refusal of the snapshot.
    pub fn compile(
        key: &PolicyKey,
        said: &rate_limit::RateLimitPolicy,
        before: Option<&Self>,
        ledger: &Arc<Ledger>,
        store: Option<&Arc<SharedStore>>,
    ) -> Result<Self, String> {
        let sharing = said.shared.map(|on_failure| Sharing { store, on_failure });
        let owner = Owner { policy: key, ledger, of_plan: false, sharing };
        // What is counted elsewhere says nothing of what is counted here.
        let before = before.filter(|old| old.shared == said.shared);
        let limits = said.limits.iter().map(|said| {
            let old = before.and_then(|before| before.limits.all.iter().find(|old| old.said.name == said.name));
            Limit::compile(said, owner, old, old.filter(|old| old.said == *said).map(|same| same.count.clone()))
        });
        let limits = Limits::new(limits.collect::<Result<_, _>>()?);
        let old = before.and_then(|before| before.plans.as_ref());
        let plans = said.plans.as_ref().map(|said| Plans::compile(said, owner, old)).transpose()?;
        let priority = said.priority.as_ref().map(Program::compile).transpose();
        let priority = priority.map_err(|error| format!("priority: {error}"))?;
        Ok(Self { key: key.clone(), mode: said.mode, limits, plans, priority, shared: said.shared })
    }

    /// By the names of limits.
    pub fn standing(&self) -> impl Iterator<Item = Standing<'_>> {
        let all = self.limits.all.iter().chain(self.plans.iter().flat_map(Plans::limits));
        let mut standing = BTreeMap::new();
        for limit in all {
            let (keys, evicted) = limit.count.keys();
            let name = limit.said.name.as_str();
            let leased = match &limit.count {
                Count::Shared(shared) => Some(shared.leased()),
                _ => None,
            };
            // Limits of one name in several plans are one here, as their counts are.
            standing.entry(name).or_insert(Standing {
                name,
                refused: limit.refused.get(),
                keys,
                bytes: limit.count.bytes(),
                evicted,
                leased,
            });
        }
        standing.into_values()
    }

    /// Requests whose plan was not there.
    pub fn unknown_plans(&self) -> u64 {
        self.plans.as_ref().map_or(0, |plans| plans.unknown.get())
    }

    /// The caller, and so his plan, is known in the phase `Main`.
    fn planned(&self, phase: Phase, scope: &Scope<'_>, count: bool) -> Planned<'_> {
        match &self.plans {
            Some(plans) if phase == Phase::Main => plans.of(scope, count),
            Some(_) | None => Planned::Nothing,
        }
    }

    /// Takes from its limits and from those of the caller's plan.
    fn take<'t>(&'t self, attempt: &mut Attempt<'t>, phase: Phase, scope: &Scope<'_>) -> Result<(), Denied<'t>> {
        // Nobody waits in `Shadow`.
        let priority = self.priority.as_ref().filter(|_| self.mode == Mode::Enforce);
        attempt.take(&self.limits, phase, scope, None, priority).map_err(Denied::Limit)?;
        match self.planned(phase, scope, true) {
            Planned::Nothing => Ok(()),
            Planned::Limits(limits, of) => {
                attempt.take(limits, phase, scope, Some(&of), priority).map_err(Denied::Limit)
            }
            Planned::Broken => Err(Denied::BrokenPlan),
        }
    }
}

/// Why a policy does not admit a request.
enum Denied<'t> {
    Limit(Refusal<'t>),
    BrokenPlan,
}

impl Limit {
    /// `count`: what goes on; without it, nothing has been counted yet.
    fn compile(
        said: &rate_limit::Limit,
        owner: Owner<'_>,
        before: Option<&Self>,
        count: Option<Count>,
    ) -> Result<Self, String> {
        let blame = |why: String| format!("limit {}: {why}", said.name);
        let program = |said: &Option<Expression>| {
            said.as_ref().map(Program::compile).transpose().map_err(|error| blame(error.to_string()))
        };
        let now = Instant::now();
        let goes_on = count.is_some();
        let known_bans = before.filter(|old| goes_on && old.said.ban == said.ban).and_then(|old| old.bans.clone());
        let count = count.map_or_else(|| Count::new(said, owner, now).map_err(blame), Ok)?;
        let bans = known_bans.or_else(|| {
            let bans = Arc::new(Bans::new(said.ban.as_ref()?, now));
            if let Count::Shared(shared) = &count {
                shared::keep_told(shared, &bans);
            }
            Some(bans)
        });
        Ok(Self {
            key: program(&said.key)?,
            key_of_caller: said.key.as_ref().is_some_and(|key| key.node.reads_caller()),
            when: program(&said.when)?,
            cost: program(&said.cost)?,
            parent: None, // until it is in its list
            count,
            bans,
            refused: before.map(|old| Arc::clone(&old.refused)).unwrap_or_default(),
            policy_field: permit::policy_field(said),
            said: said.clone(),
        })
    }

    /// A limit of a plan goes on from what a relative, a limit of the same name, has counted.
    fn of_plan(said: &rate_limit::Limit, owner: Owner<'_>, relative: Option<&Self>) -> Result<Self, String> {
        Self::compile(said, owner, relative, relative.and_then(|relative| relative.count.go_on(&said.count)))
    }

    // What errors mean: docs/src/objects/expressions.md, "When there is no value".

    fn is_for(&self, scope: &Scope<'_>) -> bool {
        self.when.as_ref().is_none_or(|when| when.eval_bool(scope).unwrap_or(false))
    }

    /// The key, or a key below `of`.
    fn key_text<'s>(&'s self, scope: &Scope<'s>, of: Option<&'s str>) -> Cow<'s, str> {
        let own = self.key.as_ref().map(|key| key.eval_string(scope).unwrap_or_default());
        match (of, own) {
            (None, own) => own.unwrap_or_default(),
            (Some(of), None) => Cow::Borrowed(of),
            // A control character, so that no two pairs of texts are one text.
            (Some(of), Some(own)) => Cow::Owned(format!("{of}\u{1f}{own}")),
        }
    }

    /// And the text that is to be kept with what is counted.
    fn key(&self, scope: &Scope<'_>, of: Option<&str>) -> (Key, Option<String>) {
        self.count.key(&self.key_text(scope, of))
    }

    /// `None`: the limit does not say.
    fn cost(&self, scope: &Scope<'_>) -> Option<u64> {
        let cost = self.cost.as_ref()?.eval_int(scope).unwrap_or(1);
        Some(u64::try_from(cost).unwrap_or(0))
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(self.said.max_delay_ms.unwrap_or(0))
    }

    /// It refuses the key, which may be once too often. The text is known of limits that replicas share.
    fn refuses(&self, key: Key, text: Option<&str>, now: Instant) {
        self.refused.add(1);
        if let Some(bans) = &self.bans {
            bans.note(key, text, now);
        }
    }
}

/// All limits of these policies in `phase` admit, or nothing is taken. Those in `Shadow` count by themselves.
pub fn admit<'t>(
    policies: impl Iterator<Item = &'t RateLimitPolicy>,
    phase: Phase,
    scope: &Scope<'_>,
    now: Instant,
) -> Result<Permit<'t>, Reject> {
    let at = Moment { now, clock: scope.now };
    let mut attempt = Attempt::new(at);
    let mut shadows = Vec::new();
    for policy in policies {
        match policy.mode {
            Mode::Enforce => policy.take(&mut attempt, phase, scope).map_err(|denied| match denied {
                Denied::Limit(refusal) => permit::refuse(refusal),
                Denied::BrokenPlan => Reason::PolicyInvalid.into(),
            })?,
            Mode::Shadow => {
                let mut own = Attempt::new(at);
                if policy.take(&mut own, phase, scope).is_ok() {
                    shadows.push(own);
                }
            }
        }
    }
    Ok(Permit::new(attempt, shadows))
}

#[cfg(test)]
mod tests;
