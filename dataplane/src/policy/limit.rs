//! How much: rates, per key, of which all must admit or nothing is taken.
//!
//! A limit is a rule and what is remembered of its keys ([`count`]); [`admit`] asks all limits of a request.

mod admit;
mod bucket;
mod count;
mod keys;
mod permit;
mod window;

use std::{sync::Arc, time::Instant};

pub use ravelin_snapshot::rate_limit::Phase;
use ravelin_snapshot::{PolicyKey, auth::Mode, expression::Expression, rate_limit};

use crate::{
    expression::{Program, Scope},
    metrics::Counter,
    reject::Reject,
};
use admit::{Attempt, Limits, Wanted};
use count::Count;
use keys::Key;
pub use permit::Permit;

/// A RateLimitPolicy and what it has counted. Shared by all workers.
pub struct RateLimitPolicy {
    pub key: PolicyKey,
    pub mode: Mode,
    limits: Limits,
}

/// What a limit says of a request before anything is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// What the limit's key is for the request.
    pub key: String,
    pub cost: u64,
    /// Requests that pass now.
    pub remaining: u64,
}

/// What a limit has done, for metrics.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    pub name: &'a str,
    /// Requests that it refused, or would have refused in `Shadow`.
    pub refused: u64,
    /// Keys that are remembered.
    pub keys: usize,
    /// Keys that were forgotten before their time, because there were too many.
    pub evicted: u64,
}

/// One limit and what lives of it.
struct Limit {
    said: rate_limit::Limit,
    key: Option<Program>,
    when: Option<Program>,
    cost: Option<Program>,
    count: Count,
    refused: Arc<Counter>,
}

impl RateLimitPolicy {
    /// Limits whose configuration equals `before`'s keep what they counted; counts of refusals go on by name. The error is
    /// for a refusal of the snapshot.
    pub fn compile(key: &PolicyKey, said: &rate_limit::RateLimitPolicy, before: Option<&Self>) -> Result<Self, String> {
        let limits = said.limits.iter().map(|said| {
            let old = before.and_then(|before| before.limits.all.iter().find(|old| old.said.name == said.name));
            Limit::compile(said, old).map_err(|why| format!("limit {}: {why}", said.name))
        });
        Ok(Self { key: key.clone(), mode: said.mode, limits: Limits::new(limits.collect::<Result<_, _>>()?) })
    }

    /// For `explain`: takes nothing. Without a preview the limit is not for this request.
    pub fn preview(&self, phase: Phase, scope: &Scope<'_>, now: Instant) -> Vec<(&str, Option<Preview>)> {
        let wanted = self.limits.wanted(phase, scope);
        let limits = self.limits.all.iter().enumerate().filter(|(_, limit)| limit.said.phase == phase);
        let preview = limits.map(|(place, limit)| {
            let preview = wanted.iter().find(|wanted| wanted.place == place).map(|Wanted { key, cost, .. }| Preview {
                key: limit.key_text(scope).into_owned(),
                cost: *cost,
                remaining: limit.count.level(*key, now).remaining,
            });
            (limit.said.name.as_str(), preview)
        });
        preview.collect()
    }

    pub fn standing(&self) -> impl Iterator<Item = Standing<'_>> {
        self.limits.all.iter().map(|limit| {
            let (keys, evicted) = limit.count.keys();
            Standing { name: &limit.said.name, refused: limit.refused.get(), keys, evicted }
        })
    }
}

impl Limit {
    fn compile(said: &rate_limit::Limit, before: Option<&Self>) -> Result<Self, String> {
        let program = |said: &Option<Expression>| {
            said.as_ref().map(Program::compile).transpose().map_err(|error| error.to_string())
        };
        let count = match before.filter(|old| old.said == *said) {
            Some(same) => same.count.clone(),
            None => Count::new(&said.count, Instant::now())?,
        };
        Ok(Self {
            key: program(&said.key)?,
            when: program(&said.when)?,
            cost: program(&said.cost)?,
            count,
            refused: before.map(|old| Arc::clone(&old.refused)).unwrap_or_default(),
            said: said.clone(),
        })
    }

    // What errors mean, API.md says.

    fn is_for(&self, scope: &Scope<'_>) -> bool {
        self.when.as_ref().is_none_or(|when| when.eval_bool(scope).unwrap_or(false))
    }

    fn key_text<'s>(&'s self, scope: &Scope<'s>) -> std::borrow::Cow<'s, str> {
        self.key.as_ref().and_then(|key| key.eval_string(scope).ok()).unwrap_or_default()
    }

    fn key(&self, scope: &Scope<'_>) -> Key {
        self.count.key(&self.key_text(scope))
    }

    /// `None`: the limit does not say.
    fn cost(&self, scope: &Scope<'_>) -> Option<u64> {
        let cost = self.cost.as_ref()?.eval_int(scope).unwrap_or(1);
        Some(u64::try_from(cost).unwrap_or(0))
    }
}

/// All limits of these policies in `phase` admit, or nothing is taken. Those in `Shadow` count by themselves.
pub fn admit<'t>(
    policies: impl Iterator<Item = &'t RateLimitPolicy>,
    phase: Phase,
    scope: &Scope<'_>,
    now: Instant,
) -> Result<Permit<'t>, Reject> {
    let mut attempt = Attempt::new(now);
    for policy in policies {
        match policy.mode {
            Mode::Enforce => {
                attempt.take(policy, phase, scope).map_err(|(limit, refused)| permit::refuse(limit, refused))?;
            }
            Mode::Shadow => {
                let mut own = Attempt::new(now);
                if own.take(policy, phase, scope).is_ok() {
                    own.keep();
                }
            }
        }
    }
    let mut permit = Permit::default();
    for held in attempt.keep() {
        permit.note(held.limit, held.taken.level);
    }
    Ok(permit)
}

#[cfg(test)]
mod tests;
