//! The admin interface and the probe.

use std::net::SocketAddr;

use ravelin_dataplane::Settings;
use ravelin_echo::client::{Client, Protocol, exchange, get};
use ravelin_snapshot::{
    Digest, HostPattern, ObjectKey, Part, Secret, Snapshot,
    auth::{
        ApiKey, ApiKeyMethod, AuthPolicy, Authentication, CredentialSource, HmacKey, HmacMethod, IntrospectionMethod,
        Mode, Network,
    },
    backend::{self, Address, Backend, Breaker, Endpoint},
    route::Guard,
};
use serde_json::{Value, json};

use crate::gateway::{Gateway, add_route, add_secure_route, all_to, echo, office, route, say};

async fn page(address: SocketAddr, path: &str) -> (u16, String) {
    let answer = get(address, &address.to_string(), path).await.unwrap();
    (answer.status.as_u16(), String::from_utf8(answer.body.to_vec()).unwrap())
}

fn value((status, text): (u16, String)) -> Value {
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn the_probe_shows_health_readiness_and_metrics_and_no_more() {
    let settings = Settings { probe: Some(([127, 0, 0, 1], 0).into()), ..Settings::default() };
    let gateway = Gateway::with(settings, Snapshot::default()).await;
    let probe = gateway.running.addresses.probe.unwrap();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(page(probe, path).await, (200, "ok\n".to_owned()));
    }
    assert!(page(probe, "/metrics").await.1.contains("ravelin_build_info"));
    for path in ["/snapshot", "/backends", "/explain?url=http://a/", "/objects", "/"] {
        assert_eq!(page(probe, path).await.0, 404, "{path}");
    }
    // Kubelets ask by address or by name.
    assert_eq!(get(probe, "gateway.example", "/healthz").await.unwrap().status, 200);
}

#[tokio::test]
async fn the_snapshot_shows_everything_but_secrets() {
    let mut snapshot = Snapshot::default();
    add_secure_route(&mut snapshot, "secure", "secure.example", say("hello"));
    let hmac = HmacKey {
        key_id: "signer".into(),
        key: Secret::new("b".repeat(44)),
        id: "signer".into(),
        scopes: vec![],
        groups: vec![],
        plan: String::new(),
        expires: None,
    };
    let mut policy = keys(&[("acme", &"a".repeat(64))]);
    let authentication = policy.authentication.as_mut().unwrap();
    authentication.hmac = Some(HmacMethod {
        keys: vec![hmac],
        components: vec![],
        require_digest: false,
        require_nonce: false,
        clock_skew_ms: 1000,
    });
    authentication.introspection = Some(IntrospectionMethod {
        endpoint: "https://id.example/".into(),
        authorities: None,
        client_id: None,
        client_secret: Secret::new("c".repeat(20)),
        cache_for_ms: 0,
        timeout_ms: 1000,
        allow_on_failure: false,
    });
    snapshot.auth.insert(ObjectKey::new("shop", "keys"), Part::new(policy));
    let gateway = Gateway::start(snapshot).await;
    let (status, text) = page(gateway.running.addresses.admin.unwrap(), "/snapshot").await;
    assert_eq!(status, 200);
    assert!(text.contains("secure.example") && text.contains("acme") && text.contains("[redacted]"), "{text}");
    assert!(text.contains("signer") && text.contains("id.example"), "{text}");
    for secret in ["PRIVATE KEY", &"a".repeat(64), &"b".repeat(44), &"c".repeat(20)] {
        assert!(!text.contains(secret));
    }
}

/// API keys by id and digest, in the header `x-api-key`.
fn keys(keys: &[(&str, &str)]) -> AuthPolicy {
    let key = |(id, digest): &(&str, &str)| ApiKey {
        name: format!("{id}-1"),
        sha256: Secret::new(*digest),
        id: (*id).into(),
        scopes: vec![],
        groups: vec![],
        plan: String::new(),
        expires: None,
    };
    let from = vec![CredentialSource::Header { name: "x-api-key".into(), prefix: String::new() }];
    let api_key = Some(ApiKeyMethod { from, keys: keys.iter().map(key).collect() });
    let authentication = Some(Authentication { api_key, ..Authentication::default() });
    AuthPolicy { network: Network::default(), authentication, ..office() }
}

#[tokio::test]
async fn the_last_use_of_each_key_is_listed_and_counted_and_outlives_a_change_of_its_policy() {
    let mut snapshot = Snapshot::default();
    let (one, other) = (Digest::of(b"one").to_string(), Digest::of(b"other").to_string());
    let mut route = route(HostPattern::Any, say("in"));
    route.rules[0].auth = Guard::Policy(ObjectKey::new("shop", "keys"));
    snapshot.routes.insert(ObjectKey::new("shop", "all"), Part::new(route));
    snapshot.auth.insert(ObjectKey::new("shop", "keys"), Part::new(keys(&[("ada", &one), ("bob", &other)])));
    let gateway = Gateway::start(snapshot.clone()).await;
    let admin = gateway.running.addresses.admin.unwrap();
    let said = |policy: &str, id: &str| json!({"policy": policy, "name": format!("{id}-1"), "id": id});
    let unused = json!({"keys": [said("shop/keys", "ada"), said("shop/keys", "bob")]});
    assert_eq!(value(page(admin, "/keys").await), unused);
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    assert_eq!(client.get_with("/", &[("x-api-key", "none")]).await.unwrap().status, 401);
    assert_eq!(value(page(admin, "/keys").await), unused, "a key that is none is nobody's");
    assert_eq!(client.get_with("/", &[("x-api-key", "one")]).await.unwrap().status, 200);
    let used = value(page(admin, "/keys").await);
    let last = used["keys"][0]["lastUsed"].as_str().unwrap().to_owned();
    assert!(last.ends_with('Z') && last.len() == 20, "{last}");
    assert!(used["keys"][1].get("lastUsed").is_none());
    let metrics = get(admin, "localhost", "/metrics").await.unwrap().text();
    let row = "ravelin_api_key_last_used_timestamp_seconds{policy=\"shop/keys\",key=\"ada-1\"} 1";
    assert!(metrics.contains(row) && !metrics.contains("bob-1"), "{metrics}");
    assert!(!metrics.contains(&one), "no digest is a label");
    let changed = AuthPolicy { mode: Mode::Shadow, ..keys(&[("ada", &one)]) };
    snapshot.auth.insert(ObjectKey::new("shop", "keys"), Part::new(changed));
    gateway.publish(snapshot).await;
    let used = value(page(admin, "/keys").await);
    assert_eq!((used["keys"].as_array().unwrap().len(), &used["keys"][0]["lastUsed"]), (1, &last.into()));
}

#[tokio::test]
async fn backends_are_listed_with_their_endpoints_and_counts() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    get(gateway.http(), "a.example", "/").await.unwrap();
    let admin = gateway.running.addresses.admin.unwrap();
    let mut said = value(page(admin, "/backends").await);
    let endpoint = said["backends"][0]["endpoints"][0].as_object_mut().unwrap();
    // A kept connection may be closed by either side at any time.
    assert!(endpoint.remove("connections").unwrap().is_u64());
    let endpoint = json!({"address": echo.address().to_string(), "healthy": true, "ejected": false, "requests": 1});
    let backend = json!({
        "kind": "Backend", "namespace": "shop", "name": "echo", "breaker": "closed", "endpoints": [endpoint],
    });
    assert_eq!(said, json!({"backends": [backend]}));
    let reset = |path: &str| {
        let request =
            format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        async move { exchange(admin, &request).await.unwrap() }
    };
    for path in ["/backends/shop/echo/breaker/reset", "/backends/shop/none/breaker/reset"] {
        assert_eq!(reset(path).await.statuses(), [404]);
    }
}

#[tokio::test]
async fn a_breaker_that_is_open_is_listed_counted_and_closed_by_a_reset() {
    let echo = echo();
    let mut snapshot = all_to(&echo);
    let key = snapshot.backends.iter().next().unwrap().0.clone();
    let endpoint = Endpoint { address: Address::Ip(echo.address()), weight: 1 };
    let breaker = Breaker {
        window_ms: 10_000,
        min_requests: 1,
        failure_percent: Some(50),
        consecutive_failures: None,
        open_for_ms: 3_600_000,
        half_open_requests: 1,
        success_threshold: 1,
    };
    let backend = Backend { breaker: Some(breaker), ..Backend::plain(backend::Protocol::Http1, vec![endpoint]) };
    snapshot.backends.insert(key, Part::new(backend));
    let gateway = Gateway::start(snapshot).await;
    let admin = gateway.running.addresses.admin.unwrap();
    for (path, status) in [("/?status=500", 500), ("/", 503)] {
        assert_eq!(get(gateway.http(), "a.example", path).await.unwrap().status, status);
    }
    assert_eq!(value(page(admin, "/backends").await)["backends"][0]["breaker"], "open");
    let metrics = get(admin, "localhost", "/metrics").await.unwrap().text();
    assert!(metrics.contains("ravelin_circuit_breaker_state{backend=\"Backend/shop/echo\"} 2"), "{metrics}");
    let reset = "POST /backends/shop/echo/breaker/reset HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\
                 connection: close\r\n\r\n";
    assert_eq!(exchange(admin, reset).await.unwrap().statuses(), [200]);
    assert_eq!(value(page(admin, "/backends").await)["backends"][0]["breaker"], "closed");
    assert_eq!(get(gateway.http(), "a.example", "/").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_request_is_explained_with_what_serves_it() {
    let mut snapshot = Snapshot::default();
    add_route(&mut snapshot, "hello", HostPattern::parse("hello.example"), say("hello"));
    let gateway = Gateway::start(snapshot).await;
    let admin = gateway.running.addresses.admin.unwrap();
    let said = value(page(admin, "/explain?method=GET&url=http://hello.example/x").await);
    assert_eq!((&said["rule"]["route"], &said["action"]["kind"]), (&"shop/hello".into(), &"respond".into()));
    assert_eq!(page(admin, "/explain").await.0, 400);
    assert_eq!(page(admin, "/explain?url=nonsense").await.0, 400);
}

#[tokio::test]
async fn a_web_page_reads_nothing_and_changes_nothing_through_a_name_of_its_own() {
    let gateway = Gateway::start(Snapshot::default()).await;
    let admin = gateway.running.addresses.admin.unwrap();
    assert_eq!(get(admin, "evil.example", "/snapshot").await.unwrap().status, 403);
    assert_eq!(get(admin, "localhost", "/snapshot").await.unwrap().status, 200);
    let posted = "POST /backends/a/b/breaker/reset HTTP/1.1\r\nhost: localhost\r\norigin: http://evil.example\r\n\
                  content-length: 0\r\nconnection: close\r\n\r\n";
    assert_eq!(exchange(admin, posted).await.unwrap().statuses(), [403]);
    let long = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\nconnection: close\r\n\r\n", "x".repeat(20_000));
    assert_eq!(exchange(admin, &long).await.unwrap().statuses(), [431], "a head is bounded");
    assert_eq!(
        exchange(admin, "POST /metrics HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .await
            .unwrap()
            .statuses(),
        [405]
    );
}

#[tokio::test]
async fn a_request_with_two_hosts_is_refused_wherever_it_is_asked() {
    let settings = Settings { probe: Some(([127, 0, 0, 1], 0).into()), ..Settings::default() };
    let gateway = Gateway::with(settings, Snapshot::default()).await;
    let addresses = &gateway.running.addresses;
    for address in [addresses.admin.unwrap(), addresses.probe.unwrap()] {
        let head = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let answer = exchange(address, head).await.unwrap();
        let text = String::from_utf8_lossy(&answer.bytes).into_owned();
        assert!(text.starts_with("HTTP/1.1 400 ") && text.ends_with("a request has one Host\n"), "{text}");
    }
}
