//! A log-in goes on for as long as its issuer says so.

use ravelin_dataplane::Settings;
use serde_json::json;

use super::{browser::Browser, protected, provider::Provider};
use crate::gateway::Gateway;

/// What it hands out is stale at once, and each refresh token is good for one time.
fn in_steps(provider: &Provider) {
    let step = std::sync::atomic::AtomicUsize::new(1);
    provider.script().tokens = Box::new(move |answer| {
        answer["expires_in"] = json!(0);
        let step = step.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        answer["refresh_token"] = json!(format!("r{step}"));
    });
}

#[tokio::test]
async fn a_stale_log_in_is_refreshed_once_for_all_who_come_with_its_cookie() {
    let provider = Provider::start().await;
    in_steps(&provider);
    let settings = Settings { workers: Some(2), ..Settings::default() };
    let gateway = Gateway::with(settings, protected(&provider.issuer, |_, _| {})).await;
    let mut browser = Browser::at(&gateway).await;
    browser.log_in(&provider, "/").await;
    let (first, heard) = (browser.cookies.clone(), provider.script().heard.len());
    let mut tabs = Vec::new();
    for _ in 0..8 {
        let mut tab = Browser::at(&gateway).await;
        tab.cookies = first.clone();
        tabs.push(tab);
    }
    let shown = futures_util::future::join_all(tabs.iter_mut().map(|tab| tab.show("/"))).await;
    for answer in shown {
        assert_eq!((answer.text().as_str(), answer.header("cache-control")), ("in", Some("no-store")));
    }
    assert_eq!(provider.script().heard.len(), heard + 1, "one token, one refresh");
    assert_eq!(provider.script().heard[heard].0["refresh_token"], "r1");
    browser = tabs.pop().unwrap();
    assert_ne!(browser.cookies, first);
    assert_eq!(browser.get("/", &[]).await.text(), "in");
    assert_eq!(provider.script().heard[heard + 1].0["refresh_token"], "r2", "the newest token is in the cookie");
}

#[tokio::test]
async fn a_log_in_ends_when_the_issuer_refuses_it_or_hands_out_somebody_elses_and_goes_on_while_it_is_away() {
    let provider = Provider::start().await;
    let gateway = Gateway::start(protected(&provider.issuer, |_, _| {})).await;
    let log_in = async || {
        provider.script().instead = None;
        provider.script().claims = Box::new(|_| {});
        in_steps(&provider);
        let mut browser = Browser::at(&gateway).await;
        browser.log_in(&provider, "/").await;
        browser
    };
    let mut browser = log_in().await;
    provider.script().refresh = None;
    assert_eq!(browser.get("/", &[]).await.status, 401, "the issuer takes it back");
    assert_eq!(browser.cookies.len(), 0);
    type Change = fn(&mut serde_json::Value);
    let changes: [Change; 3] = [
        |claims| claims["sub"] = json!("bob"),
        |claims| claims["aud"] = json!("other"),
        |claims| claims["nonce"] = json!("other"),
    ];
    for change in changes {
        let mut browser = log_in().await;
        provider.script().claims = Box::new(change);
        assert_eq!(browser.show("/").await.status, 302);
    }
    let mut browser = log_in().await;
    provider.script().tokens = Box::new(|answer| {
        answer["expires_in"] = json!(0);
        for name in ["id_token", "refresh_token"] {
            answer.as_object_mut().unwrap().remove(name);
        }
    });
    assert_eq!(browser.get("/", &[]).await.text(), "in", "what is not handed out anew stays as it is");
    assert_eq!(browser.get("/", &[]).await.text(), "in");
    let mut browser = log_in().await;
    let heard = provider.script().heard.len();
    provider.script().instead = Some("500 Oh");
    for _ in 0..3 {
        assert_eq!(browser.get("/", &[]).await.text(), "in", "the issuer is away");
    }
    assert_eq!(provider.script().heard.len(), heard + 1, "and is left alone for a while");
}

#[tokio::test]
async fn what_a_refresh_brings_reaches_the_browser_though_the_request_is_refused() {
    let provider = Provider::start().await;
    in_steps(&provider);
    let gateway = Gateway::start(protected(&provider.issuer, |_, _| {})).await;
    let mut browser = Browser::at(&gateway).await;
    browser.log_in(&provider, "/").await;
    let mut snapshot = protected(&provider.issuer, |_, _| {});
    let key = ravelin_snapshot::ObjectKey::new("shop", "web");
    let mut policy = snapshot.auth.get(&key).unwrap().value().as_ref().clone();
    let when = ravelin_snapshot::expression::Expression {
        source: "true".into(),
        node: ravelin_snapshot::expression::Node::Bool(true),
    };
    let effect = ravelin_snapshot::auth::Effect::Deny;
    policy.rules = vec![ravelin_snapshot::auth::AuthorizationRule { name: "nobody".into(), effect, when }];
    snapshot.auth.insert(key, ravelin_snapshot::Part::new(policy));
    gateway.publish(snapshot).await;
    let before = browser.cookies.clone();
    let refused = browser.get("/", &[]).await;
    assert_eq!((refused.status.as_u16(), refused.json()["rule"].as_str()), (403, Some("nobody")));
    assert_ne!(browser.cookies, before, "else the log-in would end with its used token");
}
