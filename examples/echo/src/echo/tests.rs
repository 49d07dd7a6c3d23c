use std::{net::SocketAddr, time::Duration};

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};

use crate::{
    Counts, Echo, Options,
    client::{Client, ClientError, DEADLINE, End, Protocol, Wire, body, exchange, get, request, upload},
    websocket::{Frame, Opcode},
};

const BOTH: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

async fn until(echo: &Echo, reached: impl FnMut(&Counts) -> bool) -> Counts {
    timeout(DEADLINE, echo.wait_until(reached)).await.expect("the backend never counts that far")
}

#[tokio::test]
async fn an_answer_says_what_was_seen() {
    let echo = Echo::start("orders").unwrap();
    for (protocol, version) in BOTH.into_iter().zip(["HTTP/1.1", "HTTP/2.0"]) {
        let mut client = Client::connect(echo.address(), protocol).await.unwrap().with_host("shop.example");
        let headers = [("X-Twice", "one"), ("x-twice", "two")];
        let answer = client.post("/a%2Fb/./c?x=1&y", &headers, "caf\u{e9}").await.unwrap();
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("x-echo-server"), Some("orders"));
        let seen = answer.json();
        for (field, value) in [
            ("server", json!("orders")),
            ("method", json!("POST")),
            ("path", json!("/a%2Fb/./c")),
            ("query", json!("x=1&y")),
            ("host", json!("shop.example")),
            ("version", json!(version)),
            ("body", json!("caf\u{e9}")),
            ("bodyBytes", json!(5)),
        ] {
            assert_eq!(seen[field], value, "{field} in {seen}");
        }
        assert_eq!(seen["headers"]["x-twice"], json!(["one", "two"]));
        assert_eq!(client.get("/").await.unwrap().json()["query"], Value::Null);
    }
    let counts = until(&echo, |counts| counts.connections_open == 0).await;
    assert_eq!(counts, Counts { requests: 4, connections_open: 0, connections_total: 2 });
}

#[tokio::test]
async fn a_body_is_told_up_to_its_bound_and_counted_whole() {
    let echo = Echo::start("orders").unwrap();
    for protocol in BOTH {
        let mut client = Client::connect(echo.address(), protocol).await.unwrap();
        let seen = client.post("/", &[], vec![b'x'; 300_000]).await.unwrap().json();
        assert_eq!((seen["bodyBytes"].as_u64(), seen["body"].as_str().map(str::len)), (Some(300_000), Some(65_536)));
    }
}

#[tokio::test]
async fn connections_are_numbered_in_the_answers() {
    let echo = Echo::start("orders").unwrap();
    let mut first = Client::connect(echo.address(), Protocol::Http1).await.unwrap();
    assert_eq!(first.get("/").await.unwrap().json()["connection"], 1);
    assert_eq!(get(echo.address(), "shop.example", "/").await.unwrap().json()["connection"], 2);
    assert_eq!(first.get("/").await.unwrap().json()["connection"], 1);
    drop(first);
    assert_eq!(until(&echo, |counts| counts.connections_open == 0).await.connections_total, 2);
}

#[tokio::test]
async fn the_last_requests_are_remembered() {
    let echo = Echo::start(Options { remember: 2, ..Options::from("orders") }).unwrap();
    let mut client = Client::connect(echo.address(), Protocol::Http1).await.unwrap();
    for path in ["/1", "/2", "/3"] {
        client.post(path, &[], path).await.unwrap();
    }
    let seen: Vec<_> = echo.seen().into_iter().map(|seen| (seen.path, seen.body)).collect();
    assert_eq!(seen, [("/2".to_owned(), "/2".into()), ("/3".to_owned(), "/3".into())]);
}

#[tokio::test]
async fn switches_change_the_answer() {
    let echo = Echo::start("orders").unwrap();
    for protocol in BOTH {
        let mut client = Client::connect(echo.address(), protocol).await.unwrap();
        assert_eq!(client.get("/?status=503&delay=1ms").await.unwrap().status, StatusCode::SERVICE_UNAVAILABLE);
        let large = client.get("/?size=1Mi").await.unwrap();
        assert_eq!((large.body.len(), large.header("content-length")), (1 << 20, Some("1048576")));
        let events = client.get("/?chunks=3&every=1ms").await.unwrap();
        assert_eq!(events.header("content-type"), Some("text/event-stream"));
        assert_eq!(events.text(), "data: 0\n\ndata: 1\n\ndata: 2\n\n");
        let by_header = client.get_with("/?status=503", &[("x-echo", "status=418&header=x-a:b")]).await.unwrap();
        assert_eq!((by_header.status.as_u16(), by_header.header("x-a")), (418, Some("b")));
        let unreadable = client.get("/?delay=soon").await.unwrap();
        assert_eq!(unreadable.status, StatusCode::BAD_REQUEST);
        assert!(unreadable.text().contains("delay=soon"));
    }
}

#[tokio::test]
async fn a_failed_head_is_no_answer_and_a_failed_body_half_of_one() {
    let echo = Echo::start("orders").unwrap();
    for protocol in BOTH {
        let mut client = Client::connect(echo.address(), protocol).await.unwrap();
        assert!(matches!(client.get("/?fail=head").await, Err(ClientError::Http(_))));
        for kind in ["size=100Ki&", "chunks=3&", ""] {
            let mut client = Client::connect(echo.address(), protocol).await.unwrap();
            let request = request(Method::GET, &format!("/?{kind}fail=body"), &[], body(""));
            let response = client.open(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            assert!(response.into_body().collect().await.is_err());
        }
    }
    let head = "GET /?size=100Ki&fail=body HTTP/1.1\r\nHost: a\r\n\r\n";
    let received = exchange(echo.address(), head).await.unwrap();
    let (_, body) = received.text().split_once("\r\n\r\n").map(|(head, body)| (head.len(), body.len())).unwrap();
    assert_eq!((body, received.end), (50 * 1024, End::Closed));
}

#[tokio::test]
async fn a_body_comes_back_while_it_is_sent_and_its_trailers_with_it() {
    let echo = Echo::start("orders").unwrap();
    for protocol in BOTH {
        let mut client = Client::connect(echo.address(), protocol).await.unwrap();
        let (sender, content) = upload();
        let headers = [("trailer", "x-sum"), ("te", "trailers")];
        let mut response = client.open(request(Method::POST, "/?body=back", &headers, content)).await.unwrap();
        for piece in ["one", "two"] {
            assert!(sender.send(piece).await);
            let frame = timeout(DEADLINE, response.frame()).await.unwrap().unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), piece);
        }
        assert!(sender.finish(HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from(6))])).await);
        let end = timeout(DEADLINE, response.collect()).await.unwrap().unwrap();
        assert_eq!(end.trailers().unwrap()["x-sum"], "6");
    }
}

#[tokio::test]
async fn trailers_are_told() {
    let echo = Echo::start("orders").unwrap();
    for protocol in BOTH {
        let mut client = Client::connect(echo.address(), protocol).await.unwrap();
        let (sender, content) = upload();
        let feed = tokio::spawn(async move {
            sender.send("one").await;
            sender.finish(HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from(3))])).await
        });
        let answer = client.send(request(Method::POST, "/", &[("trailer", "x-sum")], content)).await.unwrap();
        assert!(feed.await.unwrap());
        assert_eq!(answer.json()["trailers"], json!({"x-sum": ["3"]}), "{protocol:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_ignored_is_not_waited_for() {
    let echo = Echo::start("orders").unwrap();
    for protocol in BOTH {
        let mut client = Client::connect(echo.address(), protocol).await.unwrap();
        let (_never_fed, content) = upload();
        let response = client.open(request(Method::POST, "/?body=ignore&status=413", &[], content)).await.unwrap();
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
}

#[tokio::test]
async fn who_expects_100_is_told_to_continue() {
    let echo = Echo::start("orders").unwrap();
    let mut wire = Wire::connect(echo.address()).await.unwrap();
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n").await.unwrap();
    assert!(wire.head().await.unwrap().starts_with("HTTP/1.1 100 "));
    wire.send("ok").await.unwrap();
    assert!(wire.head().await.unwrap().starts_with("HTTP/1.1 200 "));
}

async fn upgraded(address: SocketAddr, headers: &str) -> (Wire, String) {
    let mut wire = Wire::connect(address).await.unwrap();
    wire.send(format!("GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n{headers}\r\n"))
        .await
        .unwrap();
    let head = wire.head().await.unwrap();
    (wire, head)
}

const WEBSOCKET: &str =
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[tokio::test]
async fn an_upgraded_connection_gets_its_bytes_back() {
    let echo = Echo::start("orders").unwrap();
    let (mut wire, head) = upgraded(echo.address(), "Upgrade: echo/1\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("upgrade: echo/1\r\n"), "{head}");
    wire.send("\0any bytes").await.unwrap();
    assert_eq!(wire.exactly(10).await.unwrap(), "\0any bytes");
    assert_eq!(echo.connections_open(), 1);
    wire.finish().await.unwrap();
    assert_eq!(wire.rest().await.end, End::Closed);
    until(&echo, |counts| counts.connections_open == 0).await;
}

#[tokio::test]
async fn a_websocket_gets_its_messages_back_and_a_close_when_the_backend_stops() {
    let echo = Echo::start("orders").unwrap();
    let (mut wire, head) = upgraded(echo.address(), WEBSOCKET).await;
    assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
    for (opcode, back) in [(Opcode::Text, Opcode::Text), (Opcode::Ping, Opcode::Pong)] {
        let mut sent = Vec::new();
        let frame = Frame { last: true, opcode, payload: "hello".into() };
        frame.write(&mut sent, Some([7, 8, 9, 10])).await.unwrap();
        wire.send(sent).await.unwrap();
        let answer = wire.exactly(7).await.unwrap();
        let answer = Frame::read(&mut &answer[..]).await.unwrap();
        assert_eq!(answer, Frame { opcode: back, ..frame });
    }
    let stop = async {
        echo.stop().await;
    };
    let leave = async {
        let close = wire.exactly(4).await.unwrap();
        assert_eq!(Frame::read(&mut &close[..]).await.unwrap(), Frame::close(1001));
        let mut sent = Vec::new();
        Frame::close(1001).write(&mut sent, Some([1; 4])).await.unwrap();
        wire.send(sent).await.unwrap();
        assert_eq!(wire.rest().await.end, End::Closed);
    };
    timeout(DEADLINE, async { tokio::join!(stop, leave) }).await.unwrap();
}

#[tokio::test]
async fn an_upgrade_to_http2_is_left_alone_and_a_refused_one_is_none() {
    let echo = Echo::start("orders").unwrap();
    let (_, head) = upgraded(echo.address(), "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let (_, head) = upgraded(echo.address(), &format!("{WEBSOCKET}x-echo: status=403\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
}

#[tokio::test]
async fn a_stop_answers_what_was_asked_and_refuses_the_rest() {
    let mut echo = Echo::start("orders").unwrap();
    for protocol in BOTH {
        let mut idle = Client::connect(echo.address(), protocol).await.unwrap();
        idle.get("/").await.unwrap();
        let mut busy = Client::connect(echo.address(), protocol).await.unwrap();
        let (sender, content) = upload();
        let asked = echo.requests() + 1;
        let answer = tokio::spawn(async move { busy.send(request(Method::POST, "/", &[], content)).await });
        until(&echo, |counts| counts.requests == asked).await;
        let stop = async {
            echo.stop().await;
        };
        let finish = async {
            until(&echo, |counts| counts.connections_open == 1).await;
            assert!(TcpStream::connect(echo.address()).await.is_err(), "it accepts while it stops");
            drop(sender);
            assert_eq!(answer.await.unwrap().unwrap().status, StatusCode::OK);
        };
        timeout(DEADLINE, async { tokio::join!(stop, finish) }).await.unwrap();
        assert_eq!(echo.connections_open(), 0);
        assert!(idle.get("/").await.is_err());
        echo.restart().unwrap();
        assert_eq!(get(echo.address(), "a", "/").await.unwrap().status, StatusCode::OK);
        until(&echo, |counts| counts.connections_open == 0).await;
    }
}

#[tokio::test]
async fn a_connection_that_has_asked_nothing_yet_may_still_ask_once_while_the_backend_stops() {
    let echo = Echo::start("orders").unwrap();
    let mut wire = Wire::connect(echo.address()).await.unwrap();
    until(&echo, |counts| counts.connections_open == 1).await;
    let stop = async {
        echo.stop().await;
    };
    let ask = async {
        wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let received = wire.rest().await;
        assert_eq!((received.statuses(), received.end), (vec![200], End::Closed));
    };
    timeout(DEADLINE, async { tokio::join!(stop, ask) }).await.unwrap();
}

#[tokio::test]
async fn a_kill_breaks_off_and_the_address_serves_again_after_a_restart() {
    let mut echo = Echo::start("orders").unwrap();
    for protocol in BOTH {
        let mut client = Client::connect(echo.address(), protocol).await.unwrap();
        let asked = echo.requests() + 1;
        let waiting = tokio::spawn(async move { client.get("/?delay=60m").await });
        until(&echo, |counts| counts.requests == asked).await;
        echo.kill().await;
        assert_eq!(echo.connections_open(), 0);
        assert!(waiting.await.unwrap().is_err());
        assert!(matches!(get(echo.address(), "a", "/").await, Err(ClientError::Connect(_))));
        echo.restart().unwrap();
        assert_eq!(get(echo.address(), "a", "/").await.unwrap().status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_draining_backend_serves_on_and_says_so() {
    let echo = Echo::start("orders").unwrap();
    let mut client = Client::connect(echo.address(), Protocol::Http1).await.unwrap();
    assert_eq!(client.get("/healthz").await.unwrap().status, StatusCode::OK);
    echo.set_ready(false);
    assert_eq!(client.get("/healthz").await.unwrap().status, StatusCode::SERVICE_UNAVAILABLE);
    echo.set_ready(true);
    echo.drain();
    let health = client.get("/healthz").await.unwrap();
    assert_eq!((health.status.as_u16(), health.header("connection")), (503, Some("close")));
    assert!(client.get("/").await.is_err(), "the connection outlives its close");
    for protocol in BOTH {
        let mut client = Client::connect(echo.address(), protocol).await.unwrap();
        assert_eq!(client.get("/").await.unwrap().status, StatusCode::OK);
    }
    assert_eq!(echo.requests(), 2, "/healthz counts");
}

#[test]
fn a_thread_of_its_own_serves_callers_of_any_runtime() {
    let mut echo = Echo::on_thread("orders").unwrap();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for _ in 0..2 {
        runtime().block_on(async {
            assert_eq!(get(echo.address(), "a", "/").await.unwrap().status, StatusCode::OK);
            timeout(Duration::from_secs(30), echo.stop()).await.unwrap();
            echo.restart().unwrap();
        });
    }
}

#[tokio::test]
async fn a_dropped_backend_is_gone() {
    let echo = Echo::start("orders").unwrap();
    let mut wire = Wire::connect(echo.address()).await.unwrap();
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    wire.head().await.unwrap();
    drop(echo);
    assert_ne!(wire.rest().await.end, End::Silent);
}
