mod methods;

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use http::{HeaderMap, HeaderValue, Method};
use ravelin_snapshot::{
    ObjectKey, Secret,
    auth::{ApiKey, ApiKeyMethod, CredentialSource, Exclusion},
    expression::{Attribute, Expression, Node},
    route::PathMatch,
};

use super::*;
use crate::request::Scheme;

fn key(text: &str, id: &str, expires: Option<i64>) -> ApiKey {
    let sha256: String = digest(&SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let sha256 = Secret::new(sha256);
    ApiKey { name: id.into(), sha256, id: id.into(), scopes: vec![], groups: vec![], plan: String::new(), expires }
}

fn policy() -> auth::AuthPolicy {
    let from = vec![
        CredentialSource::Header { name: "x-api-key".into(), prefix: String::new() },
        CredentialSource::Header { name: "authorization".into(), prefix: "Key ".into() },
        CredentialSource::Cookie("key".into()),
        CredentialSource::QueryParam("key".into()),
    ];
    let keys = vec![key("good", "acme", None), key("old", "late", Some(100))];
    auth::AuthPolicy {
        mode: Mode::Enforce,
        exclude: vec![],
        network: auth::Network::default(),
        authentication: Some(auth::Authentication {
            api_key: Some(ApiKeyMethod { from, keys }),
            ..auth::Authentication::default()
        }),
        rules: vec![],
        external: None,
        forward: vec![],
    }
}

fn compile(said: &auth::AuthPolicy) -> AuthPolicy {
    AuthPolicy::compile(&ObjectKey::new("n", "p"), &Arc::new(said.clone()), None, &Outside::default()).unwrap()
}

struct Asked {
    path: &'static str,
    query: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    source: &'static str,
    seconds: u64,
}

const PLAIN: Asked = Asked { path: "/", query: "", headers: vec![], source: "10.1.1.1:1", seconds: 99 };

impl Asked {
    fn map(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    fn view<R>(&self, run: impl FnOnce(&RequestView<'_>, SystemTime) -> R) -> R {
        let view = RequestView {
            method: &Method::GET,
            path: self.path,
            raw: self.path,
            query: self.query,
            headers: &self.map(),
            host: "h",
            authority: "h",
            scheme: Scheme::Http,
            id: "",
            source: self.source.parse().unwrap(),
            chain: None,
        };
        run(&view, SystemTime::UNIX_EPOCH + Duration::from_secs(self.seconds))
    }

    fn judge(&self, policy: &AuthPolicy) -> Result<Admitted, Reject> {
        self.view(|view, now| {
            let judged = policy.judge_unless_coming(&policy.welcome(view)?, view, &RuleName::default(), now);
            judged.unwrap_or_else(|_| panic!("there is nothing to wait for"))
        })
    }

    /// The caller's id, or the reason and the rule.
    fn outcome(&self, policy: &AuthPolicy) -> Result<String, (Reason, Option<String>)> {
        let judged = self.judge(policy).map(|admitted| admitted.caller.id.clone());
        judged.map_err(|reject| (reject.reason, reject.detail.and_then(|detail| detail.rule)))
    }
}

#[test]
fn a_key_is_taken_from_each_place_and_two_of_them_are_refused() {
    let policy = compile(&policy());
    let refused = || Err((Reason::Unauthenticated, None));
    for (query, headers, expected) in [
        ("", vec![], refused()),
        ("", vec![("x-api-key", "good")], Ok("acme".to_owned())),
        ("", vec![("authorization", "key good")], Ok("acme".to_owned())),
        ("", vec![("authorization", "Basic good")], refused()),
        ("", vec![("cookie", "a=b; key=good;c")], Ok("acme".to_owned())),
        ("a=b&key=go%6fd", vec![], Ok("acme".to_owned())),
        ("", vec![("x-api-key", "bad")], refused()),
        ("", vec![("x-api-key", "")], refused()),
        ("", vec![("x-api-key", "good"), ("x-api-key", "good")], refused()),
        ("key=good", vec![("x-api-key", "good")], refused()),
        ("key=good&key=good", vec![], refused()),
        ("", vec![("cookie", "key=good"), ("cookie", "key=bad")], refused()),
    ] {
        let asked = Asked { query, headers: headers.clone(), ..PLAIN };
        assert_eq!(asked.outcome(&policy), expected, "{query} {headers:?}");
    }
}

#[test]
fn a_key_is_good_until_it_expires() {
    let policy = compile(&policy());
    let at = |seconds| Asked { headers: vec![("x-api-key", "old")], seconds, ..PLAIN }.outcome(&policy);
    assert_eq!((at(99), at(100)), (Ok("late".to_owned()), Err((Reason::Unauthenticated, None))));
}

#[test]
fn optional_lets_the_anonymous_in_but_no_bad_key() {
    let mut said = policy();
    said.authentication.as_mut().unwrap().optional = true;
    let policy = compile(&said);
    assert_eq!(PLAIN.outcome(&policy), Ok(String::new()));
    let bad = Asked { headers: vec![("x-api-key", "bad")], ..PLAIN };
    assert_eq!(bad.outcome(&policy), Err((Reason::Unauthenticated, None)));
}

#[test]
fn deny_goes_before_allow_and_an_ipv4_client_of_a_socket_for_both_families_is_known() {
    let mut said = auth::AuthPolicy { authentication: None, ..policy() };
    said.network.allow = vec!["10.0.0.0/8".parse().unwrap()];
    said.network.deny = vec!["10.6.6.0/24".parse().unwrap()];
    let policy = compile(&said);
    let refused = Err((Reason::Forbidden, Some("network".to_owned())));
    for (source, expected) in [
        ("10.1.1.1:1", Ok(String::new())),
        ("[::ffff:10.1.1.1]:1", Ok(String::new())),
        ("10.6.6.6:1", refused.clone()),
        ("[::ffff:10.6.6.6]:1", refused.clone()),
        ("192.0.2.1:1", refused.clone()),
        ("[::1]:1", refused),
    ] {
        assert_eq!(Asked { source, ..PLAIN }.outcome(&policy), expected, "{source}");
    }
}

#[test]
fn excluded_paths_need_no_key_but_the_network_holds() {
    let mut said = policy();
    said.exclude = vec![Exclusion { path: PathMatch::Prefix("/public".into()), method: Some("GET".into()) }];
    said.network.deny = vec!["10.6.6.0/24".parse().unwrap()];
    let policy = compile(&said);
    let ask = |path, source| Asked { path, source, ..PLAIN }.outcome(&policy);
    assert_eq!(ask("/public/x", "10.1.1.1:1"), Ok(String::new()));
    assert_eq!(ask("/publicity", "10.1.1.1:1"), Err((Reason::Unauthenticated, None)));
    assert_eq!(ask("/public", "10.6.6.6:1"), Err((Reason::Forbidden, Some("network".to_owned()))));
    assert_eq!(ask("/public", "0.0.0.0:0"), Err((Reason::Forbidden, Some("network".to_owned()))), "it may be anybody");
}

#[test]
fn shadow_denies_nobody_and_counts_all() {
    let policy = compile(&auth::AuthPolicy { mode: Mode::Shadow, ..policy() });
    assert_eq!(PLAIN.outcome(&policy), Ok(String::new()));
    let good = Asked { headers: vec![("x-api-key", "good")], ..PLAIN };
    assert_eq!(good.outcome(&policy), Ok("acme".to_owned()));
    let outside = auth::Network { allow: vec![], deny: vec!["10.0.0.0/8".parse().unwrap()] };
    let elsewhere = compile(&auth::AuthPolicy { mode: Mode::Shadow, network: outside, ..self::policy() });
    assert_eq!(good.outcome(&elsewhere), Ok(String::new()));
    assert_eq!((elsewhere.decisions.allow.get(), elsewhere.decisions.shadow_deny.get()), (0, 1));
    let decisions = &policy.decisions;
    assert_eq!((decisions.allow.get(), decisions.deny.get(), decisions.shadow_deny.get()), (1, 0, 1));
}

#[test]
fn credentials_stay_here_and_forwarded_names_cannot_be_spoofed() {
    let mut said = policy();
    let value = Expression { source: "caller.id".into(), node: Node::Attribute(Attribute::CallerId) };
    said.forward = vec![auth::ForwardedHeader { header: "x-user-id".into(), value }];
    let policy = compile(&said);
    let asked = Asked {
        query: "a=1&key=good&b",
        headers: vec![
            ("x-user-id", "root"),
            ("x_user_id", "root"),
            ("x.user.id", "root"),
            ("x-other", "1"),
            ("cookie", "a=1; b=2"),
        ],
        ..PLAIN
    };
    let admitted = asked.judge(&policy).unwrap();
    let mut upstream = asked.map();
    let forwarded = asked.view(|view, now| policy.forwarded(&admitted, view, &RuleName::default(), now));
    policy.forward(&forwarded, &mut upstream);
    assert!(!upstream.contains_key("x_user_id") && !upstream.contains_key("x.user.id"));
    assert!(upstream["x-other"] == "1" && upstream["cookie"] == "a=1; b=2");
    assert_eq!(upstream["x-user-id"], "acme");
    assert_eq!(policy.upstream_query(&admitted, asked.query), "a=1&b");

    let asked = Asked { headers: vec![("cookie", "a=1; key=good; b=2")], ..PLAIN };
    let admitted = asked.judge(&policy).unwrap();
    let mut upstream = asked.map();
    let forwarded = asked.view(|view, now| policy.forwarded(&admitted, view, &RuleName::default(), now));
    policy.forward(&forwarded, &mut upstream);
    assert_eq!(upstream["cookie"], "a=1; b=2");
}
