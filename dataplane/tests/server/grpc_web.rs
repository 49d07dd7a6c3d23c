//! gRPC-Web, as browsers send it, to a backend of gRPC.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use ravelin_echo::{
    Echo,
    client::{Answer, Client, Protocol, body, request},
};
use ravelin_snapshot::{
    HostPattern, Part, Snapshot,
    backend::{Address, Backend, Endpoint, Protocol as Spoken},
};
use std::net::SocketAddr;
use tokio::{
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
};

use crate::gateway::{Gateway, add_backend, add_route, echo, forward};

/// A message of gRPC.
fn message(text: &str) -> Vec<u8> {
    let mut message = vec![0];
    message.extend_from_slice(&(text.len() as u32).to_be_bytes());
    message.extend_from_slice(text.as_bytes());
    message
}

/// Answers each call with two messages and the status, and tells what it was sent. `/refuse` gets a status alone.
async fn service() -> (SocketAddr, UnboundedReceiver<(HeaderMap, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let tell = tell.clone();
                    tokio::spawn(async move {
                        let (head, mut sent) = request.into_parts();
                        let mut all = Vec::new();
                        while let Some(data) = sent.data().await {
                            let data = data.unwrap();
                            sent.flow_control().release_capacity(data.len()).unwrap();
                            all.extend_from_slice(&data);
                        }
                        let answer = Response::builder().header("content-type", "application/grpc+proto");
                        if head.uri.path() == "/refuse" {
                            let alone = answer.header("grpc-status", "7").body(()).unwrap();
                            respond.send_response(alone, true).unwrap();
                        } else {
                            let mut stream = respond.send_response(answer.body(()).unwrap(), false).unwrap();
                            stream.send_data(message("one").into(), false).unwrap();
                            stream.send_data(message("three").into(), false).unwrap();
                            let mut trailers = HeaderMap::new();
                            trailers.insert("grpc-status", "0".parse().unwrap());
                            trailers.insert("x-own", "1".parse().unwrap());
                            stream.send_trailers(trailers).unwrap();
                        }
                        let _ = tell.send((head.headers, all));
                    });
                }
            });
        }
    });
    (address, told)
}

fn to(address: SocketAddr, spoken: Spoken) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let key = add_backend(&mut snapshot, "grpc", address);
    let endpoint = Endpoint { address: Address::Ip(address), weight: 1 };
    snapshot.backends.insert(key.clone(), Part::new(Backend::plain(spoken, vec![endpoint])));
    add_route(&mut snapshot, "grpc", HostPattern::Any, forward(key));
    snapshot
}

async fn call(gateway: &Gateway, protocol: Protocol, path: &str, kind: &str, sent: Bytes) -> Answer {
    let mut client = Client::connect(gateway.http(), protocol).await.unwrap();
    let said = [("content-type", kind), ("x-grpc-web", "1")];
    let post: Request<_> = request(Method::POST, path, &said, body(sent));
    client.send(post).await.unwrap()
}

fn expected() -> Vec<u8> {
    let lines = "grpc-status: 0\r\nx-own: 1\r\n";
    [message("one"), message("three"), vec![0x80, 0, 0, 0, lines.len() as u8], lines.into()].concat()
}

#[tokio::test]
async fn a_call_becomes_grpc_and_its_trailers_the_last_frame() {
    let (address, mut told) = service().await;
    let gateway = Gateway::start(to(address, Spoken::H2c)).await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let answer = call(&gateway, protocol, "/a", "application/grpc-web+proto", message("hello").into()).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, Some("application/grpc-web+proto")));
        assert_eq!(answer.body, expected());
        assert!(answer.trailers.is_empty());
        let (headers, sent) = told.recv().await.unwrap();
        assert_eq!(sent, message("hello"));
        assert_eq!(headers["content-type"], "application/grpc+proto");
        assert!(headers["te"] == "trailers" && !headers.contains_key("x-grpc-web"));
    }
}

#[tokio::test]
async fn the_text_form_is_base64_in_both_directions() {
    let (address, mut told) = service().await;
    let gateway = Gateway::start(to(address, Spoken::H2c)).await;
    // Two pieces, each padded by itself, as clients that stream send them.
    let sent = [STANDARD.encode(message("hi")), STANDARD.encode(message("there"))].concat();
    let answer = call(&gateway, Protocol::Http1, "/a", "application/grpc-web-text", sent.into()).await;
    assert_eq!(answer.header("content-type"), Some("application/grpc-web-text+proto"));
    let decoded: Vec<u8> = answer.body.chunks(4).flat_map(|group| STANDARD.decode(group).unwrap()).collect();
    assert_eq!(decoded, expected());
    assert_eq!(told.recv().await.unwrap().1, [message("hi"), message("there")].concat());
    let bad = call(&gateway, Protocol::Http1, "/a", "application/grpc-web-text", "AA*A".into()).await;
    assert_eq!(bad.header("grpc-status"), Some("3"), "INVALID_ARGUMENT");
    assert_eq!(bad.header("content-type"), Some("application/grpc-web-text"));
}

#[tokio::test]
async fn a_status_alone_and_a_refusal_of_the_gateway_are_headers_in_the_clients_form() {
    let (address, _told) = service().await;
    let gateway = Gateway::start(to(address, Spoken::H2c)).await;
    let answer = call(&gateway, Protocol::Http1, "/refuse", "application/grpc-web", message("a").into()).await;
    assert_eq!((answer.header("grpc-status"), answer.body.len()), (Some("7"), 0));
    assert_eq!(answer.header("content-type"), Some("application/grpc-web+proto"));
    gateway.publish(Snapshot::default()).await;
    let none = call(&gateway, Protocol::Http1, "/a", "application/grpc-web", message("a").into()).await;
    assert_eq!((none.status.as_u16(), none.header("grpc-status")), (200, Some("12")));
    assert_eq!(none.header("content-type"), Some("application/grpc-web"));
}

#[tokio::test]
async fn a_backend_over_http1_gets_what_the_browser_sent() {
    let echo: Echo = echo();
    let gateway = Gateway::start(to(echo.address(), Spoken::Http1)).await;
    let answer = call(&gateway, Protocol::Http1, "/?body=back", "application/grpc-web-text", "AAAA".into()).await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "AAAA"));
    assert_eq!(echo.seen()[0].headers["content-type"], "application/grpc-web-text");
}
