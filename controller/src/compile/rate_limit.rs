//! A RateLimitPolicy becomes what the data plane counts.

use std::collections::BTreeSet;

use ravelin_crds::{Limit, LimitAlgorithm, LimitPhase, Rate, RateLimitPolicySpec, RateLimitScope};
use ravelin_snapshot::{
    expression::Expression,
    rate_limit::{self, Count, Phase, RateLimitPolicy, SlidingWindow, TokenBucket},
};

use super::{
    auth::{bound, entry_name, mode},
    notes::{Field, Notes},
    text::{self, Type},
};
use crate::{object::Object, verdict::Reason};

/// Limits of one policy, at most.
const MAX_LIMITS: usize = 64;
/// Requests of one rate, at most.
const MAX_REQUESTS: u32 = 1_000_000_000;

/// The policy; of no use if anything is noted that breaks it.
pub(super) fn compile(object: &Object<RateLimitPolicySpec>, notes: &mut Notes) -> RateLimitPolicy {
    let RateLimitPolicySpec { target_refs: _, mode, scope, on_store_failure, limits, priority, plans } = &object.spec;
    match scope.unwrap_or_default() {
        RateLimitScope::Replica => {}
        RateLimitScope::Shared => {
            let message = "limits that replicas share are not implemented yet";
            notes.error(Field::SPEC.member("scope"), Reason::Unsupported, message, "Use Replica.");
        }
    }
    notes.unsupported(Field::SPEC.member("onStoreFailure"), on_store_failure.as_ref());
    let field = Field::SPEC.member("limits");
    if limits.is_empty() && plans.is_none() {
        notes.warning(field, Reason::Suspicious, "the policy limits nothing", "Add a limit.");
    }
    let compiled = list(limits, field, notes);
    notes.unsupported(Field::SPEC.member("priority"), priority.as_ref());
    notes.unsupported(Field::SPEC.member("plans"), plans.as_ref());
    RateLimitPolicy { mode: self::mode(*mode), limits: compiled }
}

/// The limits of a policy or of a plan.
fn list(said: &[Limit], field: Field<'_>, notes: &mut Notes) -> Vec<rate_limit::Limit> {
    bound(said.len(), MAX_LIMITS, field, notes);
    let mut names = BTreeSet::new();
    let mut compiled = Vec::with_capacity(said.len());
    for (index, one) in said.iter().enumerate() {
        let field = field.item(index);
        entry_name(&one.name, &mut names, field, notes);
        let parent = parent(said, index, field.member("parent"), notes);
        compiled.extend(limit(one, parent, field, notes));
    }
    compiled
}

/// Where the parent of a limit is in the list. A limit that is its own ancestor, or has none of the name, breaks the policy.
fn parent(said: &[Limit], own: usize, field: Field<'_>, notes: &mut Notes) -> Option<usize> {
    let place = |name: &str| said.iter().position(|limit| limit.name == name);
    let name = said[own].parent.as_ref()?;
    let Some(parent) = place(name) else {
        let message = format!("there is no limit {} here", text::shown(name));
        notes.invalid(field, message, "Name another limit of the same list, or leave it out.");
        return None;
    };
    let mut at = parent;
    // As many steps as there are limits lead to the end, or in a circle.
    for _ in 0..said.len() {
        if at == own {
            let message = format!("`{}` is its own ancestor", said[own].name);
            notes.invalid(field, message, "Let one of these limits have no parent.");
            return None;
        }
        match said[at].parent.as_deref().and_then(place) {
            Some(next) => at = next,
            None => break,
        }
    }
    if said[parent].phase.unwrap_or_default() != said[own].phase.unwrap_or_default() {
        let message = format!("`{name}` is counted in another phase");
        notes.invalid(field, message, "Give both the same phase.");
    }
    Some(parent)
}

fn limit(said: &Limit, parent: Option<usize>, field: Field<'_>, notes: &mut Notes) -> Option<rate_limit::Limit> {
    let Limit {
        name,
        algorithm,
        key,
        when,
        rate,
        cost,
        phase,
        parent: _,
        quota,
        concurrency,
        adaptive,
        max_delay,
        ban,
        approximate,
    } = said;
    notes.unsupported(field.member("quota"), quota.as_ref());
    notes.unsupported(field.member("concurrency"), concurrency.as_ref());
    notes.unsupported(field.member("adaptive"), adaptive.as_ref());
    notes.unsupported(field.member("maxDelay"), max_delay.as_ref());
    notes.unsupported(field.member("ban"), ban.as_ref());
    notes.unsupported(field.member("approximate"), approximate.as_ref());
    let others = [quota.is_some(), concurrency.is_some(), adaptive.is_some()].into_iter().filter(|set| *set).count();
    if usize::from(rate.is_some()) + others != 1 {
        let remedy = "Set exactly one of rate, quota, concurrency and adaptive.";
        notes.invalid(field, "a limit counts one thing", remedy);
    }
    if algorithm.is_some() && rate.is_none() {
        notes.invalid(field.member("algorithm"), "only a rate has an algorithm", "Leave it out.");
    }
    let mut expression = |source: &Option<String>, expected, member| {
        source.as_ref().and_then(|source| text::expression(source, expected, field.member(member), notes))
    };
    let key = expression(key, Type::String, "key");
    let when = expression(when, Type::Bool, "when");
    let cost = expression(cost, Type::Int, "cost");
    let phase = match phase.unwrap_or_default() {
        LimitPhase::Main => Phase::Main,
        LimitPhase::PreAuthentication => Phase::PreAuthentication,
    };
    let names_caller = |said: &Option<Expression>| said.as_ref().is_some_and(|said| said.source.contains("caller."));
    if phase == Phase::PreAuthentication && [&key, &when, &cost].into_iter().any(names_caller) {
        let message = "the caller is not known before authentication: to this limit, all are anonymous";
        notes.warning(field.member("phase"), Reason::Suspicious, message, "Use the phase Main.");
    }
    let count = count(rate.as_ref()?, algorithm.unwrap_or_default(), field.member("rate"), notes);
    Some(rate_limit::Limit { name: name.clone(), key, when, cost, phase, count, parent })
}

fn count(said: &Rate, algorithm: LimitAlgorithm, field: Field<'_>, notes: &mut Notes) -> Count {
    let Rate { requests, per, burst } = said;
    for (member, count) in [("requests", *requests), ("burst", said.burst())] {
        if !(1..=MAX_REQUESTS).contains(&count) {
            notes.invalid(field.member(member), format!("{count} is out of range"), "Use 1 to 1000000000.");
        }
    }
    if per.is_zero() {
        notes.invalid(field.member("per"), "a rate needs a time", "Write it as 1s, 1m or 1h.");
    }
    let per_ms = u64::try_from(per.get().as_millis()).unwrap_or(u64::MAX);
    match algorithm {
        LimitAlgorithm::TokenBucket => {
            Count::TokenBucket(TokenBucket { requests: *requests, per_ms, burst: said.burst() })
        }
        LimitAlgorithm::SlidingWindow => {
            if burst.is_some() {
                let message = "a sliding window has no burst: all of it may pass at once";
                notes.invalid(field.member("burst"), message, "Leave it out, or use TokenBucket.");
            }
            Count::SlidingWindow(SlidingWindow { requests: *requests, per_ms })
        }
    }
}
