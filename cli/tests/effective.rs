//! `ravelin effective` on a folder with policies at every level.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, process::Command};

use serde_json::Value;

const ROUTE: &str = "apiVersion: ravelin.dev/v1alpha1
kind: ApiRoute
metadata: {name: orders, namespace: shop}
spec:
  hostnames: [shop.example]
  rules:
  - {name: read, matches: [{path: {value: /read}}], filters: [{directResponse: {status: 200}}]}
  - {name: write, matches: [{path: {value: /write}}], filters: [{directResponse: {status: 200}}]}
";

const POLICIES: &str = "apiVersion: ravelin.dev/v1alpha1
kind: AuthPolicy
metadata: {name: all, namespace: shop}
spec:
  targetRefs: [{kind: Namespace, name: shop}]
  network: {allow: [10.0.0.0/8]}
---
apiVersion: ravelin.dev/v1alpha1
kind: AuthPolicy
metadata: {name: writers, namespace: shop}
spec:
  mode: Shadow
  targetRefs:
  - {kind: ApiRoute, name: other}
  - {kind: ApiRoute, name: orders, sectionName: write}
  authentication:
    jwt:
      providers:
      - name: partner
        issuer: https://partner.example
        audiences: [shop]
        algorithms: [HS256]
        jwks: {inline: '{\"keys\": [{\"kty\": \"oct\", \"k\": \"c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA\"}]}'}
---
apiVersion: ravelin.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: calm, namespace: shop}
spec:
  targetRefs: [{kind: ApiRoute, name: orders}]
  limits:
  - {name: rate, rate: {requests: 5, per: 1s}}
";

fn effective(arguments: &[&str], policies: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("route.yaml"), ROUTE).unwrap();
    fs::write(folder.path().join("policies.yaml"), policies).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ravelin"));
    let output = command.args(["effective", "."]).args(arguments).current_dir(folder.path()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

fn field<'a>(policy: &'a Value, name: &str) -> &'a Value {
    policy["fields"].as_array().unwrap().iter().find(|field| field["field"] == name).unwrap_or(&Value::Null)
}

#[test]
fn each_rule_shows_the_policies_in_force_and_the_place_of_each_field_and_no_secret() {
    let (good, text) = effective(&["orders", "-o", "json"], POLICIES);
    assert!(good, "{text}");
    assert!(!text.contains("c2VjcmV0"), "{text}");
    let said: Value = serde_json::from_str(&text).unwrap();
    let [read, write] = said["rules"].as_array().unwrap().as_slice() else { panic!("{text}") };
    let names = |rule: &Value| -> Vec<String> {
        let policies = rule["policies"].as_array().unwrap().iter();
        policies
            .map(|policy| format!("{} {} {}", policy["kind"], policy["name"], policy["for"]).replace('"', ""))
            .collect()
    };
    assert_eq!(names(read), ["AuthPolicy shop/all namespace", "RateLimitPolicy shop/calm route"]);
    assert_eq!(names(write), ["AuthPolicy shop/writers rule", "RateLimitPolicy shop/calm route"]);
    let all = &read["policies"][0];
    assert!(all["file"].as_str().unwrap().ends_with("policies.yaml"), "{all}");
    assert_eq!((&all["field"], &all["line"]), (&"spec.targetRefs[0]".into(), &5.into()));
    let allow = field(all, "spec.network.allow");
    assert_eq!((&allow["value"], &allow["line"]), (&serde_json::json!(["10.0.0.0/8"]), &6.into()));
    let writers = &write["policies"][0];
    assert_eq!((&writers["field"], &writers["line"]), (&"spec.targetRefs[1]".into(), &15.into()));
    assert_eq!(field(writers, "spec.mode")["value"], "Shadow");
    let keys = field(writers, "spec.authentication.jwt.providers[0].jwks.inline");
    assert_eq!((&keys["value"], &keys["line"]), (&"[redacted]".into(), &23.into()));
    let calm = &read["policies"][1];
    assert_eq!(field(calm, "spec.limits[0].rate.requests")["value"], 5);
}

#[test]
fn an_override_wins_and_a_broken_policy_is_said_to_close() {
    let overriding = POLICIES.replace("  network:", "  override: true\n  network:");
    let (_, text) = effective(&["shop/orders"], &overriding);
    assert!(!text.contains("writers") && text.contains("AuthPolicy shop/all, for the namespace"), "{text}");
    assert!(text.contains("spec.network.allow = [\"10.0.0.0/8\"]    "), "{text}");
    let broken = POLICIES.replace("10.0.0.0/8", "10.0.0.0/80");
    let (_, text) = effective(&["shop/orders"], &broken);
    assert!(text.contains("AuthPolicy shop/all, for the namespace, broken: it closes the rule"), "{text}");
    let (_, text) = effective(&["shop/orders"], "");
    assert!(text.contains("no policy: open to everybody"), "{text}");
}

#[test]
fn a_route_that_is_not_there_is_an_error() {
    for route in ["nothing", "shop/nothing", "other/orders"] {
        let (good, text) = effective(&[route], POLICIES);
        assert!(!good && text.contains(&format!("there is no ApiRoute {route}")), "{text}");
    }
}
