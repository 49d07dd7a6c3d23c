//! Clients and backends that mean no good, against the program itself: it stays within bounds, and good clients are served. The
//! figures that each test prints are those of docs/src/run/limits.md.
//!
//! `cargo test -p ravelin --test stress -- --ignored --nocapture --test-threads 1`

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "figures are for whoever runs it")]

#[path = "process/gateway.rs"]
mod gateway;

use std::{fs, net::SocketAddr, time::Duration};

use gateway::Gateway;
use ravelin_echo::{
    Echo,
    client::{Client, Protocol},
    raw::{Raw, Script},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

const LONG: Duration = Duration::from_secs(120);
/// A thousand frames, from that stream on.
type Flood<'a> = &'a dyn Fn(u32) -> Vec<u8>;

const HEAD: &str = "GET / HTTP/1.1\r\nhost: shop.example\r\n";

/// Everything goes to these endpoints; `retry` is the rule's.
fn folder(endpoints: &[SocketAddr], retry: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    let all: Vec<String> =
        endpoints.iter().map(|at| format!("{{address: {}, port: {}}}", at.ip(), at.port())).collect();
    let text = format!(
        "{{apiVersion: ravelin.dev/v1alpha1, kind: Backend, metadata: {{name: b}}, spec: {{endpoints: [{}]}}}}\n---\n\
         {{apiVersion: ravelin.dev/v1alpha1, kind: ApiRoute, metadata: {{name: all}}, spec: {{rules: [{{\
         backendRefs: [{{name: b, kind: Backend}}]{retry}}}]}}}}\n",
        all.join(", ")
    );
    fs::write(folder.path().join("all.yaml"), text).unwrap();
    folder
}

async fn start(endpoints: &[SocketAddr], flags: &[&str]) -> (TempDir, Gateway) {
    let folder = folder(endpoints, "");
    let flags = [&["--access-log", "off"], flags].concat();
    let gateway = Gateway::standalone(folder.path(), &flags).await;
    (folder, gateway)
}

/// A line of `/metrics`.
async fn metric(gateway: &Gateway, name: &str) -> f64 {
    let text = gateway.page("/metrics").await.text();
    let lines = text.lines().filter(|line| line.starts_with(name));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// MiB.
async fn resident(gateway: &Gateway) -> f64 {
    metric(gateway, "process_resident_memory_bytes").await / f64::from(1 << 20)
}

/// A client like any other: a hundred requests over each protocol.
async fn good_client(gateway: &Gateway) {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let served = async {
            let mut client = Client::connect(gateway.http(), protocol).await.unwrap().with_host("shop.example");
            for _ in 0..100 {
                assert_eq!(client.get("/good").await.unwrap().status, 200);
            }
        };
        timeout(LONG, served).await.expect("good clients are served");
    }
}

async fn until_open(gateway: &Gateway, reached: impl Fn(f64) -> bool) {
    let all = async {
        while !reached(metric(gateway, "ravelin_active_connections").await) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LONG, all).await.unwrap();
}

#[tokio::test]
#[ignore = "a minute, and 10,000 files"]
async fn ten_thousand_idle_connections() {
    let echo = Echo::on_thread("a").unwrap();
    let (_folder, gateway) = start(&[echo.address()], &["--idle-timeout", "1h", "--header-timeout", "1h"]).await;
    good_client(&gateway).await;
    let before = resident(&gateway).await;
    let mut kept = Vec::new();
    for _ in 0..9_000 {
        let mut stream = TcpStream::connect(gateway.http()).await.unwrap();
        stream.write_all(format!("{HEAD}\r\n").as_bytes()).await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        kept.push(stream);
    }
    for _ in 0..1_000 {
        kept.push(TcpStream::connect(gateway.http()).await.unwrap()); // says nothing at all
    }
    until_open(&gateway, |open| open >= 10_000.0).await;
    let with = resident(&gateway).await;
    good_client(&gateway).await;
    let each = (with - before) * 1024.0 / 10_000.0;
    println!("10,000 idle connections: {before:.0} MiB before, {with:.0} MiB with them: {each:.1} KiB each");
    assert!(each < 32.0);
}

#[tokio::test]
#[ignore = "a minute"]
async fn slow_readers_of_endless_answers() {
    let endless = Raw::start(Script::endless_body()).unwrap();
    let (_folder, gateway) = start(&[endless.address()], &[]).await;
    let before = resident(&gateway).await;
    let mut readers = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(gateway.http()).await.unwrap();
        stream.write_all(format!("{HEAD}\r\n").as_bytes()).await.unwrap();
        readers.push(stream);
    }
    for _ in 0..10 {
        for reader in &mut readers {
            assert!(timeout(LONG, reader.read(&mut [0; 1024])).await.unwrap().unwrap() > 0);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let with = resident(&gateway).await;
    let each = (with - before) * 1024.0 / 50.0;
    println!("50 readers of 2 KiB/s of answers without end: {each:.0} KiB each");
    assert!(each < 4096.0);
}

#[tokio::test]
#[ignore = "a minute"]
async fn heads_and_bodies_that_trickle() {
    let echo = Echo::on_thread("a").unwrap();
    let bounds = ["--header-timeout", "2s", "--body-idle-timeout", "2s"];
    let (_folder, gateway) = start(&[echo.address()], &bounds).await;
    good_client(&gateway).await;
    let before = resident(&gateway).await;
    let mut slow = JoinSet::new();
    for number in 0..4_000 {
        let (address, body) = (gateway.http(), number % 2 == 1);
        slow.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let begin = if body { "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nx" } else { HEAD };
            stream.write_all(begin.as_bytes()).await.unwrap();
            let mut rest = Vec::new();
            // A byte now and then keeps no head going, and a body that has stopped ends.
            let trickle = async {
                while !body && stream.write_all(b"x: y\r\n").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    if stream.try_read(&mut [0; 512]).is_ok() {
                        return;
                    }
                }
                drop(stream.read_to_end(&mut rest).await);
            };
            timeout(LONG, trickle).await.expect("it is cut off");
        });
    }
    until_open(&gateway, |open| open >= 2_000.0).await;
    let with = resident(&gateway).await;
    good_client(&gateway).await;
    timeout(LONG, slow.join_all()).await.unwrap();
    until_open(&gateway, |open| open < 10.0).await;
    println!(
        "4,000 slow heads and bodies: {before:.0} MiB before, {with:.0} MiB with them, none left after their time"
    );
    assert!(with < before + 128.0);
}

#[tokio::test]
#[ignore = "a minute"]
async fn floods_of_http2() {
    let echo = Echo::on_thread("a").unwrap();
    let (_folder, gateway) = start(&[echo.address()], &[]).await;
    good_client(&gateway).await;
    let before = resident(&gateway).await;
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    let hello = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(4, 0, 0, &[])[..]].concat();
    // GET / of `a` over http, as static and literal fields (RFC 7541).
    let get = [0x82, 0x86, 0x84, 0x41, 0x01, b'a'];
    let resets = |from: u32| {
        let pair = |at: u32| [frame(1, 5, at, &get), frame(3, 0, at, &[0, 0, 0, 8])].concat();
        (0..1_000).flat_map(|at| pair(from + at * 2)).collect::<Vec<u8>>()
    };
    let pings = |_: u32| (0..1_000).flat_map(|_| frame(6, 0, 0, &[0; 8])).collect::<Vec<u8>>();
    let settings = |_: u32| (0..1_000).flat_map(|_| frame(4, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])).collect::<Vec<u8>>();
    let floods: [(_, Flood<'_>); 3] = [("rapid resets", &resets), ("pings", &pings), ("settings", &settings)];
    for (name, flood) in floods {
        let mut sent = 0;
        for _ in 0..20 {
            let mut stream = TcpStream::connect(gateway.http()).await.unwrap();
            stream.write_all(&hello).await.unwrap();
            // Who floods reads nothing.
            for round in 0..50 {
                let frames = flood(round * 2_000 + 1);
                match timeout(Duration::from_secs(1), stream.write_all(&frames)).await {
                    Ok(Ok(())) => sent += 1_000,
                    Ok(Err(_)) | Err(_) => break, // closed, or not taken any more
                }
            }
        }
        good_client(&gateway).await;
        let with = resident(&gateway).await;
        println!("{name}: {sent} frames taken of 1,000,000, {before:.0} MiB before, {with:.0} MiB after");
        assert!(with < before + 128.0);
    }
}

#[tokio::test]
#[ignore = "a minute"]
async fn a_backend_that_resets_every_tenth_connection() {
    let echo = Echo::on_thread("a").unwrap();
    let resets = Raw::start(Script::resets()).unwrap();
    let mut endpoints = vec![echo.address(); 1];
    endpoints.push(resets.address());
    let folder = folder(&endpoints, ", retry: {attempts: 3, on: [ConnectFailure, Reset]}");
    // One in ten goes to the one that resets.
    let text = fs::read_to_string(folder.path().join("all.yaml")).unwrap();
    let port = format!("port: {}}}", echo.address().port());
    fs::write(
        folder.path().join("all.yaml"),
        text.replace(&port, &format!("{}, weight: 9}}", &port[..port.len() - 1])),
    )
    .unwrap();
    let gateway = Gateway::standalone(folder.path(), &["--access-log", "off"]).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap().with_host("shop.example");
    let (mut good, mut bad) = (0, 0);
    for _ in 0..2_000 {
        match client.get("/").await.unwrap().status.as_u16() {
            200 => good += 1,
            502 => bad += 1,
            other => panic!("{other}"),
        }
    }
    let again = metric(&gateway, "ravelin_backend_retries_total").await;
    println!("a backend that resets every tenth: {good} of 2,000 answered, {bad} refused, {again} sent again");
    assert!(bad == 0 && again > 100.0);
}
