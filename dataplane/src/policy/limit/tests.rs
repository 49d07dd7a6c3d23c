//! What limits do together: all or nothing, families, swaps.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, Method};
use proptest::prelude::*;
use ravelin_snapshot::{
    ObjectKey,
    expression::{Attribute, Node},
};

use super::*;
use crate::request::{Caller, RequestView, RuleName, Scheme};
use rate_limit::{SlidingWindow, TokenBucket};

mod plans;
mod waiting;

fn bucket(requests: u32, per_ms: u64, burst: u32) -> rate_limit::Count {
    rate_limit::Count::TokenBucket(TokenBucket { requests, per_ms, burst })
}

fn window(requests: u32, per_ms: u64) -> rate_limit::Count {
    rate_limit::Count::SlidingWindow(SlidingWindow { requests, per_ms })
}

/// For all requests, one count for all.
fn limit(name: &str, count: rate_limit::Count) -> rate_limit::Limit {
    let name = name.to_owned();
    rate_limit::Limit {
        name,
        key: None,
        when: None,
        cost: None,
        phase: Phase::Main,
        count,
        parent: None,
        max_delay_ms: None,
        ban: None,
    }
}

fn constant(node: Node) -> Option<Expression> {
    Some(Expression { source: String::new(), node })
}

fn by_caller() -> Option<Expression> {
    constant(Node::Attribute(Attribute::CallerId))
}

/// True for a request of this method.
fn method(name: &str) -> Option<Expression> {
    let arguments = vec![Node::Attribute(Attribute::RequestMethod), Node::String(name.to_owned())];
    constant(Node::Call { function: ravelin_snapshot::expression::Function::Equal, arguments })
}

fn policy_as(mode: Mode, limits: Vec<rate_limit::Limit>, before: Option<&RateLimitPolicy>) -> RateLimitPolicy {
    let said = rate_limit::RateLimitPolicy { mode, limits, plans: None, priority: None, shared: None };
    RateLimitPolicy::compile(&ObjectKey::new("shop", "few"), &said, before, &Arc::default(), None).unwrap()
}

fn policy(limits: Vec<rate_limit::Limit>) -> RateLimitPolicy {
    policy_as(Mode::Enforce, limits, None)
}

/// Asks these policies for a request.
fn admitted<'t>(
    policies: &[&'t RateLimitPolicy],
    phase: Phase,
    method: &Method,
    caller: &Caller,
    now: Instant,
) -> Result<Permit<'t>, Reject> {
    let headers = HeaderMap::new();
    let view = RequestView {
        method,
        path: "/",
        raw: "/",
        query: "",
        headers: &headers,
        host: "shop.example",
        authority: "shop.example",
        scheme: Scheme::Http,
        id: "1",
        source: SocketAddr::from(([192, 0, 2, 1], 4)),
        chain: None,
    };
    let route = RuleName { route: ObjectKey::new("shop", "orders"), rule: String::new() };
    let scope = Scope { request: &view, caller, route: &route, now: SystemTime::UNIX_EPOCH };
    admit(policies.iter().copied(), phase, &scope, now)
}

fn of(id: &str, plan: &str) -> Caller {
    Caller { id: id.to_owned(), plan: plan.to_owned(), ..Caller::default() }
}

/// What the answer tells; an error names the limit that refuses.
fn ask(
    policies: &[&RateLimitPolicy],
    method: &Method,
    caller: &str,
    now: Instant,
) -> Result<HeaderMap, (String, Option<u64>)> {
    let permit = admitted(policies, Phase::Main, method, &of(caller, ""), now).map_err(|reject| {
        let detail = reject.detail.unwrap();
        (detail.limit.unwrap(), detail.retry_after)
    })?;
    let mut answer = HeaderMap::new();
    permit.tell(&mut answer);
    Ok(answer)
}

/// How many requests pass now.
fn passing(policies: &[&RateLimitPolicy], method: &Method, caller: &str, now: Instant) -> usize {
    (0..1_000).take_while(|_| ask(policies, method, caller, now).is_ok()).count()
}

#[test]
fn a_limit_that_refuses_takes_nothing_from_the_others_of_any_policy() {
    let now = Instant::now();
    let wide = policy(vec![limit("bucket", bucket(10, 60_000, 10)), limit("window", window(10, 60_000))]);
    let narrow = policy(vec![limit("one", bucket(1, 60_000, 1))]);
    assert!(ask(&[&wide, &narrow], &Method::GET, "", now).is_ok());
    for _ in 0..50 {
        let refused = ask(&[&wide, &narrow], &Method::GET, "", now).unwrap_err();
        assert_eq!(refused, ("one".to_owned(), Some(60)));
    }
    assert_eq!(passing(&[&wide], &Method::GET, "", now), 9, "fifty refusals took nothing");
}

#[test]
fn a_policy_in_shadow_counts_and_denies_nobody() {
    let now = Instant::now();
    let shadow = policy_as(Mode::Shadow, vec![limit("one", bucket(1, 60_000, 1))], None);
    assert_eq!(passing(&[&shadow], &Method::GET, "", now), 1_000);
    assert_eq!(shadow.standing().map(|limit| limit.refused).collect::<Vec<_>>(), [999]);
}

#[test]
fn the_answer_tells_of_the_tightest_limit() {
    let limits = policy(vec![limit("wide", bucket(100, 60_000, 20)), limit("tight", window(5, 1_500))]);
    let told = ask(&[&limits], &Method::GET, "", Instant::now()).unwrap();
    assert_eq!(told["ratelimit-policy"], "\"tight\";q=5;w=2");
    assert_eq!(told["ratelimit"], "\"tight\";r=4;t=2");
}

#[test]
fn a_child_takes_from_itself_and_from_its_parent_or_from_neither() {
    let team = |name: &str, verb: &str| rate_limit::Limit {
        when: method(verb),
        parent: Some("company".to_owned()),
        ..limit(name, bucket(5, 60_000, 5))
    };
    let never = rate_limit::Limit { when: constant(Node::Bool(false)), ..limit("company", bucket(8, 60_000, 8)) };
    let limits = policy(vec![team("readers", "GET"), team("writers", "PUT"), never]);
    let now = Instant::now();
    assert_eq!(passing(&[&limits], &Method::GET, "", now), 5);
    assert_eq!(ask(&[&limits], &Method::GET, "", now).unwrap_err().0, "readers");
    assert_eq!(passing(&[&limits], &Method::PUT, "", now), 3, "the company has 8, though `when` is false for it");
    assert_eq!(ask(&[&limits], &Method::PUT, "", now).unwrap_err().0, "company");
    assert!(ask(&[&limits], &Method::DELETE, "", now).is_ok(), "no child, no parent");
    // The refusals took nothing from the child: it has 2 left when the parent has more.
    let later = now + Duration::from_secs(15);
    assert_eq!(passing(&[&limits], &Method::PUT, "", later), 2);
}

#[test]
fn an_idle_siblings_share_is_usable() {
    let now = Instant::now();
    let team = |caller: &str| {
        let parent = rate_limit::Limit { key: None, ..limit("company", bucket(10, 60_000, 10)) };
        let child = rate_limit::Limit {
            key: by_caller(),
            parent: Some("company".to_owned()),
            ..limit("team", bucket(10, 60_000, 10))
        };
        passing(&[&policy(vec![child, parent])], &Method::GET, caller, now)
    };
    assert_eq!(team("a"), 10, "one team alone has all of the company's");
}

#[test]
fn a_parent_is_charged_once_and_as_its_costliest_child() {
    let now = Instant::now();
    let child = |name: &str, cost| rate_limit::Limit {
        cost: constant(Node::Int(cost)),
        parent: Some("parent".to_owned()),
        ..limit(name, bucket(100, 60_000, 100))
    };
    let limits = policy(vec![child("a", 2), child("b", 3), limit("parent", bucket(9, 60_000, 9))]);
    assert_eq!(passing(&[&limits], &Method::GET, "", now), 3);
}

#[test]
fn a_negative_cost_is_nothing_and_one_beyond_all_bounds_is_refused() {
    let now = Instant::now();
    let costing = |cost| rate_limit::Limit { cost: constant(Node::Int(cost)), ..limit("a", bucket(3, 60_000, 3)) };
    assert_eq!(passing(&[&policy(vec![costing(i64::MIN)])], &Method::GET, "", now), 1_000);
    assert_eq!(ask(&[&policy(vec![costing(i64::MAX)])], &Method::GET, "", now), Err(("a".to_owned(), None)));
}

#[test]
fn a_limit_keeps_what_it_counted_across_a_swap_if_and_only_if_its_configuration_is_equal() {
    let now = Instant::now();
    let sketch = |requests| rate_limit::Count::Approximate {
        window: SlidingWindow { requests, per_ms: 60_000 },
        sketch: rate_limit::Sketch { width: 100, depth: 3 },
    };
    let adaptive = |max| rate_limit::Count::Adaptive(rate_limit::Adaptive { target_ms: 100, min: 3, max });
    let kinds: [(&str, rate_limit::Count, rate_limit::Count); 5] = [
        ("adaptive", adaptive(9), adaptive(8)),
        ("approximate", sketch(3), sketch(4)),
        ("token bucket", bucket(3, 60_000, 3), bucket(3, 60_000, 4)),
        ("sliding window", window(3, 60_000), window(3, 50_000)),
        ("concurrency", rate_limit::Count::Concurrency(3), rate_limit::Count::Concurrency(4)),
    ];
    for (kind, count, other) in kinds {
        // Permits are kept, for seats are free again without.
        let pass = |policy: &'static RateLimitPolicy| {
            let permits = (0..10).map_while(|_| admitted(&[policy], Phase::Main, &Method::GET, &of("", ""), now).ok());
            permits.collect::<Vec<_>>()
        };
        let made = |limits, before| -> &'static RateLimitPolicy {
            Box::leak(Box::new(policy_as(Mode::Enforce, limits, before)))
        };
        let before = made(vec![limit("a", count.clone())], None);
        let held = pass(before);
        assert_eq!(held.len(), 3, "{kind}");
        let unrelated = || limit("b", bucket(1_000, 1_000, 1_000));
        let same = made(vec![unrelated(), limit("a", count.clone())], Some(before));
        assert_eq!(pass(same).len(), 0, "{kind}: another limit came, this one is as it was");
        let changed = made(vec![limit("a", other)], Some(before));
        assert!(pass(changed).len() >= 3, "{kind}: it is another limit now");
        let renamed = made(vec![limit("c", count)], Some(before));
        assert_eq!(pass(renamed).len(), 3, "{kind}: it is another limit now");
        assert_eq!(same.standing().map(|limit| limit.refused).sum::<u64>(), 3, "{kind}: refusals count on");
    }
}

#[test]
fn a_ban_goes_on_across_a_swap_and_is_known_before_authentication_if_its_key_is() {
    let ban = Some(rate_limit::Ban { after: 2, within_ms: 60_000, for_ms: 600_000 });
    let source = constant(Node::Attribute(Attribute::SourceAddress));
    for (key, early) in [(source, true), (by_caller(), false)] {
        let crawl = rate_limit::Limit { key, ban: ban.clone(), ..limit("crawl", bucket(1, 1_000, 1)) };
        let before = policy(vec![crawl.clone()]);
        let now = Instant::now();
        let ask_in = |policy: &RateLimitPolicy, phase, now| {
            admitted(&[policy], phase, &Method::GET, &of("a", ""), now).map(drop).map_err(|reject| {
                let detail = reject.detail.unwrap();
                (reject.reason, detail.retry_after.unwrap())
            })
        };
        assert_eq!(ask_in(&before, Phase::Main, now), Ok(()));
        let limited = |seconds| Err((Reason::RateLimited, seconds));
        assert_eq!(ask_in(&before, Phase::Main, now), limited(1));
        assert_eq!(ask_in(&before, Phase::PreAuthentication, now), Ok(()), "not yet");
        assert_eq!(ask_in(&before, Phase::Main, now), limited(1));
        let policy = policy_as(Mode::Enforce, vec![crawl], Some(&before));
        let later = now + Duration::from_secs(60);
        let (banned, other) = (limited(540), Ok(()));
        let expected = if early { [&banned, &other] } else { [&other, &banned] };
        assert_eq!(&ask_in(&policy, Phase::PreAuthentication, later), expected[0]);
        assert_eq!(&ask_in(&policy, Phase::Main, later), expected[1]);
        assert_eq!(ask_in(&policy, Phase::Main, now + Duration::from_secs(600)), Ok(()));
    }
}

fn quota(requests: u64, per: rate_limit::Period) -> rate_limit::Count {
    rate_limit::Count::Quota(rate_limit::Quota { requests, per, time_zone: "UTC".to_owned() })
}

#[test]
fn a_quota_keeps_what_was_used_unless_its_terms_change() {
    use rate_limit::Period::{Day, Month};
    let (now, ledger) = (Instant::now(), Arc::default());
    let key = ObjectKey::new("shop", "few");
    let made = |limits| {
        let said =
            rate_limit::RateLimitPolicy { mode: Mode::Enforce, limits, plans: None, priority: None, shared: None };
        RateLimitPolicy::compile(&key, &said, None, &ledger, None).unwrap()
    };
    let by_key = |count| rate_limit::Limit { key: by_caller(), ..limit("month", count) };
    assert_eq!(passing(&[&made(vec![by_key(quota(3, Month))])], &Method::GET, "a", now), 3);
    // Nothing of the table before is there: the policy was away.
    let same = made(vec![by_key(quota(3, Month))]);
    let refused = admitted(&[&same], Phase::Main, &Method::GET, &of("a", ""), now).err().unwrap();
    assert_eq!(refused.reason, Reason::QuotaExceeded);
    let detail = refused.detail.unwrap();
    // 1 January 1970.
    assert_eq!(detail.retry_after, Some(31 * 86_400));
    let told = format!("\"month\";q=3;w={}", 31 * 86_400);
    assert_eq!(detail.headers[0], ("ratelimit-policy", told));
    assert_eq!(passing(&[&made(vec![by_key(quota(5, Month))])], &Method::GET, "a", now), 2, "more was bought");
    assert_eq!(passing(&[&made(vec![by_key(quota(3, Day))])], &Method::GET, "a", now), 3, "other terms, another count");
    let clock = SystemTime::UNIX_EPOCH;
    assert_eq!(same.reset_usage("month", "a", clock), Ok(Some(true)));
    assert_eq!(same.reset_usage("month", "b", clock), Ok(Some(false)));
    assert_eq!(same.reset_usage("year", "a", clock), Ok(None));
    assert_eq!(same.grant_usage("month", "a", 4, clock), Ok(true));
    let mut usage = Vec::new();
    assert_eq!(same.usage(clock, 10, (None, None), &mut usage), Ok(false));
    assert_eq!((usage.len(), &*usage[0].key, usage[0].used, usage[0].granted), (1, "a", 0, 4));
    assert_eq!(passing(&[&same], &Method::GET, "a", now), 7);
}

#[derive(Clone, Debug)]
struct Ask {
    gap_ms: u64,
    caller: &'static str,
    method: Method,
}

fn asks() -> impl Strategy<Value = Vec<Ask>> {
    let ask = (0..400_u64, prop_oneof![Just("a"), Just("b")], prop_oneof![Just(Method::GET), Just(Method::PUT)]);
    proptest::collection::vec(ask.prop_map(|(gap_ms, caller, method)| Ask { gap_ms, caller, method }), 1..120)
}

proptest! {
    /// The oracle is a log of all that passed, looked through by definition.
    #[test]
    fn all_limits_together_admit_exactly_what_each_by_itself_would(
        child in 1..6_u32, parent in 1..9_u32, writes in 1..4_u32, asks in asks(),
    ) {
        let child_limit = rate_limit::Limit { key: by_caller(), parent: Some("parent".to_owned()), ..limit("child", window(child, 1_000)) };
        let family = policy(vec![child_limit, limit("parent", window(parent, 2_000))]);
        let other = policy(vec![rate_limit::Limit { when: method("PUT"), ..limit("writes", window(writes, 3_000)) }]);
        let (start, mut ms, mut log) = (Instant::now(), 0, Vec::<(u64, Ask)>::new());
        for one in asks {
            ms += one.gap_ms;
            let since = |per: u64, of: &dyn Fn(&Ask) -> bool| {
                log.iter().filter(|(at, known)| at + per > ms && of(known)).count() as u32
            };
            let admits = since(1_000, &|known| known.caller == one.caller) < child
                && since(2_000, &|_| true) < parent
                && (one.method != Method::PUT || since(3_000, &|known| known.method == Method::PUT) < writes);
            let now = start + Duration::from_millis(ms);
            let said = ask(&[&family, &other], &one.method, one.caller, now);
            prop_assert_eq!(said.is_ok(), admits);
            if admits {
                log.push((ms, one));
            }
        }
    }

    /// `Retry-After` is in whole seconds, rounded up, and true.
    #[test]
    fn who_waits_as_the_answer_tells_is_admitted(requests in 1..20_u32, burst in 1..10_u32, asks in asks()) {
        let limits = policy(vec![limit("bucket", bucket(requests, 7_000, burst)), limit("window", window(requests, 9_000))]);
        let mut now = Instant::now();
        for one in asks {
            now += Duration::from_millis(one.gap_ms);
            if let Err((_, after)) = ask(&[&limits], &one.method, one.caller, now) {
                // One limit at a time tells: at most twice.
                now += Duration::from_secs(after.unwrap());
                if let Err((_, after)) = ask(&[&limits], &one.method, one.caller, now) {
                    now += Duration::from_secs(after.unwrap());
                    prop_assert!(ask(&[&limits], &one.method, one.caller, now).is_ok());
                }
            }
        }
    }
}
