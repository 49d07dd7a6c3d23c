//! The `spec.rules` of every HTTPRoute of Gateway API's conformance suite is the `spec.rules` of an ApiRoute.
//!
//! `make conformance` fetches the suite, pinned and unmodified, and names its folder in GATEWAY_API_DIR.
#![cfg(feature = "conformance")]
#![allow(clippy::unwrap_used, reason = "a test fails so")]

#[path = "objects/round_trip.rs"]
mod round_trip;

use std::path::{Path, PathBuf};
use std::{env, fs};

use ravelin_crds::generate;
use ravelin_crds::structural::Schema;
use serde_json::{Value, json};

/// Fewer than these, and the suite was not where it was looked for.
const AT_LEAST: usize = 140;

#[test]
fn the_rules_of_every_http_route_are_rules_of_an_api_route() {
    let suite = PathBuf::from(env::var_os("GATEWAY_API_DIR").expect("GATEWAY_API_DIR names the suite's folder"));
    let crds = generate::all();
    let schema = Schema::of(crds.iter().find(|crd| crd.spec.names.kind == "ApiRoute").unwrap());
    let mut files = Vec::new();
    manifests(&suite, &mut files);
    let (mut routes, mut faults) = (0, Vec::new());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let objects: Vec<Value> =
            serde_saphyr::from_multiple(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        for object in objects.iter().filter(|object| object["kind"] == "HTTPRoute") {
            routes += 1;
            let whose = format!("{} {}", file.strip_prefix(&suite).unwrap().display(), object["metadata"]["name"]);
            faults.extend(faults_of(object, &schema).into_iter().map(|fault| format!("{whose}: {fault}")));
        }
    }
    assert!(routes >= AT_LEAST, "only {routes} HTTPRoutes in {}", suite.display());
    assert!(faults.is_empty(), "of {routes} HTTPRoutes:\n{}", faults.join("\n"));
    eprintln!("{routes} HTTPRoutes accepted");
}

fn faults_of(http_route: &Value, schema: &Schema) -> Vec<String> {
    let rules = &http_route["spec"]["rules"];
    let mut object = json!({
        "apiVersion": "ravelin.dev/v1alpha1",
        "kind": "ApiRoute",
        "metadata": {"name": http_route["metadata"]["name"]},
        "spec": {},
    });
    if rules.is_array() {
        object["spec"]["rules"] = rules.clone();
    }
    let mut faults: Vec<_> =
        schema.violations(&object).into_iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect();
    match round_trip::lost(&object) {
        Err(error) => faults.push(error),
        Ok(lost) => faults.extend(lost.into_iter().map(|field| format!("{field}: is lost"))),
    }
    faults
}

fn manifests(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            manifests(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
    files.sort();
}
