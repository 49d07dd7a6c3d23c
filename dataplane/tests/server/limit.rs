//! Requests at once, and waiting for one's turn, as clients and backends see them.

use std::{net::SocketAddr, time::Duration};

use ravelin_echo::client::{Client, Protocol, Wire};
use ravelin_snapshot::{
    HostPattern, ObjectKey, Part, Snapshot,
    auth::Mode,
    rate_limit::{Adaptive, Count, Limit, Phase, RateLimitPolicy, TokenBucket},
    route::{Guard, Route},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::gateway::{Gateway, add_backend, forward, route, say};

const DEADLINE: Duration = Duration::from_secs(30);

fn limit(count: Count, max_delay: Option<Duration>) -> Limit {
    let max_delay_ms = max_delay.map(|delay| delay.as_millis() as u64);
    Limit {
        name: "few".into(),
        key: None,
        when: None,
        cost: None,
        phase: Phase::Main,
        count,
        parent: None,
        max_delay_ms,
        ban: None,
    }
}

/// Everything is limited.
fn limited(snapshot: &mut Snapshot, open: Route, limit: Limit) {
    let key = ObjectKey::new("shop", "few");
    let policy =
        RateLimitPolicy { mode: Mode::Enforce, limits: vec![limit], plans: None, priority: None, shared: None };
    snapshot.limits.insert(key.clone(), Part::new(policy));
    let Route { mut rules, .. } = open.clone();
    rules[0].limits = vec![Guard::Policy(key)];
    snapshot.routes.insert(ObjectKey::new("shop", "all"), Part::new(Route { rules, ..open }));
}

/// A backend whose every answer the test writes itself, on a connection of its own.
struct Backend(TcpListener);

impl Backend {
    async fn start(limit: Limit) -> (Self, Gateway) {
        let backend = Self(TcpListener::bind("127.0.0.1:0").await.unwrap());
        let mut snapshot = Snapshot::default();
        let key = add_backend(&mut snapshot, "hand", backend.0.local_addr().unwrap());
        limited(&mut snapshot, route(HostPattern::Any, forward(key)), limit);
        (backend, Gateway::start(snapshot).await)
    }

    /// Returns when a request has come.
    async fn request(&self) -> TcpStream {
        let (mut stream, _) = timeout(DEADLINE, self.0.accept()).await.unwrap().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(DEADLINE, stream.read_u8()).await.unwrap().unwrap());
        }
        stream
    }
}

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const HALF: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nhi";

/// A request whose answer has begun, and its other end.
async fn begun(backend: &Backend, gateway: SocketAddr) -> (Wire, TcpStream) {
    let mut client = Wire::connect(gateway).await.unwrap();
    client.send(GET).await.unwrap();
    let mut stream = backend.request().await;
    stream.write_all(HALF).await.unwrap();
    assert!(client.head().await.unwrap().starts_with("HTTP/1.1 200"));
    assert_eq!(&client.exactly(2).await.unwrap()[..], b"hi");
    (client, stream)
}

#[tokio::test]
async fn a_seat_is_held_until_the_body_of_the_answer_has_ended() {
    let (backend, gateway) = Backend::start(limit(Count::Concurrency(1), None)).await;
    let (mut first, mut stream) = begun(&backend, gateway.http()).await;
    let mut second = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    let refused = second.get("/").await.unwrap();
    assert_eq!((refused.status.as_u16(), &refused.json()["limit"]), (429, &"few".into()));
    assert_eq!(refused.headers["ratelimit-policy"], "\"few\";q=1;qu=\"concurrent-requests\"");
    assert_eq!(refused.headers["ratelimit"], "\"few\";r=0");
    assert!(!refused.headers.contains_key("retry-after"), "nobody knows");
    stream.write_all(b"ho").await.unwrap();
    assert_eq!(&first.exactly(2).await.unwrap()[..], b"ho");
    begun(&backend, gateway.http()).await;
}

#[tokio::test]
async fn what_the_backend_answers_in_time_lets_more_requests_in_at_once() {
    let adaptive = Adaptive { target_ms: 1_000_000, min: 1, max: 2 };
    let (backend, gateway) = Backend::start(limit(Count::Adaptive(adaptive), None)).await;
    let mut second = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    // Rounds of 16 answers, a tenth more after each.
    for round in 0..8 * 16 {
        let (mut client, mut stream) = begun(&backend, gateway.http()).await;
        if round == 0 {
            assert_eq!(second.get("/").await.unwrap().status, 429);
        }
        stream.write_all(b"ho").await.unwrap();
        assert_eq!(&client.exactly(2).await.unwrap()[..], b"ho");
    }
    let _first = begun(&backend, gateway.http()).await;
    let _second = begun(&backend, gateway.http()).await;
    assert_eq!(second.get("/").await.unwrap().status, 429, "two are the most");
}

#[tokio::test]
async fn who_waits_gets_the_seat_of_a_client_that_has_gone() {
    let (backend, gateway) = Backend::start(limit(Count::Concurrency(1), Some(DEADLINE))).await;
    let (first, _stream) = begun(&backend, gateway.http()).await;
    let mut second = Wire::connect(gateway.http()).await.unwrap();
    second.send(GET).await.unwrap();
    // One that gives up does not keep the place.
    let mut third = Wire::connect(gateway.http()).await.unwrap();
    third.send(GET).await.unwrap();
    drop(third);
    drop(first);
    let mut stream = backend.request().await;
    stream.write_all(HALF).await.unwrap();
    assert!(second.head().await.unwrap().starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_seat_is_held_until_the_backend_has_answered_or_the_client_has_gone() {
    let (backend, gateway) = Backend::start(limit(Count::Concurrency(1), Some(DEADLINE))).await;
    let mut first = Wire::connect(gateway.http()).await.unwrap();
    first.send(GET).await.unwrap();
    let _silent = backend.request().await;
    let mut second = Wire::connect(gateway.http()).await.unwrap();
    second.send(GET).await.unwrap();
    drop(first);
    let mut stream = backend.request().await;
    stream.write_all(HALF).await.unwrap();
    assert!(second.head().await.unwrap().starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_seat_is_held_until_the_tunnel_has_ended() {
    let (backend, gateway) = Backend::start(limit(Count::Concurrency(1), Some(DEADLINE))).await;
    let mut first = Wire::connect(gateway.http()).await.unwrap();
    first.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: raw\r\n\r\n").await.unwrap();
    let mut tunnel = backend.request().await;
    let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: raw\r\n\r\n";
    tunnel.write_all(switch.as_bytes()).await.unwrap();
    assert!(first.head().await.unwrap().starts_with("HTTP/1.1 101"));
    let mut second = Wire::connect(gateway.http()).await.unwrap();
    second.send(GET).await.unwrap();
    for _ in 0..20 {
        first.send("ping").await.unwrap();
        let mut ping = [0; 4];
        timeout(DEADLINE, tunnel.read_exact(&mut ping)).await.unwrap().unwrap();
    }
    let came = timeout(Duration::ZERO, backend.0.accept()).await;
    assert!(came.is_err(), "the second request waits as long as the tunnel lasts");
    drop((first, tunnel));
    backend.request().await;
}

#[tokio::test]
async fn who_may_wait_is_admitted_in_turn_rather_than_refused() {
    let bucket = TokenBucket { requests: 50, per_ms: 1_000, burst: 1 };
    let mut snapshot = Snapshot::default();
    limited(&mut snapshot, route(HostPattern::Any, say("in")), limit(Count::TokenBucket(bucket), Some(DEADLINE)));
    let gateway = Gateway::start(snapshot).await;
    let ask = async || {
        let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
        client.get("/").await.unwrap().status.as_u16()
    };
    let answers = timeout(DEADLINE, async { tokio::join!(ask(), ask(), ask(), ask(), ask()) }).await.unwrap();
    assert_eq!(answers, (200, 200, 200, 200, 200));
}
