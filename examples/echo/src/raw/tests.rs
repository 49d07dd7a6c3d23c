use std::time::Duration;

use tokio::time::timeout;

use super::{Gate, Raw, RawCounts, Script};
use crate::client::{Client, ClientError, DEADLINE, End, Protocol, Received, Wire, body, exchange, request};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

async fn until(raw: &Raw, reached: impl FnMut(&RawCounts) -> bool) -> RawCounts {
    timeout(DEADLINE, raw.wait_until(reached)).await.expect("the backend never counts that far")
}

async fn asked(script: Script) -> Received {
    let raw = Raw::start(script).unwrap();
    exchange(raw.address(), GET).await.unwrap()
}

#[tokio::test]
async fn what_is_sent_before_a_close_arrives_and_no_more() {
    for (script, sent) in [
        (Script::garbage(), "\u{16}\u{3}\u{1} this is no HTTP\0\r\n\r\n"),
        (Script::closes_unanswered(), ""),
        (Script::closes_in_head(), "HTTP/1.1 200 OK\r\nContent-Le"),
        (Script::closes_after_head(), "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"),
        (Script::closes_in_body(), "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"),
        (Script::closes_in_chunks(), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
    ] {
        let received = asked(script).await;
        assert_eq!((received.text().as_str(), received.end), (sent, End::Closed));
    }
}

#[tokio::test]
async fn who_closes_at_once_sends_nothing() {
    assert_eq!(asked(Script::closes_at_once()).await.bytes, "");
}

#[tokio::test]
async fn a_reset_is_one() {
    assert_eq!(asked(Script::resets()).await, Received { bytes: "".into(), end: End::Reset });
    let gate = Gate::new();
    let raw = Raw::start(Script::resets_in_body(&gate)).unwrap();
    let mut wire = Wire::connect(raw.address()).await.unwrap();
    wire.send(GET).await.unwrap();
    wire.until("hello").await.unwrap();
    gate.open();
    assert_eq!(wire.rest().await.end, End::Reset);
}

#[tokio::test]
async fn scripts_that_hold_the_connection_hold_it_until_the_peer_closes() {
    for (script, statuses) in [
        (Script::never_answers(), &[][..]),
        (Script::answers_twice(), &[200, 200]),
        (Script::conflicting_lengths(), &[200]),
        (Script::length_and_chunks(), &[200]),
        (Script::bad_chunks(), &[200]),
        (Script::large_head(100, 1000), &[200]),
        (Script::unasked_upgrade(), &[101]),
    ] {
        let raw = Raw::start(script).unwrap();
        let mut wire = Wire::connect(raw.address()).await.unwrap();
        wire.send(GET).await.unwrap();
        wire.finish().await.unwrap();
        let received = wire.rest().await;
        assert_eq!((received.statuses().as_slice(), received.end), (statuses, End::Closed));
        until(&raw, |counts| counts.connections_open == 0).await;
    }
}

#[tokio::test]
async fn endless_scripts_send_more_than_any_buffer_holds() {
    for script in [Script::endless_head(), Script::endless_interim(), Script::endless_body()] {
        let raw = Raw::start(script).unwrap();
        let mut wire = Wire::connect(raw.address()).await.unwrap();
        wire.send(GET).await.unwrap();
        wire.exactly(16 << 20).await.unwrap();
        drop(wire);
        until(&raw, |counts| counts.connections_open == 0).await;
    }
}

#[tokio::test]
async fn a_connection_that_is_reused_is_closed_when_its_second_request_has_come() {
    let raw = Raw::start_each([Script::closes_when_reused(), Script::answers("fresh")]).unwrap();
    let mut client = Client::connect(raw.address(), Protocol::Http1).await.unwrap();
    assert_eq!(client.get("/").await.unwrap().text(), "ok");
    assert!(matches!(client.post("/", &[], "body").await, Err(ClientError::Http(_))));
    assert_eq!(raw.counts(), RawCounts { requests: 2, connections_open: 0, connections_total: 1 });
    let mut client = Client::connect(raw.address(), Protocol::Http1).await.unwrap();
    for _ in 0..3 {
        assert_eq!(client.get("/").await.unwrap().text(), "fresh");
    }
    let received = raw.received();
    assert!(received[0].ends_with(b"\r\n\r\nbody") && received[1].starts_with(b"GET / HTTP/1.1\r\n"));
}

#[tokio::test]
async fn an_idle_connection_is_closed_when_the_gate_opens() {
    let gate = Gate::new();
    let raw = Raw::start(Script::closes_idle(&gate)).unwrap();
    let mut client = Client::connect(raw.address(), Protocol::Http1).await.unwrap();
    assert_eq!(client.get("/").await.unwrap().text(), "ok");
    assert!(!client.is_closed());
    gate.open();
    until(&raw, |counts| counts.connections_open == 0).await;
    assert!(client.get("/").await.is_err());
}

#[tokio::test]
async fn a_trickled_answer_is_whole_in_the_end() {
    let raw = Raw::start(Script::trickles("slow", Duration::from_micros(1))).unwrap();
    let mut client = Client::connect(raw.address(), Protocol::Http1).await.unwrap();
    for _ in 0..2 {
        assert_eq!(client.get("/").await.unwrap().text(), "slow");
    }
}

#[tokio::test]
async fn a_body_is_not_read_before_the_gate_opens() {
    let gate = Gate::new();
    let raw = Raw::start(Script::never_reads(&gate)).unwrap();
    let mut client = Client::connect(raw.address(), Protocol::Http1).await.unwrap();
    let stuck = client.send(request(http::Method::POST, "/", &[], body(vec![0; 64 << 20])));
    tokio::select! {
        _ = stuck => panic!("somebody has read it"),
        _ = until(&raw, |counts| counts.connections_open == 1) => {}
    }
    assert_eq!(raw.requests(), 0);
    gate.open();
    until(&raw, |counts| counts.connections_open == 0).await;
}

#[tokio::test]
async fn http2_is_answered_and_refused_as_the_script_says() {
    let raw = Raw::start(Script::http2_refuses_every_other()).unwrap();
    let mut client = Client::connect(raw.address(), Protocol::Http2).await.unwrap();
    for _ in 0..3 {
        let refused = client.post("/", &[], "body").await.unwrap_err();
        assert!(refused.to_string().contains("refused"), "{refused}");
        assert_eq!(client.post("/", &[("x-long", &"y".repeat(30_000))], "body").await.unwrap().text(), "ok");
    }
    assert_eq!(raw.counts(), RawCounts { requests: 6, connections_open: 1, connections_total: 1 });
    let raw = Raw::start(Script::http2_answers("ok")).unwrap();
    let mut client = Client::connect(raw.address(), Protocol::Http2).await.unwrap();
    for _ in 0..3 {
        assert_eq!(client.get("/").await.unwrap().text(), "ok");
    }
}

#[tokio::test]
async fn who_goes_away_over_http2_says_what_was_processed() {
    let processed = Raw::start(Script::http2_goes_away_processed()).unwrap();
    let mut client = Client::connect(processed.address(), Protocol::Http2).await.unwrap();
    assert_eq!(client.get("/").await.unwrap().text(), "ok");
    assert!(matches!(client.get("/").await, Err(ClientError::NotSent(_))));
    for script in [Script::http2_goes_away_unprocessed(), Script::http2_closes_unanswered()] {
        let raw = Raw::start(script).unwrap();
        let mut client = Client::connect(raw.address(), Protocol::Http2).await.unwrap();
        assert!(matches!(client.get("/").await, Err(ClientError::Http(_))));
        assert_eq!(raw.requests(), 1);
    }
}

#[tokio::test]
async fn dropping_it_closes_every_connection() {
    let raw = Raw::start(Script::never_answers()).unwrap();
    let mut wire = Wire::connect(raw.address()).await.unwrap();
    wire.send(GET).await.unwrap();
    until(&raw, |counts| counts.requests == 1).await;
    drop(raw);
    assert_eq!(wire.rest().await.end, End::Closed);
}
