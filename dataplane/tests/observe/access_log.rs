//! Lines as they come out of a data plane.

use std::{
    io::{self, Write},
    sync::mpsc,
    time::Duration,
};

use http::Method;
use ravelin_dataplane::{Settings, access_log::Sink, settings::AccessLog};
use ravelin_echo::{
    client::{Client, DEADLINE, Protocol, Wire, body, exchange, get, request},
    raw::{Raw, Script},
};
use ravelin_snapshot::{
    Digest, HostPattern, ObjectKey, Part, Secret, Snapshot,
    auth::{
        ApiKey, ApiKeyMethod, AuthPolicy, Authentication, AuthorizationRule, CredentialSource, Effect, Mode, Network,
    },
    expression::{Expression, Node},
    route::Guard,
};
use serde_json::Value;

use crate::{
    gateway::{Gateway, add_backend, add_route, all_to, echo, forward, office, route, say},
    scrape::Scrape,
};

struct Sent(mpsc::Sender<Vec<u8>>);

impl Write for Sent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes.to_vec()).ok();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Lines(mpsc::Receiver<Vec<u8>>, Vec<Value>);

impl Lines {
    fn next(&mut self) -> Value {
        while self.1.is_empty() {
            let text = String::from_utf8(self.0.recv_timeout(DEADLINE).unwrap()).unwrap();
            self.1.extend(text.lines().map(|line| serde_json::from_str(line).unwrap()));
        }
        self.1.remove(0)
    }
}

async fn logged(snapshot: Snapshot) -> (Gateway, Lines) {
    logged_with(Settings::default(), snapshot).await
}

async fn logged_with(settings: Settings, snapshot: Snapshot) -> (Gateway, Lines) {
    let (send, receive) = mpsc::channel();
    let settings = Settings { access_log: AccessLog::To(Sink::new(Sent(send))), ..settings };
    (Gateway::with(settings, snapshot).await, Lines(receive, Vec::new()))
}

#[tokio::test]
async fn a_line_tells_the_whole_exchange_and_no_credential() {
    let echo = echo();
    let (gateway, mut lines) = logged(all_to(&echo)).await;
    let request = "POST /orders/../pay?token=hidden HTTP/1.1\r\nhost: Shop.example:80\r\nx-request-id: r-1\r\n\
                   user-agent: test/1\r\nauthorization: Bearer hidden\r\ncontent-length: 5\r\nconnection: close\r\n\r\n12345";
    assert_eq!(exchange(gateway.http(), request).await.unwrap().statuses(), [200]);
    let line = lines.next();
    for (field, expected) in [
        ("method", "POST"),
        ("protocol", "HTTP/1.1"),
        ("requestId", "r-1"),
        ("host", "shop.example"),
        ("path", "/pay"),
        ("userAgent", "test/1"),
        ("route", "shop/all"),
        ("rule", "0"),
        ("backend", "Backend/shop/echo"),
    ] {
        assert_eq!(line[field], expected, "{line}");
    }
    assert_eq!(line["endpoint"], echo.address().to_string());
    assert!(line["client"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!((&line["status"], &line["bytesIn"]), (&200.into(), &5.into()));
    assert!(line["bytesOut"].as_u64().unwrap() > 0 && line["durationMs"].as_f64() >= line["backendMs"].as_f64());
    assert!(line.get("broken").is_none() && line.get("reason").is_none());
    assert!(!line.to_string().contains("hidden"));
}

#[tokio::test]
async fn a_refusal_says_why_and_what_breaks_off_says_on_which_side() {
    let (broken, endless) =
        (Raw::start(Script::closes_in_body()).unwrap(), Raw::start(Script::endless_body()).unwrap());
    let mut snapshot = Snapshot::default();
    for (name, raw) in [("broken", &broken), ("endless", &endless)] {
        let backend = add_backend(&mut snapshot, name, raw.address());
        add_route(&mut snapshot, name, HostPattern::parse(&format!("{name}.example")), forward(backend));
    }
    let (gateway, mut lines) = logged(snapshot).await;
    get(gateway.http(), "nobody.example", "/x").await.unwrap();
    let line = lines.next();
    assert_eq!((&line["status"], &line["reason"], &line["path"]), (&404.into(), &"no_route".into(), &"/x".into()));
    get(gateway.http(), "broken.example", "/").await.unwrap_err();
    let line = lines.next();
    assert_eq!((&line["broken"], &line["reason"]), (&"backend".into(), &"backend_refused".into()));
    let stream = tokio::net::TcpStream::connect(gateway.http()).await.unwrap();
    stream.writable().await.unwrap();
    stream.try_write(b"GET / HTTP/1.1\r\nhost: endless.example\r\n\r\n").unwrap();
    stream.readable().await.unwrap();
    drop(stream);
    let line = tokio::task::spawn_blocking(move || lines.next()).await.unwrap();
    assert_eq!((&line["broken"], &line["status"]), (&"client".into(), &200.into()), "{line}");
}

#[tokio::test]
async fn a_head_that_is_none_has_a_line_with_what_is_known() {
    let (gateway, mut lines) = logged(all_to(&echo())).await;
    let answer = exchange(gateway.http(), "garbage\r\n\r\n").await.unwrap();
    let line = tokio::task::spawn_blocking(move || lines.next()).await.unwrap();
    assert_eq!((&line["status"], &line["reason"]), (&400.into(), &"bad_request".into()), "{line}");
    assert!(line["client"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(answer.text().contains(line["requestId"].as_str().unwrap()), "{line}");
    assert!(line.get("method").is_none() && line.get("path").is_none(), "{line}");
    let body = answer.text().split_once("\r\n\r\n").map_or(0, |(_, body)| body.len());
    assert_eq!(line["bytesOut"], body);
}

#[tokio::test]
async fn what_was_logged_before_a_drain_is_written_when_it_has_ended() {
    let mut snapshot = Snapshot::default();
    add_route(&mut snapshot, "hello", HostPattern::Any, say("hello"));
    let (gateway, Lines(lines, _)) = logged(snapshot).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    for _ in 0..100 {
        client.get("/").await.unwrap();
    }
    drop(client);
    gateway.running.drain().await;
    let written: Vec<u8> = lines.try_iter().flatten().collect();
    assert_eq!(written.iter().filter(|byte| **byte == b'\n').count(), 100);
    assert_eq!(lines.recv_timeout(Duration::ZERO).ok(), None);
}

/// `silent.example` never answers, everybody else does.
fn silent_and_echo(silent: &Raw, echo: &ravelin_echo::Echo) -> Snapshot {
    let mut snapshot = all_to(echo);
    let backend = add_backend(&mut snapshot, "silent", silent.address());
    add_route(&mut snapshot, "silent", HostPattern::parse("silent.example"), forward(backend));
    snapshot
}

#[tokio::test]
async fn what_the_end_of_a_drain_cuts_off_has_its_line_and_names_the_gateway() {
    let (silent, echo) = (Raw::start(Script::never_answers()).unwrap(), echo());
    let settings = Settings { drain: Duration::from_millis(100), ..Settings::default() };
    let (gateway, Lines(lines, _)) = logged_with(settings, silent_and_echo(&silent, &echo)).await;
    // As nearly everybody writes it, and as only the general parser reads it.
    let mut wires = Vec::new();
    for (id, more) in [("plain", ""), ("general", "te: trailers\r\nconnection: te\r\n")] {
        let mut wire = Wire::connect(gateway.http()).await.unwrap();
        wire.send(format!("GET / HTTP/1.1\r\nhost: silent.example\r\nx-request-id: {id}\r\n{more}\r\n")).await.unwrap();
        wires.push(wire);
    }
    let mut streams = Client::connect(gateway.http(), Protocol::Http2).await.unwrap().with_host("silent.example");
    let unanswered = tokio::spawn(async move { streams.get_with("/", &[("x-request-id", "http2")]).await });
    let mut answers = Vec::new();
    for (protocol, id) in [(Protocol::Http1, "streamed1"), (Protocol::Http2, "streamed2")] {
        let mut client = Client::connect(gateway.http(), protocol).await.unwrap();
        let ask = request(Method::GET, "/?chunks=1000&every=100ms", &[("x-request-id", id)], body(""));
        answers.push((client.open(ask).await.unwrap(), client));
    }
    silent.wait_until(|counts| counts.requests == 3).await;
    tokio::time::timeout(DEADLINE, gateway.running.drain()).await.unwrap();
    let written = String::from_utf8(lines.try_iter().flatten().collect()).unwrap();
    let lines: Vec<Value> = written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut ends: Vec<_> = lines.iter().map(|line| (&line["requestId"], &line["broken"], &line["status"])).collect();
    ends.sort_by_key(|(id, ..)| id.as_str());
    let (cut, none, ok) = ("gateway".into(), Value::Null, 200.into());
    let ids = ["general", "http2", "plain", "streamed1", "streamed2"].map(Value::from);
    let expected: Vec<_> = ids.iter().zip([&none, &none, &none, &ok, &ok]).map(|(id, code)| (id, &cut, code)).collect();
    assert_eq!(ends, expected);
    assert!(unanswered.await.unwrap().is_err());
}

#[tokio::test]
async fn who_leaves_before_the_answer_has_his_line_and_his_count() {
    let (silent, echo) = (Raw::start(Script::never_answers()).unwrap(), echo());
    let (gateway, mut lines) = logged(silent_and_echo(&silent, &echo)).await;
    let mut wire = Wire::connect(gateway.http()).await.unwrap();
    wire.send("GET /x HTTP/1.1\r\nhost: silent.example\r\n\r\n").await.unwrap();
    silent.wait_until(|counts| counts.requests == 1).await;
    drop(wire);
    let line = tokio::task::spawn_blocking(move || lines.next()).await.unwrap();
    assert_eq!((&line["broken"], &line["path"], line.get("status")), (&"client".into(), &"/x".into(), None), "{line}");
    let scrape = Scrape::of(&gateway).await;
    let row = "ravelin_requests_total{route=\"shop/silent\",method=\"GET\",code=\"\",reason=\"\"}";
    assert_eq!(scrape.value(row), 1.0);
}

/// A key, and what protects the route `protected.example`.
fn protected(mode: Mode) -> Snapshot {
    let key = ApiKey {
        name: "acme-1".into(),
        sha256: Secret::new(Digest::of(b"hidden-good").to_string()),
        id: "acme".into(),
        scopes: vec![],
        groups: vec![],
        plan: String::new(),
        expires: None,
    };
    let from = vec![CredentialSource::Header { name: "x-api-key".into(), prefix: String::new() }];
    let when = Expression { source: "true".into(), node: Node::Bool(true) };
    let policy = AuthPolicy {
        mode,
        network: Network::default(),
        authentication: Some(Authentication {
            api_key: Some(ApiKeyMethod { from, keys: vec![key] }),
            ..Authentication::default()
        }),
        rules: vec![AuthorizationRule { name: "nobody".into(), effect: Effect::Deny, when }],
        ..office()
    };
    let mut snapshot = Snapshot::default();
    let name = ObjectKey::new("shop", "keys");
    let mut route = route(HostPattern::parse("protected.example"), say("in"));
    route.rules[0].auth = Guard::Policy(name.clone());
    snapshot.routes.insert(ObjectKey::new("shop", "orders"), Part::new(route.clone()));
    route.hosts = vec![HostPattern::parse("closed.example")];
    route.rules[0].auth = Guard::Closed(ObjectKey::new("shop", "broken"));
    snapshot.routes.insert(ObjectKey::new("shop", "closed"), Part::new(route));
    snapshot.auth.insert(name, Part::new(policy));
    snapshot
}

#[tokio::test]
async fn every_refusal_by_a_policy_is_a_line_of_the_audit_log_without_a_credential() {
    for (mode, event) in [(Mode::Enforce, "deny"), (Mode::Shadow, "shadow_deny")] {
        let (send, receive) = mpsc::channel();
        let settings = Settings { audit_log: AccessLog::To(Sink::new(Sent(send))), ..Settings::default() };
        let gateway = Gateway::with(settings, protected(mode)).await;
        let mut lines = Lines(receive, Vec::new());
        let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap().with_host("protected.example");
        for (key, reason, rule, caller) in [
            (None, "unauthenticated", None, None),
            (Some("hidden-bad"), "unauthenticated", None, None),
            (Some("hidden-good"), "forbidden", Some("nobody"), Some("acme")),
        ] {
            let headers: Vec<_> =
                key.map(|key| ("x-api-key", key)).into_iter().chain([("x-request-id", "r-1")]).collect();
            client.get_with("/orders?key=hidden", &headers).await.unwrap();
            let line = lines.next();
            assert_eq!((&line["event"], &line["policy"]), (&event.into(), &"shop/keys".into()), "{line}");
            assert_eq!(
                (&line["requestId"], &line["path"], &line["method"]),
                (&"r-1".into(), &"/orders".into(), &"GET".into())
            );
            assert_eq!((&line["route"], &line["host"]), (&"shop/orders".into(), &"protected.example".into()));
            assert_eq!((line["reason"].as_str(), line["denied"].as_str()), (Some(reason), rule), "{line}");
            assert_eq!(line["caller"].as_str(), caller);
            assert!(line["client"].as_str().unwrap().starts_with("127.0.0.1:") && line["time"].is_string());
            assert!(!line.to_string().contains("hidden"), "{line}");
        }
        get(gateway.http(), "closed.example", "/").await.unwrap();
        let line = lines.next();
        assert_eq!(
            (&line["event"], &line["policy"], &line["reason"]),
            (&"deny".into(), &"shop/broken".into(), &"policy_invalid".into())
        );
    }
}
