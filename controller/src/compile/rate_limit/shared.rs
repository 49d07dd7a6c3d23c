//! Limits of the scope `Shared`: whether there is a store, and what replicas do not share.

use ravelin_crds::{Limit, OnStoreFailure, RateLimitScope};
use ravelin_snapshot::rate_limit::{self, Count, Plan, Plans};

use super::super::{
    LimitStore,
    notes::{Field, Notes},
};
use crate::verdict::Reason;

/// `None`: each replica counts by itself.
pub(super) fn sharing(
    scope: Option<RateLimitScope>,
    on_failure: Option<OnStoreFailure>,
    store: LimitStore,
    notes: &mut Notes,
) -> Option<rate_limit::OnStoreFailure> {
    match scope.unwrap_or_default() {
        RateLimitScope::Replica => {
            if on_failure.is_some() {
                let message = "this goes with the scope Shared";
                notes.invalid(Field::SPEC.member("onStoreFailure"), message, "Leave it out, or share the limits.");
            }
            None
        }
        RateLimitScope::Shared => {
            if store == LimitStore::Missing {
                let message = "there is no store in which replicas could share limits";
                let remedy = "Start the gateway with --redis URL (in the chart: redis), or use the scope Replica.";
                notes.error(Field::SPEC.member("scope"), Reason::Unsupported, message, remedy);
            }
            Some(match on_failure.unwrap_or_default() {
                OnStoreFailure::Local => rate_limit::OnStoreFailure::Local,
                OnStoreFailure::Allow => rate_limit::OnStoreFailure::Allow,
                OnStoreFailure::Deny => rate_limit::OnStoreFailure::Deny,
            })
        }
    }
}

/// What replicas cannot share is said of the limit, or of the plan that has it.
pub(super) fn all_can_be_shared(
    said: &[Limit],
    limits: &[rate_limit::Limit],
    plans: Option<&Plans>,
    notes: &mut Notes,
) {
    for limit in limits {
        if let (Some(why), Some(index)) = (unshared(limit), said.iter().position(|said| said.name == limit.name)) {
            let list = Field::SPEC.member("limits");
            let field = list.item(index);
            notes.error(field.member(why.member), Reason::Unsupported, why.message, why.remedy);
        }
    }
    for (name, plan) in plans.iter().flat_map(|plans| &plans.plans) {
        let limits = match plan {
            Plan::Limits(limits) => limits.as_slice(),
            Plan::Broken => &[],
        };
        if let Some((limit, why)) = limits.iter().find_map(|limit| Some((limit, unshared(limit)?))) {
            let message = format!("the Plan {name} has a limit `{}` with {}: {}", limit.name, why.member, why.message);
            notes.error(Field::SPEC.member("plans"), Reason::Unsupported, message, why.remedy);
        }
    }
}

/// The field that replicas do not share, why, and what to do.
struct Unshared {
    member: &'static str,
    message: &'static str,
    remedy: &'static str,
}

fn unshared(limit: &rate_limit::Limit) -> Option<Unshared> {
    match limit.count {
        Count::Adaptive(_) => Some(Unshared {
            member: "adaptive",
            message: "each replica follows the latency that it sees itself",
            remedy: "Put the limit into a policy of the scope Replica; for a bound of all replicas use concurrency.",
        }),
        Count::Approximate { .. } => Some(Unshared {
            member: "approximate",
            message: "the store counts each key exactly, and forgets it when it says nothing any more",
            remedy: "Leave approximate out, or put the limit into a policy of the scope Replica.",
        }),
        Count::TokenBucket(_) | Count::SlidingWindow(_) | Count::Quota(_) | Count::Concurrency(_) => None,
    }
}
