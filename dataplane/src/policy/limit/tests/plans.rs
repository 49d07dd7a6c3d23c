//! The limits of callers' plans.

use super::*;

fn planned(plans: Vec<(&str, rate_limit::Plan)>, before: Option<&RateLimitPolicy>) -> RateLimitPolicy {
    let plans = rate_limit::Plans {
        select: constant(Node::Attribute(Attribute::CallerPlan)).unwrap(),
        default: Some("free".to_owned()),
        key: by_caller(),
        plans: plans.into_iter().map(|(name, plan)| (name.to_owned(), plan)).collect(),
    };
    let said = rate_limit::RateLimitPolicy {
        mode: Mode::Enforce,
        limits: vec![],
        plans: Some(plans),
        priority: None,
        shared: None,
    };
    RateLimitPolicy::compile(&ObjectKey::new("shop", "few"), &said, before, &Arc::default(), None).unwrap()
}

fn plan(limits: Vec<rate_limit::Limit>) -> rate_limit::Plan {
    rate_limit::Plan::Limits(limits)
}

fn passing_with(policy: &RateLimitPolicy, id: &str, plan: &str, now: Instant) -> usize {
    let pass = |_: &usize| admitted(&[policy], Phase::Main, &Method::GET, &of(id, plan), now).is_ok();
    (0..1_000).take_while(pass).count()
}

fn two_plans(gold: u32) -> Vec<(&'static str, rate_limit::Plan)> {
    let free = plan(vec![limit("rate", bucket(6, 60_000, 6))]);
    vec![("free", free), ("gold", plan(vec![limit("rate", bucket(gold, 60_000, gold))]))]
}

#[test]
fn a_caller_has_the_limits_of_his_plan_and_those_of_the_default_if_it_is_not_there() {
    let policy = planned(two_plans(60), None);
    let now = Instant::now();
    assert_eq!(passing_with(&policy, "a", "gold", now), 60);
    assert_eq!(passing_with(&policy, "b", "free", now), 6);
    assert_eq!(passing_with(&policy, "c", "", now), 6);
    assert_eq!(policy.unknown_plans(), 0);
    assert_eq!(passing_with(&policy, "d", "platinum", now), 6);
    assert_eq!(policy.unknown_plans(), 7, "each request is counted");
}

#[test]
fn who_changes_plans_goes_on_from_what_was_counted() {
    let policy = planned(two_plans(60), None);
    let now = Instant::now();
    assert_eq!(passing_with(&policy, "a", "free", now), 6);
    assert_eq!(passing_with(&policy, "a", "gold", now), 54);
    assert_eq!(passing_with(&policy, "a", "free", now), 0, "and back");
    assert_eq!(passing_with(&policy, "b", "gold", now), 60, "another caller");
}

#[test]
fn a_plan_that_changes_or_goes_while_it_is_in_use_keeps_its_counts() {
    let before = planned(two_plans(60), None);
    let now = Instant::now();
    assert_eq!(passing_with(&before, "a", "gold", now), 60);
    let more = planned(two_plans(100), Some(&before));
    assert_eq!(passing_with(&more, "a", "gold", now), 40);
    let gone = planned(two_plans(60).drain(..1).collect(), Some(&more));
    assert_eq!(passing_with(&gone, "a", "gold", now), 0, "the default's limit of the same name");
    assert_eq!(passing_with(&gone, "b", "gold", now), 6);
}

#[test]
fn who_has_a_plan_that_cannot_be_enforced_is_refused_and_nobody_else() {
    let mut plans = two_plans(60);
    plans.push(("broken", rate_limit::Plan::Broken));
    let policy = planned(plans, None);
    let now = Instant::now();
    let refused = admitted(&[&policy], Phase::Main, &Method::GET, &of("a", "broken"), now).err().unwrap();
    assert_eq!(refused.reason, Reason::PolicyInvalid);
    assert_eq!(passing_with(&policy, "a", "gold", now), 60);
}
