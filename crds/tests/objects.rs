//! Objects that an API server accepts (`objects/accepted`) and refuses (`objects/refused`, each with a part of the answer
//! in a comment). Here as far as it goes without one; e2e creates them all.

#![allow(clippy::unwrap_used, reason = "a test fails so")]

#[path = "objects/round_trip.rs"]
mod round_trip;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use ravelin_crds::generate;
use ravelin_crds::structural::Schema;
use serde_json::Value;

/// The documents of a folder, each with the comment that it begins with.
fn documents(folder: &str) -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/objects").join(folder);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let texts = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect::<Vec<_>>();
    let documents = texts.iter().flat_map(|text| text.split("---\n"));
    documents.map(|text| (text.lines().next().unwrap().to_owned(), serde_saphyr::from_str(text).unwrap())).collect()
}

static SCHEMAS: LazyLock<BTreeMap<String, Schema>> =
    LazyLock::new(|| generate::all().iter().map(|crd| (crd.spec.names.kind.clone(), Schema::of(crd))).collect());

fn violations(object: &Value) -> Vec<String> {
    let found = SCHEMAS[object["kind"].as_str().unwrap()].violations(object);
    found.into_iter().map(|found| format!("{}: {}", found.field, found.message)).collect()
}

#[test]
fn accepted_objects_are_within_the_schema_and_keep_every_field() {
    let documents = documents("accepted");
    for (_, object) in &documents {
        assert_eq!(violations(object), Vec::<String>::new(), "{object}");
        assert_eq!(round_trip::lost(object), Ok(Vec::new()), "{object}");
    }
    let kinds: BTreeSet<_> = documents.iter().map(|(_, object)| object["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds.len(), SCHEMAS.len(), "only {kinds:?} have an example");
}

/// The API server's words differ; that it is the schema that refuses, and not a CEL rule, can be told by them.
#[test]
fn what_the_schema_refuses_there_it_refuses_here() {
    for (comment, object) in documents("refused") {
        let expected = comment.strip_prefix("# refused: ").unwrap_or_else(|| panic!("no comment before {object}"));
        let by_schema = [" in body should ", "unknown field", "Duplicate value", "Required value", "Unsupported value"];
        if by_schema.iter().any(|words| expected.contains(words)) {
            assert_eq!(violations(&object).len(), 1, "{expected}");
        } else {
            assert_eq!(violations(&object), Vec::<String>::new(), "{expected}");
        }
    }
}

/// A rule that no example breaks may be one that nothing can break.
#[test]
fn every_message_of_a_cel_rule_is_shown_by_an_object_that_breaks_it() {
    let shown: Vec<_> = documents("refused").into_iter().map(|(comment, _)| comment).collect();
    let mut missing = BTreeSet::new();
    for crd in generate::all() {
        for line in generate::yaml(&crd).lines() {
            if let Some(message) = line.trim_start_matches([' ', '-']).strip_prefix("message: ") {
                let message = message.trim_matches('"');
                let start: String = message.chars().take(24).collect();
                if !shown.iter().any(|comment| comment.contains(&start)) {
                    missing.insert(message.to_owned());
                }
            }
        }
    }
    assert_eq!(missing, BTreeSet::new());
}
