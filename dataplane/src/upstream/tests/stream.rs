//! Bodies and tunnels: as they come, no faster than they are taken, and no longer than they may.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body_util::BodyExt;
use ravelin_echo::{
    Echo, Options,
    client::{Client, Protocol, Pulse, Wire, body, request, upload},
    raw::{Gate, Raw, Script},
};

use super::{
    Gateway,
    gateway::{Limits, said},
};

const LONG: Duration = Duration::from_secs(20);

async fn client(gateway: &Gateway) -> Client {
    Client::connect(gateway.addresses[0], Protocol::Http1).await.unwrap()
}

async fn until(mut reached: impl FnMut() -> bool) {
    let waiting = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LONG, waiting).await.unwrap();
}

#[tokio::test]
async fn pieces_pass_as_they_come_in_both_directions_trailers_too() {
    let echo = Echo::start("a").unwrap();
    let gateway = Gateway::start(1, said([echo.address()]));
    let mut client = client(&gateway).await;
    let (pieces, sent) = upload();
    let sent = request(Method::POST, "/?body=back", &[("te", "trailers"), ("trailer", "x-sum")], sent);
    let mut answer = client.open(sent).await.unwrap().into_body();
    for number in 0..5 {
        assert!(pieces.send(format!("piece {number}")).await);
        let piece = answer.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(piece, format!("piece {number}"));
    }
    pieces.finish(HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("5"))])).await;
    let trailers = answer.frame().await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(trailers["x-sum"], "5");
    assert!(answer.frame().await.is_none());
}

#[tokio::test]
async fn an_answer_that_comes_before_the_request_has_ended_is_passed_and_its_connection_not_used_again() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nearly";
    let raw = Raw::start_each([Script::new().read_head().send(head).hold(), Script::answers("fresh")]).unwrap();
    let gateway = Gateway::start(1, said([raw.address()]));
    let mut asking = client(&gateway).await;
    let (pieces, sent) = upload();
    let mut answer = asking.open(request(Method::POST, "/", &[], sent)).await.unwrap().into_body();
    assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "early");
    for _ in 0..1_000 {
        assert!(pieces.send(vec![b'x'; 10_000]).await);
    }
    until(|| raw.received()[0].len() > 10_000_000).await; // while nobody waits for the rest of the answer
    drop((answer, pieces, asking));
    assert_eq!(client(&gateway).await.get("/").await.unwrap().text(), "fresh");
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_call_at_once() {
    let raw = Raw::start_each([Script::never_answers(), Script::endless_body()]).unwrap();
    let gateway = Gateway::start(1, said([raw.address()]));
    let waiting = tokio::spawn({
        let mut client = client(&gateway).await;
        async move { client.get("/").await }
    });
    raw.wait_until(|counts| counts.requests == 1).await;
    waiting.abort();
    tokio::time::timeout(LONG, raw.wait_until(|counts| counts.connections_open == 0)).await.unwrap();

    let mut client = client(&gateway).await;
    let mut answer = client.open(request(Method::GET, "/", &[], body(""))).await.unwrap().into_body();
    answer.frame().await.unwrap().unwrap();
    drop((answer, client));
    tokio::time::timeout(LONG, raw.wait_until(|counts| counts.connections_open == 0)).await.unwrap();
    let endpoint = gateway.backend.load().endpoints().next().unwrap();
    until(|| endpoint.counts().in_flight() == 0 && endpoint.counts().connections() == 0).await;
}

/// Of this process, bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test]
async fn a_reader_that_does_not_read_costs_little_memory() {
    let raw = Raw::start(Script::endless_body()).unwrap();
    let gateway = Gateway::start(1, said([raw.address()]));
    let mut wires = Vec::new();
    let before = resident();
    for _ in 0..20 {
        let mut wire = Wire::connect(gateway.addresses[0]).await.unwrap();
        wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        wire.head().await.unwrap();
        wires.push(wire);
    }
    // All that the kernel takes has been sent when nothing moves any more.
    let mut last = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = resident();
        if now.abs_diff(last) < 4096 * 8 {
            break;
        }
        last = now;
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 20 << 20, "{grown} bytes for 20 readers that do not read");
}

#[tokio::test]
async fn the_whole_exchange_is_cut_at_its_deadline_head_or_body() {
    let limits = Limits { request: Some(Duration::from_secs(2)), ..Limits::default() };
    let raw = Raw::start_each([Script::never_answers(), Script::endless_body()]).unwrap();
    let gateway = Gateway::with_limits(1, said([raw.address()]), limits);
    let answer = client(&gateway).await.get("/").await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("reason")), (504, Some("request_timeout")));
    assert!(client(&gateway).await.get("/").await.is_err());
    tokio::time::timeout(LONG, raw.wait_until(|counts| counts.connections_open == 0)).await.unwrap();
}

/// The limit is far beyond the time between pieces: a busy machine may take as long over one of them.
#[tokio::test]
async fn a_silent_stream_is_cut_and_one_that_moves_in_either_direction_is_not() {
    let limits = Limits { stream_idle: Some(Duration::from_secs(3)), ..Limits::default() };
    let echo = Echo::start("a").unwrap();
    let gateway = Gateway::with_limits(1, said([echo.address()]), limits);
    let silent = async { assert!(client(&gateway).await.get("/?chunks=2&every=60s").await.is_err()) };
    let moving = async { assert_eq!(client(&gateway).await.get("/?chunks=60&every=100ms").await.unwrap().status, 200) };
    let sending = async {
        let (pieces, sent) = upload();
        let mut client = client(&gateway).await;
        let answer = client.open(request(Method::POST, "/?body=ignore&chunks=2&every=6s", &[], sent)).await.unwrap();
        let whole = tokio::spawn(answer.into_body().collect());
        while !whole.is_finished() {
            pieces.send("x").await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(whole.await.unwrap().is_ok());
    };
    tokio::join!(silent, moving, sending);
}

#[tokio::test]
async fn a_websocket_beats_on_through_swaps_and_counts_as_a_request_until_it_closes() {
    let echo = Echo::start("a").unwrap();
    let gateway = Gateway::start(1, said([echo.address()]));
    let pulse = Pulse::start(gateway.addresses[0], "shop.example", "/", Duration::from_millis(1)).await.unwrap();
    let endpoint = gateway.backend.load().endpoints().next().unwrap();
    for _ in 0..20 {
        pulse.more(3).await.unwrap();
        gateway.swap(said([]));
        pulse.more(3).await.unwrap();
        gateway.swap(said([echo.address()]));
    }
    assert_eq!((endpoint.counts().in_flight(), endpoint.counts().connections()), (1, 1));
    assert!(pulse.stop().await.unwrap() >= 120);
    until(|| endpoint.counts().in_flight() == 0 && endpoint.counts().connections() == 0).await;
}

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";

#[tokio::test]
async fn a_tunnel_passes_what_came_early_and_the_end_of_either_side() {
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nearly";
    let gate = Gate::new();
    let raw = Raw::start(Script::new().read().send(answer).wait(&gate).send("late")).unwrap();
    let gateway = Gateway::start(1, said([raw.address()]));
    let mut wire = Wire::connect(gateway.addresses[0]).await.unwrap();
    wire.send(UPGRADE).await.unwrap();
    assert!(wire.head().await.unwrap().starts_with("HTTP/1.1 101 "));
    assert_eq!(wire.exactly(5).await.unwrap(), "early");
    wire.finish().await.unwrap();
    gate.open();
    assert_eq!(wire.rest().await.bytes, "late");
}

#[tokio::test]
async fn a_tunnel_takes_no_more_than_its_other_end_does_and_a_silent_one_is_closed() {
    let limits = Limits { stream_idle: Some(Duration::from_millis(200)), ..Limits::default() };
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let raw = Raw::start(Script::new().read().send(answer).send_for_ever(vec![b'.'; 1 << 20])).unwrap();
    let gateway = Gateway::with_limits(1, said([raw.address()]), limits);
    let mut wire = Wire::connect(gateway.addresses[0]).await.unwrap();
    let before = resident();
    wire.send(UPGRADE).await.unwrap();
    wire.head().await.unwrap();
    // Nobody reads: it fills what the kernel gives and stands still, until it is closed for it.
    tokio::time::timeout(LONG, raw.wait_until(|counts| counts.connections_open == 0)).await.unwrap();
    assert!(resident().saturating_sub(before) < 8 << 20);
}

#[tokio::test]
async fn a_backend_may_decline_an_upgrade() {
    let echo = Echo::start(Options { remember: 1, ..Options::from("a") }).unwrap();
    let gateway = Gateway::start(1, said([Raw::start(Script::answers("no")).unwrap().address(), echo.address()]));
    let raw = Raw::start(Script::answers("no")).unwrap();
    gateway.swap(said([raw.address()]));
    let sent =
        Request::builder().uri("/").header("connection", "upgrade").header("upgrade", "x").body(body("")).unwrap();
    assert_eq!(client(&gateway).await.send(sent).await.unwrap().body, Bytes::from("no"));
}
