//! A breaker over real connections: it opens, lets nobody through, tries, and closes.

use std::time::{Duration, Instant};

use ravelin_echo::{
    Echo, Options, Port,
    client::{Answer, Client, Protocol},
};
use ravelin_snapshot::backend::{Backend, Breaker};

use super::{
    Gateway,
    gateway::{Limits, said},
};
use crate::upstream::BreakerState;

fn guarded(addresses: impl IntoIterator<Item = std::net::SocketAddr>, open_for_ms: u64) -> Backend {
    let breaker = Breaker {
        window_ms: 10_000,
        min_requests: 1_000,
        failure_percent: None,
        consecutive_failures: Some(3),
        open_for_ms,
        half_open_requests: 1,
        success_threshold: 2,
    };
    Backend { breaker: Some(breaker), ..said(addresses) }
}

async fn get(gateway: &Gateway, path: &str) -> Answer {
    let mut client = Client::connect(gateway.addresses[0], Protocol::Http1).await.unwrap();
    client.get(path).await.unwrap()
}

fn state(gateway: &Gateway) -> BreakerState {
    gateway.backend.load().breaker.as_ref().unwrap().state(Instant::now())
}

#[tokio::test]
async fn after_failures_in_a_row_nobody_is_let_through_and_the_backend_is_left_alone() {
    let echo = Echo::start("a").unwrap();
    let gateway = Gateway::start(2, guarded([echo.address()], 3_600_000));
    for path in ["/?status=503", "/?status=500", "/", "/?status=404", "/?status=500", "/?status=500"] {
        get(&gateway, path).await;
    }
    assert_eq!(state(&gateway), BreakerState::Closed, "a success in between begins anew");
    assert_eq!(get(&gateway, "/?status=502").await.status, 502);
    assert_eq!(state(&gateway), BreakerState::Open);
    for address in &gateway.addresses {
        let mut client = Client::connect(*address, Protocol::Http1).await.unwrap();
        let answer = client.post("/", &[], "data").await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.header("reason")), (503, Some("circuit_open")));
        assert_eq!(answer.header("again"), Some("yes"), "a fallback may have it");
    }
    assert_eq!(echo.requests(), 7);
    gateway.backend.load().breaker.as_ref().unwrap().reset(Instant::now());
    assert_eq!(get(&gateway, "/").await.status, 200);
}

#[tokio::test]
async fn after_its_time_it_tries_and_closes_when_that_goes_well() {
    let port = Port::reserve().unwrap();
    let gateway = Gateway::start(1, guarded([port.address()], 50));
    for _ in 0..3 {
        assert_eq!(get(&gateway, "/").await.header("reason"), Some("backend_refused"));
    }
    let tries = async |expected: &str| {
        loop {
            let answer = get(&gateway, "/").await;
            match answer.header("reason") {
                Some("circuit_open") => tokio::task::yield_now().await,
                other => return assert_eq!(other.unwrap_or("200"), expected),
            }
        }
    };
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, tries("backend_refused")).await.unwrap();
    assert_ne!(state(&gateway), BreakerState::Closed, "one failure opens it again");
    let _echo = Echo::start(Options { listen: port.address(), ..Options::from("late") }).unwrap();
    for expected in [BreakerState::HalfOpen, BreakerState::Closed] {
        tokio::time::timeout(limit, tries("200")).await.unwrap();
        assert_eq!(state(&gateway), expected);
    }
}

#[tokio::test]
async fn it_stays_open_over_a_swap_that_does_not_change_it_and_begins_anew_when_it_is_changed() {
    let echo = Echo::start("a").unwrap();
    let mut next = guarded([echo.address()], 3_600_000);
    let gateway = Gateway::start(1, next.clone());
    for _ in 0..3 {
        get(&gateway, "/?status=500").await;
    }
    next.connections.max = 7;
    gateway.swap(next.clone());
    assert_eq!(state(&gateway), BreakerState::Open);
    next.breaker.as_mut().unwrap().min_requests = 7;
    gateway.swap(next);
    assert_eq!(state(&gateway), BreakerState::Closed);
}

#[tokio::test]
async fn a_client_that_goes_away_speaks_against_nobody() {
    let gate = ravelin_echo::raw::Gate::new();
    let script = ravelin_echo::raw::Script::new().read().wait(&gate).send_answer("ok").for_ever();
    let raw = ravelin_echo::raw::Raw::start(script).unwrap();
    let gateway = Gateway::with_limits(1, guarded([raw.address()], 3_600_000), Limits::default());
    for round in 1..=5 {
        let address = gateway.addresses[0];
        let asked = tokio::spawn(async move {
            let mut client = Client::connect(address, Protocol::Http1).await.unwrap();
            client.get("/").await
        });
        raw.wait_until(|counts| counts.requests == round).await;
        asked.abort();
    }
    gate.open();
    assert_eq!(get(&gateway, "/").await.status, 200);
    assert_eq!(state(&gateway), BreakerState::Closed);
}
