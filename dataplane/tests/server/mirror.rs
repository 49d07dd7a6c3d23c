//! Copies of requests: they go to another backend, and nothing of them is felt.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::Method;
use ravelin_echo::{
    Echo,
    client::{Client, Protocol, body, request},
    raw::{Gate, Raw, Script},
};
use ravelin_snapshot::{
    HostPattern, ObjectKey, Part, Snapshot,
    auth::Mode,
    rate_limit::{Count, Limit, Phase, RateLimitPolicy, TokenBucket},
    route::{Action, Forward, Guard, Mirror, Route, Target, WeightedBackend},
};

use crate::gateway::{Gateway, add_backend, echo, forward, route};

const LONG: Duration = Duration::from_secs(20);

fn mirrored(echo: &Echo, to: SocketAddr, numerator: u32, denominator: u32) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let key = add_backend(&mut snapshot, "echo", echo.address());
    let shadow = add_backend(&mut snapshot, "shadow", to);
    let Action::Forward(plain) = forward(key) else { unreachable!("it forwards") };
    let mirrors = vec![Mirror { backend: shadow, numerator, denominator }];
    let all = route(HostPattern::Any, Action::Forward(Forward { mirrors, ..plain }));
    snapshot.routes.insert(ObjectKey::new("shop", "all"), Part::new(all));
    snapshot
}

async fn reach(echo: &Echo, requests: u64) {
    tokio::time::timeout(LONG, echo.wait_until(|counts| counts.requests >= requests)).await.unwrap();
}

async fn outcome(gateway: &Gateway, result: &str, count: u64) {
    let line =
        format!("ravelin_mirrored_requests_total{{backend=\"Backend/shop/shadow\",result=\"{result}\"}} {count}");
    let told = async {
        let mut client = Client::connect(gateway.running.addresses.admin.unwrap(), Protocol::Http1)
            .await
            .unwrap()
            .with_host("localhost");
        while !client.get("/metrics").await.unwrap().text().lines().any(|said| said == line) {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(LONG, told).await.is_ok(), "{line}");
}

#[tokio::test]
async fn a_copy_is_the_request_that_the_backend_gets_with_its_body() {
    let (main, shadow) = (echo(), echo());
    let gateway = Gateway::start(mirrored(&main, shadow.address(), 1, 1)).await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let (begun, sent) = (shadow.requests(), Bytes::from(vec![b'x'; 60_000]));
        let mut client = Client::connect(gateway.http(), protocol).await.unwrap();
        assert_eq!(client.get_with("/a?b=c", &[("x-own", "1")]).await.unwrap().status, 200);
        let post = request(Method::POST, "/post", &[("x-own", "2")], body(sent.clone()));
        assert_eq!(client.send(post).await.unwrap().status, 200);
        reach(&shadow, begun + 2).await;
        outcome(&gateway, "answered", begun + 2).await;
        let find = |echo: &Echo, path: &str| echo.seen().into_iter().rev().find(|seen| seen.path == path).unwrap();
        for path in ["/a", "/post"] {
            let (one, other) = (find(&main, path), find(&shadow, path));
            assert_eq!((&one.method, &one.query, &one.host), (&other.method, &other.query, &other.host));
            for name in ["x-own", "x-request-id", "x-forwarded-for"] {
                assert_eq!(one.headers.get(name), other.headers.get(name), "{name}");
            }
            assert_eq!((one.body_bytes, &one.body), (other.body_bytes, &other.body));
        }
    }
}

#[tokio::test]
async fn of_the_requests_to_one_backend_alone_copies_are_sent_if_it_says_so() {
    let (one, other, shadow) = (echo(), echo(), echo());
    let mut snapshot = mirrored(&one, shadow.address(), 0, 1);
    let key = add_backend(&mut snapshot, "other", other.address());
    let shadow_key =
        snapshot.backends.iter().map(|(key, _)| key).find(|key| key.object.name == "shadow").unwrap().clone();
    let all = ObjectKey::new("shop", "all");
    let mut split: Route = snapshot.routes.get(&all).unwrap().value().as_ref().clone();
    let Action::Forward(to) = &mut split.rules[0].action else { unreachable!("it forwards") };
    let copied = WeightedBackend {
        target: Target::Backend(key),
        mirrors: vec![Mirror { backend: shadow_key, numerator: 1, denominator: 2 }],
        ..to.backends[0].clone()
    };
    // Before it stands one without a share, which has no turn.
    to.backends.insert(0, WeightedBackend { weight: 0, ..copied.clone() });
    to.backends.push(copied);
    snapshot.routes.insert(all, Part::new(split));
    let gateway = Gateway::start(snapshot).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    for at in 0..80 {
        assert_eq!(client.get(&format!("/{at}")).await.unwrap().status, 200);
    }
    outcome(&gateway, "answered", 20).await;
    assert_eq!((one.requests(), other.requests(), shadow.requests()), (40, 40, 20));
    let theirs: BTreeSet<String> = other.seen().into_iter().map(|seen| seen.path).collect();
    assert!(shadow.seen().into_iter().all(|seen| theirs.contains(&seen.path)), "and none of another's");
}

#[tokio::test]
async fn a_part_of_the_requests_is_exact_over_time() {
    let (main, shadow) = (echo(), echo());
    for (numerator, denominator, expected) in [(10, 100, 30), (1, 3, 100), (0, 7, 0)] {
        let before = shadow.requests();
        let gateway = Gateway::start(mirrored(&main, shadow.address(), numerator, denominator)).await;
        let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
        for _ in 0..300 {
            assert_eq!(client.get("/").await.unwrap().status, 200);
        }
        if expected > 0 {
            outcome(&gateway, "answered", expected).await;
        }
        assert_eq!(shadow.requests() - before, expected, "{numerator} of {denominator}");
    }
}

#[tokio::test]
async fn a_shadow_that_never_answers_breaks_off_or_is_not_there_is_not_felt() {
    let gate = Gate::new();
    let stuck = Raw::start(Script::new().read().wait(&gate).send_answer("late").for_ever()).unwrap();
    let broken = Raw::start(Script::closes_unanswered()).unwrap();
    let gone = ravelin_echo::Port::reserve().unwrap();
    for (address, failed) in [(stuck.address(), false), (broken.address(), true), (gone.address(), true)] {
        let main = echo();
        let gateway = Gateway::start(mirrored(&main, address, 1, 1)).await;
        let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
        // Far more than may be under way at once.
        for _ in 0..300 {
            let post = request(Method::POST, "/", &[], body("text"));
            assert_eq!(client.send(post).await.unwrap().status, 200);
        }
        assert_eq!(main.requests(), 300);
        match failed {
            true => outcome(&gateway, "answered", 0).await,
            // 128 are under way, and the others were dropped.
            false => outcome(&gateway, "dropped", 172).await,
        }
    }
    gate.open();
}

#[tokio::test]
async fn a_body_that_is_too_large_to_be_kept_is_sent_and_its_copy_is_not() {
    let (main, shadow) = (echo(), echo());
    let gateway = Gateway::start(mirrored(&main, shadow.address(), 1, 1)).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    let large = request(Method::POST, "/", &[], body(Bytes::from(vec![b'x'; 1 << 20])));
    assert_eq!(client.send(large).await.unwrap().status, 200);
    outcome(&gateway, "dropped", 1).await;
    assert_eq!((main.seen()[0].body_bytes, shadow.requests()), (1 << 20, 0));
}

#[tokio::test]
async fn a_copy_takes_nothing_from_a_limit() {
    let (main, shadow) = (echo(), echo());
    let mut snapshot = mirrored(&main, shadow.address(), 1, 1);
    let key = ObjectKey::new("shop", "five");
    let bucket = TokenBucket { requests: 5, per_ms: 3_600_000, burst: 5 };
    let limit = Limit {
        name: "five".into(),
        key: None,
        when: None,
        cost: None,
        phase: Phase::Main,
        count: Count::TokenBucket(bucket),
        parent: None,
        max_delay_ms: None,
        ban: None,
    };
    let policy =
        RateLimitPolicy { mode: Mode::Enforce, limits: vec![limit], plans: None, priority: None, shared: None };
    snapshot.limits.insert(key.clone(), Part::new(policy));
    let all = ObjectKey::new("shop", "all");
    let mut guarded: Route = snapshot.routes.get(&all).unwrap().value().as_ref().clone();
    guarded.rules[0].limits = vec![Guard::Policy(key)];
    snapshot.routes.insert(all, Part::new(guarded));
    let gateway = Gateway::start(snapshot).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    let mut answers = Vec::new();
    for _ in 0..7 {
        answers.push(client.get("/").await.unwrap().status.as_u16());
    }
    assert_eq!(answers, [200, 200, 200, 200, 200, 429, 429]);
    outcome(&gateway, "answered", 5).await;
    assert_eq!(shadow.requests(), 5);
}
