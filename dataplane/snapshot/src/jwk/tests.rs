use aws_lc_rs::{
    rsa::KeySize,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use serde_json::json;

use super::*;

fn number(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

fn rsa_of(bits: usize) -> Value {
    // What it is the product of is nobody's business here: only its length is looked at.
    let mut n = vec![0xff; bits / 8];
    n[0] = 0x80;
    json!({"kty": "RSA", "n": number(&n), "e": "AQAB"})
}

fn with(mut key: Value, name: &str, value: Value) -> Value {
    key[name] = value;
    key
}

/// Why the only key of a set is left out.
fn why(key: &Value) -> Option<&'static str> {
    let set = parse(json!({"keys": [key]}).to_string().as_bytes()).unwrap();
    assert_eq!(set.keys.len() + set.ignored.len(), 1);
    set.ignored.first().map(|ignored| ignored.why)
}

#[test]
fn a_key_that_is_weak_or_not_for_signatures_is_left_out_and_named() {
    let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = p256.public_key().as_ref();
    let p256 = json!({"kty": "EC", "crv": "P-256", "x": number(&point[1..33]), "y": number(&point[33..])});
    let edwards = Ed25519KeyPair::generate().unwrap();
    let edwards = json!({"kty": "OKP", "crv": "Ed25519", "x": number(edwards.public_key().as_ref())});
    let shared = json!({"kty": "oct", "k": number(&[7; 32])});
    for good in [rsa_of(2048), rsa_of(8192), p256.clone(), edwards.clone(), shared.clone()] {
        assert_eq!(why(&good), None, "{good}");
        assert_eq!(why(&with(good.clone(), "use", json!("sig"))), None);
        assert_eq!(why(&with(good, "key_ops", json!(["sign", "verify"]))), None);
    }
    for (key, expected) in [
        (rsa_of(2040), "it is shorter than 2048 bits"),
        (rsa_of(1024), "it is shorter than 2048 bits"),
        (rsa_of(8200), "it is longer than 8192 bits"),
        (with(rsa_of(2048), "e", json!("AQ")), "its modulus or its exponent is none"),
        (with(rsa_of(2048), "e", json!("AA")), "its modulus or its exponent is none"),
        (with(rsa_of(2048), "e", json!("AAAAAAAB")), "its modulus or its exponent is none"),
        (with(rsa_of(2048), "e", json!("AQAB=")), "a part of it is not base64url without padding"),
        (with(rsa_of(2048), "use", json!("enc")), "it is not for signatures (`use`)"),
        (with(rsa_of(2048), "key_ops", json!(["sign"])), "it is not for signatures (`key_ops`)"),
        (with(rsa_of(2048), "alg", json!("RSA-OAEP")), "it is for an algorithm that is not known (`alg`)"),
        (with(rsa_of(2048), "alg", json!("none")), "it is for an algorithm that is not known (`alg`)"),
        (with(rsa_of(2048), "alg", json!("HS256")), "its `alg` does not fit its type or its length"),
        (with(rsa_of(2048), "kid", json!(1)), "its `kid` is no text of a bearable length"),
        (with(p256.clone(), "y", p256["x"].clone()), "it is no point of its curve"),
        (with(p256.clone(), "crv", json!("secp256k1")), "its curve is not known (`crv`)"),
        (with(p256.clone(), "crv", json!("P-384")), "a coordinate is not of its curve's length"),
        (with(p256, "alg", json!("ES384")), "its `alg` does not fit its type or its length"),
        (with(edwards.clone(), "x", json!("AAAA")), "it is no point of its curve"),
        (with(edwards, "crv", json!("X25519")), "its curve is not known (`crv`)"),
        (with(shared.clone(), "k", json!(number(&[7; 31]))), "it is shorter than 256 bits"),
        (with(shared, "alg", json!("HS512")), "its `alg` does not fit its type or its length"),
        (json!({"kty": "RSA", "n": "AA"}), "a part of it is missing"),
        (json!({"kty": "DSA"}), "its type is not known (`kty`)"),
        (json!("RSA"), "it is no object"),
    ] {
        assert_eq!(why(&key), Some(expected), "{key}");
    }
}

#[test]
fn a_private_key_is_read_as_its_public_half() {
    let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
    let public: aws_lc_rs::rsa::PublicKeyComponents<Vec<u8>> = pair.public_key().into();
    let key = json!({"kty": "RSA", "n": number(&public.n), "e": number(&public.e), "d": "c2VjcmV0"});
    let set = parse(json!({"keys": [key]}).to_string().as_bytes()).unwrap();
    assert!(!serde_json::to_string(&set.keys).unwrap().contains("c2VjcmV0"));
}

#[test]
fn what_is_no_set_or_too_large_is_refused_whole() {
    let keys = |count: usize| json!({"keys": vec![json!({}); count]}).to_string();
    assert_eq!(parse(keys(MAX_KEYS).as_bytes()).unwrap().ignored.len(), MAX_KEYS);
    assert_eq!(parse(keys(10_000).as_bytes()), Err(KeySetError::TooMany(10_000)));
    assert_eq!(parse(&vec![b' '; MAX_BYTES + 1]), Err(KeySetError::TooLong));
    for text in ["[]", "{}", r#"{"keys":{}}"#, "null"] {
        assert_eq!(parse(text.as_bytes()), Err(KeySetError::NoKeys), "{text}");
    }
    assert!(matches!(parse(br#"{"keys":[],"keys":[]}"#), Err(KeySetError::Json(JsonError::Twice { .. }))));
    assert!(matches!(parse(b"<html>"), Err(KeySetError::Json(JsonError::Syntax { .. }))));
}

#[test]
fn the_type_of_a_key_decides_which_algorithms_it_may_verify() {
    let fits = |key: &Value| {
        let set = parse(json!({"keys": [key]}).to_string().as_bytes()).unwrap();
        let names = JwtAlgorithm::ALL.into_iter().filter(|algorithm| set.keys[0].fits(*algorithm));
        names.map(JwtAlgorithm::as_str).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(fits(&rsa_of(2048)), "RS256 RS384 RS512 PS256 PS384 PS512");
    assert_eq!(fits(&with(rsa_of(2048), "alg", json!("PS256"))), "PS256");
    let shared = |length| json!({"kty": "oct", "k": number(&vec![7; length])});
    assert_eq!(fits(&shared(32)), "HS256");
    assert_eq!(fits(&shared(47)), "HS256");
    assert_eq!(fits(&shared(48)), "HS256 HS384");
    assert_eq!(fits(&shared(63)), "HS256 HS384");
    assert_eq!(fits(&shared(64)), "HS256 HS384 HS512");
}
