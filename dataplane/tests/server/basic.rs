//! Passwords, as a client sees them.

use base64::{Engine, prelude::BASE64_STANDARD};
use ravelin_dataplane::Settings;
use ravelin_echo::client::{Client, Protocol};
use ravelin_snapshot::{
    HostPattern, ObjectKey, Part, Secret, Snapshot,
    auth::{AuthPolicy, Authentication, BasicMethod, BasicUser, ForwardedHeader},
    expression::{Attribute, Expression, Node},
    route::Guard,
};

use crate::gateway::{Gateway, add_backend, add_route, echo, forward, office, route, say};

/// `open sesame`, by the `crypt` of libxcrypt.
const ADA: &str = "$2y$10$WvvTPHKwdBJ3uk0Z37EMR.806pqxw8Mh8YS5mIDQGWU4V.lDDMDv.";

fn policy(hash: &str) -> AuthPolicy {
    let users = vec![BasicUser { name: "ada".into(), hash: Secret::new(hash) }];
    let basic = BasicMethod { realm: "shop".into(), secret: ObjectKey::new("shop", "users"), users };
    let id = Expression { source: "caller.id".into(), node: Node::Attribute(Attribute::CallerId) };
    AuthPolicy {
        network: Default::default(),
        authentication: Some(Authentication { basic: Some(basic), ..Authentication::default() }),
        forward: vec![ForwardedHeader { header: "x-caller".into(), value: id }],
        ..office()
    }
}

fn protect(snapshot: &mut Snapshot, policy: AuthPolicy, mut route: ravelin_snapshot::route::Route) {
    let key = ObjectKey::new("shop", "users");
    route.rules[0].auth = Guard::Policy(key.clone());
    snapshot.routes.insert(ObjectKey::new("shop", "protected"), Part::new(route));
    snapshot.auth.insert(key, Part::new(policy));
}

fn credential(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

#[tokio::test]
async fn who_knows_the_password_gets_in_and_the_backend_learns_his_name_alone() {
    let echo = echo();
    let mut snapshot = Snapshot::default();
    let backend = add_backend(&mut snapshot, "echo", echo.address());
    protect(&mut snapshot, policy(ADA), route(HostPattern::Any, forward(backend)));
    let gateway = Gateway::start(snapshot).await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut client = Client::connect(gateway.http(), protocol).await.unwrap();
        let refused = client.get("/").await.unwrap();
        assert_eq!(refused.status, 401);
        assert_eq!(refused.header("www-authenticate"), Some("Basic realm=\"shop\", charset=\"UTF-8\""));
        for (user, password) in [("ada", "wrong"), ("bob", "open sesame"), ("ada", ""), ("ada", "open sesame\0")] {
            let credential = credential(user, password);
            let refused = client.get_with("/", &[("authorization", &credential)]).await.unwrap();
            assert_eq!((refused.status.as_u16(), refused.json()["reason"].as_str()), (401, Some("unauthenticated")));
        }
        let good = credential("ada", "open sesame");
        for _ in 0..3 {
            let answer = client.get_with("/", &[("authorization", &good), ("x-caller", "eve")]).await.unwrap();
            let seen = &answer.json()["headers"];
            assert_eq!(answer.status, 200);
            assert_eq!(seen["x-caller"][0].as_str(), Some("ada"), "{seen}");
            assert!(seen.get("authorization").is_none(), "{seen}");
        }
        let twice = client.get_with("/", &[("authorization", &good), ("authorization", &good)]).await.unwrap();
        assert_eq!(twice.status, 401);
    }
}

#[tokio::test]
async fn a_flood_of_passwords_holds_up_nobody_else() {
    let mut snapshot = Snapshot::default();
    // About a second for each, and many of them.
    let policy = policy(&ADA.replace("$10$", "$14$"));
    protect(&mut snapshot, policy, route(HostPattern::parse("secret.example"), say("in")));
    add_route(&mut snapshot, "open", HostPattern::parse("open.example"), say("open"));
    let gateway = Gateway::with(Settings { workers: Some(1), ..Settings::default() }, snapshot).await;
    let http = gateway.http();
    let flood: Vec<_> = (0..40)
        .map(|number| {
            tokio::spawn(async move {
                let mut client = Client::connect(http, Protocol::Http1).await.unwrap();
                let credential = credential("ada", &format!("guess {number}"));
                let headers = [("host", "secret.example"), ("authorization", credential.as_str())];
                client.get_with("/", &headers).await.unwrap().status.as_u16()
            })
        })
        .collect();
    // Some are refused at once: by then the others wait.
    let (first, _, waiting) = futures_util::future::select_all(flood).await;
    assert_eq!(first.unwrap(), 503);
    let mut client = Client::connect(http, Protocol::Http1).await.unwrap();
    for _ in 0..100 {
        assert_eq!(client.get_with("/", &[("host", "open.example")]).await.unwrap().text(), "open");
    }
    assert!(waiting.iter().any(|one| !one.is_finished()), "the flood is still there");
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}
