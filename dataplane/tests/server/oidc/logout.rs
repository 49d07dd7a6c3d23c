//! Ways out.

use serde_json::{Value, json};

use super::{
    browser::Browser,
    protected,
    provider::{CLIENT, LOGOUT_EVENT, Provider, now, parameters},
};
use crate::gateway::Gateway;

async fn site() -> (Provider, Gateway) {
    let provider = Provider::start().await;
    let gateway = Gateway::start(protected(&provider.issuer, |_, _| {})).await;
    (provider, gateway)
}

async fn logged_in(provider: &Provider, gateway: &Gateway) -> Browser {
    let mut browser = Browser::at(gateway).await;
    browser.log_in(provider, "/").await;
    browser
}

#[tokio::test]
async fn who_logs_out_is_sent_on_to_the_issuer_and_a_copy_of_the_cookie_is_worth_nothing() {
    let (provider, gateway) = site().await;
    let mut browser = logged_in(&provider, &gateway).await;
    let mut other = logged_in(&provider, &gateway).await;
    let mut thief = Browser::at(&gateway).await;
    thief.cookies = browser.cookies.clone();
    assert_eq!(thief.get("/", &[]).await.status, 200);
    let sent = browser.show("/logout").await;
    assert_eq!((sent.status.as_u16(), browser.cookies.len()), (303, 0));
    let location = sent.header("location").unwrap();
    assert!(location.starts_with(&format!("{}/end?", provider.issuer)), "{location}");
    let asked = parameters(location.split_once('?').unwrap().1);
    let here = format!("http://{}/logout", gateway.http());
    assert_eq!((&*asked["client_id"], &asked["post_logout_redirect_uri"]), (CLIENT, &here));
    assert_eq!(asked["id_token_hint"].split('.').count(), 3);
    assert_eq!(browser.show("/logout").await.text(), "You are logged out.\n", "where the issuer sends it back to");
    assert_eq!(thief.get("/", &[]).await.status, 401);
    assert_eq!(other.get("/", &[]).await.status, 200, "another log-in of the same user goes on");
}

#[tokio::test]
async fn another_sites_link_logs_nobody_out() {
    let (provider, gateway) = site().await;
    let mut browser = logged_in(&provider, &gateway).await;
    let led = [("accept", "text/html"), ("sec-fetch-site", "cross-site")];
    assert_eq!(browser.get("/logout", &led).await.status, 403);
    assert_eq!(browser.get("/", &[]).await.status, 200);
    let mut stranger = Browser::at(&gateway).await;
    assert_eq!(stranger.get("/logout", &led).await.text(), "You are logged out.\n");
}

#[tokio::test]
async fn an_issuer_that_tells_of_a_log_out_ends_the_session_or_all_of_the_user() {
    let (provider, gateway) = site().await;
    provider.script().claims = Box::new(|claims| claims["iat"] = json!(now() - 10));
    let mut first = logged_in(&provider, &gateway).await;
    provider.script().claims = Box::new(|claims| {
        claims["sid"] = json!("s2");
        claims["iat"] = json!(now() - 10);
    });
    let mut second = logged_in(&provider, &gateway).await;
    let tell = async |token: String| {
        let mut issuer = Browser::at(&gateway).await;
        issuer.post("/logout", &format!("logout_token={token}")).await
    };
    let told = tell(provider.logout_token(|_, claims| claims["sid"] = json!("s1"))).await;
    assert_eq!((told.status.as_u16(), told.header("cache-control")), (200, Some("no-store")));
    assert_eq!((first.get("/", &[]).await.status.as_u16(), second.get("/", &[]).await.status.as_u16()), (401, 200));
    provider.script().claims = Box::new(|claims| claims["iat"] = json!(now() + 10));
    let mut later = logged_in(&provider, &gateway).await;
    assert_eq!(tell(provider.logout_token(|_, _| {})).await.status, 200);
    assert_eq!(second.get("/", &[]).await.status, 401);
    assert_eq!(later.get("/", &[]).await.status, 200, "who has logged in since then is in");
    gateway.publish(protected(&provider.issuer, |method, _| method.ttl_ms = 7_200_000)).await;
    let ended = logged_in_before(&provider, &gateway).await;
    assert_eq!(ended, 401, "a change of the policy wakes nobody");
}

/// Who comes with a session that has begun before the last log-out of all.
async fn logged_in_before(provider: &Provider, gateway: &Gateway) -> u16 {
    provider.script().claims = Box::new(|claims| claims["iat"] = json!(now() - 20));
    let mut browser = logged_in(provider, gateway).await;
    browser.get("/", &[]).await.status.as_u16()
}

#[tokio::test]
async fn what_is_no_token_about_a_log_out_ends_nothing() {
    let (provider, gateway) = site().await;
    let mut browser = logged_in(&provider, &gateway).await;
    type Change = fn(&mut Value, &mut Value);
    let changes: [(&str, Change); 14] = [
        ("an ID token's type", |header, _| header["typ"] = json!("id+jwt")),
        ("an access token", |header, _| header["typ"] = json!("at+jwt")),
        ("alg none", |header, _| header["alg"] = json!("none")),
        ("a shared secret", |header, _| header["alg"] = json!("HS256")),
        ("a nonce", |_, claims| claims["nonce"] = json!("n")),
        ("no event", |_, claims| drop(claims.as_object_mut().unwrap().remove("events"))),
        ("another event", |_, claims| claims["events"] = json!({"http://other.example": {}})),
        ("an event that is no object", |_, claims| claims["events"] = json!({LOGOUT_EVENT: true})),
        ("of nobody", |_, claims| drop(claims.as_object_mut().unwrap().remove("sub"))),
        ("for others", |_, claims| claims["aud"] = json!("other")),
        ("another issuer", |_, claims| claims["iss"] = json!("https://evil.example")),
        ("expired", |_, claims| claims["exp"] = json!(now() - 60)),
        ("without a name", |_, claims| drop(claims.as_object_mut().unwrap().remove("jti"))),
        ("a user that is no text", |_, claims| claims["sub"] = json!(7)),
    ];
    for (what, change) in changes {
        let token = provider.logout_token(change);
        let told = browser.post("/logout", &format!("logout_token={token}")).await;
        assert_eq!(told.status, 400, "{what}");
    }
    let good = provider.logout_token(|_, _| {});
    let forged = format!("{}A", &good[..good.len() - 1]);
    for body in [
        format!("logout_token={good}&logout_token={good}"),
        format!("logout_token={forged}x"),
        "logout_token=".to_owned(),
        format!("logout_token={}", "a".repeat(40_000)),
    ] {
        assert_eq!(browser.post("/logout", &body).await.status, 400);
    }
    assert_eq!(browser.get("/", &[]).await.status, 200);
    let stranger = browser.post("/logout", "a=b").await;
    assert_eq!(
        stranger.text(),
        "You are logged out.\n",
        "a form without a token is a user's, here one without a session"
    );
}
