//! Browsers of other origins, as the Fetch standard has them ask.

use http::Method;
use ravelin_echo::client::{Answer, Client, Protocol, body, request};
use ravelin_snapshot::{
    HostPattern, ObjectKey, Part, Snapshot,
    filter::{Allowed, Cors, Filters},
    route::{Guard, Match, PathMatch, Route},
};

use crate::gateway::{Gateway, add_backend, echo, forward, office, route, say};

fn these(all: &[&str]) -> Allowed {
    Allowed::These(all.iter().map(|one| (*one).to_owned()).collect())
}

fn some() -> Cors {
    Cors {
        origins: these(&["https://app.example", "https://*.shop.example"]),
        methods: these(&["GET", "PUT"]),
        headers: these(&["authorization", "x-a"]),
        exposed: these(&["x-answer"]),
        credentials: false,
        max_age_s: 600,
    }
}

fn all(credentials: bool) -> Cors {
    Cors {
        origins: Allowed::All,
        methods: Allowed::All,
        headers: Allowed::All,
        exposed: Allowed::All,
        credentials,
        max_age_s: 5,
    }
}

fn snapshot(echo: &ravelin_echo::Echo, cors: Cors, closed: bool) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let backend = add_backend(&mut snapshot, "echo", echo.address());
    let Route { mut rules, .. } = route(HostPattern::Any, forward(backend));
    rules[0].filters = Some(Box::new(Filters { cors: Some(cors), ..Filters::default() }));
    if closed {
        let key = ObjectKey::new("shop", "nobody");
        snapshot.auth.insert(key.clone(), Part::new(office()));
        rules[0].auth = Guard::Policy(key);
    }
    let all = Route { rules, ..route(HostPattern::Any, say("")) };
    snapshot.routes.insert(ObjectKey::new("shop", "all"), Part::new(all));
    snapshot
}

async fn asks(client: &mut Client, origin: &str, method: &str, names: &str) -> Answer {
    let said =
        [("origin", origin), ("access-control-request-method", method), ("access-control-request-headers", names)];
    client.send(request(Method::OPTIONS, "/", &said, body(""))).await.unwrap()
}

fn vary(answer: &Answer) -> String {
    let mut all: Vec<&str> = answer.headers.get_all("vary").iter().map(|value| value.to_str().unwrap()).collect();
    all.sort_unstable();
    all.join(", ").to_ascii_lowercase()
}

#[tokio::test]
async fn a_preflight_is_answered_before_any_policy_and_reaches_no_backend() {
    let echo = echo();
    let gateway = Gateway::start(snapshot(&echo, some(), true)).await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut client = Client::connect(gateway.http(), protocol).await.unwrap();
        for origin in ["https://app.example", "https://x.shop.example"] {
            let answer = asks(&mut client, origin, "PUT", "authorization").await;
            assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0), "{protocol:?}");
            assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
            assert_eq!(answer.header("access-control-allow-methods"), Some("GET, PUT"));
            assert_eq!(answer.header("access-control-allow-headers"), Some("authorization, x-a"));
            assert_eq!(answer.header("access-control-max-age"), Some("600"));
            assert_eq!(answer.header("access-control-allow-credentials"), None);
            assert_eq!(vary(&answer), "access-control-request-headers, access-control-request-method, origin");
        }
        let refused = asks(&mut client, "https://evil.example", "PUT", "authorization").await;
        assert_eq!((refused.status.as_u16(), refused.header("access-control-allow-origin")), (204, None));
        assert_eq!(refused.header("access-control-allow-methods"), None);
        assert!(vary(&refused).contains("origin"), "{}", vary(&refused));
    }
    assert!(echo.seen().is_empty());
}

#[tokio::test]
async fn a_refusal_tells_the_browser_too_so_that_a_script_can_read_it() {
    let echo = echo();
    let gateway = Gateway::start(snapshot(&echo, some(), true)).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    let answer = client.get_with("/", &[("origin", "https://app.example")]).await.unwrap();
    assert_eq!(answer.status.as_u16(), 403);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"));
    let asked = client.send(request(Method::OPTIONS, "/", &[("origin", "https://app.example")], body(""))).await;
    assert_eq!(asked.unwrap().status.as_u16(), 403, "without a method that is asked for it is no preflight");
}

#[tokio::test]
async fn an_answer_says_who_may_read_it_and_a_backend_does_not() {
    let echo = echo();
    let gateway = Gateway::start(snapshot(&echo, some(), false)).await;
    let path = "/?header=access-control-allow-origin:*&header=access-control-allow-credentials:true&header=x-answer:1\
        &header=vary:accept-language";
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut client = Client::connect(gateway.http(), protocol).await.unwrap();
        for (origin, allowed) in [
            (Some("https://app.example"), Some("https://app.example")),
            (Some("https://evil.example"), None),
            (Some("null"), None),
            (None, None),
        ] {
            let said: Vec<_> = origin.map(|origin| ("origin", origin)).into_iter().collect();
            let answer = client.get_with(path, &said).await.unwrap();
            assert_eq!(answer.status.as_u16(), 200);
            assert_eq!(answer.header("access-control-allow-origin"), allowed, "{origin:?}");
            assert_eq!(answer.header("access-control-allow-credentials"), None);
            assert_eq!(answer.header("access-control-expose-headers"), allowed.map(|_| "x-answer"));
            assert_eq!(vary(&answer), "accept-language, origin", "{origin:?}");
        }
        let two = [("origin", "https://app.example"), ("origin", "https://evil.example")];
        let answer = client.get_with(path, &two).await.unwrap();
        assert_eq!(answer.header("access-control-allow-origin"), None, "nobody knows whose it is");
    }
}

#[tokio::test]
async fn a_wildcard_is_said_as_such_only_where_no_credentials_go() {
    let echo = echo();
    let gateway = Gateway::start(snapshot(&echo, all(false), false)).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    let answer = asks(&mut client, "https://any.example", "DELETE", "x-b, x-c").await;
    for name in ["origin", "methods", "headers"] {
        assert_eq!(answer.header(&format!("access-control-allow-{name}")), Some("*"), "{name}");
    }
    let answer = client.get("/").await.unwrap();
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "the same for all, so that it can be cached");
    assert_eq!(vary(&answer), "");
    gateway.publish(snapshot(&echo, all(true), false)).await;
    let answer = asks(&mut client, "https://any.example", "DELETE", "x-b, x-c").await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://any.example"));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(answer.header("access-control-allow-methods"), Some("DELETE"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("x-b, x-c"));
    let answer = client.get_with("/?header=x-answer:1", &[("origin", "https://any.example")]).await.unwrap();
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://any.example"));
    let exposed = answer.header("access-control-expose-headers").unwrap();
    assert!(exposed.split(", ").any(|name| name == "x-answer") && !exposed.contains('*'), "{exposed}");
    assert_eq!(vary(&answer), "origin");
}

#[tokio::test]
async fn a_preflight_is_for_the_rule_of_the_request_that_it_asks_leave_for() {
    let echo = echo();
    let mut snapshot = Snapshot::default();
    let backend = add_backend(&mut snapshot, "echo", echo.address());
    let Route { mut rules, .. } = route(HostPattern::Any, forward(backend));
    let one = |method: &str| Match {
        path: PathMatch::Prefix("/".to_owned()),
        method: Some(method.to_owned()),
        headers: vec![],
        query: vec![],
        when: None,
    };
    rules[0].matches = vec![one("GET"), one("OPTIONS")];
    let mut open = rules[0].clone();
    open.name = "open".to_owned();
    open.matches = vec![one("PUT")];
    open.filters = Some(Box::new(Filters { cors: Some(some()), ..Filters::default() }));
    rules.push(open);
    let both = Route { rules, ..route(HostPattern::Any, say("")) };
    snapshot.routes.insert(ObjectKey::new("shop", "all"), Part::new(both));
    let gateway = Gateway::start(snapshot).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    let answer = asks(&mut client, "https://app.example", "PUT", "").await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"));
    assert!(echo.seen().is_empty());
    let answer = asks(&mut client, "https://app.example", "GET", "").await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (200, None));
    assert_eq!(echo.seen().len(), 1, "a rule without CORS leaves preflights to its backend");
}
