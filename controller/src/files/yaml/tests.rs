use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn one(text: &str) -> Value {
    let mut documents = documents(text);
    let document = documents.next().unwrap();
    assert_eq!(document.error, None, "{text}");
    document.root.unwrap().to_json()
}

/// What `sigs.k8s.io/yaml` makes of scalars (its `goyaml.v2/resolve.go`).
#[test]
fn scalars_are_read_as_kubectl_reads_them() {
    let golden = [
        ("y", json!(true)),
        ("yes", json!(true)),
        ("On", json!(true)),
        ("OFF", json!(false)),
        ("n", json!(false)),
        ("oN", json!("oN")),
        ("~", json!(null)),
        ("", json!(null)),
        ("NULL", json!(null)),
        ("nil", json!("nil")),
        ("010", json!(8)),
        ("0o10", json!(8)),
        ("08", json!(8)),
        ("0x1F", json!(31)),
        ("-0x10", json!(-16)),
        ("0b101", json!(5)),
        ("1_000", json!(1000)),
        ("+5", json!(5)),
        ("1.0", json!(1)),
        ("1.", json!(1)),
        (".5", json!(0.5)),
        ("1e3", json!(1000)),
        ("-1.5e-1", json!(-0.15)),
        ("1e", json!("1e")),
        ("18446744073709551615", json!(u64::MAX)),
        ("-9223372036854775808", json!(i64::MIN)),
        ("1:30", json!("1:30")),
        ("2001-12-14", json!("2001-12-14")),
        ("1.2.3", json!("1.2.3")),
        ("10s", json!("10s")),
        ("0x", json!("0x")),
        ("-", json!("-")),
        ("--1", json!("--1")),
        ("+-1", json!("+-1")),
        (".", json!(".")),
        ("'on'", json!("on")),
        ("\"010\"", json!("010")),
        ("!!str 010", json!("010")),
        ("!!int \"010\"", json!(8)),
    ];
    for (written, meant) in golden {
        if written != "-" {
            assert_eq!(one(&format!("a: {written}\n")), json!({"a": meant}), "{written}");
        }
    }
    assert_eq!(one("yes: 1\n010: 2\n"), json!({"true": 1, "8": 2}));
    assert_eq!(one("a: |\n  text"), json!({"a": "text"}), "a block scalar at the end has no line feed of its own");
}

#[test]
fn json_is_read_too() {
    let text = r#"{"a": [1, -2.5e0, true, null, "x\u00e9\ud83c\udfb5\/"], "b": {"c": {}}}"#;
    assert_eq!(one(text), serde_json::from_str::<Value>(text).unwrap());
}

#[test]
fn merges_and_aliases_are_copies_and_a_maps_own_keys_win() {
    let text = "base: &base {a: 1, b: 2}\nmore: &more {b: 3, c: 4}\nboth: {<<: [*base, *more], a: 0}\n";
    assert_eq!(one(text)["both"], json!({"a": 0, "b": 2, "c": 4}));
}

#[test]
fn a_document_that_doubles_itself_is_refused_before_it_is_copied() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let alias = format!("*a{}", level - 1);
        text += &format!("a{level}: &a{level} [{}]\n", vec![alias; 10].join(", "));
    }
    let document = documents(&text).next().unwrap();
    assert!(document.error.unwrap().message.contains("use fewer of them"));
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    assert!(documents(&deep).next().unwrap().error.is_some());
    let inside = documents("a: &a [*a]\n").next().unwrap();
    assert_eq!(inside.error.unwrap().message, "an alias stands inside of what it is an alias of");
}

#[test]
fn aliases_stand_for_so_much_in_a_text_and_no_more_be_it_in_many_documents() {
    let list = |count: usize| format!("a: &a [{}]\nb: [{}]\n", vec!["x"; 99].join(", "), vec!["*a"; count].join(", "));
    assert_eq!(one(&list(1_000))["b"].as_array().unwrap().len(), 1_000);
    for text in [list(1_001), [list(600), list(600)].join("---\n"), list(60_000)] {
        let errors: Vec<_> = documents(&text).filter_map(|document| document.error).collect();
        assert!(errors.len() == 1 && errors[0].message.contains("use fewer of them"), "{errors:?}");
    }
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), ["*a"; 9].join(", "));
    assert!(documents(&long).next().unwrap().error.unwrap().message.contains("use fewer of them"));
}

#[test]
fn a_broken_document_gives_what_came_before_and_does_not_take_the_next() {
    let all: Vec<_> = documents("kind: A\nspec:\n  x: [1, 2\n---\nkind: B\n").collect();
    assert_eq!(all.len(), 2);
    assert!(all[0].error.is_some());
    assert_eq!(all[0].root.as_ref().unwrap().get("kind").unwrap().text(), Some("A"));
    assert_eq!(all[1].root.as_ref().unwrap().get("kind").unwrap().text(), Some("B"));
}

#[test]
fn places_are_those_of_keys_and_items() {
    let text = "a:\n  b.c:\n  - x: 1\n  -   x: 2\n";
    let root = documents(text).next().unwrap().root.unwrap();
    let at = |field| {
        let place = root.locate(field);
        (place.line, place.column)
    };
    assert_eq!(at("a.b.c[1].x"), (4, 7));
    assert_eq!(at("a.b.c[1].y.z"), (4, 7));
    assert_eq!(at("a.b.c[9]"), (2, 3));
    assert_eq!(at(""), (1, 1));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_or_fail_to_end(text in "[\\-:{}\\[\\]&*!|>'\"%@#,? \\n\\t<a-c0-9~.x_]{0,80}|\\PC{0,40}") {
        for document in documents(&text) {
            if let Some(root) = document.root {
                root.to_json();
            }
        }
    }
}
