//! Another service that says who may pass, as it and the client see it. It is an echo: what it answers stands in its path.

use bytes::Bytes;
use ravelin_echo::{
    Echo,
    client::{Client, Protocol},
};
use ravelin_snapshot::{
    HostPattern, ObjectKey, Part, Snapshot,
    auth::{AuthPolicy, Exclusion, External, ExternalProtocol, Network},
    expression::{Expression, Node},
    route::{Guard, PathMatch},
};
use tokio::net::TcpListener;

use crate::gateway::{Gateway, add_backend, echo, forward, office, route};

struct World {
    service: Echo,
    backend: Echo,
    snapshot: Snapshot,
}

impl World {
    fn new() -> Self {
        let (service, backend) = (echo(), echo());
        let mut snapshot = Snapshot::default();
        let to = add_backend(&mut snapshot, "echo", backend.address());
        add_backend(&mut snapshot, "opa", service.address());
        let mut route = route(HostPattern::Any, forward(to));
        route.rules[0].auth = Guard::Policy(ObjectKey::new("shop", "asks"));
        snapshot.routes.insert(ObjectKey::new("shop", "all"), Part::new(route));
        Self { service, backend, snapshot }
    }

    fn asking(&self, change: impl FnOnce(&mut External)) -> Snapshot {
        let mut snapshot = self.snapshot.clone();
        let backend =
            snapshot.backends.iter().map(|(key, _)| key.clone()).find(|key| key.object.name == "opa").unwrap();
        let mut external = External {
            protocol: ExternalProtocol::Http { path: "/check".into() },
            backend,
            timeout_ms: 30_000,
            allow_on_failure: false,
            forward_headers: vec!["cookie".into()],
            copy_headers: vec!["x-user".into()],
            body_limit: 0,
            cache_for_ms: 0,
            cache_key: None,
        };
        change(&mut external);
        let exclude = vec![Exclusion { path: PathMatch::Exact("/free".into()), method: None }];
        let policy = AuthPolicy { network: Network::default(), external: Some(external), exclude, ..office() };
        snapshot.auth.insert(ObjectKey::new("shop", "asks"), Part::new(policy));
        snapshot
    }
}

fn path(said: &str) -> ExternalProtocol {
    ExternalProtocol::Http { path: format!("/check?{said}") }
}

#[tokio::test]
async fn the_service_sees_what_is_named_and_the_backend_sees_what_it_says_over_what_the_client_says() {
    let world = World::new();
    let snapshot = world.asking(|said| said.protocol = path("header=x-user:ada&header=x-other:b"));
    let gateway = Gateway::start(snapshot).await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut client = Client::connect(gateway.http(), protocol).await.unwrap().with_host("shop.example");
        let headers =
            [("cookie", "a=b"), ("x-user", "eve"), ("x_user", "eve"), ("x-secret", "s"), ("x-forwarded-method", "PUT")];
        let answer = client.post("/orders/../o%72ders?x=1", &headers, "hello").await.unwrap();
        assert_eq!(answer.status, 200);
        let seen = world.backend.seen().pop().unwrap();
        assert_eq!(seen.headers.get_all("x-user").iter().collect::<Vec<_>>(), ["ada"]);
        assert!(!seen.headers.contains_key("x_user") && !seen.headers.contains_key("x-other"));
        assert_eq!(&seen.body[..], b"hello");
        let asked = world.service.seen().pop().unwrap();
        let text = |name: &str| asked.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!((asked.method.as_str(), asked.path.as_str(), asked.body_bytes), ("GET", "/check", 0));
        assert_eq!(asked.host, "opa.shop");
        for (name, value) in [
            ("x-forwarded-method", Some("POST")),
            ("x-forwarded-uri", Some("/orders?x=1")),
            ("x-forwarded-host", Some("shop.example")),
            ("x-forwarded-proto", Some("http")),
            ("x-forwarded-for", Some("127.0.0.1")),
            ("cookie", Some("a=b")),
            ("x-secret", None),
            ("x-user", None),
        ] {
            assert_eq!(text(name).as_deref(), value, "{name}");
        }
    }
    assert_eq!(world.service.connections_total(), 1, "the worker's own connection is kept");
}

#[tokio::test]
async fn what_the_service_says_instead_is_passed_on_and_a_failure_is_a_closed_or_an_open_door_as_the_policy_says() {
    let world = World::new();
    let gateway = Gateway::start(world.asking(|_| {})).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    for (said, status) in [("status=401&header=www-authenticate:Own", 401), ("status=403", 403), ("status=404", 404)] {
        gateway.publish(world.asking(|external| external.protocol = path(said))).await;
        let answer = client.get("/a").await.unwrap();
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(answer.json()["path"].as_str(), Some("/check"), "the body is the service's");
        assert!(answer.header("x-request-id").is_some());
        assert_eq!(answer.header("www-authenticate"), (status == 401).then_some("Own"));
    }
    let login = path("status=302&header=location:https://id.example/");
    gateway.publish(world.asking(|external| external.protocol = login)).await;
    let answer = client.get("/a").await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("location")), (302, Some("https://id.example/")));
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (said, limit) in [("status=500", 30_000), ("fail=head", 30_000), ("size=65537", 30_000), ("delay=60s", 20)] {
        for (allow, status) in [(false, 503), (true, 200)] {
            let change = |external: &mut External| {
                (external.protocol, external.timeout_ms, external.allow_on_failure) = (path(said), limit, allow);
            };
            gateway.publish(world.asking(change)).await;
            let answer = client.get_with("/a", &[("x-user", "eve")]).await.unwrap();
            assert_eq!(answer.status.as_u16(), status, "{said}: {}", answer.text());
            if allow {
                assert!(!world.backend.seen().pop().unwrap().headers.contains_key("x-user"), "{said}");
            } else {
                assert_eq!(
                    (answer.json()["reason"].as_str(), answer.header("retry-after")),
                    (Some("policy_invalid"), Some("1"))
                );
            }
        }
    }
    let mut away = world.asking(|_| {});
    add_backend(&mut away, "opa", nobody);
    gateway.publish(away).await;
    assert_eq!(client.get("/a").await.unwrap().status, 503);
    let before = world.service.requests();
    assert_eq!(client.get("/free").await.unwrap().status, 200);
    assert_eq!(world.service.requests(), before, "who is excluded needs no answer");
}

#[tokio::test]
async fn an_answer_is_remembered_for_all_that_was_sent_or_for_its_key_and_no_longer_than_its_policy() {
    let world = World::new();
    let remembering = |external: &mut External| {
        external.protocol = path("header=x-user:ada");
        external.cache_for_ms = 3_600_000;
    };
    let gateway = Gateway::start(world.asking(remembering)).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    let mut asked = async |path: &str, cookie: &str| {
        let before = world.service.requests();
        assert_eq!(client.get_with(path, &[("cookie", cookie)]).await.unwrap().status, 200);
        assert_eq!(world.backend.seen().pop().unwrap().headers["x-user"], "ada");
        world.service.requests() - before
    };
    for (path, cookie, expected) in
        [("/a", "a=1", 1), ("/a", "a=1", 0), ("/a", "a=2", 1), ("/b", "a=1", 1), ("/a?x", "a=1", 1), ("/a", "a=2", 0)]
    {
        assert_eq!(asked(path, cookie).await, expected, "{path} {cookie}");
    }
    gateway.publish(world.asking(remembering)).await;
    assert_eq!(asked("/a", "a=1").await, 0, "nothing has changed");
    let by_key = |external: &mut External| {
        remembering(external);
        external.cache_key = Some(Expression { source: "'all'".into(), node: Node::String("all".into()) });
    };
    gateway.publish(world.asking(by_key)).await;
    assert_eq!(asked("/a", "a=1").await, 1, "another policy remembers nothing of it");
    assert_eq!(asked("/b", "a=9").await, 0, "the key is the same");
    let refusing = |external: &mut External| {
        by_key(external);
        external.protocol = path("status=403");
    };
    gateway.publish(world.asking(refusing)).await;
    let before = world.service.requests();
    for _ in 0..2 {
        assert_eq!(client.get("/a").await.unwrap().status, 403);
    }
    assert_eq!(world.service.requests() - before, 1);
}

#[tokio::test]
async fn a_body_goes_to_the_service_up_to_its_limit_and_whole_to_the_backend() {
    let world = World::new();
    let with_body = |external: &mut External| external.body_limit = 60_000;
    let gateway = Gateway::start(world.asking(with_body)).await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        for length in [1, 60_000] {
            let mut client = Client::connect(gateway.http(), protocol).await.unwrap();
            let body = Bytes::from(vec![b'x'; length]);
            let answer = client.post("/a", &[("content-type", "text/x")], body.clone()).await.unwrap();
            assert_eq!(answer.status, 200);
            let (asked, seen) = (world.service.seen().pop().unwrap(), world.backend.seen().pop().unwrap());
            assert_eq!((asked.method.as_str(), &asked.headers["content-type"]), ("POST", &"text/x".parse().unwrap()));
            assert_eq!((asked.body.len(), seen.body.len()), (length, length));
        }
        let mut client = Client::connect(gateway.http(), protocol).await.unwrap();
        let before = (world.service.requests(), world.backend.requests());
        let answer = client.post("/a", &[], vec![b'x'; 60_001]).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.json()["reason"].as_str()), (413, Some("body_too_large")));
        assert_eq!((world.service.requests(), world.backend.requests()), before, "neither has seen it");
        let answer = Client::connect(gateway.http(), protocol).await.unwrap().get("/a").await.unwrap();
        assert_eq!(answer.status, 200, "without a body");
    }
}
