//! Log-in of browsers, with an issuer that is played by a few lines.

mod attacks;
mod browser;
mod logout;
mod provider;
mod refresh;

use ravelin_echo::client::{Client, Protocol};
use ravelin_snapshot::{
    HostPattern, ObjectKey, Part, Secret, Snapshot,
    auth::{AuthPolicy, Authentication, AuthorizationRule, Effect, ForwardedHeader, Mode, Network, OidcMethod},
    expression::{Attribute, Expression, Function, Node},
    route::{Action, Guard},
};
use serde_json::json;
use tokio::net::TcpListener;

use self::{
    browser::Browser,
    provider::{CLIENT, Provider, SECRET, parameters},
};
use crate::gateway::{Gateway, add_backend, echo, forward, office, route, say};

fn method(issuer: &str) -> OidcMethod {
    OidcMethod {
        issuer: issuer.into(),
        authorities: None,
        client_id: CLIENT.into(),
        client_secret: Secret::new(SECRET),
        scopes: vec!["openid".into(), "orders:read".into()],
        redirect_path: "/oauth2/callback".into(),
        logout_path: "/logout".into(),
        cookie: "sid".into(),
        ttl_ms: 3_600_000,
    }
}

fn policy(issuer: &str, change: impl FnOnce(&mut OidcMethod, &mut Authentication)) -> AuthPolicy {
    let mut method = method(issuer);
    let mut authentication = Authentication::default();
    change(&mut method, &mut authentication);
    authentication.oidc = Some(method);
    AuthPolicy { network: Network::default(), authentication: Some(authentication), ..office() }
}

fn protected_by(policies: &[(&str, HostPattern, AuthPolicy)], action: &Action) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for (name, host, policy) in policies {
        let key = ObjectKey::new("shop", *name);
        let mut route = route(host.clone(), action.clone());
        route.rules[0].auth = Guard::Policy(key.clone());
        snapshot.routes.insert(ObjectKey::new("shop", *name), Part::new(route));
        snapshot.auth.insert(key, Part::new(policy.clone()));
    }
    snapshot
}

fn protected(issuer: &str, change: impl FnOnce(&mut OidcMethod, &mut Authentication)) -> Snapshot {
    protected_by(&[("web", HostPattern::Any, policy(issuer, change))], &say("in"))
}

#[tokio::test]
async fn a_browser_logs_in_at_the_issuer_and_comes_back_to_what_it_wanted() {
    let (provider, echo) = (Provider::start().await, echo());
    let says = |attribute| Expression { source: "as written".into(), node: Node::Attribute(attribute) };
    let mut policy = policy(&provider.issuer, |_, _| {});
    policy.forward = vec![ForwardedHeader { header: "x-user".into(), value: says(Attribute::CallerId) }];
    let scopes = Node::Attribute(Attribute::CallerScopes);
    let arguments = vec![Node::String("orders:read".into()), scopes];
    let when = Expression { source: "read".into(), node: Node::Call { function: Function::In, arguments } };
    policy.rules = vec![AuthorizationRule { name: "readers".into(), effect: Effect::Allow, when }];
    let mut snapshot = Snapshot::default();
    let backend = add_backend(&mut snapshot, "echo", echo.address());
    let mut all = route(HostPattern::Any, forward(backend));
    let key = ObjectKey::new("shop", "web");
    all.rules[0].auth = Guard::Policy(key.clone());
    snapshot.routes.insert(key.clone(), Part::new(all));
    snapshot.auth.insert(key, Part::new(policy));
    let gateway = Gateway::start(snapshot).await;
    let mut browser = Browser::at(&gateway).await;
    browser.cookies.insert("other".into(), "1".into());
    assert_eq!(browser.log_in(&provider, "/cart//x?a=%2F&b").await, "/cart/x?a=%2F&b");
    let names: Vec<&String> = browser.cookies.keys().collect();
    assert_eq!(names, ["other", "sid"], "the log-in's own cookie is gone");
    let seen = browser.show("/cart").await;
    assert_eq!((seen.status.as_u16(), echo.requests()), (200, 1), "nobody else has come to the backend");
    let headers = &seen.json()["headers"];
    assert_eq!((&headers["x-user"], &headers["cookie"]), (&json!(["ada"]), &json!(["other=1"])), "{headers}");
    let (form, head) = provider.script().heard[0].clone();
    assert_eq!(form["redirect_uri"], format!("http://{}/oauth2/callback", gateway.http()));
    // `web%3A1:hunter%202`, as RFC 6749 wants it.
    assert!(
        head.to_ascii_lowercase()
            .contains("authorization: basic d2viJTNBMTpodW50ZXIlMjAy".to_ascii_lowercase().as_str())
    );
    assert!(!form.contains_key("client_secret"));
    assert_eq!(browser.get("/", &[]).await.status, 200, "a script of the page has the session too");
}

#[tokio::test]
async fn only_a_page_is_sent_to_the_issuer_and_all_else_gets_a_401() {
    let provider = Provider::start().await;
    let gateway = Gateway::start(protected(&provider.issuer, |_, _| {})).await;
    let mut browser = Browser::at(&gateway).await;
    let html = ("accept", "text/html");
    for (headers, status) in [
        (vec![html], 302),
        (vec![("accept", "application/json, Text/HTML;q=0.1")], 302),
        (vec![html, ("sec-fetch-mode", "navigate")], 302),
        (vec![], 401),
        (vec![("accept", "*/*")], 401),
        (vec![("accept", "application/json")], 401),
        (vec![("accept", "text/html;q=0")], 401),
        (vec![html, ("x-requested-with", "XMLHttpRequest")], 401),
        (vec![html, ("sec-fetch-mode", "cors")], 401),
        (vec![html, ("authorization", "Basic YTpi")], 302),
    ] {
        let answer = browser.get("/", &headers).await;
        assert_eq!(answer.status, status, "{headers:?}");
        if status == 401 {
            assert_eq!(answer.header("www-authenticate"), Some("OpenIdConnect"));
            assert!(answer.header("set-cookie").is_none());
        } else {
            assert_eq!(answer.header("cache-control"), Some("no-store"));
        }
    }
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    let posted = client.post("/", &[html], "a=b").await.unwrap();
    assert_eq!(posted.status, 401, "a form would be lost on the way");
    assert!(browser.cookies.len() <= 5, "log-ins that are never ended do not heap up: {:?}", browser.cookies.keys());
}

#[tokio::test]
async fn a_large_session_is_cut_into_cookies_of_less_than_4_kib_and_one_that_is_too_large_is_refused() {
    let provider = Provider::start().await;
    provider.script().claims = Box::new(|claims| claims["groups"] = json!(["g".repeat(8000)]));
    let gateway = Gateway::start(protected(&provider.issuer, |_, _| {})).await;
    let mut browser = Browser::at(&gateway).await;
    browser.log_in(&provider, "/").await;
    assert!(browser.cookies.len() >= 4, "{:?}", browser.cookies.keys());
    assert_eq!(browser.show("/").await.text(), "in");
    let whole = browser.cookies.clone();
    browser.cookies.remove("sid.2");
    assert_eq!(browser.get("/", &[]).await.status, 401, "pieces are missing");
    assert_eq!(browser.cookies.len(), 0, "what is left is taken back");
    browser.cookies = whole;
    provider.script().claims = Box::new(|_| {});
    provider.script().tokens = Box::new(|answer| answer["refresh_token"] = json!("r".repeat(60_000)));
    let mut other = Browser::at(&gateway).await;
    let sent = other.show("/").await;
    let back = other.show(&provider.log_in(sent.header("location").unwrap())).await;
    assert_eq!((back.status.as_u16(), other.cookies.len()), (503, 0), "{back:?}");
    provider.script().tokens = Box::new(|_| {});
    let sent = browser.get("/oauth2/callback", &[("accept", "text/html")]).await;
    let back = browser.show(&provider.log_in(sent.header("location").unwrap())).await;
    assert_eq!(back.header("location"), Some("/"), "a log-in can be asked for");
    assert_eq!(browser.cookies.keys().collect::<Vec<_>>(), ["sid"], "pieces that are too many are taken back");
    assert_eq!(browser.show("/").await.text(), "in");
}

#[tokio::test]
async fn without_its_issuer_nobody_logs_in_and_who_is_in_stays_in() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let gateway = Gateway::start(protected(&nobody, |_, _| {})).await;
    let mut browser = Browser::at(&gateway).await;
    let refused = browser.show("/").await;
    assert_eq!((refused.status.as_u16(), refused.json()["reason"].as_str()), (503, Some("policy_invalid")));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(browser.get("/", &[]).await.status, 401);
    let provider = Provider::start().await;
    gateway.publish(protected(&provider.issuer, |_, _| {})).await;
    browser.log_in(&provider, "/").await;
    let sent = Browser::at(&gateway).await.show("/").await;
    let callback = provider.log_in(sent.header("location").unwrap());
    drop(provider);
    assert_eq!(browser.show("/").await.text(), "in");
    let mut late = Browser::at(&gateway).await;
    for cookie in sent.headers.get_all("set-cookie") {
        let (name, value) = cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
        late.cookies.insert(name.into(), value.into());
    }
    let refused = late.show(&callback).await;
    assert_eq!((refused.status.as_u16(), late.cookies.len()), (503, 1), "it may try again");
}

#[tokio::test]
async fn a_policy_that_changes_or_another_one_ends_sessions_and_an_equal_one_does_not() {
    let provider = Provider::start().await;
    let gateway = Gateway::start(protected(&provider.issuer, |_, _| {})).await;
    let mut browser = Browser::at(&gateway).await;
    browser.log_in(&provider, "/").await;
    gateway.publish(protected(&provider.issuer, |_, _| {})).await;
    assert_eq!(browser.show("/").await.text(), "in");
    gateway.publish(protected(&provider.issuer, |method, _| method.ttl_ms = 7_200_000)).await;
    assert_eq!(browser.show("/").await.text(), "in");
    gateway.publish(protected(&provider.issuer, |method, _| method.client_id = "other".into())).await;
    assert_eq!(browser.show("/").await.status, 302);
}

#[tokio::test]
async fn where_a_log_in_is_optional_the_anonymous_pass_and_can_log_in_and_a_bad_session_does_not_pass() {
    let provider = Provider::start().await;
    let gateway = Gateway::start(protected(&provider.issuer, |_, said| said.optional = true)).await;
    let mut browser = Browser::at(&gateway).await;
    assert_eq!(browser.show("/").await.text(), "in");
    browser.cookies.insert("sid".into(), "1.forged".into());
    assert_eq!(browser.get("/", &[]).await.status, 401);
    assert_eq!(browser.get("/", &[]).await.text(), "in", "the bad cookie is taken back");
    let sent = browser.show("/oauth2/callback").await;
    let asked = parameters(sent.header("location").unwrap().split_once('?').unwrap().1);
    assert_eq!(asked["scope"], "openid orders:read");
}

#[tokio::test]
async fn a_policy_that_only_watches_takes_no_cookie_and_answers_no_path() {
    let provider = Provider::start().await;
    let mut watching = policy(&provider.issuer, |_, _| {});
    watching.mode = Mode::Shadow;
    let gateway = Gateway::start(protected_by(&[("web", HostPattern::Any, watching)], &say("in"))).await;
    let mut browser = Browser::at(&gateway).await;
    browser.cookies.insert("sid".into(), "the application's own".into());
    for path in ["/", "/logout", "/oauth2/callback?code=a&state=b"] {
        let answer = browser.show(path).await;
        assert_eq!((answer.text().as_str(), answer.header("set-cookie")), ("in", None), "{path}");
    }
}
