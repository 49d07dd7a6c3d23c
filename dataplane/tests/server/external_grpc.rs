//! An authorizer over gRPC, played by a few lines of HTTP/2. What it says is what Google's library would write (see
//! `external/protobuf.rs`); what it hears is looked for in the bytes.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::{
    body::{Body, Frame, Incoming},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use ravelin_echo::{
    Echo,
    client::{Client, Protocol},
};
use ravelin_snapshot::{
    HostPattern, ObjectKey, Part, Snapshot,
    auth::{AuthPolicy, External, ExternalProtocol, Network},
    backend::{self, Address, Backend, BackendKey, BackendKind, Endpoint},
    route::Guard,
};
use tokio::{net::TcpListener, task::AbortHandle};

use crate::gateway::{Gateway, add_backend, echo, forward, office, route};

/// What it answers.
#[derive(Clone)]
enum Says {
    Message(Bytes),
    /// The frame as it is, and the status.
    Raw(Bytes, Option<&'static str>),
    Http(u16),
    Never,
}

struct Judge {
    address: std::net::SocketAddr,
    says: Arc<Mutex<Says>>,
    asked: Arc<Mutex<Vec<(HeaderMap, String, Bytes)>>>,
    task: AbortHandle,
}

impl Drop for Judge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A body with trailers.
struct Framed(Option<Bytes>, Option<HeaderMap>);

impl Body for Framed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = self.0.take().map(Frame::data);
        Poll::Ready(data.or_else(|| self.1.take().map(Frame::trailers)).map(Ok))
    }
}

impl Judge {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (says, asked) = (Arc::new(Mutex::new(Says::Never)), Arc::<Mutex<Vec<_>>>::default());
        let (what, heard) = (Arc::clone(&says), Arc::clone(&asked));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (what, heard) = (Arc::clone(&what), Arc::clone(&heard));
                tokio::spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let (what, heard) = (Arc::clone(&what), Arc::clone(&heard));
                        async move {
                            let (head, body) = request.into_parts();
                            let body = body.collect().await.unwrap().to_bytes();
                            heard.lock().unwrap().push((head.headers, head.uri.to_string(), body));
                            let says = what.lock().unwrap().clone();
                            Ok::<_, Infallible>(answer(says).await)
                        }
                    });
                    // Who has heard enough is gone.
                    drop(
                        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await,
                    );
                });
            }
        });
        Self { address, says, asked, task: task.abort_handle() }
    }

    fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

async fn answer(says: Says) -> Response<Framed> {
    let (data, status) = match says {
        Says::Message(message) => (framed(&message), Some("0")),
        Says::Raw(data, status) => (data, status),
        Says::Http(status) => return Response::builder().status(status).body(Framed(None, None)).unwrap(),
        Says::Never => return std::future::pending().await,
    };
    let trailers =
        status.map(|status| HeaderMap::from_iter([("grpc-status".parse().unwrap(), status.parse().unwrap())]));
    Response::builder().header("content-type", "application/grpc").body(Framed(Some(data), trailers)).unwrap()
}

fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.put_slice(message);
    frame.freeze()
}

/// A field of bytes.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    assert!(value.len() < 128);
    [&[number << 3 | 2, value.len() as u8][..], value].concat()
}

fn header(name: &str, value: &str) -> Vec<u8> {
    field(1, &[field(1, name.as_bytes()), field(2, value.as_bytes())].concat())
}

fn allowed(parts: &[Vec<u8>]) -> Says {
    Says::Message([field(1, b""), field(3, &parts.concat())].concat().into())
}

fn denied(status: u8, parts: &[Vec<u8>]) -> Says {
    // A status of 200 and so much.
    let status = field(1, &[8, status | 0x80, 3]);
    Says::Message([field(1, &[8, 7]), field(2, &[status, parts.concat()].concat())].concat().into())
}

struct World {
    judge: Judge,
    backend: Echo,
    snapshot: Snapshot,
}

impl World {
    async fn new() -> Self {
        let (judge, backend) = (Judge::start().await, echo());
        let mut snapshot = Snapshot::default();
        let to = add_backend(&mut snapshot, "echo", backend.address());
        let endpoint = Endpoint { address: Address::Ip(judge.address), weight: 1 };
        snapshot.backends.insert(opa(), Part::new(Backend::plain(backend::Protocol::H2c, vec![endpoint])));
        let mut route = route(HostPattern::Any, forward(to));
        route.rules[0].auth = Guard::Policy(ObjectKey::new("shop", "asks"));
        snapshot.routes.insert(ObjectKey::new("shop", "all"), Part::new(route));
        Self { judge, backend, snapshot }
    }

    fn asking(&self, change: impl FnOnce(&mut External)) -> Snapshot {
        let mut external = External {
            protocol: ExternalProtocol::Grpc,
            backend: opa(),
            timeout_ms: 30_000,
            allow_on_failure: false,
            forward_headers: vec!["cookie".into()],
            copy_headers: vec!["x-user".into()],
            body_limit: 0,
            cache_for_ms: 0,
            cache_key: None,
        };
        change(&mut external);
        let mut snapshot = self.snapshot.clone();
        let policy = AuthPolicy { network: Network::default(), external: Some(external), ..office() };
        snapshot.auth.insert(ObjectKey::new("shop", "asks"), Part::new(policy));
        snapshot
    }
}

fn opa() -> BackendKey {
    BackendKey { kind: BackendKind::Backend, object: ObjectKey::new("shop", "opa"), port: 0 }
}

fn holds(message: &[u8], text: &[u8]) -> bool {
    message.windows(text.len()).any(|window| window == text)
}

#[tokio::test]
async fn over_grpc_the_authorizer_hears_of_the_request_and_says_what_backend_and_client_see() {
    let world = World::new().await;
    world.judge.say(allowed(&[
        field(2, &header("x-user", "ada")),
        field(2, &header("x-other", "b")),
        field(5, b"x-secret"),
        field(5, b"host"),
        field(6, &header("x-told", "yes")),
        field(6, &header("content-length", "7")),
    ]));
    let gateway = Gateway::start(world.asking(|said| said.body_limit = 10)).await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut client = Client::connect(gateway.http(), protocol).await.unwrap().with_host("shop.example");
        let headers = [("cookie", "a=b"), ("x-user", "eve"), ("x_user", "eve"), ("x-secret", "s"), ("x-hidden", "h")];
        let answer = client.post("/orders/../o%72ders?x=1", &headers, "hello").await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.header("x-told")), (200, Some("yes")));
        let seen = world.backend.seen().pop().unwrap();
        assert_eq!(seen.headers.get_all("x-user").iter().collect::<Vec<_>>(), ["ada"]);
        for gone in ["x_user", "x-other", "x-secret"] {
            assert!(!seen.headers.contains_key(gone), "{gone}");
        }
        assert_eq!((seen.host.as_str(), &seen.body[..]), ("shop.example", &b"hello"[..]));
        let (headers, uri, message) = world.judge.asked.lock().unwrap().pop().unwrap();
        assert!(uri.ends_with("/envoy.service.auth.v3.Authorization/Check"), "{uri}");
        assert_eq!(
            (&headers["content-type"], &headers["te"]),
            (&"application/grpc".parse().unwrap(), &"trailers".parse().unwrap())
        );
        assert_eq!(headers["grpc-timeout"], "30000m");
        assert_eq!(&message[..5], [&[0][..], &(message.len() as u32 - 5).to_be_bytes()].concat());
        for part in [
            &b"\x12\x04POST"[..],
            b"\x0a\x06cookie\x12\x03a=b",
            b"/orders?x=1",
            b"shop.example",
            b"\x5a\x05hello",
            b"127.0.0.1",
        ] {
            assert!(holds(&message, part), "{part:?}");
        }
        assert!(!holds(&message, b"x-hidden") && !holds(&message, b"x-forwarded"));
    }
}

#[tokio::test]
async fn over_grpc_a_refusal_is_passed_on_and_what_is_no_answer_is_a_failure() {
    let world = World::new().await;
    let gateway = Gateway::start(world.asking(|_| {})).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    // 401, with all that an answer has but its own frame.
    let said =
        [field(2, &header("www-authenticate", "Own")), field(2, &header("connection", "close")), field(3, b"go away")];
    world.judge.say(denied(17, &said));
    let answer = client.get("/a").await.unwrap();
    assert_eq!(
        (answer.status.as_u16(), answer.header("www-authenticate"), answer.text().as_ref()),
        (401, Some("Own"), "go away")
    );
    world.judge.say(Says::Message(Bytes::from_static(&[10, 2, 8, 7])));
    assert_eq!(client.get("/a").await.unwrap().status, 403, "a code alone");
    let ok = framed(&field(1, b""));
    let both = [field(1, b""), field(2, b""), field(3, b"")].concat();
    let compressed = Bytes::from([&[1][..], &ok[1..]].concat());
    for (what, says) in [
        ("nothing", Says::Message(Bytes::new())),
        ("both", Says::Message(both.into())),
        ("no protobuf", Says::Message(Bytes::from_static(b"\xff\xff"))),
        ("an error", Says::Raw(Bytes::new(), Some("14"))),
        ("an error behind a message", Says::Raw(ok.clone(), Some("2"))),
        ("no status", Says::Raw(ok.clone(), None)),
        ("compressed", Says::Raw(compressed, Some("0"))),
        ("half a message", Says::Raw(ok.slice(..6), Some("0"))),
        ("two messages", Says::Raw([&ok[..], &ok[..]].concat().into(), Some("0"))),
        ("no frame", Says::Raw(Bytes::from_static(b"\0"), Some("0"))),
        ("too much", Says::Raw(framed(&vec![0; 200_000]), Some("0"))),
        ("no gRPC", Says::Http(200)),
        ("HTTP 500", Says::Http(500)),
    ] {
        world.judge.say(says);
        let answer = client.get("/a").await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.json()["reason"].as_str()), (503, Some("policy_invalid")), "{what}");
    }
    world.judge.say(Says::Never);
    let late = |allow| move |said: &mut External| (said.timeout_ms, said.allow_on_failure) = (20, allow);
    gateway.publish(world.asking(late(false))).await;
    assert_eq!(client.get("/a").await.unwrap().status, 503);
    gateway.publish(world.asking(late(true))).await;
    let answer = client.get_with("/a", &[("x-user", "eve")]).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(!world.backend.seen().pop().unwrap().headers.contains_key("x-user"));
}

#[tokio::test]
async fn over_grpc_an_answer_is_remembered_and_a_body_has_its_limit_as_over_http() {
    let world = World::new().await;
    world.judge.say(allowed(&[field(2, &header("x-user", "ada")), field(6, &header("x-told", "yes"))]));
    let gateway = Gateway::start(world.asking(|said| said.cache_for_ms = 3_600_000)).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    for (path, asked) in [("/a", 1), ("/a", 1), ("/b", 2), ("/a", 2)] {
        let answer = tokio::time::timeout(Duration::from_secs(30), client.get(path)).await.unwrap().unwrap();
        assert_eq!((answer.status.as_u16(), answer.header("x-told"), world.judge.asked()), (200, Some("yes"), asked));
        assert_eq!(world.backend.seen().pop().unwrap().headers["x-user"], "ada");
    }
    gateway.publish(world.asking(|said| said.body_limit = 4)).await;
    assert_eq!(client.post("/a", &[], "hello").await.unwrap().status, 413);
    assert_eq!(world.judge.asked(), 2);
}
