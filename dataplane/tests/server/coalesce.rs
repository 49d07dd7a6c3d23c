//! Identical requests that are under way share one call.

use std::{net::SocketAddr, time::Duration};

use http::Method;
use ravelin_dataplane::{Settings, metrics};
use ravelin_echo::{
    client::{Answer, Client, ClientError, Protocol, body, request},
    raw::{Gate, Raw, Script},
};
use ravelin_snapshot::{
    HostPattern, ObjectKey, Part, Snapshot,
    expression::{Attribute, Expression, Node},
    filter::{Coalesce, Filters},
    route::Timeouts,
};
use tokio::{task::JoinSet, time::timeout};

use crate::gateway::{Gateway, add_backend, echo, forward, route};

const LONG: Duration = Duration::from_secs(30);

fn shared(backend: SocketAddr, key: Option<Attribute>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let backend = add_backend(&mut snapshot, "echo", backend);
    let key = key.map(|key| Expression { source: "as written".into(), node: Node::Attribute(key) });
    let mut all = route(HostPattern::Any, forward(backend));
    all.rules[0].filters = Some(Box::new(Filters { coalesce: Some(Coalesce { key }), ..Filters::default() }));
    snapshot.routes.insert(ObjectKey::new("shop", "all"), Part::new(all));
    snapshot
}

/// Answers each request of a connection when the gate is open.
fn held(gate: &Gate, answer: &str) -> Raw {
    Raw::start(Script::new().read().wait(gate).send(answer.to_owned()).for_ever()).unwrap()
}

fn plain(headers: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn ask(
    asked: &mut JoinSet<Result<Answer, ClientError>>,
    gateway: &Gateway,
    count: usize,
    path: &str,
    headers: &[(&str, &str)],
) {
    for _ in 0..count {
        let (address, get) = (gateway.http(), request(Method::GET, path, headers, body("")));
        asked.spawn(async move {
            let mut client = Client::connect(address, Protocol::Http1).await?.with_host("shop.example");
            client.send(get).await
        });
    }
}

/// Requests that wait for the call of another.
fn joined(gateway: &Gateway) -> u64 {
    let shared = &gateway.running.shared;
    let text = metrics::text(&shared.metrics, &shared.table(), &metrics::Standing::default());
    let line = text.lines().find(|line| line.starts_with("ravelin_coalesced_requests_total{"));
    line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or_default() as u64
}

async fn until_joined(gateway: &Gateway, count: u64) {
    let all = async {
        while joined(gateway) < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(timeout(LONG, all).await.is_ok(), "{} of {count}", joined(gateway));
}

async fn all(asked: JoinSet<Result<Answer, ClientError>>) -> Vec<Answer> {
    let answers = timeout(LONG, asked.join_all()).await.unwrap();
    answers.into_iter().map(Result::unwrap).collect()
}

#[tokio::test]
async fn a_thousand_identical_requests_on_two_workers_are_one_call() {
    let gate = Gate::new();
    let backend = held(&gate, &plain("X-Own: 1\r\n", "once"));
    let settings = Settings { workers: Some(2), ..Settings::default() };
    let gateway = Gateway::with(settings, shared(backend.address(), None)).await;
    let mut asked = JoinSet::new();
    ask(&mut asked, &gateway, 1_000, "/a?b=c", &[]);
    until_joined(&gateway, 999).await;
    gate.open();
    for answer in all(asked).await {
        assert_eq!((answer.status.as_u16(), answer.text().as_str(), answer.header("x-own")), (200, "once", Some("1")));
    }
    assert_eq!(backend.requests(), 1);
}

#[tokio::test]
async fn the_client_who_asked_first_may_go_and_the_others_have_their_answer() {
    let gate = Gate::new();
    let backend = held(&gate, &plain("", "once"));
    let gateway = Gateway::start(shared(backend.address(), None)).await;
    let mut first = JoinSet::new();
    ask(&mut first, &gateway, 1, "/", &[]);
    timeout(LONG, backend.wait_until(|counts| counts.requests == 1)).await.unwrap();
    let mut asked = JoinSet::new();
    ask(&mut asked, &gateway, 3, "/", &[]);
    until_joined(&gateway, 3).await;
    first.shutdown().await;
    let left = async {
        while gateway.running.shared.connections() > 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, left).await.unwrap();
    gate.open();
    assert!(all(asked).await.iter().all(|answer| answer.text() == "once"));
    assert_eq!(backend.requests(), 1);
}

#[tokio::test]
async fn other_requests_and_other_callers_have_calls_of_their_own() {
    let gate = Gate::new();
    let backend = held(&gate, &plain("", "x"));
    let gateway = Gateway::start(shared(backend.address(), None)).await;
    let mut asked = JoinSet::new();
    let sorts: [(&str, &[(&str, &str)]); 7] = [
        ("/", &[]),
        ("/?a", &[]),
        ("/b", &[]),
        ("/", &[("authorization", "Bearer one")]),
        ("/", &[("authorization", "Bearer two")]),
        ("/", &[("cookie", "sid=1")]),
        ("/", &[("accept-language", "de")]),
    ];
    for (path, headers) in sorts {
        ask(&mut asked, &gateway, 2, path, headers);
    }
    until_joined(&gateway, 7).await;
    let post = request(Method::POST, "/", &[], body("text"));
    let address = gateway.http();
    asked.spawn(
        async move { Client::connect(address, Protocol::Http1).await?.with_host("shop.example").send(post).await },
    );
    timeout(LONG, backend.wait_until(|counts| counts.requests == 8)).await.unwrap();
    gate.open();
    assert_eq!(all(asked).await.len(), 15);
    assert_eq!((backend.requests(), joined(&gateway)), (8, 7));
}

#[tokio::test]
async fn a_rule_says_itself_what_is_identical() {
    let gate = Gate::new();
    let backend = held(&gate, &plain("Vary: Cookie\r\n", "x"));
    let gateway = Gateway::start(shared(backend.address(), Some(Attribute::RequestPath))).await;
    let mut asked = JoinSet::new();
    ask(&mut asked, &gateway, 2, "/a?b", &[("cookie", "sid=1")]);
    ask(&mut asked, &gateway, 2, "/a?c", &[("authorization", "Bearer one")]);
    until_joined(&gateway, 3).await;
    gate.open();
    assert!(all(asked).await.iter().all(|answer| answer.text() == "x"));
    assert_eq!(backend.requests(), 1);
}

#[tokio::test]
async fn what_is_for_one_client_or_no_end_is_in_sight_goes_to_one_and_the_others_ask_themselves() {
    let large = "x".repeat(2 << 20);
    for (key, answer) in [
        (None, plain("Set-Cookie: sid=1\r\n", "x")),
        (None, plain("Vary: X-Tenant\r\n", "x")),
        (Some(Attribute::RequestPath), plain("Cache-Control: max-age=1, private\r\n", "x")),
        (None, plain("Content-Type: text/event-stream\r\n", "data: x\n\n")),
        (None, plain("", &large)),
        (
            None,
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n", large.len()),
        ),
    ] {
        let gate = Gate::new();
        let backend = held(&gate, &answer);
        let gateway = Gateway::start(shared(backend.address(), key)).await;
        let mut asked = JoinSet::new();
        ask(&mut asked, &gateway, 3, "/", &[]);
        until_joined(&gateway, 2).await;
        gate.open();
        let answers = all(asked).await;
        let sizes: Vec<usize> = answers.iter().map(|answer| answer.body.len()).collect();
        assert!(sizes.iter().all(|size| [1, 9, 2 << 20].contains(size)) && sizes[0] == sizes[2], "{sizes:?}");
        assert_eq!(backend.requests(), 3, "{}", &answer[..60]);
    }
}

#[tokio::test]
async fn a_failure_is_shared_too_and_the_next_request_is_a_new_call() {
    let gate = Gate::new();
    let backend = Raw::start(Script::new().read().wait(&gate).reset()).unwrap();
    let gateway = Gateway::start(shared(backend.address(), None)).await;
    let mut asked = JoinSet::new();
    ask(&mut asked, &gateway, 20, "/", &[]);
    until_joined(&gateway, 19).await;
    gate.open();
    assert!(all(asked).await.iter().all(|answer| answer.status == 502));
    assert_eq!(backend.requests(), 1);
    let echo = echo();
    gateway.publish(shared(echo.address(), None)).await;
    for _ in 0..2 {
        let mut next = JoinSet::new();
        ask(&mut next, &gateway, 1, "/", &[]);
        assert_eq!(all(next).await[0].status, 200);
    }
    assert_eq!(echo.requests(), 2, "what is over is shared with nobody");
}

#[tokio::test]
async fn who_has_less_time_waits_no_longer_and_takes_it_from_nobody() {
    let gate = Gate::new();
    let backend = held(&gate, &plain("", "late"));
    let mut snapshot = shared(backend.address(), None);
    let key = ObjectKey::new("shop", "all");
    let mut all_routes = snapshot.routes.get(&key).unwrap().value().as_ref().clone();
    all_routes.rules[0].timeouts =
        Timeouts { deadline_header: Some("x-deadline-ms".into()), ..Timeouts::default() }.into();
    snapshot.routes.insert(key, Part::new(all_routes));
    let gateway = Gateway::start(snapshot).await;
    // The first is the one with less time: the call goes on without it.
    let mut short = JoinSet::new();
    ask(&mut short, &gateway, 1, "/", &[("x-deadline-ms", "300")]);
    timeout(LONG, backend.wait_until(|counts| counts.requests == 1)).await.unwrap();
    let mut long = JoinSet::new();
    ask(&mut long, &gateway, 2, "/", &[]);
    assert_eq!(all(short).await[0].status, 504);
    until_joined(&gateway, 2).await;
    gate.open();
    assert!(all(long).await.iter().all(|answer| answer.text() == "late"));
    assert_eq!(backend.requests(), 1);
}
