//! Tokens whose keys are fetched from their issuer.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use ravelin_echo::client::{Client, Protocol};
use ravelin_snapshot::{
    HostPattern, ObjectKey, Part, Snapshot,
    auth::{AuthPolicy, Authentication, CredentialSource, Mode, Network},
    jwt::{ClaimNames, JwksUri, JwtAlgorithm, JwtMethod, JwtProvider, KeySource},
    route::{Guard, Route},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::Notify,
    time::timeout,
};

use crate::gateway::{Gateway, route, say};

/// A policy that takes tokens of one issuer.
fn policy(uri: String) -> AuthPolicy {
    let provider = JwtProvider {
        name: "idp".into(),
        issuer: "https://id.example".into(),
        audiences: vec!["orders".into()],
        algorithms: vec![JwtAlgorithm::EdDSA],
        keys: KeySource::Uri(JwksUri { uri, refresh_ms: 60_000, keep_for_ms: 60_000, authorities: None }),
        from: vec![CredentialSource::Header { name: "authorization".into(), prefix: "Bearer ".into() }],
        clock_skew_ms: 0,
        claims: ClaimNames { id: "sub".into(), scopes: "scope".into(), groups: "groups".into() },
    };
    AuthPolicy {
        mode: Mode::Enforce,
        exclude: vec![],
        network: Network::default(),
        authentication: Some(Authentication {
            jwt: Some(JwtMethod { providers: vec![provider] }),
            ..Authentication::default()
        }),
        rules: vec![],
        external: None,
        forward: vec![],
    }
}

fn protected(policy: AuthPolicy) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let key = ObjectKey::new("shop", "tokens");
    let mut route: Route = route(HostPattern::Any, say("in"));
    route.rules[0].auth = Guard::Policy(key.clone());
    snapshot.routes.insert(ObjectKey::new("shop", "all"), Part::new(route));
    snapshot.auth.insert(key, Part::new(policy));
    snapshot
}

#[tokio::test]
async fn a_request_that_comes_with_its_policy_waits_for_the_keys_and_without_an_issuer_it_is_a_503() {
    let pair = Ed25519KeyPair::generate().unwrap();
    let x = BASE64.encode(pair.public_key());
    let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": x}]}).to_string();
    let claims = json!({"iss": "https://id.example", "sub": "ada", "aud": "orders", "exp": 253_402_300_799_u64});
    let message = format!(
        "{}.{}",
        BASE64.encode(json!({"alg": "EdDSA", "kid": "1"}).to_string()),
        BASE64.encode(claims.to_string())
    );
    let token = format!("Bearer {message}.{}", BASE64.encode(pair.sign(message.as_bytes())));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/keys", listener.local_addr().unwrap());
    let (asked, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (Arc::clone(&asked), Arc::clone(&answer));
    let issuer = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 4096];
        assert!(stream.read(&mut head).await.unwrap() > 0);
        tell.notify_one();
        wait.notified().await;
        let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{keys}", keys.len());
        stream.write_all(text.as_bytes()).await.unwrap();
    });
    let gateway = Gateway::start(protected(policy(uri))).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    let headers = [("authorization", token.as_str())];
    let (first, ()) = tokio::join!(client.get_with("/", &headers), async {
        timeout(Duration::from_secs(30), asked.notified()).await.unwrap();
        answer.notify_one();
    });
    assert_eq!(first.unwrap().text(), "in");
    issuer.await.unwrap();
    assert_eq!(client.get_with("/", &headers).await.unwrap().text(), "in", "the issuer is gone, its keys are kept");
    let refused = client.get("/").await.unwrap();
    assert_eq!((refused.status.as_u16(), refused.header("www-authenticate")), (401, Some("Bearer realm=\"ravelin\"")));
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    gateway.publish(protected(policy(format!("http://{nobody}/keys")))).await;
    let away = client.get_with("/", &headers).await.unwrap();
    assert_eq!((away.status.as_u16(), away.json()["reason"].as_str()), (503, Some("policy_invalid")));
    assert_eq!(client.get("/").await.unwrap().status, 401, "whoever has no token is told so");
}
