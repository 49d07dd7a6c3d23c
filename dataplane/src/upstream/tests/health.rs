//! Endpoints that are ill get no requests, and get them again when they are well.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Response};
use ravelin_echo::{
    Echo, Options, Port,
    client::{Client, Protocol},
    raw::{Raw, Script},
};
use ravelin_snapshot::backend::{self, ActiveCheck, Address, Backend, Health, Passive, Probe};
use tokio::{net::TcpListener, runtime::Handle};

use super::{
    Gateway,
    gateway::{Limits, said},
};

const LONG: Duration = Duration::from_secs(20);

fn passive(addresses: impl IntoIterator<Item = SocketAddr>, eject_for_ms: u64) -> Backend {
    let passive = Passive { consecutive_errors: 2, eject_for_ms, max_ejected_percent: 50 };
    Backend { health: Some(Health { active: None, passive: Some(passive), panic_percent: 0 }), ..said(addresses) }
}

fn active(addresses: impl IntoIterator<Item = SocketAddr>, probe: Probe, panic_percent: u8) -> Gateway {
    let check = ActiveCheck { interval_ms: 10, timeout_ms: 5_000, unhealthy_threshold: 2, healthy_threshold: 2, probe };
    let health = Health { active: Some(check), passive: None, panic_percent };
    let limits = Limits { checks: Some(Handle::current()), ..Limits::default() };
    Gateway::with_limits(1, Backend { health: Some(health), ..said(addresses) }, limits)
}

fn http(path: &str) -> Probe {
    Probe::Http { path: path.to_owned(), statuses: vec![200], body_contains: None }
}

async fn ask(gateway: &Gateway, count: usize) -> Vec<u16> {
    let mut client = Client::connect(gateway.addresses[0], Protocol::Http1).await.unwrap();
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(client.get("/").await.unwrap().status.as_u16());
    }
    statuses
}

/// Whether each endpoint is well, in order.
fn standing(gateway: &Gateway) -> Vec<bool> {
    let backend = gateway.backend.load();
    backend.endpoints().map(|endpoint| backend.standing(&endpoint).unwrap().is_well()).collect()
}

async fn until(gateway: &Gateway, expected: &[bool]) {
    let reached = async {
        while standing(gateway) != expected {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = tokio::time::timeout(LONG, reached).await;
    assert!(waited.is_ok(), "{:?}", standing(gateway));
}

#[tokio::test]
async fn an_endpoint_that_fails_is_left_out_and_tried_again_after_its_time() {
    let (port, good) = (Port::reserve().unwrap(), Echo::start("good").unwrap());
    let gateway = Gateway::start(1, passive([port.address(), good.address()], 3_600_000));
    let failed = ask(&gateway, 20).await.iter().filter(|status| **status != 200).count();
    assert_eq!((failed, standing(&gateway)), (2, vec![false, true]));
    gateway.swap(passive([port.address(), good.address()], 50));
    assert_eq!(standing(&gateway), [true, true], "another configuration begins anew");
    ask(&gateway, 4).await;
    let back = Echo::start(Options { listen: port.address(), ..Options::from("back") }).unwrap();
    let served = async {
        while back.requests() == 0 {
            ask(&gateway, 1).await;
        }
    };
    tokio::time::timeout(LONG, served).await.unwrap();
    assert_eq!(standing(&gateway), [true, true]);
}

#[tokio::test]
async fn a_5xx_in_a_row_counts_and_what_is_known_lives_on_over_a_swap() {
    let busy = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    let bad = Raw::start(Script::new().read().send(busy).for_ever()).unwrap();
    let good = Echo::start("good").unwrap();
    let mut next = passive([bad.address(), good.address()], 3_600_000);
    let gateway = Gateway::start(1, next.clone());
    ask(&gateway, 10).await;
    next.connections.max = 7;
    gateway.swap(next);
    ask(&gateway, 10).await;
    assert_eq!((bad.requests(), standing(&gateway)), (2, vec![false, true]));
}

#[tokio::test]
async fn no_more_are_ejected_than_may_be() {
    let ports = [Port::reserve().unwrap(), Port::reserve().unwrap()];
    let gateway = Gateway::start(1, passive(ports.iter().map(Port::address), 3_600_000));
    ask(&gateway, 20).await;
    assert_eq!(standing(&gateway).iter().filter(|well| **well).count(), 1);
}

#[tokio::test]
async fn an_endpoint_that_does_not_pass_its_checks_gets_nothing_until_it_does() {
    for probe in [http("/healthz"), Probe::Tcp] {
        let (port, good) = (Port::reserve().unwrap(), Echo::start("good").unwrap());
        let gateway = active([port.address(), good.address()], probe, 0);
        until(&gateway, &[false, true]).await;
        assert_eq!(ask(&gateway, 10).await, [200; 10]);
        let back = Echo::start(Options { listen: port.address(), ..Options::from("back") }).unwrap();
        until(&gateway, &[true, true]).await;
        assert_eq!(ask(&gateway, 10).await, [200; 10]);
        assert_eq!(back.requests(), 5);
    }
}

#[tokio::test]
async fn a_check_looks_at_status_and_body() {
    let echo = Echo::start("the-name").unwrap();
    let holds = |text: &str| Probe::Http {
        path: "/".to_owned(),
        statuses: vec![200, 204],
        body_contains: Some(text.to_owned()),
    };
    for (probe, well) in [
        (http("/?status=204"), false),
        (holds("the-name"), true),
        (holds("another"), false),
        (http("/?status=500"), false),
    ] {
        let gateway = active([echo.address()], probe.clone(), 0);
        if well {
            let asked = echo.requests();
            tokio::time::timeout(LONG, echo.wait_until(|counts| counts.requests >= asked + 5)).await.unwrap();
        }
        until(&gateway, &[well]).await;
        let expected = if well { 200 } else { 503 };
        assert_eq!(ask(&gateway, 1).await, [expected], "{probe:?}");
    }
}

#[tokio::test]
async fn when_too_few_are_well_all_are_used() {
    let (port, good) = (Port::reserve().unwrap(), Echo::start("good").unwrap());
    let gateway = active([port.address(), good.address()], http("/healthz"), 60);
    until(&gateway, &[false, true]).await;
    let statuses = ask(&gateway, 10).await;
    assert_eq!(statuses.iter().filter(|status| **status == 502).count(), 5, "half of two is below 60 percent");
}

/// Answers every call over HTTP/2 with this health, as grpc.health.v1 has it.
async fn grpc_health(serving: u8) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                    let mut body = request.into_body();
                    let sent = body.data().await.unwrap().unwrap();
                    assert_eq!(sent[..], *b"\0\0\0\0\x06\x0a\x04shop");
                    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
                    let mut answer = respond.send_response(head, false).unwrap();
                    answer.send_data(Bytes::from(vec![0, 0, 0, 0, 2, 8, serving]), false).unwrap();
                    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
                    answer.send_trailers(trailers).unwrap();
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_grpc_server_says_itself_how_it_is() {
    let (serving, not_serving) = (grpc_health(1).await, grpc_health(2).await);
    let check = ActiveCheck {
        interval_ms: 10,
        timeout_ms: 5_000,
        unhealthy_threshold: 2,
        healthy_threshold: 2,
        probe: Probe::Grpc { service: "shop".to_owned() },
    };
    let health = Health { active: Some(check), passive: None, panic_percent: 0 };
    let mut backend = said([serving, not_serving]);
    (backend.protocol, backend.health) = (backend::Protocol::H2c, Some(health));
    let limits = Limits { checks: Some(Handle::current()), ..Limits::default() };
    let gateway = Gateway::with_limits(1, backend, limits);
    until(&gateway, &[true, false]).await;
}

#[tokio::test]
async fn an_endpoint_that_was_left_out_begins_with_a_small_share() {
    let (port, good) = (Port::reserve().unwrap(), Echo::start("good").unwrap());
    let mut backend = passive([port.address(), good.address()], 50);
    backend.balancing.slow_start_ms = Some(3_600_000);
    let gateway = Gateway::start(1, backend);
    ask(&gateway, 4).await;
    let back = Echo::start(Options { listen: port.address(), ..Options::from("back") }).unwrap();
    let served = async {
        while back.requests() == 0 {
            ask(&gateway, 1).await;
        }
    };
    tokio::time::timeout(LONG, served).await.unwrap();
    let before = back.requests();
    assert_eq!(ask(&gateway, 1_000).await, [200; 1_000]);
    let got = back.requests() - before;
    // A tenth of a share where the other has a whole one.
    assert!((40..150).contains(&got), "{got} of 1000");
}

#[tokio::test]
async fn a_check_calls_an_endpoint_by_its_name_if_it_has_one() {
    let echo = Echo::start(Options { remember: 10, ..Options::from("a") }).unwrap();
    let port = echo.address().port();
    let named = Address::Dns { name: "localhost".to_owned(), port };
    for (address, expected) in
        [(named, format!("localhost:{port}")), (Address::Ip(echo.address()), echo.address().to_string())]
    {
        let check = ActiveCheck {
            interval_ms: 10,
            timeout_ms: 5_000,
            unhealthy_threshold: 2,
            healthy_threshold: 2,
            probe: http("/checked"),
        };
        let mut backend = said([echo.address()]);
        backend.endpoints[0].address = address;
        backend.health = Some(Health { active: Some(check), passive: None, panic_percent: 0 });
        let limits = Limits { checks: Some(Handle::current()), ..Limits::default() };
        let gateway = Gateway::with_limits(1, backend, limits);
        let seen = async {
            while echo.seen().last().is_none_or(|seen| seen.host != expected) {
                ask(&gateway, 1).await; // who has no endpoint yet is asked for one
            }
        };
        assert!(tokio::time::timeout(LONG, seen).await.is_ok(), "{expected}: {:?}", echo.seen().last());
    }
}
