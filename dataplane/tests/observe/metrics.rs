//! Known traffic, exact counts.

use ravelin_dataplane::Settings;
use ravelin_echo::{
    client::{Client, Protocol, exchange, get},
    raw::{Raw, Script},
};
use ravelin_snapshot::{HostPattern, ObjectKey, Snapshot};

use crate::{
    gateway::{Gateway, add_backend, add_route, echo, forward, say},
    scrape::Scrape,
};

fn requests(route: &str, method: &str, code: u16, reason: &str) -> String {
    format!("ravelin_requests_total{{route=\"{route}\",method=\"{method}\",code=\"{code}\",reason=\"{reason}\"}}")
}

#[tokio::test]
async fn known_traffic_over_two_workers_is_counted_exactly() {
    let echo = echo();
    let broken = Raw::start(Script::closes_in_body()).unwrap();
    let mut snapshot = Snapshot::default();
    let backend = add_backend(&mut snapshot, "echo", echo.address());
    add_route(&mut snapshot, "orders", HostPattern::parse("orders.example"), forward(backend));
    let backend = add_backend(&mut snapshot, "broken", broken.address());
    add_route(&mut snapshot, "broken", HostPattern::parse("broken.example"), forward(backend));
    add_route(&mut snapshot, "hello", HostPattern::parse("hello.example"), say("hello"));
    let settings = Settings { workers: Some(2), ..Settings::default() };
    let gateway = Gateway::with(settings, snapshot).await;

    for _ in 0..40 {
        assert_eq!(get(gateway.http(), "orders.example", "/").await.unwrap().status, 200);
    }
    for _ in 0..7 {
        assert_eq!(get(gateway.http(), "orders.example", "/?status=503").await.unwrap().status, 503);
    }
    let mut http2 = Client::connect(gateway.http(), Protocol::Http2).await.unwrap().with_host("hello.example");
    for _ in 0..5 {
        assert_eq!(http2.get("/").await.unwrap().status, 200);
    }
    for _ in 0..3 {
        assert_eq!(get(gateway.http(), "unknown.example", "/").await.unwrap().status, 404);
    }
    let strange = "BREW /pot HTTP/1.1\r\nhost: hello.example\r\nconnection: close\r\n\r\n";
    assert_eq!(exchange(gateway.http(), strange).await.unwrap().statuses(), [200]);
    let climbing = "GET /../.. HTTP/1.1\r\nhost: hello.example\r\nconnection: close\r\n\r\n";
    assert_eq!(exchange(gateway.http(), climbing).await.unwrap().statuses(), [400]);
    assert!(get(gateway.http(), "broken.example", "/").await.is_err(), "its body breaks off");

    // A connection that its client has closed is counted until it is seen to be.
    let open = "ravelin_active_connections{listener=\"http\"}";
    let scrape = Scrape::when(&gateway, |scrape| scrape.value(open) == 1.0).await; // the one over HTTP/2
    let expected = [
        (requests("shop/orders", "GET", 200, ""), 40.0),
        (requests("shop/orders", "GET", 503, ""), 7.0),
        (requests("shop/hello", "GET", 200, ""), 5.0),
        (requests("shop/hello", "other", 200, ""), 1.0),
        (requests("", "GET", 404, "no_route"), 3.0),
        (requests("", "GET", 400, "bad_request"), 1.0),
        (requests("shop/broken", "GET", 200, "backend_refused"), 1.0),
    ];
    for (row, count) in &expected {
        assert_eq!(scrape.value(row), *count, "{row}");
    }
    assert_eq!(scrape.rows("ravelin_requests_total").len(), expected.len(), "and nothing else");
    let durations = |route: &str| scrape.value(&format!("ravelin_request_duration_seconds_count{{route=\"{route}\"}}"));
    assert_eq!(["shop/orders", "shop/hello", "shop/broken", ""].map(durations), [47.0, 6.0, 1.0, 4.0]);
    let calls = |name: &str| {
        scrape.value(&format!("ravelin_backend_duration_seconds_count{{backend=\"Backend/shop/{name}\"}}"))
    };
    assert_eq!(["echo", "broken"].map(calls), [47.0, 1.0]);
    let errors =
        [("{reason=\"backend_refused\"}", 1.0), ("{reason=\"bad_request\"}", 1.0), ("{reason=\"no_route\"}", 3.0)];
    let mut counted = scrape.rows("ravelin_errors_total");
    counted.sort_by_key(|(labels, _)| *labels);
    assert_eq!(counted, errors);
    assert_eq!(scrape.value("ravelin_ready"), 1.0);
    assert!(scrape.value("process_resident_memory_bytes") > 0.0);
}

#[tokio::test]
async fn heads_that_the_parser_refuses_are_counted_with_their_reason() {
    let mut snapshot = Snapshot::default();
    add_route(&mut snapshot, "hello", HostPattern::Any, say("hello"));
    let gateway = Gateway::start(snapshot).await;
    let large = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(1 << 20));
    let behind = "GET / HTTP/1.1\r\nhost: hello.example\r\n\r\ngarbage\r\n\r\n";
    for (malformed, statuses) in [("garbage\r\n\r\n", vec![400]), (&large, vec![431]), (behind, vec![200, 400])] {
        assert_eq!(exchange(gateway.http(), malformed).await.unwrap().statuses(), statuses, "{malformed:.40}");
    }
    let bad = requests("", "other", 400, "bad_request");
    let scrape = Scrape::when(&gateway, |scrape| scrape.value(&bad) == 2.0).await;
    assert_eq!(scrape.value(&requests("", "other", 431, "headers_too_large")), 1.0);
    assert_eq!(scrape.value(&requests("shop/hello", "GET", 200, "")), 1.0);
    assert_eq!(scrape.rows("ravelin_requests_total").len(), 3, "and nothing else");
    assert_eq!(scrape.value("ravelin_errors_total{reason=\"bad_request\"}"), 2.0);
}

#[tokio::test]
async fn counts_of_a_route_go_on_across_swaps_and_those_of_a_gone_one_are_other() {
    let mut snapshot = Snapshot::default();
    add_route(&mut snapshot, "stays", HostPattern::parse("stays.example"), say("1"));
    add_route(&mut snapshot, "goes", HostPattern::parse("goes.example"), say("1"));
    let gateway = Gateway::start(snapshot.clone()).await;
    for host in ["stays.example", "goes.example", "goes.example"] {
        get(gateway.http(), host, "/").await.unwrap();
    }
    for body in ["2", "3"] {
        add_route(&mut snapshot, "stays", HostPattern::parse("stays.example"), say(body));
        gateway.publish(snapshot.clone()).await;
        assert_eq!(get(gateway.http(), "stays.example", "/").await.unwrap().body, body);
    }
    snapshot.routes.remove(&ObjectKey::new("shop", "goes"));
    gateway.publish(snapshot).await;
    get(gateway.http(), "stays.example", "/").await.unwrap();
    // The route is gone when the last who holds the old table has let go of it.
    let other = requests("other", "GET", 200, "");
    let scrape = Scrape::when(&gateway, |scrape| scrape.value(&other) == 2.0).await;
    assert_eq!(scrape.value(&requests("shop/stays", "GET", 200, "")), 4.0);
    assert_eq!(scrape.value(&requests("shop/goes", "GET", 200, "")), 0.0);
    assert_eq!(scrape.value("ravelin_snapshot_revision"), gateway.running.shared.table().revision.0 as f64);
}
