//! Times that clients say, which may only shorten the rule's.

use ravelin_echo::client::{Client, Protocol};
use ravelin_snapshot::{
    HostPattern, ObjectKey, Part, Snapshot,
    route::{Route, Timeouts},
};

use crate::gateway::{Gateway, add_backend, echo, forward, route};

fn timed(echo: &ravelin_echo::Echo, request_ms: Option<u64>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let backend = add_backend(&mut snapshot, "echo", echo.address());
    let mut all: Route = route(HostPattern::Any, forward(backend));
    all.rules[0].timeouts =
        Timeouts { request_ms, deadline_header: Some("x-deadline-ms".into()), ..Timeouts::default() }.into();
    snapshot.routes.insert(ObjectKey::new("shop", "all"), Part::new(all));
    snapshot
}

#[tokio::test]
async fn a_client_shortens_the_time_and_never_lengthens_it() {
    let echo = echo();
    let gateway = Gateway::start(timed(&echo, None)).await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut client = Client::connect(gateway.http(), protocol).await.unwrap();
        for (said, status) in [("60000", 200), ("99999999999999999999", 200), ("x", 400), ("-1", 400), ("1, 2", 400)] {
            let answer = client.get_with("/", &[("x-deadline-ms", said)]).await.unwrap();
            assert_eq!(answer.status.as_u16(), status, "{said}");
        }
        let answer = client.get_with("/?delay=60s", &[("x-deadline-ms", "50")]).await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.json()["reason"]), (504, &"request_timeout".into()));
    }
    gateway.publish(timed(&echo, Some(50))).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    let answer = client.get_with("/?delay=60s", &[("x-deadline-ms", "60000")]).await.unwrap();
    assert_eq!(answer.status.as_u16(), 504);
}

#[tokio::test]
async fn a_request_past_its_deadline_never_leaves() {
    let echo = echo();
    let gateway = Gateway::start(timed(&echo, None)).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http2).await.unwrap();
    assert_eq!(client.get("/").await.unwrap().status, 200, "a connection is open, and idle");
    let late = client.get_with("/", &[("x-deadline-ms", "0")]).await.unwrap();
    assert_eq!((late.status.as_u16(), &late.json()["reason"]), (504, &"request_timeout".into()));
    let grpc = [("content-type", "application/grpc"), ("grpc-timeout", "1n")];
    let late = client.post("/a.B/C", &grpc, "").await.unwrap();
    assert_eq!((late.status.as_u16(), late.header("grpc-status")), (200, Some("4")), "DEADLINE_EXCEEDED");
    let plain = client.post("/a.B/C", &[("grpc-timeout", "1n")], "").await.unwrap();
    assert_eq!(plain.status, 200, "it is a header of gRPC");
    assert_eq!(echo.requests(), 2);
}
