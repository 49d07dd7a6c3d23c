use http::Method;
use ravelin_echo::{
    Echo,
    client::{Client, Protocol, body, request},
};

use super::{Gateway, gateway::said};

async fn client(gateway: &Gateway) -> Client {
    Client::connect(gateway.addresses[0], Protocol::Http1).await.unwrap().with_host("shop.example")
}

#[tokio::test]
async fn requests_one_after_another_share_a_connection_whatever_their_answers_look_like() {
    let echo = Echo::start("a").unwrap();
    let gateway = Gateway::start(1, said([echo.address()]));
    let mut client = client(&gateway).await;
    for (method, path, expected) in [
        (Method::GET, "/", 200),
        (Method::HEAD, "/", 200),
        (Method::GET, "/?status=204", 204),
        (Method::GET, "/?status=304", 304),
        (Method::GET, "/?size=1Mi", 200),
        (Method::GET, "/?chunks=10", 200),
        (Method::POST, "/?body=back", 200),
        (Method::POST, "/?status=503", 503),
    ] {
        let sent = if method == Method::POST { body(vec![b'x'; 300_000]) } else { body("") };
        let answer = client.send(request(method, path, &[], sent)).await.unwrap();
        assert_eq!(answer.status, expected, "{path}");
        match path {
            "/?size=1Mi" => assert_eq!(answer.body.len(), 1 << 20),
            "/?body=back" => assert_eq!(answer.body, vec![b'x'; 300_000]),
            _ => {}
        }
    }
    assert_eq!(echo.requests(), 8);
    assert_eq!(echo.connections_total(), 1);
}

#[tokio::test]
async fn turns_go_round_over_all_workers() {
    let echoes = [Echo::start("a").unwrap(), Echo::start("b").unwrap(), Echo::start("c").unwrap()];
    let mut weighted = said(echoes.iter().map(Echo::address));
    weighted.endpoints[0].weight = 3;
    let gateway = Gateway::start(2, weighted);
    for round in 0..20 {
        let address = gateway.addresses[round % 2];
        let mut client = Client::connect(address, Protocol::Http1).await.unwrap();
        for _ in 0..5 {
            assert_eq!(client.get("/").await.unwrap().status, 200);
        }
    }
    assert_eq!(echoes.each_ref().map(Echo::requests), [60, 20, 20]);
}

#[tokio::test]
async fn a_backend_that_refuses_is_a_502_and_the_request_can_go_elsewhere() {
    let echo = Echo::start("a").unwrap();
    let gateway = Gateway::start(1, said([echo.address()]));
    echo.kill().await;
    let mut client = client(&gateway).await;
    let answer = client.post("/", &[], "data").await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("reason")), (502, Some("backend_refused")));
    assert_eq!(answer.header("again"), Some("yes"));
}

#[tokio::test]
async fn a_backend_without_endpoints_is_a_503() {
    let gateway = Gateway::start(1, said([]));
    let answer = client(&gateway).await.get("/").await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("reason")), (503, Some("no_endpoints")));
}

#[tokio::test]
async fn an_endpoint_that_stays_keeps_its_connections_and_counts_and_one_that_goes_loses_its_idle_ones() {
    let (stays, goes) = (Echo::start("stays").unwrap(), Echo::start("goes").unwrap());
    let gateway = Gateway::start(1, said([stays.address(), goes.address()]));
    let mut client = client(&gateway).await;
    for _ in 0..4 {
        client.get("/").await.unwrap();
    }
    let mut next = said([stays.address()]);
    next.connections.max_pending = 7;
    gateway.swap(next);
    client.get("/").await.unwrap();
    let deadline = std::time::Duration::from_secs(20);
    tokio::time::timeout(deadline, goes.wait_until(|counts| counts.connections_open == 0)).await.unwrap();
    assert_eq!((stays.requests(), stays.connections_total()), (3, 1));
    let endpoint = gateway.backend.load().endpoints().next().unwrap();
    assert_eq!((endpoint.counts().requests(), endpoint.counts().connections()), (3, 1));
}
