//! Requests that are sent again, and those that are not.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::Method;
use ravelin_echo::{
    Echo, Port,
    client::{Answer, Client, Protocol, body, request},
    raw::{Raw, Script},
};
use ravelin_snapshot::{
    backend::{self, RetryBudget},
    route::{self, RetryOn},
};

use super::{
    Gateway,
    gateway::{Limits, said},
};
use crate::upstream::Retry;

const ALL: [RetryOn; 3] = [RetryOn::ConnectFailure, RetryOn::Reset, RetryOn::Timeout];

/// As often as the test needs it.
const GENEROUS: RetryBudget = RetryBudget { percent: 100, min_per_second: 1_000 };

fn retry(attempts: u32, on: &[RetryOn], codes: &[u16]) -> Limits {
    let methods = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"].map(str::to_owned).to_vec();
    let said = route::Retry { attempts, backoff_ms: 1, codes: codes.to_vec(), on: on.to_vec(), methods };
    Limits { retry: Some(Arc::new(Retry::compile(&said).unwrap())), ..Limits::default() }
}

fn generous(addresses: impl IntoIterator<Item = SocketAddr>) -> backend::Backend {
    backend::Backend { retry_budget: GENEROUS, ..said(addresses) }
}

async fn ask(gateway: &Gateway, method: Method, path: &str, sent: &str) -> Answer {
    let mut client = Client::connect(gateway.addresses[0], Protocol::Http1).await.unwrap();
    client.send(request(method, path, &[], body(sent.to_owned()))).await.unwrap()
}

fn busy(after: &str) -> Raw {
    let answer = format!("HTTP/1.1 503 Service Unavailable\r\n{after}Content-Length: 4\r\n\r\nbusy");
    Raw::start(Script::new().read().send(answer).for_ever()).unwrap()
}

#[tokio::test]
async fn who_cannot_be_reached_is_left_for_another_whatever_the_method() {
    let (dead, good) = (Port::reserve().unwrap(), Echo::start("good").unwrap());
    let gateway =
        Gateway::with_limits(1, generous([dead.address(), good.address()]), retry(1, &[RetryOn::ConnectFailure], &[]));
    for method in [Method::GET, Method::POST, Method::PATCH] {
        for _ in 0..4 {
            let answer = ask(&gateway, method.clone(), "/?body=back", "data").await;
            assert_eq!((answer.status.as_u16(), answer.text()), (200, "data".into()), "{method}");
        }
    }
    assert_eq!(good.requests(), 12);
}

#[tokio::test]
async fn only_declared_failures_of_declared_methods_are_tried_again() {
    for (script, on) in [(Script::closes_unanswered(), RetryOn::Reset), (Script::never_answers(), RetryOn::Timeout)] {
        for (on, method, again) in [
            (&[on][..], Method::GET, true),
            (&[on], Method::PUT, true),
            (&[on], Method::POST, false),
            (&[RetryOn::ConnectFailure], Method::GET, false),
        ] {
            let (bad, good) = (Raw::start(script.clone()).unwrap(), Echo::start("good").unwrap());
            let limits = Limits { attempt: Some(Duration::from_millis(200)), ..retry(1, on, &[]) };
            let gateway = Gateway::with_limits(1, generous([bad.address(), good.address()]), limits);
            let answer = ask(&gateway, method.clone(), "/?body=back", "data").await;
            assert_eq!(answer.status == 200, again, "{on:?} {method}: {}", answer.status);
            assert_eq!((bad.requests(), good.requests()), (1, u64::from(again)), "{on:?} {method}");
            if again {
                assert_eq!(answer.text(), "data", "its body goes along");
            }
        }
    }
}

#[tokio::test]
async fn a_body_that_was_not_kept_is_not_sent_twice() {
    for (size, again) in [(60 << 10, true), (70 << 10, false)] {
        // It reads all of it, so that the body is gone, and says nothing.
        let (bad, good) = (Raw::start(Script::closes_unanswered()).unwrap(), Echo::start("good").unwrap());
        let gateway = Gateway::with_limits(1, generous([bad.address(), good.address()]), retry(1, &ALL, &[]));
        let answer = ask(&gateway, Method::PUT, "/?body=back", &"x".repeat(size)).await;
        assert_eq!(answer.status == 200, again, "{size}");
        if again {
            assert_eq!(answer.body.len(), size);
        }
    }
}

#[tokio::test]
async fn a_code_is_tried_once_at_each_endpoint_and_the_last_answer_is_the_clients() {
    let all = [busy(""), busy(""), busy("")];
    let gateway = Gateway::with_limits(1, generous(all.iter().map(Raw::address)), retry(2, &[], &[503]));
    let answer = ask(&gateway, Method::GET, "/", "").await;
    assert_eq!((answer.status.as_u16(), answer.text()), (503, "busy".into()));
    assert_eq!(all.each_ref().map(Raw::requests), [1, 1, 1]);
    let alone = busy("");
    let gateway = Gateway::with_limits(1, generous([alone.address()]), retry(2, &[], &[503]));
    assert_eq!(ask(&gateway, Method::GET, "/", "").await.status, 503);
    assert_eq!((alone.requests(), alone.connections_total()), (3, 1), "there is no other, and its connection is good");
    assert_eq!(ask(&gateway, Method::POST, "/", "data").await.status, 503);
    assert_eq!(alone.requests(), 4, "what was written of a POST is not written again");
}

#[tokio::test]
async fn an_answer_that_has_begun_is_never_asked_for_again() {
    for script in [Script::closes_in_head(), Script::closes_after_head(), Script::closes_in_body(), Script::garbage()] {
        let (bad, good) = (Raw::start(script).unwrap(), Echo::start("good").unwrap());
        let gateway = Gateway::with_limits(1, generous([bad.address(), good.address()]), retry(3, &ALL, &[502]));
        let mut client = Client::connect(gateway.addresses[0], Protocol::Http1).await.unwrap();
        drop(client.get("/").await); // a 502 or a broken body
        assert_eq!((bad.requests(), good.requests()), (1, 0));
    }
}

#[tokio::test]
async fn a_backend_that_asks_for_more_time_than_there_is_has_the_last_word() {
    for (after, limit) in [("Retry-After: 3600\r\n", None), ("Retry-After: 5\r\n", Some(Duration::from_secs(4)))] {
        let alone = busy(after);
        let limits = Limits { request: limit, ..retry(3, &[], &[503]) };
        let gateway = Gateway::with_limits(1, generous([alone.address()]), limits);
        assert_eq!(ask(&gateway, Method::GET, "/", "").await.status, 503);
        assert_eq!(alone.requests(), 1);
    }
}

#[tokio::test]
async fn when_all_fails_no_more_is_sent_than_the_budget_says() {
    let alone = busy("");
    let backend =
        backend::Backend { retry_budget: RetryBudget { percent: 20, min_per_second: 0 }, ..said([alone.address()]) };
    let gateway = Gateway::with_limits(1, backend, retry(3, &ALL, &[503]));
    let mut client = Client::connect(gateway.addresses[0], Protocol::Http1).await.unwrap();
    for _ in 0..500 {
        assert_eq!(client.get("/").await.unwrap().status, 503);
    }
    let retries = &gateway.backend.load().retries;
    assert_eq!(alone.requests(), 500 + retries.sent());
    // A percentage of the window, which may have moved on meanwhile.
    assert!((50..=100).contains(&retries.sent()), "{}", retries.sent());
    assert!(retries.refused() >= 400);
}

#[tokio::test]
async fn a_budget_lives_on_while_it_is_unchanged() {
    let alone = busy("");
    let gateway = Gateway::with_limits(1, generous([alone.address()]), retry(1, &[], &[503]));
    ask(&gateway, Method::GET, "/", "").await;
    let mut next = generous([alone.address()]);
    next.connections.max = 5;
    gateway.swap(next.clone());
    assert_eq!(gateway.backend.load().retries.sent(), 1);
    next.retry_budget.percent = 99;
    gateway.swap(next);
    assert_eq!(gateway.backend.load().retries.sent(), 0);
}

#[tokio::test]
async fn over_http2_too() {
    let (dead, good) = (Port::reserve().unwrap(), Echo::start("good").unwrap());
    let mut backend = generous([dead.address(), good.address()]);
    backend.protocol = backend::Protocol::H2c;
    let gateway = Gateway::with_limits(1, backend, retry(1, &ALL, &[503]));
    for _ in 0..4 {
        let mut client = Client::connect(gateway.addresses[0], Protocol::Http1).await.unwrap().with_host("a.example");
        let sent = request(Method::PUT, "/?body=back", &[], body("data"));
        assert_eq!(client.send(sent).await.unwrap().text(), "data");
    }
    let mut client = Client::connect(gateway.addresses[0], Protocol::Http1).await.unwrap().with_host("a.example");
    let sent = request(Method::PUT, "/?status=503", &[], body("data"));
    assert_eq!(client.send(sent).await.unwrap().status, 503);
}
