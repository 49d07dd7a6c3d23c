//! Tokens and keys on one policy.

use ravelin_snapshot::jwt::{JwtMethod, JwtProvider};

use super::*;
use crate::policy::auth::jwt::tests::{NOW, claims, provider, token};

/// Tokens after `Bearer`, in a cookie and in the query; keys in `x-api-key` and, as tokens, after `Bearer`.
fn both() -> auth::AuthPolicy {
    let bearer = CredentialSource::Header { name: "authorization".into(), prefix: "Bearer ".into() };
    let from = vec![
        bearer.clone(),
        CredentialSource::Cookie("token".into()),
        CredentialSource::QueryParam("access_token".into()),
    ];
    let mut said = policy();
    let authentication = said.authentication.as_mut().unwrap();
    authentication.jwt = Some(JwtMethod { providers: vec![JwtProvider { from, ..provider() }] });
    let api_key = authentication.api_key.as_mut().unwrap();
    api_key.from = vec![CredentialSource::Header { name: "x-api-key".into(), prefix: String::new() }, bearer];
    said
}

fn asked(headers: &[(&'static str, String)], query: &str) -> Asked {
    let headers = headers.iter().map(|(name, value)| (*name, leak(value))).collect();
    Asked { headers, query: leak(query), seconds: NOW, ..PLAIN }
}

fn leak(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

fn outcome(
    policy: &AuthPolicy,
    headers: &[(&'static str, String)],
    query: &str,
) -> Result<(String, &'static str), Reason> {
    let judged = asked(headers, query).judge(policy);
    judged.map(|admitted| (admitted.caller.id.clone(), admitted.caller.method)).map_err(|reject| reject.reason)
}

#[test]
fn any_method_accepts_a_bad_credential_refuses_and_two_of_a_kind_are_one_too_many() {
    let policy = compile(&both());
    let good = token(&claims());
    let bad = format!("{good}x");
    let bearer = |token: &str| ("authorization", format!("Bearer {token}"));
    let key = |key: &str| ("x-api-key", key.to_owned());
    let by_token = || Ok(("ada".to_owned(), "jwt"));
    let by_key = || Ok(("acme".to_owned(), "apiKey"));
    let refused = || Err(Reason::Unauthenticated);
    for (headers, query, expected) in [
        (vec![], String::new(), refused()),
        (vec![bearer(&good)], String::new(), by_token()),
        (vec![("cookie", format!("a=b; token={good}"))], String::new(), by_token()),
        (vec![], format!("access_token={good}"), by_token()),
        (vec![key("good")], String::new(), by_key()),
        (vec![bearer("good")], String::new(), by_key()),
        (vec![bearer(&bad)], String::new(), refused()),
        (vec![bearer("")], String::new(), refused()),
        (vec![("authorization", "Bearer".to_owned())], String::new(), refused()),
        (vec![key("bad")], String::new(), refused()),
        // Each of another kind.
        (vec![("cookie", format!("token={good}")), key("good")], String::new(), by_token()),
        (vec![key("good")], format!("access_token={good}"), by_token()),
        (vec![("cookie", format!("token={bad}")), key("good")], String::new(), refused()),
        (vec![("cookie", format!("token={good}")), key("bad")], String::new(), refused()),
        // Two of a kind.
        (vec![bearer(&good)], format!("access_token={good}"), refused()),
        (vec![bearer(&good), ("cookie", format!("token={good}"))], String::new(), refused()),
        (vec![bearer(&good), bearer(&good)], String::new(), refused()),
        (vec![bearer(&good), ("authorization", "Basic YTpi".to_owned())], String::new(), refused()),
        (vec![("authorization", "Basic YTpi".to_owned()), bearer(&good)], String::new(), refused()),
        (vec![("authorization", format!("Bearer {good}, Bearer {good}"))], String::new(), refused()),
        (vec![], format!("access_token={good}&access_token={good}"), refused()),
        // A key may stand in both places of this one, which makes two of them.
        (vec![bearer(&good), key("good")], String::new(), refused()),
    ] {
        assert_eq!(outcome(&policy, &headers, &query), expected, "{headers:?} {query}");
    }
}

#[test]
fn the_anonymous_pass_where_a_credential_is_optional_and_a_bad_token_does_not() {
    let mut said = both();
    said.authentication.as_mut().unwrap().optional = true;
    let policy = compile(&said);
    assert_eq!(outcome(&policy, &[], ""), Ok((String::new(), "")));
    assert_eq!(outcome(&policy, &[("authorization", "Basic YTpi".to_owned())], ""), Ok((String::new(), "")));
    for bad in ["Bearer", "Bearer x.y.z", "bearer\tx"] {
        assert_eq!(outcome(&policy, &[("authorization", bad.to_owned())], ""), Err(Reason::Unauthenticated), "{bad:?}");
    }
}

#[test]
fn a_refusal_says_why_as_rfc_6750_has_it_and_nothing_of_the_token() {
    let policy = compile(&both());
    let challenges = |headers: &[(&'static str, String)], query: &str| -> Vec<String> {
        let reject = asked(headers, query).judge(&policy).unwrap_err();
        reject.detail.unwrap().headers.into_iter().map(|(name, value)| format!("{name}: {value}")).collect()
    };
    let bearer = |rest: &str| format!("www-authenticate: Bearer realm=\"ravelin\"{rest}");
    let api_key = || "www-authenticate: ApiKey".to_owned();
    assert_eq!(challenges(&[], ""), [bearer(""), api_key()]);
    let old = token(&{
        let mut claims = claims();
        claims["exp"] = 1.into();
        claims
    });
    let expired = ", error=\"invalid_token\", error_description=\"the token has expired\"";
    assert_eq!(challenges(&[("authorization", format!("Bearer {old}"))], ""), [bearer(expired), api_key()]);
    let twice = ", error=\"invalid_request\", error_description=\"more than one credential\"";
    assert_eq!(challenges(&[("authorization", format!("Bearer {old}"))], "access_token=x"), [bearer(twice), api_key()]);
}

#[test]
fn a_token_stays_here_unless_the_policy_says_that_it_goes_on() {
    let good = token(&claims());
    for keep in [false, true] {
        let mut said = both();
        said.authentication.as_mut().unwrap().keep_credentials = keep;
        let policy = compile(&said);
        let forwarded = |asked: &Asked| {
            let admitted = asked.judge(&policy).unwrap();
            let mut upstream = asked.map();
            let headers = asked.view(|view, now| policy.forwarded(&admitted, view, &RuleName::default(), now));
            policy.forward(&headers, &mut upstream);
            (upstream, policy.upstream_query(&admitted, asked.query).into_owned())
        };
        let (headers, _) = forwarded(&asked(&[("authorization", format!("bearer {good}"))], ""));
        assert_eq!(headers.contains_key("authorization"), keep);
        let (headers, _) = forwarded(&asked(&[("cookie", format!("a=1; token={good}; b=2"))], ""));
        assert_eq!(headers["cookie"].to_str().unwrap().contains("token="), keep);
        let (_, query) = forwarded(&asked(&[], &format!("a=1&access%5ftoken={good}")));
        assert_eq!(query.contains("token"), keep);
    }
}
