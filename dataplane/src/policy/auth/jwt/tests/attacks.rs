//! What has broken others, one line each.

use aws_lc_rs::hmac;
use proptest::prelude::*;

use super::*;

const ES256: JwtAlgorithm = JwtAlgorithm::ES256;

/// The verdict on a token that is signed as it says, with header and claims in these very words.
fn signed(header: &str, claims: &str) -> Result<(), Refused> {
    judge(&jwt(vec![provider()]), &ISSUER.sign(ES256, header, claims)).map(drop)
}

fn by_header(header: Value) -> Result<(), Refused> {
    signed(&header.to_string(), &claims().to_string())
}

fn by_claims(claims: Value) -> Result<(), Refused> {
    judge(&jwt(vec![provider()]), &token(&claims)).map(drop)
}

#[test]
fn none_is_no_algorithm_in_any_case() {
    for name in ["none", "None", "NONE", "nOnE", "", "es256", "ES256 ", "ES256\0", "ES512", "ES256K"] {
        let header = with(header(ES256), "alg", json!(name));
        assert_eq!(by_header(header.clone()), Err(Refused::Algorithm), "{name:?}");
        let unsigned = format!("{}.{}.", encode(header.to_string()), encode(claims().to_string()));
        assert!(judge(&jwt(vec![provider()]), &unsigned).is_err());
    }
    for alg in [json!(null), json!(1), json!(["ES256"]), json!({})] {
        assert_eq!(by_header(with(header(ES256), "alg", alg)), Err(Refused::Malformed));
    }
    assert_eq!(by_header(without(header(ES256), "alg")), Err(Refused::Malformed));
}

#[test]
fn a_public_key_is_no_shared_secret() {
    let n = ISSUER.modulus();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", encode(&n));
    let jwk = ISSUER.keys()[0].to_string();
    for secret in [n.as_slice(), pem.as_bytes(), jwk.as_bytes(), b""] {
        let message =
            format!("{}.{}", encode(json!({"alg": "HS256", "kid": "rsa"}).to_string()), encode(claims().to_string()));
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
        let token = format!("{message}.{}", encode(signature));
        assert_eq!(judge(&jwt(vec![provider()]), &token), Err(Refused::Algorithm));
        // Nor where the provider takes shared secrets too.
        let all = JwtProvider { algorithms: JwtAlgorithm::ALL.to_vec(), ..provider() };
        assert_eq!(judge(&jwt(vec![all]), &token), Err(Refused::Key));
    }
}

#[test]
fn a_kid_is_a_name_and_nothing_else() {
    let long = "k".repeat(513);
    for kid in [
        "../../../../dev/null",
        "/etc/passwd",
        "p256' OR '1'='1",
        "p256\0",
        "p256\u{0}.pem",
        "https://evil.example/keys",
        "P256",
        " p256",
        "",
        "p256\nrsa",
    ] {
        assert_eq!(by_header(with(header(ES256), "kid", json!(kid))), Err(Refused::Key), "{kid:?}");
    }
    for kid in [json!(long), json!(256), json!(["p256"]), json!({"p256": 1}), json!(null)] {
        assert_eq!(by_header(with(header(ES256), "kid", kid.clone())), Err(Refused::Malformed), "{kid}");
    }
    // The key of another type under the same name.
    assert_eq!(by_header(with(header(ES256), "kid", json!("rsa"))), Err(Refused::Key));
}

#[test]
fn no_key_that_a_token_brings_along_is_looked_at() {
    let evil = issuer::Issuer::new();
    let key = with(evil.keys()[1].clone(), "kid", json!("p256"));
    for (name, value) in [
        ("jwk", key),
        ("jku", json!("https://evil.example/keys")),
        ("x5u", json!("https://evil.example/chain")),
        ("x5c", json!(["MIIB"])),
    ] {
        let header = with(header(ES256), name, value).to_string();
        let token = evil.sign(ES256, &header, &claims().to_string());
        assert_eq!(judge(&jwt(vec![provider()]), &token), Err(Refused::Signature), "{name}");
    }
}

#[test]
fn critical_extensions_are_refused_whatever_they_are() {
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("crit", json!(null)),
        ("b64", json!(false)),
        ("b64", json!(true)),
    ] {
        assert_eq!(by_header(with(header(ES256), name, value.clone())), Err(Refused::Critical), "{name}: {value}");
    }
}

#[test]
fn a_member_that_is_there_twice_is_refused() {
    let (good_header, good_claims) = (header(ES256).to_string(), claims().to_string());
    for header in [
        r#"{"alg":"ES256","kid":"p256","alg":"ES256"}"#,
        r#"{"alg":"none","kid":"p256","alg":"ES256"}"#,
        r#"{"alg":"ES256","kid":"p256","\u0061lg":"ES256"}"#,
    ] {
        assert_eq!(signed(header, &good_claims), Err(Refused::Malformed), "{header}");
    }
    let twice = |member: &str| good_claims.replacen('{', &format!("{{{member},"), 1);
    for member in [r#""sub":"root""#, r#""exp":9e9"#, r#""x":{"a":1,"a":2}"#] {
        assert_eq!(signed(&good_header, &twice(member)), Err(Refused::Malformed), "{member}");
    }
    assert_eq!(signed(&good_header, &twice(r#""x":{"a":1,"b":2}"#)), Ok(()));
}

#[test]
fn times_are_numbers_up_to_the_year_9999_and_the_lifetime_is_kept_to_the_second() {
    let exp = |value: Value| by_claims(with(claims(), "exp", value));
    let nbf = |value: Value| by_claims(with(claims(), "nbf", value));
    for (value, expected) in [
        (json!(NOW + 1), Ok(())),
        (json!(NOW), Ok(())), // within the skew
        (json!(NOW - 29), Ok(())),
        (json!(NOW - 30), Err(Refused::Expired)),
        (json!(1_799_999_970.5), Ok(())),
        (json!(1_799_999_969.5), Err(Refused::Expired)),
        (json!(253_402_300_799_u64), Ok(())),
        (json!(253_402_300_800_u64), Err(Refused::Times)),
        (json!(1e30), Err(Refused::Times)),
        (json!(u64::MAX), Err(Refused::Times)),
        (json!(-1), Err(Refused::Times)),
        (json!(-0.5), Err(Refused::Times)),
        (json!("1900000000"), Err(Refused::Times)),
        (json!(null), Err(Refused::Times)),
        (json!(true), Err(Refused::Times)),
        (json!([1_900_000_000]), Err(Refused::Times)),
        (json!(0), Err(Refused::Expired)),
    ] {
        assert_eq!(exp(value.clone()), expected, "exp {value}");
    }
    assert_eq!(by_claims(without(claims(), "exp")), Err(Refused::Times));
    for (value, expected) in [
        (json!(NOW + 30), Ok(())),
        (json!(NOW + 31), Err(Refused::Early)),
        (json!("0"), Err(Refused::Times)),
        (json!(1e30), Err(Refused::Times)),
        (json!(-1), Err(Refused::Times)),
    ] {
        assert_eq!(nbf(value.clone()), expected, "nbf {value}");
    }
    assert_eq!(by_claims(with(claims(), "iat", json!("now"))), Err(Refused::Times));
    let huge = claims().to_string().replace(&(NOW + 300).to_string(), "1e999");
    assert_eq!(signed(&header(ES256).to_string(), &huge), Err(Refused::Malformed));
}

#[test]
fn an_audience_is_a_text_or_a_list_of_texts_and_is_compared_whole() {
    for (aud, expected) in [
        (json!("orders"), Ok(())),
        (json!(["bank", "orders"]), Ok(())),
        (json!(["bank"]), Err(Refused::Audience)),
        (json!("Orders"), Err(Refused::Audience)),
        (json!("orders "), Err(Refused::Audience)),
        (json!("order"), Err(Refused::Audience)),
        (json!("orders,bank"), Err(Refused::Audience)),
        (json!(""), Err(Refused::Audience)),
        (json!([]), Err(Refused::Audience)),
        (json!(["orders", 1]), Err(Refused::Claims)),
        (json!([["orders"]]), Err(Refused::Claims)),
        (json!({"orders": true}), Err(Refused::Claims)),
        (json!(null), Err(Refused::Claims)),
    ] {
        assert_eq!(by_claims(with(claims(), "aud", aud.clone())), expected, "{aud}");
    }
    assert_eq!(by_claims(without(claims(), "aud")), Err(Refused::Audience));
    let open = jwt(vec![JwtProvider { audiences: vec![], ..provider() }]);
    assert!(judge(&open, &token(&without(claims(), "aud"))).is_ok());
}

#[test]
fn an_issuer_is_compared_whole() {
    for iss in [
        json!("https://id.example/"),
        json!("https://id.example.evil.example"),
        json!("https://id.exampl"),
        json!("https://ID.example"),
        json!("https://id.example\0"),
        json!(["https://id.example"]),
        json!(null),
    ] {
        assert_eq!(by_claims(with(claims(), "iss", iss.clone())), Err(Refused::Issuer), "{iss}");
    }
    assert_eq!(by_claims(without(claims(), "iss")), Err(Refused::Issuer));
}

#[test]
fn a_token_that_does_not_say_whose_it_is_is_nobodys() {
    for sub in [json!(""), json!(null), json!(true), json!(["ada"]), json!({"ada": 1}), json!(1.5)] {
        assert_eq!(by_claims(with(claims(), "sub", sub.clone())), Err(Refused::Claims), "{sub}");
    }
    assert_eq!(by_claims(without(claims(), "sub")), Err(Refused::Claims));
}

#[test]
fn a_signature_of_zeros_of_der_or_of_another_length_is_none() {
    let message = format!("{}.{}", encode(header(ES256).to_string()), encode(claims().to_string()));
    let good = ISSUER.signature(ES256, message.as_bytes());
    let judge = |signature: &[u8]| super::judge(&jwt(vec![provider()]), &format!("{message}.{}", encode(signature)));
    assert!(judge(&good).is_ok());
    let order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let order: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&order[2 * at..2 * at + 2], 16).unwrap()).collect();
    for bad in [
        vec![0; 64],
        [&good[..32], &[0; 32][..]].concat(),
        [&[0; 32], &good[32..]].concat(),
        [order.clone(), order].concat(),
        ISSUER.der(message.as_bytes()),
        [&good[..], &[0]].concat(),
        good[..63].to_vec(),
        vec![0],
    ] {
        assert_eq!(judge(&bad), Err(Refused::Signature), "{bad:x?}");
    }
    assert_eq!(judge(&[]), Err(Refused::Malformed));
}

#[test]
fn a_key_below_2048_bits_verifies_nothing() {
    // A set of the issuer's own keys and a short one: nothing is left of that.
    let short = json!({"kty": "RSA", "kid": "short", "n": encode([0xff; 128]), "e": "AQAB"});
    let keys = fixed([ISSUER.keys(), vec![short]].concat());
    let KeySource::Fixed { keys: ref kept, .. } = keys else { panic!() };
    assert_eq!(kept.len(), 4);
    let jwt = jwt(vec![JwtProvider { keys, ..provider() }]);
    let header = json!({"alg": "RS256", "kid": "short"});
    assert_eq!(judge(&jwt, &sign(JwtAlgorithm::RS256, &header, &claims())), Err(Refused::Key));
}

#[test]
fn what_is_not_one_compact_token_is_malformed() {
    let good = token(&claims());
    let parts: Vec<&str> = good.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    let jwt = jwt(vec![provider()]);
    for bad in [
        String::new(),
        ".".into(),
        "..".into(),
        format!("{header}.{payload}"),
        format!("{good}."),
        format!("{good}.{signature}"),
        format!("{good}, Bearer {good}"),
        format!(" {good}"),
        format!("{good} "),
        format!("{good}\n"),
        format!("{good}="),
        format!("{header}=.{payload}.{signature}"),
        format!("\"{good}\""),
        good.replace('.', ".."),
        format!("{}.{payload}.{signature}", encode("[]")),
        format!("{}.{payload}.{signature}", encode("{}x")),
        format!("{}.{payload}.{signature}", encode([0xff, 0xfe])),
        format!("{header}.{}.{signature}", encode("\"text\"")),
        format!("{header}.{}.{signature}", encode("[".repeat(500))),
        format!("{header}.{}.{signature}", encode([0xef, 0xbb, 0xbf, b'{', b'}'])),
    ] {
        assert_eq!(judge(&jwt, &bad), Err(Refused::Malformed), "{bad}");
    }
    // The alphabet of plain base64 is another spelling of the same bytes.
    let plain = good.replace('-', "+").replace('_', "/");
    assert!(plain == good || judge(&jwt, &plain) == Err(Refused::Malformed));
}

#[test]
fn a_token_beyond_16_kib_is_not_even_read() {
    let long = token(&with(claims(), "x", json!("x".repeat(64 << 10))));
    assert_eq!(judge(&jwt(vec![provider()]), &long), Err(Refused::TooLong));
    let bearable = token(&with(claims(), "x", json!("x".repeat(11 << 10))));
    assert!(judge(&jwt(vec![provider()]), &bearable).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever is done to a token's bytes, it is another token or it is refused.
    #[test]
    fn a_token_that_was_changed_anywhere_is_refused(
        algorithm in prop::sample::select(vec![JwtAlgorithm::ES256, JwtAlgorithm::EdDSA, JwtAlgorithm::RS256, JwtAlgorithm::PS384]),
        at in any::<prop::sample::Index>(),
        how in prop_oneof![
            any::<u8>().prop_map(Change::Set),
            any::<u8>().prop_map(Change::Insert),
            Just(Change::Remove),
            any::<prop::sample::Index>().prop_map(Change::Swap),
        ],
    ) {
        thread_local! {
            static TOKENS: std::cell::RefCell<std::collections::HashMap<JwtAlgorithm, Vec<u8>>> = Default::default();
            static JWT: Arc<Jwt> = jwt(vec![provider()]);
        }
        let token = TOKENS.with_borrow_mut(|tokens| {
            tokens.entry(algorithm).or_insert_with(|| sign(algorithm, &header(algorithm), &claims()).into_bytes()).clone()
        });
        let mut changed = token.clone();
        let place = at.index(changed.len());
        match how {
            Change::Set(byte) => changed[place] = byte,
            Change::Insert(byte) => changed.insert(place, byte),
            Change::Remove => drop(changed.remove(place)),
            Change::Swap(other) => changed.swap(place, other.index(token.len())),
        }
        let judged = JWT.with(|jwt| jwt.caller(&changed, 1, at_now()));
        prop_assert_eq!(judged.is_ok(), changed == token);
    }
}

fn at_now() -> SystemTime {
    at(NOW)
}

#[derive(Clone, Debug)]
enum Change {
    Set(u8),
    Insert(u8),
    Remove,
    Swap(prop::sample::Index),
}
