//! Ways in that have worked somewhere.

use ravelin_snapshot::HostPattern;
use serde_json::{Value, json};

use super::{
    browser::Browser,
    policy, protected, protected_by,
    provider::{CLIENT, Provider, now, parameters},
};
use crate::gateway::{Gateway, say};

async fn site() -> (Provider, Gateway) {
    let provider = Provider::start().await;
    let gateway = Gateway::start(protected(&provider.issuer, |_, _| {})).await;
    (provider, gateway)
}

/// A browser that was sent to the issuer, and where it comes back to.
async fn halfway(provider: &Provider, gateway: &Gateway) -> (Browser, String) {
    let mut browser = Browser::at(gateway).await;
    let sent = browser.show("/").await;
    let callback = provider.log_in(sent.header("location").unwrap());
    (browser, callback)
}

#[tokio::test]
async fn a_code_is_good_once_and_for_the_browser_that_was_sent_for_it_alone() {
    let (provider, gateway) = site().await;
    let (mut ada, callback) = halfway(&provider, &gateway).await;
    let mut mallory = Browser::at(&gateway).await;
    assert_eq!(mallory.show(&callback).await.status, 400, "a browser without the cookie");
    mallory.show("/").await;
    assert_eq!(mallory.show(&callback).await.status, 400, "one with a cookie of its own");
    let (_, others) = halfway(&provider, &gateway).await;
    assert_eq!(ada.show(&others).await.status, 400, "somebody else's log-in is not hers");
    assert_eq!(provider.script().heard.len(), 0, "no code was redeemed");
    let kept = ada.cookies.clone();
    assert_eq!(ada.show(&callback).await.status, 302);
    assert_eq!(ada.show(&callback).await.status, 400, "the cookie is gone");
    ada.cookies = kept;
    assert_eq!(ada.show(&callback).await.status, 401, "the issuer knows that the code is used up");
    assert_eq!(provider.script().heard.len(), 2);
}

#[tokio::test]
async fn a_code_is_redeemed_with_the_verifier_that_its_challenge_is_from() {
    let (provider, gateway) = site().await;
    let (mut ada, first) = halfway(&provider, &gateway).await;
    let sent = ada.show("/").await;
    let second = provider.log_in(sent.header("location").unwrap());
    // The code of the one log-in with the state of the other, both of this browser.
    let (code, state) = (parameters(first.split_once('?').unwrap().1), parameters(second.split_once('?').unwrap().1));
    let iss = provider.issuer.replace(':', "%3A").replace('/', "%2F");
    let mixed =
        format!("/oauth2/callback?code={}&state={}&iss={iss}", code["code"].replace(' ', "%20"), state["state"]);
    assert_eq!(ada.show(&mixed).await.status, 401);
    let heard = provider.script().heard[0].0.clone();
    assert_eq!(heard["code_verifier"].len(), 43);
    let challenges = |location: &str| parameters(location.split_once('?').unwrap().1)["code_challenge"].clone();
    let other = ada.show("/").await;
    assert_ne!(challenges(sent.header("location").unwrap()), challenges(other.header("location").unwrap()));
}

#[tokio::test]
async fn an_answer_of_another_issuer_or_of_none_is_refused_before_the_code_is_shown_to_anybody() {
    let (provider, gateway) = site().await;
    for (iss, status) in [("&iss=https%3A%2F%2Fevil.example", 401), ("", 401), ("&iss=a&iss=b", 400)] {
        let (mut ada, callback) = halfway(&provider, &gateway).await;
        let changed = format!("{}{iss}", callback.split("&iss=").next().unwrap());
        assert_eq!(ada.show(&changed).await.status, status, "{iss}");
    }
    assert_eq!(provider.script().heard.len(), 0);
    let silent = Provider::start().await;
    silent.script().metadata["authorization_response_iss_parameter_supported"] = json!(false);
    gateway.publish(protected(&silent.issuer, |_, _| {})).await;
    let (mut ada, callback) = halfway(&silent, &gateway).await;
    let bare = callback.split("&iss=").next().unwrap();
    let other = format!("{bare}&iss=https%3A%2F%2Fevil.example");
    assert_eq!(ada.show(&other).await.status, 401, "what is said counts, announced or not");
    let (mut ada, callback) = halfway(&silent, &gateway).await;
    assert_eq!(ada.show(callback.split("&iss=").next().unwrap()).await.status, 302);
}

#[tokio::test]
async fn a_discovery_document_of_another_issuer_without_pkce_or_without_endpoints_is_not_used() {
    let gateway = Gateway::start(protected_by(&[], &say("in"))).await;
    let changes: [fn(&mut Value); 6] = [
        |said| said["issuer"] = json!("https://evil.example"),
        |said| said["code_challenge_methods_supported"] = json!(["plain"]),
        |said| said["token_endpoint_auth_methods_supported"] = json!(["private_key_jwt"]),
        |said| said["authorization_endpoint"] = json!("javascript:alert(1)"),
        |said| drop(said.as_object_mut().unwrap().remove("token_endpoint")),
        |said| *said = json!(["no object"]),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let provider = Provider::start().await;
        change(&mut provider.script().metadata);
        gateway.publish(protected(&provider.issuer, |_, _| {})).await;
        let answer = Browser::at(&gateway).await.show("/").await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (503, None), "{index}");
        assert!(provider.script().discovered > 0);
    }
}

#[tokio::test]
async fn an_id_token_that_is_not_for_this_log_in_is_refused() {
    let (provider, gateway) = site().await;
    type Change = fn(&mut Value);
    let claims: [(&str, Change); 13] = [
        ("another nonce", |claims| claims["nonce"] = json!("other")),
        ("no nonce", |claims| drop(claims.as_object_mut().unwrap().remove("nonce"))),
        ("another audience", |claims| claims["aud"] = json!("other")),
        ("several audiences and nobody named", |claims| claims["aud"] = json!([CLIENT, "other"])),
        ("another party", |claims| claims["azp"] = json!("other")),
        ("another issuer", |claims| claims["iss"] = json!("https://evil.example")),
        ("expired", |claims| claims["exp"] = json!(now() - 60)),
        ("no end", |claims| drop(claims.as_object_mut().unwrap().remove("exp"))),
        ("not valid yet", |claims| claims["nbf"] = json!(now() + 600)),
        ("nobody", |claims| claims["sub"] = json!("")),
        ("no subject", |claims| drop(claims.as_object_mut().unwrap().remove("sub"))),
        ("no time", |claims| drop(claims.as_object_mut().unwrap().remove("iat"))),
        ("of a log-out", |claims| claims["events"] = json!({super::provider::LOGOUT_EVENT: {}})),
    ];
    let headers: [(&str, Change); 4] = [
        ("alg none", |header| header["alg"] = json!("none")),
        ("a shared secret", |header| header["alg"] = json!("HS256")),
        ("another key's algorithm", |header| header["alg"] = json!("RS256")),
        ("another type", |header| header["typ"] = json!("logout+jwt")),
    ];
    for (what, change) in claims {
        provider.script().claims = Box::new(change);
        let (mut ada, callback) = halfway(&provider, &gateway).await;
        assert_eq!(ada.show(&callback).await.status, 401, "{what}");
        assert_eq!(ada.cookies.len(), 0, "{what}");
    }
    provider.script().claims = Box::new(|_| {});
    for (what, change) in headers {
        provider.script().header = Box::new(change);
        let (mut ada, callback) = halfway(&provider, &gateway).await;
        assert_eq!(ada.show(&callback).await.status, 401, "{what}");
    }
    provider.script().header = Box::new(|_| {});
    provider.script().claims = Box::new(|claims| {
        claims["aud"] = json!([CLIENT, "other"]);
        claims["azp"] = json!(CLIENT);
    });
    assert_eq!(Browser::at(&gateway).await.log_in(&provider, "/").await, "/");
}

#[tokio::test]
async fn an_answer_of_the_token_endpoint_that_is_none_logs_nobody_in() {
    let (provider, gateway) = site().await;
    for (instead, status) in [
        ("500 Oh", 503),
        ("401 Unauthorized", 503),
        ("302 Found\r\nlocation: /other", 503),
        ("200 OK", 503),
        ("400 Bad Request", 401),
    ] {
        provider.script().instead = Some(instead);
        let (mut ada, callback) = halfway(&provider, &gateway).await;
        assert_eq!(ada.show(&callback).await.status, status, "{instead}");
        assert!(!ada.cookies.contains_key("sid"));
    }
    provider.script().instead = None;
    for change in [
        (|answer: &mut Value| drop(answer.as_object_mut().unwrap().remove("id_token"))) as fn(&mut Value),
        |answer| answer["id_token"] = json!(7),
        |answer| answer["expires_in"] = json!([]),
    ] {
        provider.script().tokens = Box::new(change);
        let (mut ada, callback) = halfway(&provider, &gateway).await;
        assert_eq!(ada.show(&callback).await.status, 503);
    }
}

#[tokio::test]
async fn a_browser_comes_back_to_this_host_whatever_it_asked_for() {
    let (provider, gateway) = site().await;
    for (asked, back) in [
        ("//evil.example/", "/evil.example/"),
        ("/%2Fevil.example", "/%2Fevil.example"),
        ("/?to=https://evil.example", "/?to=https://evil.example"),
        ("/a/..//evil.example", "/evil.example"),
        (&*format!("/?{}", "x".repeat(4000)), "/"),
    ] {
        assert_eq!(Browser::at(&gateway).await.log_in(&provider, asked).await, back, "{asked}");
    }
    let mut ada = Browser::at(&gateway).await;
    let sent = ada.show("/mine").await;
    let callback = provider.log_in(sent.header("location").unwrap());
    let led = format!("{callback}&back=https://evil.example&redirect_uri=https://evil.example&rd=//evil.example");
    assert_eq!(ada.show(&led).await.header("location"), Some("/mine"));
}

#[tokio::test]
async fn a_cookie_that_was_changed_or_made_for_something_else_is_none() {
    let provider = Provider::start().await;
    let host = |name: &str| HostPattern::parse(name);
    let one = |name, at: &str| (name, host(at), policy(&provider.issuer, |_, _| {}));
    let policies = [
        one("web", "a.example"),
        one("other", "b.example"),
        ("web2", host("c.example"), policy(&provider.issuer, |_, _| {})),
    ];
    let mut snapshot = protected_by(&policies, &say("in"));
    // The first policy is for a third host too.
    let key = ravelin_snapshot::ObjectKey::new("shop", "web");
    let mut third = crate::gateway::route(host("d.example"), say("in"));
    third.rules[0].auth = ravelin_snapshot::route::Guard::Policy(key);
    snapshot.routes.insert(ravelin_snapshot::ObjectKey::new("shop", "third"), ravelin_snapshot::Part::new(third));
    let gateway = Gateway::start(snapshot).await;
    let mut ada = Browser::at_host(&gateway, "a.example").await;
    ada.log_in(&provider, "/").await;
    assert_eq!(ada.get("/", &[]).await.status, 200);
    let good = ada.cookies["sid"].clone();
    for other in ["b.example", "c.example", "d.example"] {
        let mut browser = Browser::at_host(&gateway, other).await;
        browser.cookies.insert("sid".into(), good.clone());
        assert_eq!(browser.get("/", &[]).await.status, 401, "{other}");
    }
    for at in (0..good.len()).step_by(7) {
        let mut forged = good.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        ada.cookies.insert("sid".into(), String::from_utf8(forged).unwrap());
        assert_eq!(ada.get("/", &[]).await.status, 401, "{at}");
    }
    for bad in ["", "1.", "0.", "9.a", "2.a", &good[2..], &good[..good.len() - 1]] {
        ada.cookies.insert("sid".into(), bad.to_owned());
        assert_eq!(ada.get("/", &[]).await.status, 401, "{bad:?}");
    }
    ada.cookies.insert("sid".into(), good.clone());
    let twice = format!("sid={good}; sid={good}");
    assert_eq!(Browser::at_host(&gateway, "a.example").await.get("/", &[("cookie", &twice)]).await.status, 401);
    let mut mallory = Browser::at_host(&gateway, "a.example").await;
    let sent = mallory.show("/").await;
    let (name, login) = mallory.cookies.pop_first().unwrap();
    mallory.cookies.insert("sid".into(), format!("1.{login}"));
    assert_eq!(mallory.get("/", &[]).await.status, 401, "a log-in that is under way is no session");
    mallory.cookies.insert(name, good[2..].to_owned());
    let callback = provider.log_in(sent.header("location").unwrap());
    assert_eq!(mallory.show(&callback).await.status, 400, "nor the other way round");
}

#[tokio::test]
async fn what_is_no_answer_of_an_issuer_is_refused_at_the_callback() {
    let (provider, gateway) = site().await;
    let (mut ada, callback) = halfway(&provider, &gateway).await;
    let state = parameters(callback.split_once('?').unwrap().1)["state"].clone();
    let long = format!("code=a&state={}", "s".repeat(5000));
    for query in
        ["code=a", "state=", "code=a&state=b", "code=a&state=%00", "code=a&state=%FF", "code=a&state=é", &*long]
    {
        let query = query.replace('é', "%C3%A9");
        assert_eq!(ada.show(&format!("/oauth2/callback?{query}")).await.status, 400, "{query}");
    }
    let twice = format!("/oauth2/callback?code=a&code=b&state={state}");
    assert_eq!(ada.show(&twice).await.status, 400);
    assert_eq!(ada.post(&callback, "").await.status, 400, "nobody posts a code");
    let refused = ada.show(&format!("/oauth2/callback?error=access_denied&state={state}")).await;
    assert_eq!((refused.status.as_u16(), refused.header("location")), (401, None), "and is not sent there again");
    assert!(!refused.text().contains("access_denied"));
    assert_eq!(provider.script().heard.len(), 0);
}

#[tokio::test]
async fn the_paths_of_a_log_in_are_its_own_though_the_policy_excludes_them() {
    let provider = Provider::start().await;
    let mut excluding = policy(&provider.issuer, |_, _| {});
    let path = ravelin_snapshot::route::PathMatch::Prefix("/".into());
    excluding.exclude = vec![ravelin_snapshot::auth::Exclusion { path, method: None }];
    let gateway = Gateway::start(protected_by(&[("web", HostPattern::Any, excluding)], &say("in"))).await;
    let mut browser = Browser::at(&gateway).await;
    assert_eq!(browser.show("/").await.text(), "in");
    assert_eq!(browser.show("/oauth2/callback?code=a&state=b").await.status, 400);
    assert_eq!(browser.show("/logout").await.text(), "You are logged out.\n");
}
