//! Requests of the usual form take a way of their own; nobody sees where it ends and the other begins.

use std::net::SocketAddr;

use ravelin_echo::{
    client::{End, Wire, exchange},
    raw::{Raw, Script},
};

use crate::gateway::{Gateway, add_backend, add_route, all_to, echo, forward, say};
use ravelin_snapshot::{HostPattern, Snapshot};

fn all_to_address(address: SocketAddr) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let backend = add_backend(&mut snapshot, "raw", address);
    add_route(&mut snapshot, "all", HostPattern::Any, forward(backend));
    snapshot
}

#[tokio::test]
async fn plain_and_unusual_requests_in_a_row_are_answered_in_a_row() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    let plain = |path: &str| format!("GET /{path} HTTP/1.1\r\nhost: a\r\n\r\n");
    let unusual = |path: &str, body: &str| {
        let length = body.len();
        format!("POST /{path} HTTP/1.1\r\nhost: a\r\nte: trailers\r\ncontent-length: {length}\r\n\r\n{body}")
    };
    let chunked = "POST /5 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    let last = "GET /6 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let bytes =
        [&plain("1"), &unusual("2", "body"), &plain("3"), &unusual("4", ""), chunked, last].map(str::to_owned).concat();
    let answer = exchange(gateway.http(), bytes).await.unwrap();
    assert_eq!((answer.statuses(), answer.end), (vec![200; 6], End::Closed));
    let paths: Vec<_> = echo.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, ["/1", "/2", "/3", "/4", "/5", "/6"]);
}

#[tokio::test]
async fn a_request_that_comes_byte_by_byte_is_the_same_request() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    let request =
        "POST /slow HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let mut wire = Wire::connect(gateway.http()).await.unwrap();
    for _ in 0..2 {
        for at in 0..request.len() {
            wire.send(&request[at..=at]).await.unwrap();
        }
        let head = wire.head().await.unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert_eq!(&echo.seen().pop().unwrap().body[..], b"abcde");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        wire.exactly(length.parse().unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn what_nobody_reads_of_a_body_is_not_taken_for_a_request() {
    let echo = echo();
    let mut snapshot = Snapshot::default();
    let backend = add_backend(&mut snapshot, "echo", echo.address());
    add_route(&mut snapshot, "all", HostPattern::parse("a.example"), forward(backend));
    add_route(&mut snapshot, "own", HostPattern::parse("own.example"), say("hello"));
    let gateway = Gateway::start(snapshot).await;
    let hidden = "GET /hidden HTTP/1.1\r\nhost: a.example\r\n\r\n";
    for (host, status) in [("own.example", 200), ("nowhere.example", 404)] {
        // All of the body is here, so the connection goes on behind it.
        let (length, next) = (hidden.len(), "GET /next HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n");
        let whole = format!("POST / HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\n\r\n{hidden}{next}");
        let answer = exchange(gateway.http(), whole).await.unwrap();
        assert_eq!(answer.statuses(), [status, 200], "{host}");
        // More is to come than a connection is worth: it ends.
        let length = hidden.len() + (1 << 20);
        let part = format!("POST / HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\n\r\n{hidden}");
        let answer = exchange(gateway.http(), part).await.unwrap();
        assert_eq!((answer.statuses(), answer.end), (vec![status], End::Closed), "{host}");
        let chunks = format!("POST / HTTP/1.1\r\nhost: {host}\r\ntransfer-encoding: chunked\r\n\r\nx\r\n{hidden}");
        let answer = exchange(gateway.http(), chunks).await.unwrap();
        assert_eq!((answer.statuses(), answer.end), (vec![status], End::Closed), "{host}");
    }
    assert!(echo.seen().iter().all(|seen| seen.path == "/next"), "{:?}", echo.seen());
}

#[tokio::test]
async fn whose_body_comes_after_its_answer_loses_no_next_request() {
    let gateway = Gateway::start(Snapshot::default()).await;
    let next = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let length = |head: &str| head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut wire = Wire::connect(gateway.http()).await.unwrap();
    for _ in 0..3 {
        wire.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n").await.unwrap();
        let head = wire.head().await.unwrap();
        assert!(head.starts_with("HTTP/1.1 404") && !head.contains("connection: close"), "{head}");
        wire.exactly(length(&head).unwrap()).await.unwrap();
        wire.send(format!("abc{next}")).await.unwrap();
        let head = wire.head().await.unwrap();
        assert!(head.starts_with("HTTP/1.1 404"), "{head}");
        wire.exactly(length(&head).unwrap()).await.unwrap();
    }
    // A rest that is long, or of which nobody knows, is not waited for; the client is told.
    for rest in ["content-length: 1048576", "transfer-encoding: chunked"] {
        let mut wire = Wire::connect(gateway.http()).await.unwrap();
        wire.send(format!("POST / HTTP/1.1\r\nhost: a\r\n{rest}\r\n\r\n")).await.unwrap();
        let head = wire.head().await.unwrap();
        assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
    }
}

#[tokio::test]
async fn a_target_without_a_path_is_the_root_for_the_backend_too() {
    let raw = Raw::start(Script::answers("seen").for_ever()).unwrap();
    let gateway = Gateway::start(all_to_address(raw.address())).await;
    for target in ["http://a?q", "http://a?", "http://a"] {
        let request = format!("GET {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        assert_eq!(exchange(gateway.http(), request).await.unwrap().statuses(), [200], "{target}");
    }
    let received = String::from_utf8(raw.received().concat()).unwrap();
    let lines: Vec<_> = received.lines().filter(|line| line.starts_with("GET ")).collect();
    assert_eq!(lines, ["GET /?q HTTP/1.1", "GET /? HTTP/1.1", "GET / HTTP/1.1"]);
}

#[tokio::test]
async fn a_backend_changes_to_no_other_protocol_than_it_was_asked_for() {
    for (chosen, status) in [("WebSocket", 101), ("h2c", 502), ("other", 502), ("websocket, other", 502)] {
        let answer = format!("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: {chosen}\r\n\r\n");
        let raw = Raw::start(Script::new().read().send(answer)).unwrap();
        let gateway = Gateway::start(all_to_address(raw.address())).await;
        let mut wire = Wire::connect(gateway.http()).await.unwrap();
        wire.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await.unwrap();
        let head = wire.head().await.unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{chosen}: {head}");
    }
}

#[tokio::test]
async fn a_large_body_passes_both_ways_at_the_pace_of_its_reader() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    let body = "x".repeat(3 << 20);
    let mut wire = Wire::connect(gateway.http()).await.unwrap();
    for framing in ["content-length", "transfer-encoding"] {
        let (fields, body) = match framing {
            "content-length" => (format!("content-length: {}", body.len()), body.clone()),
            _ => ("transfer-encoding: chunked".to_owned(), format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())),
        };
        wire.send(format!("POST /?size=3Mi HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n{body}")).await.unwrap();
        assert!(wire.head().await.unwrap().starts_with("HTTP/1.1 200"));
        assert_eq!(wire.exactly(3 << 20).await.unwrap().len(), 3 << 20);
        assert_eq!(echo.seen().pop().unwrap().body_bytes, 3 << 20, "{framing}");
    }
}

#[tokio::test]
async fn who_sends_all_of_a_large_body_before_he_reads_finds_the_refusal_of_its_first_byte() {
    let gateway = Gateway::start(Snapshot::default()).await;
    for unusual in ["", "te: trailers\r\n"] {
        let mut wire = Wire::connect(gateway.http()).await.unwrap();
        wire.send(format!("POST / HTTP/1.1\r\nhost: a\r\n{unusual}content-length: 33554432\r\n\r\n")).await.unwrap();
        for _ in 0..32 {
            wire.send(vec![b'x'; 1 << 20]).await.unwrap();
        }
        assert!(wire.head().await.unwrap().starts_with("HTTP/1.1 404"), "{unusual:?}");
    }
}
