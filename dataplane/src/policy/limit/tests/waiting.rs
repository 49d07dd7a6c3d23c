//! Who waits, and by which weight.

use super::*;

fn weighed(limit: rate_limit::Limit, priority: Node) -> RateLimitPolicy {
    let said = rate_limit::RateLimitPolicy {
        mode: Mode::Enforce,
        limits: vec![limit],
        plans: None,
        priority: constant(priority),
        shared: None,
    };
    RateLimitPolicy::compile(&ObjectKey::new("shop", "few"), &said, None, &Arc::default(), None).unwrap()
}

/// A GET weighs 10, all else 1.
fn gold_and_others() -> Node {
    let condition = Box::new(method("GET").unwrap().node);
    Node::Conditional { condition, then: Box::new(Node::Int(10)), otherwise: Box::new(Node::Int(1)) }
}

#[tokio::test]
async fn who_has_priority_is_seated_first_and_who_waits_is_seated_when_a_permit_goes() {
    let condition = Box::new(method("GET").unwrap().node);
    let (then, otherwise) = (Box::new(Node::Int(10)), Box::new(Node::Int(-1)));
    let seats = rate_limit::Limit { max_delay_ms: Some(60_000), ..limit("seats", rate_limit::Count::Concurrency(1)) };
    let policy = weighed(seats, Node::Conditional { condition, then, otherwise });
    let ask = |method| admitted(&[&policy], Phase::Main, method, &of("", ""), Instant::now()).ok().unwrap();
    let (first, light, heavy) = (ask(&Method::GET), ask(&Method::PUT), ask(&Method::GET));
    assert!(!first.waits() && light.waits() && heavy.waits());
    let mut light = std::pin::pin!(light.wait());
    assert!(futures_util::poll!(&mut light).is_pending());
    drop(first);
    let soon = Duration::from_secs(30);
    let heavy = tokio::time::timeout(soon, heavy.wait()).await.unwrap().ok().unwrap();
    assert!(futures_util::poll!(&mut light).is_pending(), "he came earlier, and has less weight");
    drop(heavy);
    assert!(tokio::time::timeout(soon, light).await.unwrap().is_ok());
}

#[tokio::test]
async fn who_has_priority_has_what_comes_first_of_a_rate_too() {
    let rate = rate_limit::Limit { max_delay_ms: Some(60_000), ..limit("rate", bucket(20, 1_000, 1)) };
    let policy = weighed(rate, gold_and_others());
    let ask = |method| admitted(&[&policy], Phase::Main, method, &of("", ""), Instant::now()).ok().unwrap();
    assert!(!ask(&Method::PUT).waits());
    let (watching, light, heavy) = (ask(&Method::PUT), ask(&Method::PUT), ask(&Method::GET));
    assert!(watching.waits() && light.waits() && heavy.waits());
    let order = std::cell::RefCell::new(Vec::new());
    let wait = async |name, permit: Permit<'_>| {
        assert!(permit.wait().await.is_ok());
        order.borrow_mut().push(name);
    };
    let all = futures_util::future::join3(wait("watching", watching), wait("light", light), wait("heavy", heavy));
    tokio::time::timeout(Duration::from_secs(30), all).await.unwrap();
    assert_eq!(order.into_inner(), ["watching", "heavy", "light"]);
}

#[test]
fn in_shadow_who_would_wait_is_counted() {
    let said = rate_limit::RateLimitPolicy {
        mode: Mode::Shadow,
        limits: vec![rate_limit::Limit { max_delay_ms: Some(2_000), ..limit("rate", bucket(1, 1_000, 1)) }],
        plans: None,
        priority: constant(gold_and_others()),
        shared: None,
    };
    let policy = RateLimitPolicy::compile(&ObjectKey::new("shop", "few"), &said, None, &Arc::default(), None).unwrap();
    let now = Instant::now();
    assert_eq!(passing(&[&policy], &Method::GET, "", now), 1_000);
    // One at once and two that would have waited.
    assert_eq!(policy.standing().next().unwrap().refused, 997);
}
