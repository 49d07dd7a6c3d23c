//! A RateLimitPolicy becomes what the data plane counts.

mod shared;

use std::collections::{BTreeMap, BTreeSet};

use ravelin_crds::{
    Adaptive, Approximate, Ban, CalendarPeriod, Duration, Limit, LimitAlgorithm, LimitPhase, PlanSelection, PlanSpec,
    Quantity, Quota, Rate, RateLimitPolicySpec,
};
use ravelin_snapshot::{
    expression::{Expression, time::Zone},
    rate_limit::{self, Count, Period, Phase, Plan, Plans, RateLimitPolicy, SlidingWindow, TokenBucket},
};

use super::{
    LimitStore,
    auth::{bound, entry_name, mode},
    notes::{Field, Notes},
    text::{self, Type},
};
use crate::{object::Object, verdict::Reason};

/// Limits of one policy, at most.
const MAX_LIMITS: usize = 64;
/// Requests of one rate, at most.
const MAX_REQUESTS: u32 = 1_000_000_000;
/// Bytes of one sketch, at most.
const MAX_SKETCH: u64 = 256 << 20;
/// Requests of one quota, at most.
const MAX_QUOTA: u64 = 1_000_000_000_000_000;

/// A policy, of no use if anything is noted that breaks it.
pub(super) struct Compiled {
    pub(super) policy: RateLimitPolicy,
    /// Limits that a request meets, at most.
    pub(super) limits: usize,
    /// What it refers to is there; if not, the policy cannot be enforced.
    pub(super) resolved: bool,
}

/// `plans` are those of the policy's namespace.
pub(super) fn compile(
    object: &Object<RateLimitPolicySpec>,
    store: LimitStore,
    plans_here: impl FnOnce() -> BTreeMap<String, Plan>,
    notes: &mut Notes,
) -> Compiled {
    let RateLimitPolicySpec { target_refs: _, mode, scope, on_store_failure, limits, priority, plans } = &object.spec;
    let shared = shared::sharing(*scope, *on_store_failure, store, notes);
    let field = Field::SPEC.member("limits");
    if limits.is_empty() && plans.is_none() {
        notes.warning(field, Reason::Suspicious, "the policy limits nothing", "Add a limit.");
    }
    let compiled = list(limits, field, notes);
    let namespace = &object.meta.key.namespace;
    let selection = plans.as_ref().map(|said| self::plans(said, plans_here(), namespace, notes));
    let (plans, resolved) = selection.unwrap_or((None, true));
    if shared.is_some() {
        shared::all_can_be_shared(limits, &compiled, plans.as_ref(), notes);
    }
    let of_plans = plans.iter().flat_map(|plans| plans.plans.values()).map(|plan| match plan {
        Plan::Limits(limits) => limits.len(),
        Plan::Broken => 0,
    });
    let limits = compiled.len() + of_plans.max().unwrap_or(0);
    let priority =
        priority.as_ref().and_then(|said| self::priority(said, &compiled, plans.as_ref(), shared.is_some(), notes));
    Compiled {
        policy: RateLimitPolicy { mode: self::mode(*mode), limits: compiled, plans, priority, shared },
        limits,
        resolved,
    }
}

/// Weights are for those who wait; who waits for a rate that replicas share is told his time when he comes, by the store.
fn priority(
    said: &str,
    limits: &[rate_limit::Limit],
    plans: Option<&Plans>,
    shared: bool,
    notes: &mut Notes,
) -> Option<Expression> {
    let field = Field::SPEC.member("priority");
    let of_plans = plans.iter().flat_map(|plans| plans.plans.values()).flat_map(|plan| match plan {
        Plan::Limits(limits) => limits.as_slice(),
        Plan::Broken => &[],
    });
    let mut waited_for = limits.iter().chain(of_plans).filter(|limit| limit.max_delay_ms.is_some()).peekable();
    if waited_for.peek().is_none() {
        let message = "no limit has requests that wait";
        notes.warning(field, Reason::Suspicious, message, "Give a limit with a rate or with concurrency a maxDelay.");
    }
    if shared
        && let Some(rate) =
            waited_for.find(|limit| matches!(limit.count, Count::TokenBucket(_) | Count::SlidingWindow(_)))
    {
        let message = format!("requests that wait for the shared rate `{}` go on as they came", rate.name);
        let remedy = "Leave out its maxDelay, or use the scope Replica; shared, weights are for concurrency.";
        notes.error(field, Reason::Unsupported, message, remedy);
    }
    text::expression(said, Type::Int, field, notes)
}

/// The limits of a Plan; of no use if anything is noted that breaks it.
pub(super) fn compile_plan(object: &Object<PlanSpec>, notes: &mut Notes) -> Vec<rate_limit::Limit> {
    let PlanSpec { display_name: _, limits } = &object.spec;
    let field = Field::SPEC.member("limits");
    for (index, limit) in limits.iter().enumerate() {
        if limit.phase == Some(LimitPhase::PreAuthentication) {
            let message = "whose plan it is, is not known before authentication";
            notes.invalid(field.item(index).member("phase"), message, "Leave it out.");
        }
    }
    list(limits, field, notes)
}

/// Whether the default is there says the second.
fn plans(
    said: &PlanSelection,
    here: BTreeMap<String, Plan>,
    namespace: &str,
    notes: &mut Notes,
) -> (Option<Plans>, bool) {
    let PlanSelection { select, default, key } = said;
    let field = Field::SPEC.member("plans");
    let select = text::expression(select, Type::String, field.member("select"), notes);
    let key = key.as_ref().and_then(|key| text::expression(key, Type::String, field.member("key"), notes));
    let resolved = default.as_ref().is_none_or(|name| here.contains_key(name));
    if let Some(name) = default.as_ref().filter(|_| !resolved) {
        let message = format!("there is no Plan {} in {namespace}", text::shown(name));
        notes.error(field.member("default"), Reason::ReferenceNotFound, message, "Create it, or name another.");
    }
    for (name, _) in here.iter().filter(|(_, plan)| **plan == Plan::Broken) {
        let message = format!(
            "the Plan {namespace}/{name} cannot be enforced, and whoever has it is refused (503 `policy_invalid`)"
        );
        notes.warning(field, Reason::Suspicious, message, "See what the plan's own status says.");
    }
    (select.map(|select| Plans { select, default: default.clone(), key, plans: here }), resolved)
}

/// The limits of a policy or of a plan.
fn list(said: &[Limit], field: Field<'_>, notes: &mut Notes) -> Vec<rate_limit::Limit> {
    bound(said.len(), MAX_LIMITS, field, notes);
    let mut names = BTreeSet::new();
    let mut compiled = Vec::with_capacity(said.len());
    for (index, one) in said.iter().enumerate() {
        let field = field.item(index);
        entry_name(&one.name, &mut names, field, notes);
        let parent = parent(said, index, field.member("parent"), notes).cloned();
        compiled.extend(limit(one, parent, field, notes));
    }
    compiled
}

/// The parent of a limit. A limit that is its own ancestor, or has none of the name, breaks the policy.
fn parent<'a>(said: &'a [Limit], own: usize, field: Field<'_>, notes: &mut Notes) -> Option<&'a String> {
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
    Some(name)
}

fn limit(said: &Limit, parent: Option<String>, field: Field<'_>, notes: &mut Notes) -> Option<rate_limit::Limit> {
    let Limit { name, key, when, cost, phase, max_delay, ban, .. } = said;
    let count = count(said, field, notes);
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
    let names_caller = |said: &Option<Expression>| said.as_ref().is_some_and(|said| said.node.reads_caller());
    if phase == Phase::PreAuthentication && [&key, &when, &cost].into_iter().any(names_caller) {
        let message = "the caller is not known before authentication: to this limit, all are anonymous";
        notes.warning(field.member("phase"), Reason::Suspicious, message, "Use the phase Main.");
    }
    let max_delay_ms = max_delay.map(millis).filter(|delay| *delay > 0);
    let ban = ban.as_ref().map(|ban| self::ban(ban, field.member("ban"), notes));
    let name = name.clone();
    Some(rate_limit::Limit { name, key, when, cost, phase, count: count?, parent, max_delay_ms, ban })
}

/// What is counted. `None`: nothing is.
fn count(said: &Limit, field: Field<'_>, notes: &mut Notes) -> Option<Count> {
    // All fields are named, here or where it is called: a new one is not forgotten.
    let Limit {
        name: _,
        key: _,
        when: _,
        cost: _,
        phase: _,
        parent: _,
        ban: _,
        algorithm,
        rate,
        quota,
        concurrency,
        adaptive,
        max_delay,
        approximate,
    } = said;
    let kinds = [rate.is_some(), quota.is_some(), concurrency.is_some(), adaptive.is_some()];
    if kinds.into_iter().filter(|set| *set).count() != 1 {
        let remedy = "Set exactly one of rate, quota, concurrency and adaptive.";
        notes.invalid(field, "a limit counts one thing", remedy);
    }
    if max_delay.is_some() && rate.is_none() && concurrency.is_none() {
        notes.invalid(field.member("maxDelay"), "only for a rate or for concurrency one can wait", "Leave it out.");
    }
    for (member, set) in [("algorithm", algorithm.is_some()), ("approximate", approximate.is_some())] {
        if set && rate.is_none() {
            notes.invalid(field.member(member), "this goes with a rate", "Leave it out.");
        }
    }
    if approximate.is_some() && max_delay.is_some() {
        let message = "what is counted approximately has no order to wait in";
        notes.invalid(field.member("maxDelay"), message, "Leave out maxDelay or approximate.");
    }
    Some(match (rate, concurrency, quota, adaptive) {
        (Some(rate), ..) => {
            let count = self::rate(rate, *algorithm, approximate.is_some(), field.member("rate"), notes);
            match (count, approximate) {
                (Count::SlidingWindow(window), Some(said)) => {
                    Count::Approximate { window, sketch: sketch(said, field.member("approximate"), notes) }
                }
                (count, _) => count,
            }
        }
        (None, Some(max), ..) => {
            in_range(*max, field.member("concurrency"), notes);
            Count::Concurrency(*max)
        }
        (None, None, Some(quota), _) => Count::Quota(self::quota(quota, field.member("quota"), notes)),
        (None, None, None, Some(said)) => Count::Adaptive(self::adaptive(said, field.member("adaptive"), notes)),
        (None, None, None, None) => return None,
    })
}

fn ban(said: &Ban, field: Field<'_>, notes: &mut Notes) -> rate_limit::Ban {
    let Ban { after, within, duration } = said;
    in_range(*after, field.member("after"), notes);
    for (member, time) in [("within", within), ("for", duration)] {
        if time.is_zero() {
            notes.invalid(field.member(member), "a ban needs a time", "Write it as 1s, 1m or 1h.");
        }
    }
    rate_limit::Ban { after: *after, within_ms: millis(*within), for_ms: millis(*duration) }
}

/// As large as error and confidence need; all of the memory that is given, if that is more.
fn sketch(said: &Approximate, field: Field<'_>, notes: &mut Notes) -> rate_limit::Sketch {
    let Approximate { memory, error, confidence } = said;
    let mut part = |said: &Option<String>, default: f64, member| match said.as_deref().map(percentage) {
        None => default,
        Some(Some(part)) => part,
        Some(None) => {
            let message = "this is not more than 0% and less than 100%";
            notes.invalid(field.member(member), message, "Write it as 0.1% or 99.9%.");
            default
        }
    };
    let (error, confidence) = (part(error, 0.001, "error"), part(confidence, 0.999, "confidence"));
    // The bounds of a percentage keep both far below 2^32.
    let width = (std::f64::consts::E / error).ceil() as u32;
    let depth = (1.0 / (1.0 - confidence)).ln().ceil().max(1.0) as u32;
    let needed = rate_limit::Sketch { width, depth };
    let given = memory.map_or(needed.bytes(), Quantity::bytes);
    if given < needed.bytes() || given > MAX_SKETCH {
        let message = format!("error and confidence need {} bytes of memory, and 256Mi is the most", needed.bytes());
        notes.invalid(field, message, "Give as much, or allow a larger error.");
        return needed;
    }
    let row = u64::from(depth) * u64::from(rate_limit::Sketch::SLICES) * 4;
    rate_limit::Sketch { width: u32::try_from(given / row).unwrap_or(u32::MAX), depth }
}

/// `0.1%` as 0.001; `None` if it is none, or too near to nothing or to all.
fn percentage(text: &str) -> Option<f64> {
    let number: f64 = text.strip_suffix('%')?.parse().ok()?;
    (0.000_1..=99.999_9).contains(&number).then_some(number / 100.0)
}

fn adaptive(said: &Adaptive, field: Field<'_>, notes: &mut Notes) -> rate_limit::Adaptive {
    let Adaptive { target, min, max } = said;
    let (least, most) = (min.unwrap_or(10), max.unwrap_or(1_000));
    in_range(least, field.member("min"), notes);
    in_range(most, field.member("max"), notes);
    if least > most {
        let message = format!("min is {least}, and max {most}");
        notes.invalid(field, message, "Let min be at most max; without them they are 10 and 1000.");
    }
    if target.is_zero() {
        notes.invalid(field.member("target"), "no backend answers in no time", "Write it as 200ms or 1s.");
    }
    rate_limit::Adaptive { target_ms: millis(*target), min: least, max: most }
}

fn quota(said: &Quota, field: Field<'_>, notes: &mut Notes) -> rate_limit::Quota {
    let Quota { requests, per, time_zone } = said;
    if !(1..=MAX_QUOTA).contains(requests) {
        notes.invalid(field.member("requests"), format!("{requests} is out of range"), "Use 1 to 10^15.");
    }
    let per = match per {
        CalendarPeriod::Hour => Period::Hour,
        CalendarPeriod::Day => Period::Day,
        CalendarPeriod::Week => Period::Week,
        CalendarPeriod::Month => Period::Month,
    };
    let time_zone = time_zone.as_deref().unwrap_or("UTC");
    if !matches!(Zone::parse(time_zone), Some(Zone::Named(_))) {
        let message = format!("there is no time zone {}", text::shown(time_zone));
        notes.invalid(field.member("timeZone"), message, "Use an IANA name, such as Europe/Paris.");
    }
    rate_limit::Quota { requests: *requests, per, time_zone: time_zone.to_owned() }
}

fn in_range(count: u32, field: Field<'_>, notes: &mut Notes) {
    if !(1..=MAX_REQUESTS).contains(&count) {
        notes.invalid(field, format!("{count} is out of range"), "Use 1 to 1000000000.");
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.get().as_millis()).unwrap_or(u64::MAX)
}

/// An approximate rate is a sliding window.
fn rate(
    said: &Rate,
    algorithm: Option<LimitAlgorithm>,
    approximate: bool,
    field: Field<'_>,
    notes: &mut Notes,
) -> Count {
    let Rate { requests, per, burst } = said;
    in_range(*requests, field.member("requests"), notes);
    in_range(said.burst(), field.member("burst"), notes);
    if per.is_zero() {
        notes.invalid(field.member("per"), "a rate needs a time", "Write it as 1s, 1m or 1h.");
    }
    let per_ms = millis(*per);
    let default = if approximate { LimitAlgorithm::SlidingWindow } else { LimitAlgorithm::TokenBucket };
    match algorithm.unwrap_or(default) {
        LimitAlgorithm::TokenBucket => {
            if approximate {
                let message = "what is counted approximately is a sliding window";
                notes.invalid(field, message, "Use the algorithm SlidingWindow, or leave it out.");
            }
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
