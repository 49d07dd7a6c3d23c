//! Signed requests over real connections. They are signed by a few lines of their own.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::{digest, hmac};
use base64::{Engine, prelude::BASE64_STANDARD};
use ravelin_echo::client::{Client, Protocol};
use ravelin_snapshot::{
    HostPattern, ObjectKey, Part, Secret, Snapshot,
    auth::{AuthPolicy, Authentication, HmacKey, HmacMethod, Network, SignatureComponent},
    route::Guard,
};

use crate::gateway::{Gateway, add_backend, echo, forward, office, route};

const KEY: &[u8] = b"a key of thirty-two bytes or more";

fn protected(snapshot: &mut Snapshot, change: impl FnOnce(&mut HmacMethod)) {
    let key = HmacKey {
        key_id: "one".into(),
        key: Secret::new(BASE64_STANDARD.encode(KEY)),
        id: "acme".into(),
        scopes: vec![],
        groups: vec![],
        plan: String::new(),
        expires: None,
    };
    let mut method = HmacMethod {
        keys: vec![key],
        components: vec![SignatureComponent::Method, SignatureComponent::TargetUri],
        require_digest: false,
        require_nonce: false,
        clock_skew_ms: 300_000,
    };
    change(&mut method);
    let authentication = Authentication { hmac: Some(method), ..Authentication::default() };
    let policy = AuthPolicy { network: Network::default(), authentication: Some(authentication), ..office() };
    snapshot.auth.insert(ObjectKey::new("shop", "signed"), Part::new(policy));
}

/// Headers of a request to `http://shop.example`, which cover its digest if it has one.
fn sign(method: &str, path: &str, nonce: &str, body: Option<&[u8]>) -> Vec<(&'static str, String)> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut lines = format!("\"@method\": {method}\n\"@target-uri\": http://shop.example{path}\n");
    let mut covered = "\"@method\" \"@target-uri\"".to_owned();
    let mut headers = Vec::new();
    if let Some(body) = body {
        let digest = format!("sha-256=:{}:", BASE64_STANDARD.encode(digest::digest(&digest::SHA256, body)));
        lines += &format!("\"content-digest\": {digest}\n");
        covered += " \"content-digest\"";
        headers.push(("content-digest", digest));
    }
    let input = format!("({covered});created={now};keyid=\"one\";nonce=\"{nonce}\"");
    let base = format!("{lines}\"@signature-params\": {input}");
    let tag = BASE64_STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY), base.as_bytes()));
    headers.extend([("signature-input", format!("sig={input}")), ("signature", format!("sig=:{tag}:"))]);
    headers
}

fn said<'h>(headers: &'h [(&'static str, String)]) -> Vec<(&'static str, &'h str)> {
    headers.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

#[tokio::test]
async fn a_signed_request_passes_as_it_was_signed_once_and_with_its_own_body() {
    let backend = echo();
    let mut snapshot = Snapshot::default();
    let to = add_backend(&mut snapshot, "echo", backend.address());
    let mut route = route(HostPattern::Any, forward(to));
    route.rules[0].auth = Guard::Policy(ObjectKey::new("shop", "signed"));
    snapshot.routes.insert(ObjectKey::new("shop", "all"), Part::new(route));
    protected(&mut snapshot, |_| {});
    let gateway = Gateway::start(snapshot.clone()).await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut client = Client::connect(gateway.http(), protocol).await.unwrap().with_host("shop.example");
        let signed = sign("GET", "/a%7Eb/../c?x=1", "n", None);
        assert_eq!(client.get_with("/a%7Eb/../c?x=1", &said(&signed)).await.unwrap().status, 200);
        let seen = backend.seen().pop().unwrap();
        assert!(!seen.headers.contains_key("signature") && !seen.headers.contains_key("signature-input"));
        assert_eq!(
            client.get_with("/c?x=1", &said(&signed)).await.unwrap().status,
            401,
            "it was signed for another path"
        );
        assert_eq!(client.post("/a%7Eb/../c?x=1", &said(&signed), "").await.unwrap().status, 401);
        let none = client.get("/").await.unwrap();
        assert_eq!((none.status.as_u16(), none.header("www-authenticate")), (401, Some("Signature")));
        let wanted = "sig=(\"@method\" \"@target-uri\");created;keyid;alg=\"hmac-sha256\"";
        assert_eq!(none.header("accept-signature"), Some(wanted));
    }
    protected(&mut snapshot, |method| (method.require_nonce, method.require_digest) = (true, true));
    gateway.publish(snapshot.clone()).await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut client = Client::connect(gateway.http(), protocol).await.unwrap().with_host("shop.example");
        let nonce = format!("{protocol:?}");
        let signed = sign("POST", "/a", &nonce, Some(b"hello"));
        assert_eq!(client.post("/a", &said(&signed), "Hello").await.unwrap().status, 401);
        assert_eq!(client.post("/a", &said(&signed), "hello").await.unwrap().status, 200);
        assert_eq!(&backend.seen().pop().unwrap().body[..], b"hello", "the backend has all of it");
        let again = client.post("/a", &said(&signed), "hello").await.unwrap();
        let why = "Signature error_description=\"the signature has been used\"";
        assert_eq!((again.status.as_u16(), again.header("www-authenticate")), (401, Some(why)));
        let bare = sign("POST", "/a", &format!("{nonce} bare"), None);
        assert_eq!(client.post("/a", &said(&bare), "hello").await.unwrap().status, 401);
        let large = vec![b'x'; (64 << 10) + 1];
        let signed = sign("POST", "/a", &format!("{nonce} large"), Some(&large));
        let mut client = Client::connect(gateway.http(), protocol).await.unwrap().with_host("shop.example");
        assert_eq!(client.post("/a", &said(&signed), large).await.unwrap().status, 413);
    }
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap().with_host("shop.example");
    let signed = sign("GET", "/b", "once", None);
    assert_eq!(client.get_with("/b", &said(&signed)).await.unwrap().status, 200);
    protected(&mut snapshot, |method| (method.require_nonce, method.clock_skew_ms) = (true, 60_000));
    gateway.publish(snapshot).await;
    assert_eq!(client.get_with("/b", &said(&signed)).await.unwrap().status, 401, "a change forgets no nonce");
}
