//! Whatever stands in an object, it is compiled: without a panic, into a snapshot that holds together.

use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use super::*;

/// Texts that are near to having a meaning, and others.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[/a.%*?(\\[{}:;|#+ é\\-]{0,12}",
        "(\\*\\.)?[a-zA-Z_.]{0,70}",
        Just("a".repeat(70_000)),
        Just(String::new()),
    ]
}

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), Just(1), Just(u32::MAX), any::<u32>()]
}

/// A route in which `texts` stand wherever a text may stand.
fn route_of(t: &[String], n: u32) -> Value {
    let short = u16::try_from(n & 0xffff).unwrap_or_default();
    json!({
        "hostnames": [t[0], t[1]],
        "tls": {"certificateRefs": [{"name": t[2], "namespace": t[3], "kind": t[4]}, {"name": t[2]}]},
        "rules": [
            {"name": t[5], "matches": [
                {"path": {"type": "Exact", "value": t[6]}, "headers": [{"name": t[7], "value": t[8], "type": "RegularExpression"}]},
                {"path": {"type": "PathPrefix", "value": t[9]}, "queryParams": [{"name": t[0], "value": t[1]}]},
                {"path": {"type": "RegularExpression", "value": t[2]}, "when": t[3]}],
             "filters": [
                {"requestHeaderModifier": {"set": [{"name": t[4], "value": t[5]}], "remove": [t[6]]}},
                {"urlRewrite": {"hostname": t[7], "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": t[8]}}},
                {"requestRedirect": {"hostname": t[9], "port": short, "statusCode": short,
                    "path": {"type": "ReplaceFullPath", "replaceFullPath": t[0]}}},
                {"directResponse": {"status": short, "contentType": t[1], "body": t[2]}}]},
            {"name": t[5], "backendRefs": [
                {"name": t[3], "namespace": t[4], "group": t[5], "kind": t[6], "port": short, "weight": n},
                {"name": "one", "kind": "Backend", "weight": n}]}],
    })
}

fn policy_of(t: &[String], n: u32, kind: &str) -> Value {
    json!({
        "targetRefs": [{"kind": kind, "name": t[0], "sectionName": t[1]}, {"kind": "ApiRoute", "name": "one"}],
        "network": {"allow": [t[2]], "deny": [t[3]]},
        "exclude": [{"path": {"value": t[4]}}],
        "authentication": {"apiKey": {"from": [{"header": t[5], "prefix": t[6]}, {"cookie": t[7]}, {"queryParam": t[8]}],
            "selector": {"matchLabels": {t[9].clone(): t[0]}}}},
        "authorization": {"rules": [{"name": t[1], "allow": t[2]}, {"name": t[3], "deny": t[4]}]},
        "forward": [{"header": t[5], "value": t[6]}],
        "limits": [{"name": t[7], "key": t[8], "when": t[9], "cost": t[0],
            "rate": {"requests": n, "per": "1s", "burst": n}}],
        "connections": {"max": n, "maxPending": n},
    })
}

fn put<S: serde::de::DeserializeOwned>(spec: Value) -> Object<S> {
    object("shop", "one", serde_json::from_value(spec).expect("the test writes what the type reads"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_text_and_no_number_makes_the_compiler_panic(t in vec(text(), 10), n in number(), kind in "ApiRoute|Namespace|Service|.{0,3}") {
        let mut model = Model::default();
        model.set(AnyObject::ApiRoute(put(route_of(&t, n))));
        model.set(AnyObject::AuthPolicy(put(policy_of(&t, n, &kind))));
        model.set(AnyObject::RateLimitPolicy(put(policy_of(&t, n, &kind))));
        model.set(AnyObject::BackendPolicy(put(policy_of(&t, n, &kind))));
        let port = u16::try_from(n & 0xffff).unwrap_or_default();
        model.set(AnyObject::Backend(put(json!({"endpoints": [{"address": t[0], "port": port, "weight": n}]}))));
        let data = ["id", "sha256", "scopes", "expires", "disabled", "tls.crt", "tls.key"].into_iter().zip(&t);
        let data = data.map(|(name, text)| (name.to_owned(), ravelin_snapshot::Secret::new(text.as_str()))).collect();
        let spec = crate::object::Secret { type_: "ravelin.dev/api-key".to_owned(), data, binary: vec![t[9].clone()] };
        model.set(AnyObject::Secret(object("shop", "one", spec)));
        let compiled = compile(&model, Options::default(), None);
        prop_assert_eq!(compiled.snapshot.check(), Ok(()));
        digest(&compiled);
    }
}
