//! A RateLimitPolicy becomes what the data plane counts.

use std::collections::BTreeSet;

use ravelin_crds::{Limit, LimitAlgorithm, LimitPhase, Rate, RateLimitPolicySpec, RateLimitScope};
use ravelin_snapshot::{
    expression::Expression,
    rate_limit::{self, Phase, RateLimitPolicy, TokenBucket},
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
    bound(limits.len(), MAX_LIMITS, field, notes);
    if limits.is_empty() && plans.is_none() {
        notes.warning(field, Reason::Suspicious, "the policy limits nothing", "Add a limit.");
    }
    let mut names = BTreeSet::new();
    let mut compiled = Vec::with_capacity(limits.len());
    for (index, said) in limits.iter().enumerate() {
        let field = field.item(index);
        entry_name(&said.name, &mut names, field, notes);
        compiled.extend(limit(said, field, notes));
    }
    notes.unsupported(Field::SPEC.member("priority"), priority.as_ref());
    notes.unsupported(Field::SPEC.member("plans"), plans.as_ref());
    RateLimitPolicy { mode: self::mode(*mode), limits: compiled }
}

fn limit(said: &Limit, field: Field<'_>, notes: &mut Notes) -> Option<rate_limit::Limit> {
    let Limit {
        name,
        algorithm,
        key,
        when,
        rate,
        cost,
        phase,
        parent,
        quota,
        concurrency,
        adaptive,
        max_delay,
        ban,
        approximate,
    } = said;
    match algorithm.unwrap_or_default() {
        LimitAlgorithm::TokenBucket => {}
        LimitAlgorithm::SlidingWindow => {
            let message = "SlidingWindow is not implemented yet";
            notes.error(field.member("algorithm"), Reason::Unsupported, message, "Use TokenBucket.");
        }
    }
    notes.unsupported(field.member("parent"), parent.as_ref());
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
    let bucket = bucket(rate.as_ref()?, field.member("rate"), notes);
    Some(rate_limit::Limit { name: name.clone(), key, when, cost, phase, bucket })
}

fn bucket(said: &Rate, field: Field<'_>, notes: &mut Notes) -> TokenBucket {
    let Rate { requests, per, burst: _ } = said;
    let burst = said.burst();
    for (member, count) in [("requests", *requests), ("burst", burst)] {
        if !(1..=MAX_REQUESTS).contains(&count) {
            notes.invalid(field.member(member), format!("{count} is out of range"), "Use 1 to 1000000000.");
        }
    }
    if per.is_zero() {
        notes.invalid(field.member("per"), "a rate needs a time", "Write it as 1s, 1m or 1h.");
    }
    let per_ms = u64::try_from(per.get().as_millis()).unwrap_or(u64::MAX);
    TokenBucket { requests: (*requests).into(), per_ms, burst: burst.into() }
}
