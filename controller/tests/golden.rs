//! Golden cases: what users write, and what it comes to. One folder a promise, `in.yaml` and `out.yaml`.
//!
//! `RAVELIN_BLESS=1 cargo test -p ravelin-controller --test golden` writes every `out.yaml` anew; read the difference.

use std::{fs, path::Path};

use ravelin_controller::{
    compile::{Compiled, Options, compile},
    files::read_once,
    verdict::{State, Verdict},
};
use ravelin_snapshot::Parts;
use serde::Serialize;
use serde_json::{Map, Value, json};

#[test]
fn every_case_comes_to_what_stands_beside_it() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let bless = std::env::var_os("RAVELIN_BLESS").is_some();
    let mut names: Vec<_> = fs::read_dir(&cases).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert!(!names.is_empty());
    let mut wrong = Vec::new();
    for name in names {
        let case = cases.join(&name);
        let once = read_once(&[case.join("in.yaml")]);
        assert!(once.complete, "{name:?}: in.yaml cannot be read");
        let compiled = compile(&once.world.model, Options::default(), None);
        compiled.snapshot.check().unwrap();
        let out = serde_saphyr::to_string(&shown(&compiled)).unwrap();
        let file = case.join("out.yaml");
        if bless {
            fs::write(&file, &out).unwrap();
        } else if fs::read_to_string(&file).unwrap_or_default() != out {
            println!("--- {name:?} comes to\n{out}");
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?} do not come to their out.yaml; if they are right: RAVELIN_BLESS=1");
}

/// The snapshot by name, and what is said about each object.
fn shown(compiled: &Compiled) -> Value {
    let snapshot = &compiled.snapshot;
    let mut verdicts = Map::new();
    for (object, verdict) in compiled.verdicts.iter() {
        verdicts.insert(object.to_string(), verdict_of(verdict));
    }
    let all = [
        ("routes", parts(&snapshot.routes)),
        ("backends", parts(&snapshot.backends)),
        ("auth", parts(&snapshot.auth)),
        ("limits", parts(&snapshot.limits)),
        ("certificates", parts(&snapshot.certificates)),
        ("verdicts", Value::Object(verdicts)),
    ];
    all.into_iter()
        .filter(|(_, value)| value.as_object().is_some_and(|map| !map.is_empty()))
        .map(|(k, v)| (k.to_owned(), v))
        .collect()
}

fn parts<K: Clone + Ord + std::hash::Hash + Serialize + ToString, T: Serialize>(parts: &Parts<K, T>) -> Value {
    parts.iter().map(|(key, part)| (key.to_string(), serde_json::to_value(&**part).expect("plain data"))).collect()
}

/// Good conditions in one word, bad ones with their message.
fn verdict_of(verdict: &Verdict) -> Value {
    let state = |state: &State| match state.status {
        true => json!(true),
        false => json!(format!("{:?}: {}", state.reason, state.message)),
    };
    let findings: Vec<String> = verdict
        .findings
        .iter()
        .map(|finding| {
            let severity = format!("{:?}", finding.severity).to_lowercase();
            format!("{severity} {:?} {}: {}. {}", finding.reason, finding.field, finding.message, finding.remedy)
        })
        .collect();
    json!({"accepted": state(&verdict.accepted), "resolvedRefs": state(&verdict.resolved_refs), "findings": findings})
}
