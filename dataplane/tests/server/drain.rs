//! The end of a data plane, seen by those whom it still serves.

use std::time::Duration;

use http::Method;
use ravelin_dataplane::{
    Settings,
    server::{NotReady, Stage},
};
use ravelin_echo::client::{Answer, Client, DEADLINE, End, Protocol, Wire, body, request};
use tokio::{net::TcpStream, time::timeout};

use crate::gateway::{Gateway, all_to, echo};

#[tokio::test]
async fn open_requests_finish_kept_connections_get_one_more_and_then_it_ends() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    let shared = std::sync::Arc::clone(&gateway.running.shared);
    let address = gateway.http();
    let mut slow = Client::connect(address, Protocol::Http1).await.unwrap();
    let mut streams = Client::connect(address, Protocol::Http2).await.unwrap();
    let mut kept = Client::connect(address, Protocol::Http1).await.unwrap();
    assert_eq!(kept.get("/").await.unwrap().status, 200);
    let ask = || request(Method::GET, "/?chunks=3&every=100ms", &[], body(""));
    let (slow_answer, streamed) = (slow.open(ask()).await.unwrap(), streams.open(ask()).await.unwrap());
    let drained = tokio::spawn(gateway.running.drain());
    let mut stage = shared.stages();
    stage.wait_for(|stage| *stage >= Stage::Closing).await.unwrap();
    assert_eq!(shared.ready(), Err(NotReady::Draining));
    let last = kept.get("/").await.unwrap();
    assert_eq!((last.status.as_u16(), last.header("connection")), (200, Some("close")));
    for answer in [slow_answer, streamed] {
        assert_eq!(Answer::read(answer).await.unwrap().text().matches("data:").count(), 3);
    }
    timeout(DEADLINE, drained).await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
    assert!(streams.is_closed());
}

#[tokio::test]
async fn who_waits_to_be_accepted_is_served() {
    let echo = echo();
    let settings = Settings { workers: Some(2), ..Settings::default() };
    let gateway = Gateway::with(settings, all_to(&echo)).await;
    let mut waiting = Vec::new();
    for _ in 0..50 {
        let mut wire = Wire::connect(gateway.http()).await.unwrap();
        wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        waiting.push(wire);
    }
    let drained = tokio::spawn(gateway.running.drain());
    for wire in waiting {
        let received = wire.rest().await;
        assert_eq!((received.statuses(), received.end), (vec![200], End::Closed));
    }
    timeout(DEADLINE, drained).await.unwrap().unwrap();
}

#[tokio::test]
async fn while_it_is_announced_everything_goes_on() {
    let echo = echo();
    // Longer than the test: it is dropped before.
    let settings = Settings { drain_delay: Duration::from_secs(600), ..Settings::default() };
    let gateway = Gateway::with(settings, all_to(&echo)).await;
    let shared = std::sync::Arc::clone(&gateway.running.shared);
    let address = gateway.http();
    let drained = tokio::spawn(gateway.running.drain());
    shared.stages().wait_for(|stage| *stage == Stage::Announced).await.unwrap();
    assert_eq!(shared.ready(), Err(NotReady::Draining));
    let mut fresh = Client::connect(address, Protocol::Http1).await.unwrap();
    for _ in 0..2 {
        let answer = fresh.get("/").await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.header("connection")), (200, None));
    }
    drained.abort();
    drop(drained.await);
    let gone = timeout(DEADLINE, async { while fresh.get("/").await.is_ok() {} }).await;
    assert!(gone.is_ok(), "dropped, it ends at once");
}

#[tokio::test]
async fn a_tunnel_is_waited_for_and_cut_when_the_time_is_over() {
    let echo = echo();
    let upgrade = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: raw\r\n\r\n";
    let settings = Settings { drain: Duration::from_millis(300), ..Settings::default() };
    let cut = Gateway::with(settings, all_to(&echo)).await;
    let waits = Gateway::start(all_to(&echo)).await;
    let mut tunnels = Vec::new();
    for gateway in [&cut, &waits] {
        let mut wire = Wire::connect(gateway.http()).await.unwrap();
        wire.send(upgrade).await.unwrap();
        assert!(wire.head().await.unwrap().starts_with("HTTP/1.1 101"));
        wire.send("ping").await.unwrap();
        assert_eq!(&wire.exactly(4).await.unwrap()[..], b"ping");
        tunnels.push(wire);
    }
    timeout(DEADLINE, cut.running.drain()).await.unwrap();
    assert_ne!(tunnels.remove(0).rest().await.end, End::Silent);
    let shared = std::sync::Arc::clone(&waits.running.shared);
    let drained = tokio::spawn(waits.running.drain());
    shared.stages().wait_for(|stage| *stage >= Stage::Closing).await.unwrap();
    let mut tunnel = tunnels.remove(0);
    tunnel.send("pong").await.unwrap();
    assert_eq!(&tunnel.exactly(4).await.unwrap()[..], b"pong");
    assert!(!drained.is_finished());
    drop(tunnel);
    timeout(DEADLINE, drained).await.unwrap().unwrap();
}
