//! `ravelin explain` on the example shop.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

fn explain(arguments: &[&str]) -> Output {
    let shop = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/shop");
    Command::new(env!("CARGO_BIN_EXE_ravelin")).args(["explain", shop]).args(arguments).output().unwrap()
}

fn json(arguments: &[&str]) -> serde_json::Value {
    let output = explain(&[arguments, &["-o", "json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn it_names_the_rule_its_backends_and_their_shares() {
    let said = json(&["GET", "http://shop.example/orders/7"]);
    assert_eq!(said["rule"]["route"], "default/shop");
    assert_eq!(said["rule"]["rule"], "orders");
    let weights: Vec<_> = said["action"]["backends"].as_array().unwrap().iter().map(|share| &share["weight"]).collect();
    assert_eq!(weights, [90, 10]);
    assert_eq!(said["refusal"], serde_json::Value::Null);
}

#[test]
fn it_says_which_policy_refuses_and_prints_no_credential() {
    let output = explain(&["GET", "http://shop.example/reports", "-H", "x-api-key: do-not-print"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert!(text.contains("policy  AuthPolicy default/reports refuses: unauthenticated"), "{text}");
    assert!(text.contains("answer  401 unauthenticated"), "{text}");
    assert!(!text.contains("do-not-print"));
}

#[test]
fn what_cannot_be_asked_is_an_error_that_says_what_to_write() {
    let output = explain(&["GET", "/orders"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("write http://api.example/path"));
}
