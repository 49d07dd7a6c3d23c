//! What depends on the clock; the rest is tried with a whole gateway (`tests/server/oidc`).

use std::time::{Duration, SystemTime};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use http::{HeaderMap, Method};
use ravelin_snapshot::{ObjectKey, Secret};
use serde_json::json;

use super::{session::Written, *};
use crate::session::Seals;

const NOW: u64 = 1_000_000;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn method() -> OidcMethod {
    OidcMethod {
        issuer: "https://id.example".into(),
        authorities: None,
        client_id: "web".into(),
        client_secret: Secret::new("hunter2"),
        scopes: vec!["openid".into()],
        redirect_path: "/oauth2/callback".into(),
        logout_path: "/logout".into(),
        cookie: "sid".into(),
        ttl_ms: 3_600_000,
    }
}

fn outside() -> Outside {
    Outside { seals: Some(Arc::new(Current::from_pointee(Seals::random().unwrap()))), ..Outside::default() }
}

fn compile(said: &OidcMethod, before: Option<&Arc<Oidc>>, outside: &Outside) -> Arc<Oidc> {
    Oidc::compile(&ObjectKey::new("shop", "web"), said, before, outside).unwrap()
}

fn with<R>(scheme: Scheme, cookie: &str, run: impl FnOnce(&RequestView<'_>) -> R) -> R {
    let mut headers = HeaderMap::new();
    headers.insert("cookie", HeaderValue::from_str(cookie).unwrap());
    run(&RequestView {
        method: &Method::GET,
        path: "/",
        query: "",
        raw: "/",
        headers: &headers,
        host: "shop.example",
        authority: "shop.example",
        scheme,
        id: "",
        source: "10.1.1.1:1".parse().unwrap(),
        chain: None,
    })
}

fn session() -> Session {
    let part = |value: serde_json::Value| BASE64.encode(value.to_string());
    let claims = json!({"iss": "https://id.example", "sub": "ada", "sid": "s1"});
    Session::of(Written {
        id: "1".into(),
        id_token: format!("{}.{}.c2ln", part(json!({"alg": "ES256"})), part(claims)),
        refresh_token: None,
        scopes: vec!["openid".into()],
        begun: NOW,
        issued: NOW as f64,
        stale: None,
    })
    .unwrap()
}

/// What a browser has after its log-in.
fn kept(oidc: &Oidc, scheme: Scheme) -> String {
    let set = with(scheme, "", |request| oidc.cookies(&session(), request, at(NOW)).unwrap());
    set[0].to_str().unwrap().to_owned()
}

fn pair(set: &str) -> &str {
    set.split(';').next().unwrap()
}

fn id(oidc: &Arc<Oidc>, scheme: Scheme, cookie: &str, now: u64) -> Option<String> {
    with(scheme, cookie, |request| oidc.judge(request, at(now), None)?.ok().map(|held| held.caller.id.clone()))
}

#[test]
fn a_session_ends_with_its_time_to_the_second_also_where_it_is_remembered() {
    let outside = outside();
    let oidc = compile(&method(), None, &outside);
    let set = kept(&oidc, Scheme::Https);
    assert!(set.starts_with("__Host-sid=1."), "{set}");
    assert!(set.ends_with("; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure"), "{set}");
    let there = |now| id(&oidc, Scheme::Https, pair(&set), now).is_some();
    assert!(there(NOW) && there(NOW + 3599) && !there(NOW + 3600) && there(NOW));
    let shorter = compile(&OidcMethod { ttl_ms: 60_000, ..method() }, Some(&oidc), &outside);
    assert_eq!(id(&shorter, Scheme::Https, pair(&set), NOW + 60), None, "a shorter life counts for all");
    assert_eq!(id(&shorter, Scheme::Https, pair(&set), NOW + 59).as_deref(), Some("ada"));
}

#[test]
fn a_session_of_one_scheme_is_none_of_the_other() {
    let oidc = compile(&method(), None, &outside());
    let (plain, secure) = (kept(&oidc, Scheme::Http), kept(&oidc, Scheme::Https));
    assert!(plain.starts_with("sid=1.") && !plain.contains("Secure"), "{plain}");
    assert!(id(&oidc, Scheme::Http, pair(&plain), NOW).is_some());
    assert!(id(&oidc, Scheme::Https, pair(&secure), NOW).is_some());
    let renamed = pair(&plain).replace("sid=", "__Host-sid=");
    assert_eq!(id(&oidc, Scheme::Https, &renamed, NOW), None);
    assert_eq!(id(&oidc, Scheme::Https, pair(&plain), NOW), None);
    let named = compile(&OidcMethod { cookie: "__Host-a".into(), ..method() }, None, &outside());
    assert!(kept(&named, Scheme::Https).starts_with("__Host-a=1."));
}

#[test]
fn a_log_in_that_takes_too_long_is_over() {
    let oidc = compile(&method(), None, &outside());
    let state = "abcdefghijklmnopqrstuv";
    let text = json!({"s": state, "n": "n", "v": "v", "b": "/", "t": NOW}).to_string();
    let sealed = with(Scheme::Https, "", |request| {
        oidc.seals.as_ref().unwrap().load().seal_text(&oidc.context("login", request), text.into_bytes()).unwrap()
    });
    let cookie = format!("__Host-sid.l-abcdefgh={sealed}");
    let there =
        |state: &str, now| with(Scheme::Https, &cookie, |request| oidc.pending(state, request, at(now)).is_some());
    assert!(there(state, NOW) && there(state, NOW + 599) && !there(state, NOW + 600));
    assert!(!there("abcdefghijklmnopqrstu_", NOW), "the whole state is compared");
    assert!(!there("abcdefgh", NOW) && !there("", NOW) && !there("\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}", NOW));
}

#[test]
fn without_keys_or_an_issuer_nobody_is_known_and_nobody_is_sent_anywhere() {
    let outside = outside();
    let set = kept(&compile(&method(), None, &outside), Scheme::Https);
    let blind = compile(&method(), None, &Outside::default());
    let judged = with(Scheme::Https, pair(&set), |request| blind.judge(request, at(NOW), None));
    assert!(matches!(judged, Some(Err(Refused::Unasked))));
    let sent = with(Scheme::Https, "", |request| blind.send(request, at(NOW), None));
    assert!(sent.coming.is_none() && sent.reject.reason == crate::reject::Reason::PolicyInvalid);
    let other = compile(&method(), None, &super::tests::outside());
    assert_eq!(id(&other, Scheme::Https, pair(&set), NOW), None, "other keys open nothing");
}

#[test]
fn the_backend_sees_no_cookie_of_a_log_in() {
    let oidc = compile(&method(), None, &outside());
    for (before, after) in [
        ("a=1; __Host-sid=1.x; __Host-sid.1=y; b=2; __Host-sid.l-abc=z", Some("a=1; b=2")),
        ("sid=1.x; sid.l-abc=z", None),
        ("sid.x=1; sidecar=2; a.sid=3; sid.12=4", Some("sid.x=1; sidecar=2; a.sid=3; sid.12=4")),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert("cookie", HeaderValue::from_static(before));
        oidc.strip(&mut headers);
        assert_eq!(headers.get("cookie").map(|value| value.to_str().unwrap()), after);
    }
}
