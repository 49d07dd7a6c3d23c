//! Project Wycheproof's vectors of JSON Web Signatures, unmodified. Their payloads are no claims: they are held against what
//! reads and verifies, below the claims.

use std::{fs, path::Path};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};

use super::{token::Signed, *};

/// Whether one of the keys verifies it, as the only compact token of a request.
fn accepts(keys: &Value, jws: &Value) -> bool {
    let set = if keys.get("keys").is_some() { keys.clone() } else { json!({ "keys": [keys] }) };
    let keys = jwk::parse(set.to_string().as_bytes()).map(|set| set.keys).unwrap_or_default();
    let Some(jws) = jws.as_str() else { return false };
    Signed::read(jws.as_bytes()).and_then(|signed| Keys::new(&keys).verify(&signed)).is_ok()
}

/// What is valid for others and is refused here: a form that is not compact, an algorithm that is not offered or not the
/// key's own, characters that are no base64url.
fn is_refused_by_design(case: &Value) -> bool {
    let comment = case["comment"].as_str().unwrap_or_default();
    if comment == "Figure20" || comment.starts_with("InvalidCharacterInserted") {
        return true;
    }
    let jws = &case["jws"];
    let header = jws.as_str().and_then(|jws| BASE64.decode(jws.split('.').next()?).ok());
    let header: Option<Value> = header.and_then(|header| serde_json::from_slice(&header).ok());
    let alg = header.as_ref().and_then(|header| header["alg"].as_str());
    alg.and_then(JwtAlgorithm::named).is_none()
}

#[test]
#[ignore = "the vectors are another project's: `make conformance` fetches them and says where they are"]
fn no_vector_that_is_invalid_is_accepted_and_none_that_is_valid_is_refused() {
    let folder = std::env::var("WYCHEPROOF_DIR").expect("WYCHEPROOF_DIR is where the vectors are");
    let (mut refused, mut accepted) = (0, 0);
    for name in ["json_web_signature_test.json", "json_web_crypto_test.json"] {
        let text = fs::read(Path::new(&folder).join("testvectors_v1").join(name)).unwrap();
        let vectors: Value = serde_json::from_slice(&text).unwrap();
        for group in vectors["testGroups"].as_array().unwrap() {
            let keys = group.get("public").unwrap_or(&group["private"]);
            // They refuse sets with shared and public keys as ambiguous; here a key verifies what is of its type alone.
            let is = |key: &Value| key["kty"] == "oct";
            if keys["keys"].as_array().is_some_and(|keys| keys.iter().any(is) && !keys.iter().all(is)) {
                continue;
            }
            let cases = group["tests"].as_array().unwrap();
            // Two that are called invalid for their padding have lost it: they are the very text of a valid one.
            let is_valid_too = |jws: &Value| cases.iter().any(|case| case["result"] == "valid" && case["jws"] == *jws);
            for case in cases {
                let jws = &case["jws"];
                let place = format!("{name} {} {}", case["tcId"], case["comment"]);
                match case["result"].as_str().unwrap() {
                    "invalid" if is_valid_too(jws) => {}
                    "invalid" => {
                        assert!(!accepts(keys, jws), "{place} is accepted");
                        refused += 1;
                    }
                    _ if is_refused_by_design(case) => {}
                    _ => {
                        assert!(accepts(keys, jws), "{place} is refused");
                        accepted += 1;
                    }
                }
            }
        }
    }
    assert!(refused > 300 && accepted > 20, "{refused} refused, {accepted} accepted: are these the vectors?");
    println!("{refused} invalid signatures refused, {accepted} valid ones accepted");
}
