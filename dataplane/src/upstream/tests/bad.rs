//! Backends that do what they must not: a clear answer, and nothing else is affected.

use std::time::Duration;

use http::Method;
use ravelin_echo::{
    Echo,
    client::{Client, Protocol, body, request},
    raw::{Gate, Raw, Script},
};

use super::{
    Gateway,
    gateway::{Limits, said},
};

/// A bad and a good endpoint, in turn, asked over one client connection as long as it lasts.
struct Pair {
    gateway: Gateway,
    bad: Raw,
    _good: Echo,
}

impl Pair {
    fn start(bad: Raw) -> Self {
        let good = Echo::start("good").unwrap();
        let limits = Limits { attempt: Some(Duration::from_secs(5)), ..Limits::default() };
        let gateway = Gateway::with_limits(1, said([bad.address(), good.address()]), limits);
        Self { gateway, bad, _good: good }
    }

    async fn client(&self) -> Client {
        Client::connect(self.gateway.addresses[0], Protocol::Http1).await.unwrap()
    }
}

#[tokio::test]
async fn what_is_no_answer_is_a_502_and_the_client_keeps_its_connection() {
    for (what, script) in [
        ("garbage", Script::garbage()),
        ("closes at once", Script::closes_at_once()),
        ("closes unanswered", Script::closes_unanswered()),
        ("closes in head", Script::closes_in_head()),
        ("resets", Script::resets()),
        ("conflicting lengths", Script::conflicting_lengths()),
        ("length and chunks", Script::length_and_chunks()),
        ("many headers", Script::large_head(1_000, 10)),
        ("large headers", Script::large_head(50, 8 << 10)),
        ("endless interim answers", Script::endless_interim()),
        ("endless head", Script::endless_head()),
        ("unasked upgrade", Script::unasked_upgrade()),
    ] {
        let pair = Pair::start(Raw::start(script).unwrap());
        let mut client = pair.client().await;
        for round in 0..2 {
            let answer = client.get("/").await.unwrap();
            assert_eq!((answer.status.as_u16(), answer.header("reason")), (502, Some("backend_refused")), "{what}");
            assert_eq!(client.get("/").await.unwrap().status, 200, "{what}");
            assert_eq!(pair.bad.connections_total(), round + 1, "{what}: a fresh connection is not tried again");
        }
        let counts = pair.gateway.backend.load().endpoints().next().unwrap();
        assert_eq!((counts.counts().in_flight(), counts.counts().connections()), (0, 0), "{what}");
    }
}

#[tokio::test]
async fn what_never_answers_is_a_504() {
    for script in [Script::never_answers(), Script::never_reads(&Gate::new())] {
        let pair = Pair::start(Raw::start(script).unwrap());
        let mut client = pair.client().await;
        let answer = client.get("/").await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.header("reason")), (504, Some("backend_timeout")));
        assert_eq!(client.get("/").await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_broken_off_towards_the_client() {
    for script in
        [Script::closes_after_head(), Script::closes_in_body(), Script::closes_in_chunks(), Script::bad_chunks()]
    {
        let pair = Pair::start(Raw::start(script).unwrap());
        assert!(pair.client().await.get("/").await.is_err());
        assert_eq!(pair.client().await.get("/").await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn a_second_answer_is_nobodys() {
    let raw = Raw::start(Script::answers_twice()).unwrap();
    let gateway = Gateway::start(1, said([raw.address()]));
    let mut client = Client::connect(gateway.addresses[0], Protocol::Http1).await.unwrap();
    for _ in 0..20 {
        let answer = client.get("/").await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "first"));
    }
    assert_eq!(raw.connections_total(), 20);
}

#[tokio::test]
async fn a_second_answer_that_comes_late_is_nobodys_either() {
    let gate = Gate::new();
    let late = Script::new().read().send_answer("first").wait(&gate).send_answer("second").hold();
    let raw = Raw::start_each([late, Script::answers("fresh")]).unwrap();
    let gateway = Gateway::start(1, said([raw.address()]));
    let mut client = Client::connect(gateway.addresses[0], Protocol::Http1).await.unwrap();
    assert_eq!(client.get("/").await.unwrap().text(), "first");
    gate.open();
    // The kernel has the second answer when the connection is closed because of it.
    let closed = raw.wait_until(|counts| counts.connections_open == 0);
    tokio::time::timeout(Duration::from_secs(20), closed).await.unwrap();
    assert_eq!(client.get("/").await.unwrap().text(), "fresh");
}

#[tokio::test]
async fn a_get_survives_a_backend_that_closes_kept_connections_and_a_post_is_never_sent_twice() {
    let raw = Raw::start(Script::closes_when_reused()).unwrap();
    let gateway = Gateway::start(1, said([raw.address()]));
    let mut client = Client::connect(gateway.addresses[0], Protocol::Http1).await.unwrap();
    for round in 0..10 {
        let answer = client.get_with("/path?query", &[("x-round", &round.to_string())]).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "ok"));
    }
    let endpoint = gateway.backend.load().endpoints().next().unwrap();
    assert_eq!(endpoint.counts().resent(), 9);
    // Each connection but the last has seen its own request and the first try of the next one, head and all.
    let received = raw.received();
    assert_eq!(received.len(), 10);
    for (round, bytes) in received.iter().enumerate().skip(1) {
        let text = String::from_utf8_lossy(bytes);
        assert!(text.contains(&format!("x-round: {round}\r\n")) && text.starts_with("GET /path?query HTTP/1.1\r\n"));
    }
    let answer = client.post("/", &[], "data").await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("reason")), (502, Some("backend_refused")));
    assert_eq!(answer.header("again"), Some("no"));
    let posts: usize = raw.received().iter().map(|bytes| String::from_utf8_lossy(bytes).matches("POST").count()).sum();
    assert_eq!(posts, 1);
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_costs_nobody_a_request_not_even_a_post() {
    let gates: Vec<_> = (0..20).map(|_| Gate::new()).collect();
    let raw = Raw::start_each(gates.iter().map(Script::closes_idle)).unwrap();
    let gateway = Gateway::start(1, said([raw.address()]));
    let mut client = Client::connect(gateway.addresses[0], Protocol::Http1).await.unwrap();
    for (round, gate) in gates.iter().enumerate() {
        let sent = request(Method::POST, "/", &[], body("data"));
        let answer = client.send(sent).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "ok"), "round {round}");
        gate.open();
        let closed = raw.wait_until(|counts| counts.connections_open == 0);
        tokio::time::timeout(Duration::from_secs(20), closed).await.unwrap();
    }
    let posts: usize = raw.received().iter().map(|bytes| String::from_utf8_lossy(bytes).matches("POST").count()).sum();
    assert_eq!(posts, 20);
}

#[tokio::test]
async fn no_get_is_lost_to_a_backend_that_closes_kept_connections_all_the_time() {
    for script in [Script::closes_when_reused(), Script::new().read().send_answer("ok")] {
        let raw = Raw::start(script).unwrap();
        let gateway = Gateway::start(2, said([raw.address()]));
        let mut clients = tokio::task::JoinSet::new();
        for number in 0..16 {
            let mut client = Client::connect(gateway.addresses[number % 2], Protocol::Http1).await.unwrap();
            clients.spawn(async move {
                for _ in 0..30 {
                    let answer = client.get("/").await.unwrap();
                    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "ok"));
                }
            });
        }
        clients.join_all().await;
        assert!(raw.connections_total() > 100);
    }
}
