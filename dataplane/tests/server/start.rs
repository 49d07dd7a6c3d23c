//! How a data plane begins, and what it serves when nobody tells it anything.

use std::net::TcpListener;

use ravelin_dataplane::{
    Settings, StartError,
    server::{NotReady, Origin, Source},
    start,
};
use ravelin_echo::client::{Client, End, Protocol, Wire, exchange, get};
use ravelin_snapshot::{HostPattern, ObjectKey, Part, Secret, Snapshot, certificate::Certificate, channel::memory};

use crate::gateway::{Gateway, add_route, add_secure_route, all_to, echo, say};

#[tokio::test]
async fn nobody_is_sent_here_before_the_first_whole_snapshot() {
    let (publisher, subscriber) = memory();
    let running = start(Settings::default(), Source::Memory(subscriber), Vec::new()).await.unwrap();
    assert_eq!(running.ready(), Err(NotReady::NoSnapshot));
    let page = get(running.addresses.admin.unwrap(), "localhost", "/readyz").await.unwrap();
    assert_eq!(page.status, 503);
    publisher.publish(Snapshot::default());
    running.served().await;
    assert_eq!(running.ready(), Ok(()));
    assert_eq!(running.shared.progress().origin, Some(Origin::Controller));
}

#[tokio::test]
async fn before_the_first_whole_snapshot_every_request_is_told_to_come_again_and_none_that_nothing_is_there() {
    let (publisher, subscriber) = memory();
    let running = start(Settings::default(), Source::Memory(subscriber), Vec::new()).await.unwrap();
    let address = running.addresses.http.unwrap();
    let mut clients = Vec::new();
    for protocol in [Protocol::Http1, Protocol::Http2] {
        clients.push(Client::connect(address, protocol).await.unwrap());
    }
    for client in &mut clients {
        let early = client.get("/x").await.unwrap();
        assert_eq!((early.status.as_u16(), early.header("retry-after")), (503, Some("1")));
        assert_eq!(early.json()["reason"], "not_ready");
        let early = client.post("/shop.Orders/List", &[("content-type", "application/grpc")], "").await.unwrap();
        assert_eq!((early.status.as_u16(), early.header("grpc-status")), (200, Some("14")));
    }
    let server = "OPTIONS * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    assert_eq!(exchange(address, server).await.unwrap().statuses(), [503]);
    publisher.publish(Snapshot::default());
    running.served().await;
    for client in &mut clients {
        assert_eq!(client.get("/x").await.unwrap().json()["reason"], "no_route", "now it is known");
    }
}

#[tokio::test]
async fn the_last_snapshot_is_served_without_a_controller() {
    let echo = echo();
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { state: Some(folder.path().to_owned()), ..Settings::default() };
    let gateway = Gateway::with(settings.clone(), all_to(&echo)).await;
    let kept = async {
        // It is kept after it is acknowledged.
        while !folder.path().join("snapshot").exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(ravelin_echo::client::DEADLINE, kept).await.unwrap();
    let revision = gateway.running.shared.table().revision;
    gateway.running.drain().await;
    let nobody = Source::Unix(folder.path().join("no-controller.sock"));
    let running = start(settings.clone(), nobody, Vec::new()).await.unwrap();
    running.served().await;
    assert_eq!((running.ready(), running.shared.progress().origin), (Ok(()), Some(Origin::Disk)));
    assert_eq!(running.shared.table().revision, revision);
    assert_eq!(get(running.addresses.http.unwrap(), "a", "/").await.unwrap().status, 200);
    drop(running);
    std::fs::write(folder.path().join("snapshot"), "damaged").unwrap();
    let nobody = Source::Unix(folder.path().join("no-controller.sock"));
    let running = start(settings, nobody, Vec::new()).await.unwrap();
    assert_eq!(running.ready(), Err(NotReady::NoSnapshot));
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_served_is_refused_by_its_part_and_the_last_one_goes_on() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    let mut bad = Snapshot::default();
    add_route(&mut bad, "new", HostPattern::Any, say("new"));
    add_secure_route(&mut bad, "secure", "a.example", say("secure"));
    let key = ObjectKey::new("shop", "secure-tls");
    let certificate = Certificate { chain: "no PEM".into(), key: Secret::new("no key"), not_after: 0, ocsp: None };
    bad.certificates.insert(key, Part::new(certificate));
    gateway.publisher.publish(bad);
    let mut delivery = gateway.publisher.delivery();
    let refused = delivery.wait_for(|delivery| delivery.refused.is_some()).await.unwrap().refused.clone();
    assert_eq!(refused.unwrap().1.part, "certificate shop/secure-tls");
    assert_eq!(gateway.running.ready(), Ok(()), "what is refused everywhere is no reason to go away");
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    assert!(client.get("/").await.unwrap().json()["path"] == "/", "the old route");
}

#[tokio::test]
async fn a_start_that_cannot_listen_fails_and_names_the_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    for workers in [1, 2] {
        let settings =
            Settings { http: Some(taken.local_addr().unwrap()), workers: Some(workers), ..Settings::default() };
        let (_publisher, subscriber) = memory();
        let failed = start(settings, Source::Memory(subscriber), Vec::new()).await.err().unwrap();
        assert!(matches!(failed, StartError::Listen { flag: "--http", .. }), "{failed}");
    }
    let settings = Settings { admin: Some("0.0.0.0:0".parse().unwrap()), ..Settings::default() };
    let (_publisher, subscriber) = memory();
    let failed = start(settings, Source::Memory(subscriber), Vec::new()).await.err().unwrap();
    assert!(matches!(failed, StartError::AdminNotLoopback(_)), "{failed}");
}

#[tokio::test]
async fn every_worker_serves_what_was_acknowledged() {
    let settings = Settings { workers: Some(4), ..Settings::default() };
    let gateway = Gateway::with(settings, Snapshot::default()).await;
    let mut clients = Vec::new();
    for _ in 0..32 {
        clients.push(Client::connect(gateway.http(), Protocol::Http1).await.unwrap());
    }
    for round in 0..20 {
        let mut snapshot = Snapshot::default();
        add_route(&mut snapshot, "all", HostPattern::Any, say(&round.to_string()));
        gateway.publish(snapshot).await;
        for client in &mut clients {
            assert_eq!(client.get("/").await.unwrap().text(), round.to_string());
        }
    }
}

#[tokio::test]
async fn who_may_speak_for_clients_must_and_nobody_else_can() {
    let echo = echo();
    let settings = Settings { proxy_protocol: vec!["127.0.0.0/8".parse().unwrap()], ..Settings::default() };
    let gateway = Gateway::with(settings, all_to(&echo)).await;
    let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let header = "PROXY TCP4 203.0.113.9 192.0.2.1 40000 80\r\n";
    let named = exchange(gateway.http(), format!("{header}{request}")).await.unwrap();
    assert_eq!(named.statuses(), [200]);
    assert_eq!(echo.seen().pop().unwrap().headers["x-forwarded-for"], "203.0.113.9");
    let mut wire = Wire::connect(gateway.http()).await.unwrap();
    for byte in format!("{header}{request}").bytes() {
        wire.send([byte]).await.unwrap();
    }
    assert_eq!(wire.rest().await.statuses(), [200], "byte by byte");
    let silent = exchange(gateway.http(), request).await.unwrap();
    assert!(silent.bytes.is_empty() && silent.end != End::Silent, "no header, no service");
    let gateway = Gateway::start(all_to(&echo)).await;
    let stranger = exchange(gateway.http(), format!("{header}{request}")).await.unwrap();
    assert_eq!(stranger.statuses(), [400]);
}

#[tokio::test]
async fn long_lived_connections_are_spread_evenly_over_the_workers() {
    let echo = echo();
    let settings = Settings { workers: Some(2), ..Settings::default() };
    let gateway = Gateway::with(settings, all_to(&echo)).await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        // One after the other: each is served before the next comes.
        let mut client = Client::connect(gateway.http(), Protocol::Http2).await.unwrap();
        assert_eq!(client.get("/").await.unwrap().status, 200);
        clients.push(client);
    }
    assert_eq!(gateway.running.shared.connections_by_worker(), [4, 4], "wherever the kernel put them");
    for client in &mut clients {
        assert_eq!(client.get("/again").await.unwrap().status, 200);
    }
}
