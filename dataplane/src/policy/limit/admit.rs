//! All or nothing: what a request takes from its limits, and gives back when one of them refuses.

use std::{
    cmp,
    time::{Duration, Instant},
};

use super::{
    Limit, RateLimitPolicy,
    count::{Refused, Taken},
    keys::Key,
};
use crate::expression::Scope;
use ravelin_snapshot::rate_limit::Phase;

/// The limits of a policy, or of a plan.
pub(super) struct Limits {
    pub(super) all: Vec<Limit>,
    /// Whether some have parents.
    family: bool,
}

/// What a request wants of a limit.
pub(super) struct Wanted {
    /// Of the limit in its list.
    pub(super) place: usize,
    pub(super) key: Key,
    pub(super) cost: u64,
}

/// What a request has taken so far. It is given back unless it is kept.
pub(super) struct Attempt<'t> {
    now: Instant,
    held: Vec<Held<'t>>,
}

pub(super) struct Held<'t> {
    pub(super) limit: &'t Limit,
    pub(super) cost: u64,
    pub(super) taken: Taken,
}

impl Limits {
    pub(super) fn new(all: Vec<Limit>) -> Self {
        let family = all.iter().any(|limit| limit.said.parent.is_some());
        Self { all, family }
    }

    /// Those that are for this request, and their ancestors, each once.
    pub(super) fn wanted(&self, phase: Phase, scope: &Scope<'_>) -> Vec<Wanted> {
        let mut wanted: Vec<Wanted> = Vec::new();
        for (place, limit) in self.all.iter().enumerate().filter(|(_, limit)| limit.said.phase == phase) {
            if limit.is_for(scope) {
                wanted.push(Wanted { place, key: limit.key(scope), cost: limit.cost(scope).unwrap_or(1) });
            }
        }
        if self.family {
            for at in 0..wanted.len() {
                self.ancestors(at, &mut wanted, scope);
            }
        }
        wanted
    }

    /// What a child takes, it takes from its parent too; several children of one request take as the largest of them does. A
    /// parent with a cost of its own goes by that.
    fn ancestors(&self, at: usize, wanted: &mut Vec<Wanted>, scope: &Scope<'_>) {
        let Wanted { mut place, mut cost, .. } = wanted[at];
        // A bound on steps, should there be a cycle in spite of the compiler.
        for _ in 0..self.all.len() {
            let Some((parent, limit)) =
                self.all[place].said.parent.and_then(|parent| Some((parent, self.all.get(parent)?)))
            else {
                return;
            };
            match wanted.iter_mut().find(|known| known.place == parent) {
                Some(known) if limit.cost.is_none() => {
                    known.cost = cmp::max(known.cost, cost);
                    cost = known.cost;
                }
                Some(known) => cost = known.cost,
                None => {
                    cost = limit.cost(scope).unwrap_or(cost);
                    wanted.push(Wanted { place: parent, key: limit.key(scope), cost });
                }
            }
            place = parent;
        }
    }
}

impl<'t> Attempt<'t> {
    pub(super) fn new(now: Instant) -> Self {
        Self { now, held: Vec::new() }
    }

    /// Takes from all limits of the policy that are for this request. After a refusal the attempt is to be dropped.
    pub(super) fn take(
        &mut self,
        policy: &'t RateLimitPolicy,
        phase: Phase,
        scope: &Scope<'_>,
    ) -> Result<(), (&'t Limit, Refused)> {
        for Wanted { place, key, cost } in policy.limits.wanted(phase, scope) {
            let limit = &policy.limits.all[place];
            match limit.count.take(key, cost, self.now, Duration::ZERO) {
                Ok(taken) => self.held.push(Held { limit, cost, taken }),
                Err(refused) => {
                    limit.refused.add(1);
                    return Err((limit, refused));
                }
            }
        }
        Ok(())
    }

    pub(super) fn keep(mut self) -> Vec<Held<'t>> {
        std::mem::take(&mut self.held)
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        for Held { limit, cost, taken } in self.held.drain(..) {
            limit.count.give_back(&taken, cost, self.now);
        }
    }
}
