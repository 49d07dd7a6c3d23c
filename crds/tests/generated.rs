//! What is committed is what the types say.

#![allow(clippy::unwrap_used, reason = "a test fails so")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use ravelin_crds::generate;

/// File names and contents of a folder.
fn folder(path: &str) -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    let files = fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}; run `make crds`", path.display()));
    files
        .map(|file| {
            let file = file.unwrap();
            (file.file_name().into_string().unwrap(), fs::read_to_string(file.path()).unwrap())
        })
        .collect()
}

fn assert_fresh(path: &str, generated: &BTreeMap<String, String>) {
    let committed = folder(path);
    assert_eq!(committed.keys().collect::<Vec<_>>(), generated.keys().collect::<Vec<_>>(), "{path}: run `make crds`");
    for (file, text) in &committed {
        assert!(*text == generated[file], "{path}/{file} is stale: run `make crds`");
    }
}

fn generated(form: impl Fn(&CustomResourceDefinition) -> String) -> BTreeMap<String, String> {
    generate::all().iter().map(|crd| (format!("{}.yaml", crd.spec.names.plural), form(crd))).collect()
}

#[test]
fn the_committed_crds_are_those_of_the_types() {
    assert_fresh("crds/yaml", &generated(generate::yaml));
}

#[test]
fn the_charts_copy_is_that_of_the_types() {
    assert_fresh("charts/ravelin/templates/crds", &generated(generate::chart_template));
}

/// `kubectl apply` without `--server-side` keeps a copy of the object in an annotation of at most 256 KiB.
#[test]
fn a_crd_can_be_applied_from_the_client_too() {
    for (file, yaml) in generated(generate::yaml) {
        assert!(yaml.len() < 200 << 10, "{file}: {} bytes", yaml.len());
    }
}
