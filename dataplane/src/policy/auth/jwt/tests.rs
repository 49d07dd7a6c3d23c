#![allow(clippy::needless_pass_by_value, reason = "tables of cases read better so")]

mod attacks;
mod issuer;
mod remote;
mod server;
mod wycheproof;

use std::time::{Duration, SystemTime};

use ravelin_snapshot::{auth::CredentialSource, jwk};
use serde_json::{Value, json};

use super::*;
use issuer::{ISSUER, encode};

/// The moment of all tests, in seconds since the epoch.
pub(in crate::policy::auth) const NOW: u64 = 1_800_000_000;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A provider that takes all but shared secrets.
pub(in crate::policy::auth) fn provider() -> JwtProvider {
    let algorithms = JwtAlgorithm::ALL.into_iter().filter(|algorithm| !algorithm.is_symmetric()).collect();
    JwtProvider {
        name: "idp".into(),
        issuer: "https://id.example".into(),
        audiences: vec!["orders".into()],
        algorithms,
        keys: fixed(ISSUER.keys()),
        from: vec![CredentialSource::Header { name: "authorization".into(), prefix: "Bearer ".into() }],
        clock_skew_ms: 30_000,
        claims: ClaimNames { id: "sub".into(), scopes: "scope".into(), groups: "groups".into() },
    }
}

fn fixed(keys: Vec<Value>) -> KeySource {
    let set = jwk::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
    KeySource::Fixed { secret: None, keys: set.keys }
}

fn jwt(providers: Vec<JwtProvider>) -> Arc<Jwt> {
    Jwt::compile(&JwtMethod { providers }, None, &Issuers::default()).unwrap()
}

pub(in crate::policy::auth) fn claims() -> Value {
    json!({"iss": "https://id.example", "sub": "ada", "aud": "orders", "exp": NOW + 300})
}

fn with(mut value: Value, name: &str, new: Value) -> Value {
    value[name] = new;
    value
}

fn without(mut value: Value, name: &str) -> Value {
    value.as_object_mut().unwrap().remove(name);
    value
}

fn kid(algorithm: JwtAlgorithm) -> &'static str {
    match algorithm {
        JwtAlgorithm::ES256 => "p256",
        JwtAlgorithm::ES384 => "p384",
        JwtAlgorithm::EdDSA => "edwards",
        _ => "rsa",
    }
}

fn header(algorithm: JwtAlgorithm) -> Value {
    json!({"alg": algorithm.as_str(), "kid": kid(algorithm), "typ": "JWT"})
}

fn sign(algorithm: JwtAlgorithm, header: &Value, claims: &Value) -> String {
    ISSUER.sign(algorithm, &header.to_string(), &claims.to_string())
}

/// An ES256 token with these claims.
pub(in crate::policy::auth) fn token(claims: &Value) -> String {
    sign(JwtAlgorithm::ES256, &header(JwtAlgorithm::ES256), claims)
}

fn judge(jwt: &Jwt, token: &str) -> Result<Arc<Caller>, Refused> {
    jwt.caller(token.as_bytes(), u16::MAX, at(NOW))
}

impl Jwt {
    fn caller(&self, token: &[u8], at: u16, now: SystemTime) -> Result<Arc<Caller>, Refused> {
        self.judge(token, at, now).map_err(|failed| failed.why)
    }
}

#[test]
fn every_algorithm_is_verified_and_only_where_it_is_accepted() {
    let shared = json!({"kty": "oct", "kid": "rsa", "k": encode(ISSUER.shared)});
    let keys = [ISSUER.keys(), vec![shared]].concat();
    for signed in JwtAlgorithm::ALL {
        let token = sign(signed, &header(signed), &claims());
        for accepted in JwtAlgorithm::ALL {
            let jwt = jwt(vec![JwtProvider { algorithms: vec![accepted], keys: fixed(keys.clone()), ..provider() }]);
            let judged = judge(&jwt, &token).map(|caller| caller.id.clone());
            let expected = if signed == accepted { Ok("ada".to_owned()) } else { Err(Refused::Algorithm) };
            assert_eq!(judged, expected, "{signed:?} where {accepted:?} is accepted");
        }
    }
}

#[test]
fn claims_become_the_caller() {
    let said = json!({
        "iss": "https://id.example", "sub": "ada", "aud": ["x", "orders"], "exp": NOW + 300, "nbf": NOW, "iat": NOW,
        "scope": "orders:read  orders:write", "groups": ["staff"], "team": {"name": "blue", "size": 3},
        "realm_access": {"roles": ["admin"]}, "https://id.example/tier": "gold", "scp": ["a", "b"], "n": 7,
    });
    let caller = judge(&jwt(vec![provider()]), &token(&said)).unwrap();
    let expected = Caller {
        id: "ada".into(),
        method: "jwt",
        issuer: "https://id.example".into(),
        scopes: vec!["orders:read".into(), "orders:write".into()],
        groups: vec!["staff".into()],
        claims: said.clone(),
        plan: String::new(),
    };
    assert_eq!(*caller, expected);
    let names = |id: &str, scopes: &str, groups: &str| ClaimNames {
        id: id.into(),
        scopes: scopes.into(),
        groups: groups.into(),
    };
    for (names, expected) in [
        (names("team.name", "scp", "realm_access.roles"), Ok(("blue", vec!["a", "b"], vec!["admin"]))),
        (names("https://id.example/tier", "nothing", "team.name"), Ok(("gold", vec![], vec!["blue"]))),
        (names("n", "nothing", "nothing.at.all"), Ok(("7", vec![], vec![]))),
        (names("nothing", "scope", "groups"), Err(Refused::Claims)),
        (names("team", "scope", "groups"), Err(Refused::Claims)),
        (names("sub", "team", "groups"), Err(Refused::Claims)),
        (names("sub", "scope", "n"), Err(Refused::Claims)),
    ] {
        let jwt = jwt(vec![JwtProvider { claims: names.clone(), ..provider() }]);
        let judged = judge(&jwt, &token(&said));
        let seen =
            judged.as_ref().map(|caller| (caller.id.as_str(), &caller.scopes, &caller.groups)).map_err(|why| *why);
        let owned = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let expected = expected.map(|(id, scopes, groups)| (id, owned(scopes), owned(groups)));
        assert_eq!(
            seen,
            expected.as_ref().map(|(id, scopes, groups)| (*id, scopes, groups)).map_err(|why| *why),
            "{names:?}"
        );
    }
}

#[test]
fn of_several_issuers_each_token_is_judged_by_its_own_and_of_one_issuers_policies_any_may_accept() {
    let theirs = issuer::Issuer::new();
    let other = JwtProvider {
        issuer: "https://other.example".into(),
        keys: fixed(theirs.keys()),
        audiences: vec![],
        ..provider()
    };
    let stock = JwtProvider { audiences: vec!["stock".into()], ..provider() };
    let jwt = jwt(vec![provider(), other, stock]);
    let from_other = with(claims(), "iss", json!("https://other.example"));
    let header = header(JwtAlgorithm::ES256).to_string();
    let signed_by_other = |claims: &Value| theirs.sign(JwtAlgorithm::ES256, &header, &claims.to_string());
    for (token, expected) in [
        (token(&claims()), Ok("https://id.example")),
        (token(&with(claims(), "aud", json!("stock"))), Ok("https://id.example")),
        (token(&with(claims(), "aud", json!("bank"))), Err(Refused::Audience)),
        (signed_by_other(&from_other), Ok("https://other.example")),
        // An issuer speaks for itself alone.
        (signed_by_other(&claims()), Err(Refused::Signature)),
        (token(&from_other), Err(Refused::Signature)),
    ] {
        let judged = judge(&jwt, &token);
        assert_eq!(judged.as_ref().map(|caller| caller.issuer.as_str()).map_err(|why| *why), expected);
    }
    // Only the second provider looks at the place where this one is.
    assert_eq!(jwt.caller(token(&claims()).as_bytes(), 0b010, at(NOW)), Err(Refused::Issuer));
}

#[test]
fn a_remembered_token_is_refused_from_its_end_on_and_where_another_provider_looks() {
    let jwt = jwt(vec![provider(), JwtProvider { issuer: "https://other.example".into(), ..provider() }]);
    let token = token(&claims());
    let judge = |at_place, seconds| jwt.caller(token.as_bytes(), at_place, at(seconds));
    let first = judge(0b11, NOW).unwrap();
    let again = judge(0b11, NOW).unwrap();
    assert!(Arc::ptr_eq(&first, &again), "it is remembered");
    assert!(judge(0b11, NOW + 329).is_ok());
    assert_eq!(judge(0b11, NOW + 330), Err(Refused::Expired));
    assert!(judge(0b11, NOW).is_ok());
    assert_eq!(judge(0b10, NOW), Err(Refused::Issuer));
}

#[test]
fn what_is_remembered_is_lost_with_a_key_and_kept_where_nothing_changed() {
    let said = JwtMethod { providers: vec![provider()] };
    let before = Jwt::compile(&said, None, &Issuers::default()).unwrap();
    let token = token(&claims());
    assert!(judge(&before, &token).is_ok());
    let same = Jwt::compile(&said, Some(&before), &Issuers::default()).unwrap();
    assert!(Arc::ptr_eq(&before, &same));
    let keys = ISSUER.keys().into_iter().filter(|key| key["kid"] != "p256").collect();
    let fewer = JwtMethod { providers: vec![JwtProvider { keys: fixed(keys), ..provider() }] };
    assert_eq!(judge(&Jwt::compile(&fewer, Some(&before), &Issuers::default()).unwrap(), &token), Err(Refused::Key));
    let stricter = JwtMethod { providers: vec![JwtProvider { audiences: vec!["stock".into()], ..provider() }] };
    assert_eq!(
        judge(&Jwt::compile(&stricter, Some(&before), &Issuers::default()).unwrap(), &token),
        Err(Refused::Audience)
    );
}

#[test]
fn a_token_without_kid_is_tried_with_a_bounded_number_of_keys() {
    let nameless = |count: usize| {
        let key = |_| without(ISSUER.keys()[1].clone(), "kid");
        let others = (0..count - 1).map(|_| without(issuer::Issuer::new_p256(), "kid"));
        jwt(vec![JwtProvider { keys: fixed(others.chain((0..1).map(key)).collect()), ..provider() }])
    };
    let named = token(&claims());
    let unnamed = sign(JwtAlgorithm::ES256, &json!({"alg": "ES256"}), &claims());
    for token in [named, unnamed] {
        assert!(judge(&nameless(8), &token).is_ok());
        assert_eq!(judge(&nameless(9), &token), Err(Refused::Key));
    }
}
