//! WebSocket over streams of HTTP/2 (RFC 8441), to a backend that has it over HTTP/1.1.

use std::time::Duration;

use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
    ext::Protocol,
};
use http::{Method, Request, StatusCode};
use ravelin_dataplane::{Bounds, Settings};
use ravelin_echo::{
    client::Pulse,
    raw::{Raw, Script},
};
use ravelin_snapshot::{HostPattern, ObjectKey, Part, Snapshot, route::Guard};
use tokio::{net::TcpStream, time::timeout};

use crate::gateway::{Gateway, add_backend, add_route, all_to, echo, forward, office, say};

const LONG: Duration = Duration::from_secs(20);

async fn connect(gateway: &Gateway) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(gateway.http()).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    // The server says so in its first settings.
    let told = async {
        while !client.is_extended_connect_protocol_enabled() {
            client = client.clone().ready().await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, told).await.unwrap();
    client
}

fn ask(client: &mut SendRequest<Bytes>, protocol: &'static str, path: &str) -> (ResponseFuture, SendStream<Bytes>) {
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("http://shop.example{path}"))
        .header("sec-websocket-version", "13")
        .header("x-own", "1")
        .body(())
        .unwrap();
    request.extensions_mut().insert(Protocol::from_static(protocol));
    client.send_request(request, false).unwrap()
}

/// A text of fewer than 126 bytes, masked with zeros.
fn text(of: &str) -> Bytes {
    [&[0x81, 0x80 | of.len() as u8, 0, 0, 0, 0], of.as_bytes()].concat().into()
}

async fn read(stream: &mut RecvStream, length: usize) -> Vec<u8> {
    let mut read = Vec::new();
    while read.len() < length {
        let data = timeout(LONG, stream.data()).await.unwrap().unwrap().unwrap();
        stream.flow_control().release_capacity(data.len()).unwrap();
        read.extend_from_slice(&data);
    }
    read
}

async fn is_echoed(sent: &mut SendStream<Bytes>, got: &mut RecvStream, message: &str) {
    sent.send_data(text(message), false).unwrap();
    let expected = [&[0x81, message.len() as u8], message.as_bytes()].concat();
    assert_eq!(read(got, expected.len()).await, expected);
}

#[tokio::test]
async fn a_stream_is_a_websocket_of_its_own_beside_others_and_plain_requests() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    let mut client = connect(&gateway).await;
    let mut open = Vec::new();
    for number in 0..3 {
        let (answer, sent) = ask(&mut client, "websocket", &format!("/chat/{number}"));
        let answer = timeout(LONG, answer).await.unwrap().unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        for name in ["connection", "upgrade", "sec-websocket-accept"] {
            assert!(!answer.headers().contains_key(name), "{name}");
        }
        open.push((sent, answer.into_body()));
    }
    for round in 0..3 {
        for (number, (sent, got)) in open.iter_mut().enumerate() {
            is_echoed(sent, got, &format!("{round} of {number}")).await;
        }
        let plain = Request::get("http://shop.example/plain").body(()).unwrap();
        let (answer, _) = client.send_request(plain, true).unwrap();
        assert_eq!(timeout(LONG, answer).await.unwrap().unwrap().status(), StatusCode::OK);
    }
    let seen = echo.seen();
    let chat = seen.iter().find(|seen| seen.path == "/chat/0").unwrap();
    assert_eq!((chat.method.as_str(), chat.host.as_str()), ("GET", "shop.example"));
    assert!(chat.headers["upgrade"] == "websocket" && chat.headers["x-own"] == "1");
    drop(open);
    timeout(LONG, echo.wait_until(|counts| counts.connections_open <= 1)).await.unwrap();
}

#[tokio::test]
async fn an_open_stream_keeps_its_connection_however_long_it_is_silent() {
    let echo = echo();
    let bounds = Bounds { idle_timeout: Duration::from_millis(100), ..Bounds::default() };
    let gateway = Gateway::with(Settings { bounds, ..Settings::default() }, all_to(&echo)).await;
    let mut client = connect(&gateway).await;
    let (answer, mut sent) = ask(&mut client, "websocket", "/");
    let mut got = timeout(LONG, answer).await.unwrap().unwrap().into_body();
    // An idle connection is closed meanwhile; this one is none.
    let mut idle = TcpStream::connect(gateway.http()).await.unwrap();
    let mut ended = Vec::new();
    timeout(LONG, tokio::io::AsyncReadExt::read_to_end(&mut idle, &mut ended)).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    is_echoed(&mut sent, &mut got, "still here").await;
}

#[tokio::test]
async fn policies_and_backends_refuse_as_they_do_otherwise() {
    let echo = echo();
    let lies = Raw::start(Script::answers("no upgrade").for_ever()).unwrap();
    let mut snapshot = Snapshot::default();
    let backend = add_backend(&mut snapshot, "echo", echo.address());
    let mut closed = crate::gateway::route(HostPattern::parse("shop.example"), forward(backend));
    let key = ObjectKey::new("shop", "nobody");
    snapshot.auth.insert(key.clone(), Part::new(office()));
    closed.rules[0].auth = Guard::Policy(key);
    snapshot.routes.insert(ObjectKey::new("shop", "closed"), Part::new(closed));
    let gateway = Gateway::start(snapshot).await;
    let mut client = connect(&gateway).await;
    let status = async |client: &mut SendRequest<Bytes>, protocol| {
        let (answer, _sent) = ask(client, protocol, "/");
        timeout(LONG, answer).await.unwrap().unwrap().status().as_u16()
    };
    assert_eq!(status(&mut client, "websocket").await, 403);
    let mut snapshot = Snapshot::default();
    add_route(&mut snapshot, "own", HostPattern::Any, say("hello"));
    gateway.publish(snapshot).await;
    assert_eq!(status(&mut client, "websocket").await, 400, "a success would mean that it is open");
    let mut snapshot = Snapshot::default();
    let backend = add_backend(&mut snapshot, "lies", lies.address());
    add_route(&mut snapshot, "lies", HostPattern::Any, forward(backend));
    gateway.publish(snapshot).await;
    assert_eq!(status(&mut client, "websocket").await, 502);
    assert_eq!(status(&mut client, "connect-udp").await, 400);
    assert!(echo.seen().is_empty());
}

#[tokio::test]
async fn websockets_over_http1_go_on_as_before() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    let pulse = Pulse::start(gateway.http(), "shop.example", "/", Duration::from_millis(1)).await.unwrap();
    pulse.more(5).await.unwrap();
    pulse.stop().await.unwrap();
}
