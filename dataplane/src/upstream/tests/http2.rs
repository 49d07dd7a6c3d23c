//! HTTP/2 with prior knowledge towards the backend.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Version};
use http_body_util::BodyExt;
use ravelin_echo::{
    Echo, Options,
    client::{Client, Protocol, body, request, upload},
    raw::{Raw, Script},
};
use ravelin_snapshot::backend::{self, Backend};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use super::{
    Gateway,
    gateway::{Limits, said},
};

const LONG: Duration = Duration::from_secs(20);

fn h2c(address: SocketAddr) -> Backend {
    let mut backend = said([address]);
    backend.protocol = backend::Protocol::H2c;
    backend.connections.pending_timeout_ms = 20_000;
    backend
}

async fn client(gateway: &Gateway) -> Client {
    Client::connect(gateway.addresses[0], Protocol::Http1).await.unwrap().with_host("shop.example")
}

#[tokio::test]
async fn requests_share_a_connection_and_look_as_http2_has_it() {
    let echo = Echo::start(Options { remember: 100, ..Options::from("a") }).unwrap();
    let gateway = Gateway::start(1, h2c(echo.address()));
    let mut clients = JoinSet::new();
    for number in 0..20 {
        let mut client = client(&gateway).await;
        clients.spawn(async move {
            let headers = [("te", "gzip, trailers"), ("keep-alive", "5"), ("connection", "keep-alive")];
            let answer = client.get_with(&format!("/{number}?delay=20ms"), &headers).await.unwrap();
            assert_eq!(answer.status, 200);
        });
    }
    clients.join_all().await;
    let seen = echo.seen();
    assert_eq!((echo.connections_total(), seen.len()), (1, 20));
    for one in seen {
        assert_eq!((one.version, one.host.as_str()), (Version::HTTP_2, "shop.example"));
        assert_eq!(one.headers.get("te"), Some(&HeaderValue::from_static("trailers")));
        assert!(!one.headers.contains_key("connection") && !one.headers.contains_key("keep-alive"));
        assert!(!one.headers.contains_key("host"));
    }
}

#[tokio::test]
async fn answers_of_all_kinds_pass() {
    let echo = Echo::start("a").unwrap();
    let gateway = Gateway::start(1, h2c(echo.address()));
    let mut client = client(&gateway).await;
    for (method, path, expected) in [
        (Method::GET, "/", 200),
        (Method::HEAD, "/?size=1Ki", 200),
        (Method::GET, "/?status=204", 204),
        (Method::GET, "/?size=3Mi", 200),
        (Method::GET, "/?chunks=10", 200),
        (Method::POST, "/?body=back", 200),
        (Method::POST, "/?status=503", 503),
    ] {
        let sent = if method == Method::POST { body(vec![b'x'; 1_000_000]) } else { body("") };
        let answer = client.send(request(method, path, &[], sent)).await.unwrap();
        assert_eq!(answer.status, expected, "{path}");
        match path {
            "/?size=1Ki" => assert_eq!(answer.header("content-length"), Some("1024")),
            "/?size=3Mi" => assert_eq!(answer.body.len(), 3 << 20),
            "/?body=back" => assert_eq!(answer.body, vec![b'x'; 1_000_000]),
            _ => {}
        }
    }
    assert_eq!(echo.connections_total(), 1);
    assert!(client.get("/?fail=body&size=1Mi").await.is_err());
}

#[tokio::test]
async fn pieces_pass_as_they_come_in_both_directions_trailers_too() {
    let echo = Echo::start("a").unwrap();
    for backend in [h2c(echo.address()), said([echo.address()])] {
        let gateway = Gateway::with_limits(1, backend, Limits { http2: true, ..Limits::default() });
        let mut client = Client::connect(gateway.addresses[0], Protocol::Http2).await.unwrap();
        let (pieces, sent) = upload();
        let sent = request(Method::POST, "/?body=back", &[("te", "trailers"), ("trailer", "x-sum")], sent);
        let mut answer = client.open(sent).await.unwrap().into_body();
        for number in 0..5 {
            assert!(pieces.send(format!("piece {number}")).await);
            assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), format!("piece {number}"));
        }
        pieces.finish(HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("5"))])).await;
        let trailers = answer.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(trailers["x-sum"], "5");
    }
}

#[tokio::test]
async fn a_refused_stream_is_sent_again_even_with_a_body_and_one_that_was_processed_never() {
    let raw = Raw::start(Script::http2_refuses_every_other()).unwrap();
    let gateway = Gateway::start(1, h2c(raw.address()));
    let mut asking = client(&gateway).await;
    for _ in 0..5 {
        assert_eq!(asking.post("/", &[], "data").await.unwrap().text(), "ok");
    }
    assert_eq!((raw.requests(), raw.connections_total()), (10, 1));

    let raw = Raw::start(Script::new().read_http2().refuse_http2().for_ever()).unwrap();
    gateway.swap(h2c(raw.address()));
    let answer = asking.post("/", &[], "data").await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("again")), (502, Some("yes")));
    assert_eq!(raw.requests(), 4);

    let raw = Raw::start_each([Script::http2_goes_away_unprocessed(), Script::http2_answers("ok")]).unwrap();
    gateway.swap(h2c(raw.address()));
    assert_eq!(asking.post("/", &[], "data").await.unwrap().text(), "ok");

    let raw = Raw::start_each([Script::http2_goes_away_processed(), Script::http2_answers("next")]).unwrap();
    gateway.swap(h2c(raw.address()));
    assert_eq!(asking.post("/", &[], "data").await.unwrap().text(), "ok");
    assert_eq!(asking.post("/", &[], "data").await.unwrap().text(), "next");

    let raw = Raw::start(Script::http2_closes_unanswered()).unwrap();
    gateway.swap(h2c(raw.address()));
    let answer = asking.post("/", &[], "data").await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("again")), (502, Some("no")));
    assert_eq!(raw.requests(), 1);
}

#[tokio::test]
async fn a_get_survives_a_backend_that_closes_a_used_connection() {
    let raw = Raw::start(Script::new().read_http2().answer_http2("ok").read_http2()).unwrap();
    let gateway = Gateway::start(1, h2c(raw.address()));
    let mut client = client(&gateway).await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.unwrap().text(), "ok");
    }
}

#[tokio::test]
async fn what_is_no_http2_is_a_502_and_what_never_answers_a_504() {
    let gateway =
        Gateway::with_limits(1, said([]), Limits { attempt: Some(Duration::from_secs(3)), ..Limits::default() });
    let mut client = client(&gateway).await;
    for script in [Script::garbage(), Script::closes_at_once(), Script::new().send("HTTP/1.1 400 Bad Request\r\n\r\n")]
    {
        let raw = Raw::start(script).unwrap();
        gateway.swap(h2c(raw.address()));
        let answer = client.get("/").await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.header("reason")), (502, Some("backend_refused")));
    }
    for script in [Script::new().hold(), Script::new().read_http2().hold()] {
        let raw = Raw::start(script).unwrap();
        gateway.swap(h2c(raw.address()));
        let answer = client.get("/").await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.header("reason")), (504, Some("backend_timeout")));
    }
}

/// A server that allows `streams` at once on each connection, and answers when told.
async fn narrow(streams: u32, go: watch::Receiver<bool>) -> (SocketAddr, watch::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (count, connections) = watch::channel(0);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.send_modify(|count| *count += 1);
            let go = go.clone();
            tokio::spawn(async move {
                let mut server = h2::server::Builder::new();
                let mut server = server.max_concurrent_streams(streams).handshake::<_, Bytes>(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = server.accept().await {
                    let mut go = go.clone();
                    tokio::spawn(async move {
                        go.wait_for(|go| *go).await.unwrap();
                        respond.send_response(http::Response::new(()), true).unwrap();
                    });
                }
            });
        }
    });
    (address, connections)
}

#[tokio::test]
async fn more_connections_are_opened_when_all_are_full_and_beyond_the_last_one_waits() {
    let (go, gone) = watch::channel(false);
    let (address, mut connections) = narrow(5, gone).await;
    let mut backend = h2c(address);
    backend.connections.max = 3;
    let gateway = Gateway::start(1, backend);
    let mut clients = JoinSet::new();
    for _ in 0..40 {
        let mut client = client(&gateway).await;
        clients.spawn(async move { client.get("/").await.unwrap().status });
    }
    let endpoint = gateway.backend.load().endpoints().next().unwrap();
    let full = async {
        connections.wait_for(|count| *count == 3).await.unwrap();
        while endpoint.counts().pending() != 25 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LONG, full).await.unwrap();
    go.send_replace(true);
    assert!(clients.join_all().await.iter().all(|status| *status == 200));
    assert_eq!(*connections.borrow(), 3);
}

#[tokio::test]
async fn no_worker_starves_when_there_may_be_one_connection() {
    let echo = Echo::start("a").unwrap();
    let mut backend = h2c(echo.address());
    backend.connections.max = 1;
    let gateway = Gateway::start(2, backend);
    for round in 0..10 {
        let mut client = Client::connect(gateway.addresses[round % 2], Protocol::Http1).await.unwrap();
        assert_eq!(client.get("/").await.unwrap().status, 200);
    }
    assert_eq!(echo.connections_total(), 10);
}

#[tokio::test]
async fn idle_connections_are_closed_in_time_and_those_of_lost_endpoints_too() {
    for gone in [false, true] {
        let echo = Echo::start("a").unwrap();
        let mut backend = h2c(echo.address());
        backend.connections.idle_timeout_ms = if gone { 60_000 } else { 100 };
        let gateway = Gateway::start(1, backend);
        assert_eq!(client(&gateway).await.get("/").await.unwrap().status, 200);
        if gone {
            gateway.swap(h2c("127.0.0.1:1".parse().unwrap()));
        }
        tokio::time::timeout(LONG, echo.wait_until(|counts| counts.connections_open == 0)).await.unwrap();
    }
}

#[tokio::test]
async fn a_client_that_goes_away_resets_its_stream_only() {
    let echo = Echo::start("a").unwrap();
    let gateway = Gateway::start(1, h2c(echo.address()));
    let waiting = tokio::spawn({
        let mut client = client(&gateway).await;
        async move { client.get("/?delay=10m").await }
    });
    echo.wait_until(|counts| counts.requests == 1).await;
    waiting.abort();
    let endpoint = gateway.backend.load().endpoints().next().unwrap();
    let left = async {
        while endpoint.counts().in_flight() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LONG, left).await.unwrap();
    assert_eq!(client(&gateway).await.get("/").await.unwrap().status, 200);
    assert_eq!(echo.connections_total(), 1);
}
