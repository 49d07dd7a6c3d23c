//! What a client can send or hold, and where it ends.

use std::time::Duration;

use http::Method;
use ravelin_dataplane::{Bounds, Settings};
use ravelin_echo::client::{Client, DEADLINE, End, Protocol, Wire, exchange, request};
use tokio::time::timeout;

use crate::{
    gateway::{Gateway, add_secure_route, all_to, echo, say},
    tls::{connect, trusting},
};

const SHORT: Duration = Duration::from_millis(200);

fn bounded(bounds: Bounds) -> Settings {
    Settings { bounds, ..Settings::default() }
}

#[tokio::test]
async fn a_head_that_does_not_come_in_time_ends_its_connection_and_a_kept_connection_may_wait_longer() {
    let echo = echo();
    let settings = bounded(Bounds { header_timeout: SHORT, ..Bounds::default() });
    let gateway = Gateway::with(settings, all_to(&echo)).await;
    let mut kept = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    assert_eq!(kept.get("/").await.unwrap().status, 200);
    for bytes in ["", "GET / HT", "GET / HTTP/1.1\r\nhost: a\r\nx: "] {
        let slow = exchange(gateway.http(), bytes).await.unwrap();
        assert_ne!(slow.end, End::Silent, "{bytes:?}");
        assert!(slow.bytes.is_empty());
    }
    let handshake = exchange(gateway.https(), "\x16\x03\x01").await.unwrap();
    assert_ne!(handshake.end, End::Silent);
    let mut second = Wire::connect(gateway.http()).await.unwrap();
    second.send("GET /?size=1 HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    second.head().await.unwrap();
    second.exactly(1).await.unwrap();
    second.send("GET / HT").await.unwrap();
    assert_ne!(second.rest().await.end, End::Silent, "a second head is timed too");
    // All this time the first connection had no request, for longer than a head may take.
    assert_eq!(kept.get("/").await.unwrap().status, 200);
}

#[tokio::test]
async fn an_idle_connection_ends() {
    let echo = echo();
    let settings = bounded(Bounds { idle_timeout: SHORT, ..Bounds::default() });
    let gateway = Gateway::with(settings, all_to(&echo)).await;
    let idle = exchange(gateway.http(), "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert_eq!((idle.statuses(), idle.end), (vec![200], End::Closed));
    let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let idle = exchange(gateway.http(), hello).await.unwrap();
    assert_eq!(idle.end, End::Closed);
    assert!(idle.bytes.windows(9).any(|frame| frame[..4] == [0, 0, 8, 7]), "GOAWAY first");
}

#[tokio::test]
async fn a_connection_that_was_put_to_rest_serves_the_next_request() {
    let echo = echo();
    let settings = bounded(Bounds { idle_timeout: Duration::from_secs(2), ..Bounds::default() });
    let mut snapshot = all_to(&echo);
    let a = add_secure_route(&mut snapshot, "a", "a.example", say("secure"));
    let gateway = Gateway::with(settings, snapshot).await;
    let mut kept = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    let config = trusting(&[&a], &[]);
    let stream = connect(&gateway, &config, "a.example").await.unwrap();
    let mut secure = Client::over(stream, Protocol::Http1, "https").await.unwrap().with_host("a.example");
    for _ in 0..3 {
        assert_eq!(kept.get("/").await.unwrap().status, 200);
        assert_eq!(secure.get("/").await.unwrap().text(), "secure");
        // A quarter of the idle time puts them to rest: the backend's answer comes after it.
        let mut clock = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
        assert_eq!(clock.get("/?delay=1100ms").await.unwrap().status, 200);
    }
    assert_eq!(echo.connections_total(), 1, "the backend's connection was kept too");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_431() {
    let echo = echo();
    let settings = bounded(Bounds { max_header_bytes: 8 << 10, max_headers: 20, ..Bounds::default() });
    let gateway = Gateway::with(settings, all_to(&echo)).await;
    let fits = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx: {}\r\n\r\n", "x".repeat(7 << 10));
    assert_eq!(exchange(gateway.http(), fits).await.unwrap().statuses(), [200]);
    for head in [
        format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(8 << 10)),
        format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: 1\r\n".repeat(20)),
        format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "x".repeat(1 << 20)),
        format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(1 << 20)),
    ] {
        let answer = exchange(gateway.http(), &head).await.unwrap();
        assert_eq!(answer.statuses(), [431], "{head:.40}");
        assert!(answer.text().contains("\"reason\":\"headers_too_large\""), "{}", answer.text());
    }
    let mut client = Client::connect(gateway.http(), Protocol::Http2).await.unwrap();
    let many: Vec<_> = (0..21).map(|_| ("x", "1")).collect();
    let answer = client.get_with("/", &many).await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.json()["reason"]), (431, &"headers_too_large".into()));
    let large = "x".repeat(16 << 10);
    assert_eq!(client.get_with("/", &[("x", &large)]).await.unwrap().status, 431);
    assert_eq!(client.get("/").await.unwrap().status, 200, "the connection goes on");
    assert_eq!(echo.requests(), 2);
}

#[tokio::test]
async fn one_connection_too_many_is_closed_at_once_and_has_room_again_when_another_ends() {
    let echo = echo();
    let gateway = Gateway::with(bounded(Bounds { max_connections: 2, ..Bounds::default() }), all_to(&echo)).await;
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
        assert_eq!(client.get("/").await.unwrap().status, 200);
        kept.push(client);
    }
    let third = Wire::connect(gateway.http()).await.unwrap().rest().await;
    assert!(third.bytes.is_empty() && third.end != End::Silent);
    drop(kept.pop());
    let again = async {
        loop {
            // Until the gateway has seen that the connection is gone.
            if let Ok(mut client) = Client::connect(gateway.http(), Protocol::Http1).await
                && client.get("/").await.is_ok()
            {
                break;
            }
        }
    };
    timeout(DEADLINE, again).await.unwrap();
    assert_eq!(kept[0].get("/").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_client_that_falls_silent_within_its_body_is_refused() {
    let echo = echo();
    let settings = bounded(Bounds { body_idle_timeout: SHORT, ..Bounds::default() });
    let gateway = Gateway::with(settings, all_to(&echo)).await;
    let silent = exchange(gateway.http(), "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc").await.unwrap();
    assert_eq!((silent.statuses(), silent.end == End::Silent), (vec![400], false));
    echo.wait_until(|counts| counts.connections_open == 0).await;
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answer_loses_its_connection() {
    let echo = echo();
    let settings = bounded(Bounds { idle_timeout: SHORT, ..Bounds::default() });
    let gateway = Gateway::with(settings, all_to(&echo)).await;
    let mut wire = Wire::connect(gateway.http()).await.unwrap();
    wire.send("GET /?size=64Mi HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    wire.head().await.unwrap();
    timeout(DEADLINE, echo.wait_until(|counts| counts.connections_open == 0)).await.unwrap();
    drop(wire);
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_call_of_the_backend() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut client = Client::connect(gateway.http(), protocol).await.unwrap();
        let slow = request(Method::GET, "/?delay=10m", &[], ravelin_echo::client::body(""));
        let before = echo.requests();
        tokio::select! {
            answer = client.open(slow) => panic!("{answer:?}"),
            _ = echo.wait_until(|counts| counts.requests > before) => {}
        }
        drop(client);
        timeout(DEADLINE, echo.wait_until(|counts| counts.connections_open == 0)).await.unwrap();
    }
}
