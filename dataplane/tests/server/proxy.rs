//! What passes between client and backend, and what does not.

use http::{HeaderMap, Method};
use ravelin_dataplane::Settings;
use ravelin_echo::client::{Client, Protocol, Wire, request, upload};
use ravelin_snapshot::{
    HostPattern, ObjectKey, Part, Snapshot,
    auth::{AuthPolicy, ForwardedHeader, Mode, Network},
    backend::{self, Address, Backend, Endpoint},
    expression::{Attribute, Expression, Node},
    route::{Action, Fallback, Forward, Guard, HeaderChanges, Redirect, Target},
};

use crate::gateway::{Gateway, add_backend, add_route, all_to, echo, forward, route, say};

#[tokio::test]
async fn a_request_and_its_answer_pass_as_they_are() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut client = Client::connect(gateway.http(), protocol).await.unwrap().with_host("Shop.example:80");
        let answer = client.post("/a/../b?x=%20&y&header=x-answer:1", &[("x-mine", "1")], "hello").await.unwrap();
        assert_eq!(answer.status, 200, "{protocol:?}: {}", answer.text());
        assert_eq!(answer.header("x-answer"), Some("1"));
        let seen = echo.seen().pop().unwrap();
        assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/b"));
        assert_eq!(seen.query.as_deref(), Some("x=%20&y&header=x-answer:1"));
        assert_eq!((seen.host.as_str(), &seen.body[..]), ("Shop.example:80", &b"hello"[..]));
        assert_eq!(seen.headers["x-mine"], "1");
    }
}

#[tokio::test]
async fn an_id_is_given_or_kept_and_is_in_every_answer() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    let given = client.get("/").await.unwrap().header("x-request-id").unwrap().to_owned();
    assert_eq!(given.len(), 32);
    assert_eq!(echo.seen().pop().unwrap().headers["x-request-id"], given.as_str());
    let kept = client.get_with("/", &[("x-request-id", "mine-1"), ("x_request_id", "other")]).await.unwrap();
    assert_eq!(kept.header("x-request-id"), Some("mine-1"));
    let seen = echo.seen().pop().unwrap();
    assert_eq!(seen.headers["x-request-id"], "mine-1");
    assert!(!seen.headers.contains_key("x_request_id"));
    let mut nowhere = Snapshot::default();
    add_route(&mut nowhere, "other", HostPattern::parse("other.example"), say("no"));
    gateway.publish(nowhere).await;
    let refused = client.get_with("/", &[("x-request-id", "mine-2")]).await.unwrap();
    assert_eq!((refused.status.as_u16(), refused.header("x-request-id")), (404, Some("mine-2")));
    assert_eq!(refused.json()["requestId"], "mine-2");
    assert_eq!(refused.json()["reason"], "no_route");
}

#[tokio::test]
async fn a_stranger_cannot_say_who_it_is_and_a_trusted_proxy_can() {
    let echo = echo();
    let said = [
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=203.0.113.7"),
        ("x-forwarded-prefix", "/p"),
    ];
    let gateway = Gateway::start(all_to(&echo)).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap().with_host("a.example");
    assert_eq!(client.get_with("/", &said).await.unwrap().status, 200);
    let seen = echo.seen().pop().unwrap().headers;
    assert_eq!(
        (&seen["x-forwarded-for"], &seen["x-forwarded-proto"]),
        (&"127.0.0.1".parse().unwrap(), &"http".parse().unwrap())
    );
    assert_eq!(seen["x-forwarded-host"], "a.example");
    assert_eq!(seen["forwarded"], "for=127.0.0.1;host=a.example;proto=http");
    assert!(!seen.contains_key("x-forwarded-prefix"));
    let settings = Settings { trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()], ..Settings::default() };
    let gateway = Gateway::with(settings, all_to(&echo)).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    assert_eq!(client.get_with("/", &said).await.unwrap().status, 200);
    let seen = echo.seen().pop().unwrap().headers;
    assert_eq!(seen["x-forwarded-for"], "203.0.113.7, 127.0.0.1");
    assert_eq!(
        (&seen["x-forwarded-proto"], &seen["x-forwarded-prefix"]),
        (&"https".parse().unwrap(), &"/p".parse().unwrap())
    );
}

#[tokio::test]
async fn what_a_backend_is_told_of_the_client_is_there_once_over_each_protocol_and_after_a_fall_back() {
    let (echo, mut snapshot) = (echo(), Snapshot::default());
    let nobody = tokio::net::TcpSocket::new_v4().unwrap(); // it has a port and does not listen
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let http1 = add_backend(&mut snapshot, "http1", echo.address());
    let h2c = |snapshot: &mut Snapshot, name, address| {
        let key = add_backend(snapshot, name, address);
        let endpoint = Endpoint { address: Address::Ip(address), weight: 1 };
        snapshot.backends.insert(key.clone(), Part::new(Backend::plain(backend::Protocol::H2c, vec![endpoint])));
        key
    };
    let http2 = h2c(&mut snapshot, "http2", echo.address());
    let gone = h2c(&mut snapshot, "gone", nobody.local_addr().unwrap());
    let Action::Forward(falls) = forward(gone) else { unreachable!() };
    let falls = Action::Forward(Forward {
        fallback: Some(Box::new(Fallback::Backend(Target::Backend(http1.clone())))),
        ..falls
    });
    let hosts = [("http1.example", forward(http1)), ("http2.example", forward(http2)), ("falls.example", falls)];
    for (host, action) in &hosts {
        add_route(&mut snapshot, host, HostPattern::parse(host), action.clone());
    }
    let gateway = Gateway::start(snapshot).await;
    for (host, _) in hosts {
        let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap().with_host(host);
        for said in [
            &[][..],
            &[("connection", "host, x-forwarded-for")],
            &[("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=203.0.113.7")],
            &[("x-request-id", "mine")],
        ] {
            let answer = client.get_with("/", said).await.unwrap();
            assert_eq!(answer.status, 200, "{host} {said:?}");
            let seen = echo.seen().pop().unwrap();
            let of = |name| seen.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
            assert_eq!(seen.host, host, "{said:?}");
            assert_eq!(of("x-forwarded-for"), ["127.0.0.1"], "{host} {said:?}");
            assert_eq!(of("x-forwarded-proto"), ["http"], "{host} {said:?}");
            assert_eq!(of("x-forwarded-host"), [host], "{said:?}");
            assert_eq!(of("forwarded"), [format!("for=127.0.0.1;host={host};proto=http")], "{said:?}");
            assert_eq!(of("x-request-id"), [answer.header("x-request-id").unwrap()], "{host} {said:?}");
        }
    }
}

#[tokio::test]
async fn what_is_for_one_connection_stays_on_it() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    let said =
        [("connection", "x-secret, keep-alive"), ("x-secret", "1"), ("te", "trailers"), ("keep-alive", "timeout=9")];
    let answer = client.get_with("/?header=keep-alive:timeout=1&header=proxy-connection:x", &said).await.unwrap();
    assert_eq!((answer.header("keep-alive"), answer.header("proxy-connection")), (None, None));
    let seen = echo.seen().pop().unwrap().headers;
    for name in ["connection", "x-secret", "keep-alive"] {
        assert!(!seen.contains_key(name), "{name}: {seen:?}");
    }
    assert_eq!(seen["te"], "trailers");
}

#[tokio::test]
async fn trailers_pass_in_both_directions() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut client = Client::connect(gateway.http(), protocol).await.unwrap();
        let (feed, body) = upload();
        let asked = request(Method::POST, "/?body=back", &[("te", "trailers"), ("trailer", "x-sum")], body);
        let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "42".parse().unwrap())]);
        let (answer, ()) = tokio::join!(client.send(asked), async {
            assert!(feed.send("some").await);
            assert!(feed.finish(trailers).await);
        });
        let answer = answer.unwrap();
        assert_eq!(answer.text(), "some", "{protocol:?}");
        assert_eq!(answer.trailers["x-sum"], "42", "{protocol:?}");
    }
}

#[tokio::test]
async fn a_client_that_waits_for_leave_gets_it_when_the_body_is_wanted_and_not_when_it_is_refused() {
    let echo = echo();
    let mut snapshot = Snapshot::default();
    let backend = add_backend(&mut snapshot, "echo", echo.address());
    add_route(&mut snapshot, "all", HostPattern::parse("a.example"), forward(backend));
    let gateway = Gateway::start(snapshot).await;
    let mut wire = Wire::connect(gateway.http()).await.unwrap();
    wire.send("POST / HTTP/1.1\r\nhost: a.example\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n").await.unwrap();
    assert!(wire.head().await.unwrap().starts_with("HTTP/1.1 100"));
    wire.send("hi").await.unwrap();
    assert!(wire.head().await.unwrap().starts_with("HTTP/1.1 200"));
    assert_eq!(&echo.seen().pop().unwrap().body[..], b"hi");
    let mut wire = Wire::connect(gateway.http()).await.unwrap();
    wire.send("POST / HTTP/1.1\r\nhost: b.example\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n").await.unwrap();
    assert!(wire.head().await.unwrap().starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn the_first_http_is_served_and_closed() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    let answer = ravelin_echo::client::exchange(gateway.http(), "GET /old HTTP/1.0\r\n\r\n").await.unwrap();
    assert!(answer.text().starts_with("HTTP/1.0 200"), "{}", answer.text());
    assert_eq!(echo.seen().pop().unwrap().host, gateway.http().to_string());
}

#[tokio::test]
async fn an_answer_to_head_has_a_length_and_no_body() {
    let echo = echo();
    let mut snapshot = Snapshot::default();
    let backend = add_backend(&mut snapshot, "echo", echo.address());
    add_route(&mut snapshot, "all", HostPattern::parse("a.example"), forward(backend));
    add_route(&mut snapshot, "own", HostPattern::parse("own.example"), say("hello"));
    let gateway = Gateway::start(snapshot).await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        for (host, length) in [("a.example", Some("1024")), ("own.example", Some("5")), ("nowhere.example", None)] {
            let mut client = Client::connect(gateway.http(), protocol).await.unwrap().with_host(host);
            for _ in 0..2 {
                let asked = request(Method::HEAD, "/?size=1Ki", &[], ravelin_echo::client::body(""));
                let answer = client.send(asked).await.unwrap();
                assert!(answer.body.is_empty());
                let said = answer.header("content-length");
                assert!(
                    length.is_none_or(|length| said == Some(length)) && said != Some("0"),
                    "{host} {protocol:?} {said:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_redirect_and_a_direct_response_need_no_backend() {
    let mut snapshot = Snapshot::default();
    let redirect = Redirect { scheme: Some("https".into()), hostname: None, port: None, path: None, status: 308 };
    add_route(&mut snapshot, "to", HostPattern::parse("a.example"), Action::Redirect(redirect));
    add_route(&mut snapshot, "say", HostPattern::parse("b.example"), say("hello"));
    let gateway = Gateway::start(snapshot).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap().with_host("a.example:8080");
    let answer = client.get("/x?y=1").await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("location")), (308, Some("https://a.example/x?y=1")));
    assert!(answer.headers.contains_key("x-request-id"));
    let mut client = client.with_host("b.example");
    assert_eq!(client.get("/").await.unwrap().text(), "hello");
}

#[tokio::test]
async fn a_grpc_request_is_refused_in_its_own_words() {
    let gateway = Gateway::start(Snapshot::default()).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http2).await.unwrap();
    let answer = client.post("/a.B/C", &[("content-type", "application/grpc")], "").await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("grpc-status")), (200, Some("12")));
}

#[tokio::test]
async fn cookies_that_http2_cut_apart_reach_the_backend_as_one() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut client = Client::connect(gateway.http(), protocol).await.unwrap();
        client
            .get_with("/", &[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2,3; c"), ("cookie", "d=4")])
            .await
            .unwrap();
        let seen = echo.seen().pop().unwrap().headers;
        let cookies: Vec<_> = seen.get_all("cookie").iter().collect();
        assert_eq!(cookies, ["a=1; b=2,3; c; d=4"], "{protocol:?}");
    }
}

#[tokio::test]
async fn a_trailer_says_nothing_that_the_head_says_or_that_a_rule_decides() {
    let echo = echo();
    let mut snapshot = Snapshot::default();
    let backend = add_backend(&mut snapshot, "echo", echo.address());
    let mut all = route(HostPattern::Any, forward(backend));
    let policy = ObjectKey::new("shop", "callers");
    all.rules[0].auth = Guard::Policy(policy.clone());
    all.rules[0].request_headers =
        HeaderChanges { remove: vec!["x-debug".to_owned()], ..HeaderChanges::default() }.into();
    snapshot.routes.insert(ObjectKey::new("shop", "all"), Part::new(all));
    snapshot.auth.insert(policy, Part::new(naming_callers()));
    let gateway = Gateway::start(snapshot).await;
    let names = ["x-sum", "x-forwarded-for", "x_request_id", "x-caller", "x_caller", "x-debug", "x-mine", "cookie"];
    let list = names.join(", ");
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut client = Client::connect(gateway.http(), protocol).await.unwrap();
        let (feed, body) = upload();
        let asked = request(Method::POST, "/", &[("trailer", &list), ("x-mine", "1")], body);
        let trailers = names.map(|name| (name.parse().unwrap(), "evil".parse().unwrap()));
        let (answer, ()) = tokio::join!(client.send(asked), async {
            assert!(feed.send("some").await);
            assert!(feed.finish(HeaderMap::from_iter(trailers)).await);
        });
        assert_eq!(answer.unwrap().status, 200);
        let seen = echo.seen().pop().unwrap();
        assert_eq!(seen.headers["trailer"], "x-sum", "{protocol:?}");
        assert_eq!(seen.trailers, HeaderMap::from_iter([("x-sum".parse().unwrap(), "evil".parse().unwrap())]));
    }
}

#[tokio::test]
async fn a_policy_has_its_way_with_what_we_say_of_a_client_and_the_rest_is_said() {
    let echo = echo();
    for (header, host) in
        [("x-caller", Some("shop.example")), ("x-forwarded-host", Some("")), ("x_forwarded_host", None)]
    {
        let mut snapshot = Snapshot::default();
        let backend = add_backend(&mut snapshot, "echo", echo.address());
        let mut all = route(HostPattern::Any, forward(backend));
        let policy = ObjectKey::new("shop", "callers");
        all.rules[0].auth = Guard::Policy(policy.clone());
        snapshot.routes.insert(ObjectKey::new("shop", "all"), Part::new(all));
        let mut naming = naming_callers();
        naming.forward[0].header = header.into();
        snapshot.auth.insert(policy, Part::new(naming));
        let gateway = Gateway::start(snapshot).await;
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let mut client = Client::connect(gateway.http(), protocol).await.unwrap().with_host("shop.example");
            for _ in 0..4 {
                let answer = client.get("/").await.unwrap();
                let seen = echo.seen().pop().unwrap().headers;
                let said = |name| seen.get(name).map(|value| value.to_str().unwrap());
                assert_eq!(said("x-forwarded-host"), host, "{header} {protocol:?}");
                assert_eq!(said("x-forwarded-proto"), Some("http"));
                assert_eq!(said("x-request-id"), answer.header("x-request-id"));
                assert_eq!(said(header), host.filter(|_| header == "x-forwarded-host").or(Some("")));
            }
        }
    }
}

/// Anybody may come; the backend is told who, if that is known.
fn naming_callers() -> AuthPolicy {
    AuthPolicy {
        mode: Mode::Enforce,
        exclude: vec![],
        network: Network { allow: vec![], deny: vec![] },
        authentication: None,
        rules: vec![],
        external: None,
        forward: vec![ForwardedHeader {
            header: "x-caller".into(),
            value: Expression { source: "caller.id".into(), node: Node::Attribute(Attribute::CallerId) },
        }],
    }
}
