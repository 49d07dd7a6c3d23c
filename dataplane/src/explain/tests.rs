//! Explanations of a small shop.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ravelin_snapshot::{
    HostPattern, ObjectKey, Part, Snapshot,
    auth::{AuthPolicy, Authentication, CredentialSource, Mode, Network},
    backend::{self, Address, BackendKey, BackendKind, Endpoint, Protocol},
    jwt::{ClaimNames, JwksUri, JwtAlgorithm, JwtMethod, JwtProvider, KeySource},
    rate_limit::{Count, Limit, Phase, RateLimitPolicy, TokenBucket},
    route,
};
use serde_json::json;

use super::*;

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("shop", name)
}

fn backend_key() -> BackendKey {
    BackendKey { kind: BackendKind::Service, object: key("orders"), port: 80 }
}

fn rule(name: &str, path: &str, method: Option<&str>, action: route::Action) -> route::Rule {
    let path = PathMatch::Prefix(path.to_owned());
    let one = Match { path, method: method.map(str::to_owned), headers: vec![], query: vec![], when: None };
    route::Rule {
        name: name.to_owned(),
        matches: vec![one],
        auth: route::Guard::Open,
        limits: vec![],
        request_headers: Default::default(),
        response_headers: Default::default(),
        filters: None,
        action,
        timeouts: Default::default(),
    }
}

fn forward() -> route::Action {
    route::Action::Forward(route::Forward {
        backends: vec![route::WeightedBackend {
            weight: 1,
            target: route::Target::Backend(backend_key()),
            request_headers: Default::default(),
            response_headers: Default::default(),
            rewrite: None,
            mirrors: Vec::new(),
        }],
        rewrite: Some(Box::new(route::Rewrite {
            hostname: None,
            path: Some(route::PathRewrite::Prefix("/v1".into())),
        })),
        balancing: None,
        retry: None,
        session: None,
        mirrors: Vec::new(),
        fallback: None,
    })
}

/// For all requests, one count for all.
fn all(count: Count) -> Limit {
    let (key, when, cost) = (None, None, None);
    let name = "all".to_owned();
    Limit { name, key, when, cost, phase: Phase::Main, count, parent: None, max_delay_ms: None, ban: None }
}

fn shop() -> Table {
    let mut snapshot = Snapshot::default();
    let address: SocketAddr = ([10, 0, 0, 1], 80).into();
    let orders = backend::Backend::plain(Protocol::Http1, vec![Endpoint { address: Address::Ip(address), weight: 1 }]);
    snapshot.backends.insert(backend_key(), Part::new(orders));
    let network = Network { allow: vec!["10.0.0.0/8".parse().unwrap()], deny: vec![] };
    let office = AuthPolicy {
        mode: Mode::Enforce,
        exclude: vec![],
        network,
        authentication: None,
        rules: vec![],
        external: None,
        forward: vec![],
    };
    snapshot.auth.insert(key("office"), Part::new(office));
    let count = Count::TokenBucket(TokenBucket { requests: 3, per_ms: 60_000, burst: 3 });
    let limit = all(count);
    let early = Limit { name: "early".into(), phase: Phase::PreAuthentication, ..limit.clone() };
    snapshot.limits.insert(
        key("few"),
        Part::new(RateLimitPolicy {
            mode: Mode::Enforce,
            limits: vec![limit],
            plans: None,
            priority: None,
            shared: None,
        }),
    );
    snapshot.limits.insert(
        key("first"),
        Part::new(RateLimitPolicy {
            mode: Mode::Enforce,
            limits: vec![early],
            plans: None,
            priority: None,
            shared: None,
        }),
    );
    let redirect = route::Action::Redirect(route::Redirect {
        scheme: Some("https".into()),
        hostname: None,
        port: None,
        path: None,
        status: 308,
    });
    let read = route::Rule {
        auth: route::Guard::Policy(key("office")),
        limits: vec![route::Guard::Policy(key("few"))],
        ..rule("read", "/orders", Some("GET"), forward())
    };
    let closed = route::Rule { auth: route::Guard::Closed(key("lost")), ..rule("closed", "/closed", None, forward()) };
    let both = [key("first"), key("few")].map(route::Guard::Policy).to_vec();
    let early = route::Rule { name: "early".into(), limits: both, ..rule("early", "/early", None, forward()) };
    let early = route::Rule { auth: route::Guard::Policy(key("office")), ..early };
    let rules = vec![read, rule("old", "/old", None, redirect), closed, early];
    let hosts = vec![HostPattern::parse("shop.example")];
    snapshot
        .routes
        .insert(key("orders"), Part::new(route::Route { created: None, hosts, certificates: vec![], rules }));
    Table::build(Arc::new(snapshot), None).unwrap()
}

fn ask(table: &Table, method: &str, url: &str, source: &str) -> Explanation {
    let request = ExplainRequest::parse(method, url, [], Some(source)).unwrap();
    explain(table, &request, Instant::now(), SystemTime::UNIX_EPOCH)
}

#[test]
fn a_forwarded_request_is_told_its_policies_its_path_and_its_backend() {
    let table = shop();
    let said = ask(&table, "GET", "http://Shop.example:8080/orders/../orders/7?x=1", "10.1.2.3");
    assert_eq!(
        said.rule.as_ref().map(|place| (place.route.as_str(), place.rule.as_str())),
        Some(("shop/orders", "read"))
    );
    let decisions: Vec<_> = said.policies.iter().map(|policy| (policy.name.as_str(), policy.decision)).collect();
    assert_eq!(decisions, [("shop/office", Decision::Allow), ("shop/few", Decision::Allow)]);
    let action = serde_json::to_value(&said.action).unwrap();
    let share = json!({
        "backend": "Service/shop/orders:80", "weight": 1, "endpoints": 1, "path": "/v1/7", "host": "shop.example:8080",
    });
    assert_eq!(action, json!({"kind": "forward", "backends": [share], "fallback": null}));
    assert_eq!(said.refusal, None);
    assert!(
        said.to_string().contains("RateLimitPolicy shop/few, limit all allows: key ``: 3 left, 1 needed"),
        "{said}"
    );
}

#[test]
fn nothing_is_counted_and_nothing_is_taken() {
    let table = shop();
    for _ in 0..10 {
        assert_eq!(ask(&table, "GET", "http://shop.example/orders", "10.1.2.3").refusal, None);
        assert!(ask(&table, "GET", "http://shop.example/orders", "192.0.2.1").refusal.is_some());
    }
    let policy = table.auth_policies().next().unwrap();
    assert_eq!((policy.decisions.allow.get(), policy.decisions.deny.get()), (0, 0));
    assert_eq!(table.limits().next().unwrap().standing().next().unwrap().refused, 0);
}

#[test]
fn a_refusal_names_the_policy_and_what_is_behind_it_is_not_reached() {
    let said = ask(&shop(), "GET", "http://shop.example/orders", "192.0.2.1");
    let decisions: Vec<_> = said.policies.iter().map(|policy| (policy.decision, policy.detail.as_str())).collect();
    assert_eq!(decisions[0], (Decision::Deny, "forbidden, rule `network`"));
    assert_eq!(decisions[1].0, Decision::NotReached);
    assert_eq!(said.refusal, Some(Refusal { status: Some(403), reason: "forbidden" }));
    let said = ask(&shop(), "GET", "http://shop.example/closed", "192.0.2.1");
    assert_eq!((said.policies[0].name.as_str(), said.policies[0].decision), ("shop/lost", Decision::Closed));
    assert_eq!(said.refusal, Some(Refusal { status: Some(503), reason: "policy_invalid" }));
}

#[test]
fn who_may_not_come_by_his_address_reaches_no_limit() {
    let order = |source| {
        let said = ask(&shop(), "GET", "http://shop.example/early", source);
        said.policies.into_iter().map(|policy| (policy.name, policy.decision)).collect::<Vec<_>>()
    };
    let (office, first, few) = ("shop/office".to_owned(), "shop/first".to_owned(), "shop/few".to_owned());
    let allowed = [first.clone(), office.clone(), few.clone()].map(|name| (name, Decision::Allow));
    assert_eq!(order("10.1.2.3"), allowed);
    let refused = [(office, Decision::Deny), (first, Decision::NotReached), (few, Decision::NotReached)];
    assert_eq!(order("192.0.2.1"), refused);
}

#[test]
fn a_request_without_a_rule_is_told_what_keeps_it_from_the_nearest() {
    let said = ask(&shop(), "POST", "http://shop.example/orders", "10.1.2.3");
    assert_eq!((said.rule.is_none(), said.refusal.unwrap().reason), (true, "no_route"));
    assert_eq!((said.others[0].place.rule.as_str(), said.others[0].why.as_str()), ("read", "not the method"));
    assert_eq!(said.others[1].why, "not the path");
    assert!(ask(&shop(), "GET", "http://other.example/orders", "10.1.2.3").others.is_empty());
}

#[tokio::test]
async fn nobody_is_asked_and_what_only_an_issuer_knows_is_said_to_be_unknown() {
    let mut snapshot = Snapshot::default();
    let provider = JwtProvider {
        name: "idp".into(),
        issuer: "https://id.example".into(),
        audiences: vec![],
        algorithms: vec![JwtAlgorithm::ES256],
        keys: KeySource::Uri(JwksUri {
            uri: "https://id.example/keys".into(),
            refresh_ms: 1,
            keep_for_ms: 1,
            authorities: None,
        }),
        from: vec![CredentialSource::Header { name: "authorization".into(), prefix: "Bearer ".into() }],
        clock_skew_ms: 0,
        claims: ClaimNames { id: "sub".into(), scopes: "scope".into(), groups: "groups".into() },
    };
    let jwt = Some(JwtMethod { providers: vec![provider] });
    let policy = AuthPolicy {
        mode: Mode::Enforce,
        exclude: vec![],
        network: Network::default(),
        authentication: Some(Authentication { jwt, ..Authentication::default() }),
        rules: vec![],
        external: None,
        forward: vec![],
    };
    snapshot.auth.insert(key("tokens"), Part::new(policy));
    let address = Address::Dns { name: "orders.example".into(), port: 80 };
    let named = backend::Backend::plain(Protocol::Http1, vec![Endpoint { address, weight: 1 }]);
    snapshot.backends.insert(backend_key(), Part::new(named));
    let auth = route::Guard::Policy(key("tokens"));
    let rules = vec![route::Rule { auth, ..rule("all", "/", None, forward()) }];
    let hosts = vec![HostPattern::Any];
    let route = route::Route { created: None, hosts, certificates: vec![], rules };
    snapshot.routes.insert(key("all"), Part::new(route));

    let table = Table::build(Arc::new(snapshot), None).unwrap();
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!(tasks, 0, "who fetches or resolves is a task");
    let part = |text: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(text.to_string());
    let token =
        format!("{}.{}.AAAA", part(json!({"alg": "ES256", "kid": "a"})), part(json!({"iss": "https://id.example"})));
    let header = format!("authorization: Bearer {token}");
    let request = ExplainRequest::parse("GET", "http://a.example/", [header.as_str()], None).unwrap();
    let said = explain(&table, &request, Instant::now(), SystemTime::UNIX_EPOCH);
    let why = "the keys of issuer `https://id.example` are not known here";
    assert_eq!((said.policies[0].decision, said.policies[0].detail.as_str()), (Decision::Unknown, why));
    assert_eq!((said.refusal.as_ref(), said.unknown.as_deref()), (None, Some(why)));
    assert!(said.to_string().contains(&format!("answer  nobody can tell: {why}")), "{said}");
    // What needs no key is told.
    let said = ask(&table, "GET", "http://a.example/", "10.0.0.1");
    assert_eq!((said.refusal.map(|refusal| refusal.reason), said.unknown), (Some("unauthenticated"), None));
}

#[test]
fn a_redirect_says_where_to() {
    let said = ask(&shop(), "GET", "http://shop.example/old/x?q=1", "10.1.2.3");
    let action = serde_json::to_value(&said.action).unwrap();
    assert_eq!(action, json!({"kind": "redirect", "status": 308, "location": "https://shop.example/old/x?q=1"}));
}

#[test]
fn the_id_of_a_request_is_the_one_that_it_brings_or_looks_like_a_fresh_one() {
    let id = |headers: &[&'static str]| {
        let request = ExplainRequest::parse("GET", "http://a/", headers.iter().copied(), None).unwrap();
        request.view().id.to_owned()
    };
    assert_eq!(id(&["x-request-id: trusted-1"]), "trusted-1");
    for fresh in [&[][..], &["x-request-id: a b"], &["x-request-id: a", "x-request-id: b"]] {
        let id = id(fresh);
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    }
}

#[test]
fn what_cannot_be_a_request_says_what_to_write() {
    let parse = |method, url, headers: &[&'static str], source| {
        ExplainRequest::parse(method, url, headers.iter().copied(), source).err().map(|error| error.to_string())
    };
    let long = |count| format!("http://{}/", "a".repeat(count));
    let (long_host, long_url) = (long(256), long(70_000));
    for (error, expected) in [
        (parse("G ET", "http://a/", &[], None), "is not a method"),
        (parse("GET", "ftp://a/", &[], None), "is not a URL"),
        (parse("GET", "/a", &[], None), "is not a URL"),
        (parse("GET", "/a", &["x"], None), "is not a header"),
        (parse("GET", "http://a/../..", &[], None), "400 bad_request"),
        (parse("GET", "http://a/", &[], Some("x")), "is not an address"),
        (parse("GET", "http://.a.example/", &[], None), "the host `.a.example` is answered with 400 bad_request"),
        (parse("GET", "http://a.example:99999/", &[], None), "`a.example:99999` is answered with 400"),
        (parse("GET", "http://a.example/", &["host: a b"], None), "`a b` is answered with 400"),
        (parse("GET", "http://a.example/", &["host: ann@a.example"], None), "is answered with 400"),
        (parse("GET", &long_host, &[], None), "is answered with 400"),
        (parse("GET", "http://a/", &["host: b", "host: b"], None), "several headers `host`"),
        (parse("CONNECT", "http://a/", &[], None), "400 bad_request"),
        (parse("GET", &long_url, &[], None), "a URL of 70008 bytes"),
    ] {
        assert!(error.as_ref().is_some_and(|error| error.contains(expected)), "{error:?}: {expected}");
        assert!(error.is_some_and(|error| error.len() < 500), "{expected}");
    }
    assert_eq!(parse("GET", "/a", &["Host: b.example"], Some("10.0.0.1:7")), None);
    assert_eq!(parse("GET", "http://ann:secret@b.example:80/", &[], None), None);
    assert_eq!(parse("GET", "http://b.example?q", &[], None), None, "clients ask for /?q");
}

#[test]
fn a_name_without_a_certificate_is_refused_in_the_handshake() {
    let said = ask(&shop(), "GET", "https://shop.example/orders", "10.1.2.3");
    assert_eq!(said.refusal, Some(Refusal { status: None, reason: "unrecognized_name" }));
    assert!((said.policies.is_empty(), said.action.is_none()) == (true, true), "it comes to neither");
    let text = said.to_string();
    assert!(
        text.contains("answer  none: no certificate is for this name") && text.contains("unrecognized_name"),
        "{text}"
    );
}
