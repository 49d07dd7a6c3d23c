//! Opaque tokens: their issuer, played by a few lines, is asked about them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use ravelin_echo::client::{Client, Protocol};
use ravelin_snapshot::{
    HostPattern, ObjectKey, Part, Secret, Snapshot,
    auth::{AuthPolicy, Authentication, AuthorizationRule, Effect, IntrospectionMethod, Network},
    expression::{Attribute, Expression, Function, Node},
    route::Guard,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::AbortHandle,
};

use crate::gateway::{Gateway, office, route, say};

/// Says what it was told to say of each token, and remembers how it was asked.
struct Issuer {
    endpoint: String,
    asked: Arc<Mutex<Vec<String>>>,
    task: AbortHandle,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Issuer {
    async fn start(answers: &[(&'static str, &'static str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/introspect", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let answers: HashMap<_, _> = answers.iter().copied().collect();
        let heard = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = String::new();
                while !request.ends_with("&token_type_hint=access_token") {
                    let mut room = [0; 4096];
                    let count = stream.read(&mut room).await.unwrap();
                    assert!(count > 0, "{request}");
                    request.push_str(std::str::from_utf8(&room[..count]).unwrap());
                }
                let token = request.split_once("token=").unwrap().1.split('&').next().unwrap().to_owned();
                heard.lock().unwrap().push(request);
                let answer = answers.get(&*token).copied().unwrap_or("200 OK\r\n\r\n{\"active\": false}");
                let (head, body) = answer.split_once("\r\n\r\n").unwrap();
                let length = body.len();
                let text = format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\n\r\n{body}");
                // Who has heard enough is gone.
                drop(stream.write_all(text.as_bytes()).await);
            }
        });
        Self { endpoint, asked, task: task.abort_handle() }
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn protected(endpoint: &str, change: impl FnOnce(&mut IntrospectionMethod)) -> Snapshot {
    let mut method = IntrospectionMethod {
        endpoint: endpoint.into(),
        authorities: None,
        client_id: Some("gate:way".into()),
        client_secret: Secret::new("hunter 2"),
        cache_for_ms: 3_600_000,
        timeout_ms: 30_000,
        allow_on_failure: false,
    };
    change(&mut method);
    let scopes = Node::Attribute(Attribute::CallerScopes);
    let arguments = vec![Node::String("orders:read".into()), scopes];
    let when = Expression { source: "read".into(), node: Node::Call { function: Function::In, arguments } };
    let rules = vec![AuthorizationRule { name: "readers".into(), effect: Effect::Allow, when }];
    let rules = if method.allow_on_failure { vec![] } else { rules };
    let policy = AuthPolicy {
        network: Network::default(),
        authentication: Some(Authentication { introspection: Some(method), ..Authentication::default() }),
        rules,
        ..office()
    };
    let mut snapshot = Snapshot::default();
    let key = ObjectKey::new("shop", "opaque");
    let mut route = route(HostPattern::Any, say("in"));
    route.rules[0].auth = Guard::Policy(key.clone());
    snapshot.routes.insert(ObjectKey::new("shop", "all"), Part::new(route));
    snapshot.auth.insert(key, Part::new(policy));
    snapshot
}

async fn ask(client: &mut Client, token: &str) -> u16 {
    client.get_with("/", &[("authorization", &format!("Bearer {token}"))]).await.unwrap().status.as_u16()
}

const GOOD: &str =
    "200 OK\r\n\r\n{\"active\": true, \"sub\": \"ada\", \"scope\": \"orders:read x\", \"exp\": 253402300799}";

#[tokio::test]
async fn the_issuer_says_whose_a_token_is_once_for_a_while_and_is_asked_by_the_gateways_own_name() {
    let issuer = Issuer::start(&[
        ("good", GOOD),
        ("other", "200 OK\r\n\r\n{\"active\": true, \"sub\": \"ada\", \"scope\": \"stock:read\"}"),
        ("old", "200 OK\r\n\r\n{\"active\": true, \"sub\": \"ada\", \"scope\": \"orders:read\", \"exp\": 1}"),
    ])
    .await;
    let gateway = Gateway::start(protected(&issuer.endpoint, |_| {})).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    assert_eq!(client.get("/").await.unwrap().header("www-authenticate"), Some("Bearer realm=\"ravelin\""));
    for malformed in ["", "a b", "a&token=good", "a\u{e9}", &"x".repeat(5000)] {
        assert_eq!(ask(&mut client, malformed).await, 401, "{malformed:?}");
    }
    assert_eq!(issuer.asked(), 0, "nobody is asked about what is no token");
    for (token, status, asked) in
        [("good", 200, 1), ("good", 200, 1), ("other", 403, 2), ("other", 403, 2), ("bad", 401, 3), ("old", 401, 4)]
    {
        assert_eq!((ask(&mut client, token).await, issuer.asked()), (status, asked), "{token}");
    }
    let first = issuer.asked.lock().unwrap()[0].to_ascii_lowercase();
    // `gate%3Away:hunter%202`, as RFC 6749 wants it.
    let basic = "authorization: basic z2f0zsuzqxdhetpodw50zxilmjay\r\n";
    assert!(first.starts_with("post /introspect http/1.1\r\n") && first.contains(basic), "{first}");
    assert!(first.contains("content-type: application/x-www-form-urlencoded\r\n"), "{first}");
    gateway.publish(protected(&issuer.endpoint, |_| {})).await;
    assert_eq!((ask(&mut client, "good").await, issuer.asked()), (200, 4), "nothing has changed");
    gateway.publish(protected(&issuer.endpoint, |method| method.client_id = None)).await;
    assert_eq!((ask(&mut client, "good").await, issuer.asked()), (200, 5), "another policy asks again");
    let last = issuer.asked.lock().unwrap()[4].clone();
    assert!(last.contains("authorization: Bearer hunter 2\r\n"), "{last}");
    gateway.publish(protected(&issuer.endpoint, |method| method.cache_for_ms = 0)).await;
    assert_eq!((ask(&mut client, "good").await, issuer.asked()), (200, 6));
    assert_eq!((ask(&mut client, "good").await, issuer.asked()), (200, 7), "nothing is remembered");
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_as_it_should_opens_nothing_unless_the_policy_says_so() {
    let long: &'static str = Box::leak(format!("200 OK\r\n\r\n{{\"a\": \"{}\"}}", "x".repeat(70_000)).into_boxed_str());
    let broken = [
        ("error", "500 Oh\r\n\r\n{\"active\": true, \"sub\": \"ada\"}"),
        ("moved", "302 Found\r\nlocation: /other\r\n\r\n"),
        ("html", "200 OK\r\n\r\n<html>"),
        ("list", "200 OK\r\n\r\n[true]"),
        ("text", "200 OK\r\n\r\n{\"active\": \"true\", \"sub\": \"ada\"}"),
        ("twice", "200 OK\r\n\r\n{\"active\": true, \"active\": false, \"sub\": \"ada\"}"),
        ("nobody", "200 OK\r\n\r\n{\"active\": true, \"scope\": \"orders:read\"}"),
        ("number", "200 OK\r\n\r\n{\"active\": true, \"sub\": 7}"),
        ("exp", "200 OK\r\n\r\n{\"active\": true, \"sub\": \"ada\", \"exp\": \"never\"}"),
        ("far", "200 OK\r\n\r\n{\"active\": true, \"sub\": \"ada\", \"exp\": 1e30}"),
        ("long", long),
    ];
    let issuer = Issuer::start(&broken).await;
    let gateway = Gateway::start(protected(&issuer.endpoint, |_| {})).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    for (token, _) in broken {
        assert_eq!(ask(&mut client, token).await, 503, "{token}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let away = format!("http://{nobody}/introspect");
    gateway.publish(protected(&away, |_| {})).await;
    let refused = client.get_with("/", &[("authorization", "Bearer good")]).await.unwrap();
    assert_eq!((refused.status.as_u16(), refused.json()["reason"].as_str()), (503, Some("policy_invalid")));
    assert_eq!(client.get("/").await.unwrap().status, 401, "whoever has no token is told so");
    gateway.publish(protected(&away, |method| method.allow_on_failure = true)).await;
    assert_eq!(ask(&mut client, "good").await, 200);
    assert_eq!(client.get("/").await.unwrap().status, 401, "a token is needed all the same");
}
