//! What is foreseen is what happens: the same request is asked about first, and then sent.

use std::{
    collections::BTreeMap,
    time::{Instant, SystemTime},
};

use ravelin_dataplane::explain::{ExplainRequest, explain};
use ravelin_echo::client::{Answer, Client, Protocol};
use ravelin_snapshot::{
    Digest, HostPattern, ObjectKey, Part, Secret, Snapshot,
    auth::{ApiKey, ApiKeyMethod, AuthPolicy, Authentication, CredentialSource, Mode, Network},
    expression::{Expression, Node},
    rate_limit::{Ban, Count, Limit, Period, Phase, Plan, Plans, Quota, RateLimitPolicy, TokenBucket},
    route::{Action, Broken, Guard, Route},
};

use crate::{
    gateway::{Gateway, add_route, add_secure_route, route, say},
    tls,
};

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("shop", name)
}

fn limit(name: &str, count: Count) -> Limit {
    Limit {
        name: name.to_owned(),
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

/// So few that one more comes tomorrow.
fn bucket(burst: u32) -> Count {
    Count::TokenBucket(TokenBucket { requests: 1, per_ms: 86_400_000, burst })
}

fn quota(requests: u64) -> Count {
    Count::Quota(Quota { requests, per: Period::Month, time_zone: "UTC".into() })
}

struct World(Snapshot);

impl World {
    /// Everything on `NAME.example` is guarded so.
    fn host(&mut self, name: &str, auth: Guard, limits: Vec<Guard>, action: Action) {
        let host = HostPattern::parse(&format!("{name}.example"));
        let Route { mut rules, .. } = route(HostPattern::Any, action);
        (rules[0].auth, rules[0].limits) = (auth, limits);
        let guarded = Route { rules, ..route(host, say(name)) };
        self.0.routes.insert(key(name), Part::new(guarded));
    }

    fn auth(&mut self, name: &str, network: Network, authentication: Option<Authentication>, mode: Mode) -> Guard {
        let policy = AuthPolicy { mode, exclude: vec![], network, authentication, ..crate::gateway::office() };
        self.0.auth.insert(key(name), Part::new(policy));
        Guard::Policy(key(name))
    }

    fn limits(&mut self, name: &str, limits: Vec<Limit>, plans: Option<Plans>, mode: Mode) -> Guard {
        let policy = RateLimitPolicy { mode, limits, plans, priority: None, shared: None };
        self.0.limits.insert(key(name), Part::new(policy));
        Guard::Policy(key(name))
    }
}

fn world() -> Snapshot {
    let mut world = World(Snapshot::default());
    let keys = vec![ApiKey {
        name: "acme".into(),
        sha256: Secret::new(Digest::of(b"good").to_string()),
        id: "ada".into(),
        scopes: vec![],
        groups: vec![],
        plan: String::new(),
        expires: None,
    }];
    let from = vec![CredentialSource::Header { name: "x-api-key".into(), prefix: String::new() }];
    let api_key = Some(ApiKeyMethod { from, keys });
    let authentication = Authentication { api_key, ..Authentication::default() };
    let nobody = Network { allow: vec![], deny: vec!["127.0.0.0/8".parse().unwrap()] };
    let outside = world.auth("outside", nobody.clone(), None, Mode::Enforce);
    let watched = world.auth("watched", nobody, None, Mode::Shadow);
    let known = world.auth("known", Network::default(), Some(authentication), Mode::Enforce);
    let one = world.limits("one", vec![limit("one", bucket(1))], None, Mode::Enforce);
    let used = world.limits("used", vec![limit("used", quota(1))], None, Mode::Enforce);
    let both = vec![limit("used", quota(2)), limit("few", bucket(1))];
    let both = world.limits("both", both, None, Mode::Enforce);
    let shadow = world.limits("shadow", vec![limit("one", bucket(1))], None, Mode::Shadow);
    let early = Limit { phase: Phase::PreAuthentication, ..limit("early", bucket(1)) };
    let early = world.limits("early", vec![early], None, Mode::Enforce);
    // A second refusal of a limit whose key is nobody's own.
    let ban = Ban { after: 2, within_ms: 86_400_000, for_ms: 86_400_000 };
    let banning = vec![limit("few", bucket(9)), Limit { ban: Some(ban), ..limit("used", quota(1)) }];
    let banning = world.limits("banning", banning, None, Mode::Enforce);
    let select = Expression { source: "'gold'".into(), node: Node::String("gold".into()) };
    let plans = BTreeMap::from([("gold".to_owned(), Plan::Broken)]);
    let plans = Plans { select, default: None, key: None, plans };
    let broken = world.limits("broken", vec![limit("one", bucket(1))], Some(plans), Mode::Enforce);

    world.host("open", Guard::Open, vec![], say("open"));
    world.host("outside", outside.clone(), vec![early.clone()], say(""));
    world.host("watched", watched, vec![], say(""));
    world.host("known", known.clone(), vec![], say(""));
    world.host("one", Guard::Open, vec![one.clone()], say(""));
    world.host("used", Guard::Open, vec![used], say(""));
    world.host("both", Guard::Open, vec![both], say(""));
    world.host("shadow", Guard::Open, vec![shadow], say(""));
    world.host("early", known.clone(), vec![early], say(""));
    world.host("banning", known, vec![banning], say(""));
    world.host("broken", Guard::Open, vec![broken], say(""));
    world.host("closed", Guard::Closed(key("lost")), vec![one.clone()], say(""));
    // Behind a limit that refuses by then.
    world.host("closed-limit", Guard::Open, vec![one.clone(), Guard::Closed(key("lost"))], say(""));
    world.host("outside-closed-limit", outside, vec![Guard::Closed(key("lost"))], say(""));
    world.host("rejects", Guard::Open, vec![], Action::Reject(Broken::RouteInvalid));
    world.0
}

/// Status and reason.
type Outcome = (u16, Option<String>);

fn foreseen(gateway: &Gateway, url: &str, headers: &[(&str, &str)]) -> Outcome {
    let lines: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let request = ExplainRequest::parse("GET", url, lines.iter().map(String::as_str), Some("127.0.0.1")).unwrap();
    let table = gateway.running.shared.table();
    let said = explain(&table, &request, Instant::now(), SystemTime::now());
    said.refusal.map_or((200, None), |refusal| (refusal.status.unwrap_or_default(), Some(refusal.reason.to_owned())))
}

fn happened(answer: &Answer) -> Outcome {
    let reason = (answer.status != 200).then(|| answer.json()["reason"].as_str().unwrap().to_owned());
    (answer.status.as_u16(), reason)
}

#[tokio::test]
async fn what_is_foreseen_of_a_request_is_what_becomes_of_it() {
    let gateway = Gateway::start(world()).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    let (none, good, bad): (&[_], &[_], &[_]) = (&[], &[("x-api-key", "good")], &[("x-api-key", "bad")]);
    let steps = [
        ("open", none, 200, ""),
        ("nowhere", none, 404, "no_route"),
        ("outside", none, 403, "forbidden"),
        ("watched", none, 200, ""),
        ("known", good, 200, ""),
        ("known", none, 401, "unauthenticated"),
        ("known", bad, 401, "unauthenticated"),
        ("one", none, 200, ""),
        ("one", none, 429, "rate_limited"),
        ("used", none, 200, ""),
        ("used", none, 429, "quota_exceeded"),
        ("both", none, 200, ""),
        ("both", none, 429, "rate_limited"),
        ("shadow", none, 200, ""),
        ("shadow", none, 200, ""),
        ("early", bad, 401, "unauthenticated"),
        ("early", bad, 429, "rate_limited"),
        ("banning", good, 200, ""),
        ("banning", bad, 401, "unauthenticated"),
        ("banning", good, 429, "quota_exceeded"),
        ("banning", good, 429, "quota_exceeded"),
        // Banned, whoever it is: before authentication.
        ("banning", bad, 429, "quota_exceeded"),
        ("banning", good, 429, "quota_exceeded"),
        ("broken", none, 503, "policy_invalid"),
        ("closed", none, 503, "policy_invalid"),
        ("closed-limit", none, 503, "policy_invalid"),
        ("outside-closed-limit", none, 403, "forbidden"),
        ("rejects", none, 500, "route_invalid"),
    ];
    for (step, (name, headers, status, reason)) in steps.into_iter().enumerate() {
        let host = format!("{name}.example");
        let foreseen = foreseen(&gateway, &format!("http://{host}/"), headers);
        let headers: Vec<_> = [("host", host.as_str())].into_iter().chain(headers.iter().copied()).collect();
        let answer = client.get_with("/", &headers).await.unwrap();
        let expected = (status, (!reason.is_empty()).then(|| reason.to_owned()));
        assert_eq!((foreseen, happened(&answer)), (expected.clone(), expected), "step {step}, {name}");
    }
}

#[tokio::test]
async fn a_host_of_another_certificate_than_the_urls_is_foreseen_to_be_misdirected() {
    let mut snapshot = Snapshot::default();
    let a = add_secure_route(&mut snapshot, "a", "a.example", say("a"));
    add_secure_route(&mut snapshot, "b", "b.example", say("b"));
    add_route(&mut snapshot, "plain", HostPattern::parse("plain.example"), say("plain"));
    let gateway = Gateway::start(snapshot).await;
    let stream = tls::connect(&gateway, &tls::trusting(&[&a], &[]), "a.example").await.unwrap();
    let mut client = Client::over(stream, Protocol::Http1, "https").await.unwrap();
    for (host, status) in [("a.example", 200), ("b.example", 421), ("plain.example", 421)] {
        let headers = [("host", host)];
        let answer = client.get_with("/", &headers).await.unwrap();
        let foreseen = foreseen(&gateway, "https://a.example/", &headers);
        assert_eq!((foreseen.0, foreseen), (status, happened(&answer)), "{host}");
    }
}
