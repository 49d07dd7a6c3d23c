//! YAML of the pages, through the compiler that the gateway uses.

use std::{collections::BTreeMap, fs, path::Path};

use ravelin_controller::{
    compile::{Options, compile},
    files::{FileFinding, Once, read_once, read_text_once},
    object::ObjectRef,
    verdict::Severity,
};
use serde_json::Value;

use crate::page::root;

/// Documents by what they are about; a later one replaces an earlier one, as an edit does.
#[derive(Clone, Default)]
pub(crate) struct World(BTreeMap<String, String>);

impl World {
    /// What the pages take for granted, and a certificate, which is made here.
    pub(crate) fn of_the_book() -> Self {
        let mut world = Self::default();
        world.put(&fs::read_to_string(root().join("docs/world.yaml")).unwrap());
        let made = rcgen::generate_simple_self_signed(["secure.shop.example".to_owned()]).unwrap();
        let secret = serde_json::json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": "shop-tls", "namespace": "shop"},
            "stringData": {"tls.crt": made.cert.pem(), "tls.key": made.signing_key.serialize_pem()},
        });
        world.put(&secret.to_string());
        world
    }

    /// Adds sound objects.
    pub(crate) fn add(&mut self, text: &str) -> Result<(), String> {
        let keys = self.put(text);
        match self.errors(&keys) {
            errors if errors.is_empty() => Ok(()),
            errors => Err(errors.join("; ")),
        }
    }

    /// The same, and the world stays as it was.
    pub(crate) fn refuse_nothing_of(&self, text: &str) -> Result<(), String> {
        self.clone().add(text)
    }

    /// Objects that must have an error.
    pub(crate) fn refuse(&self, text: &str) -> Result<(), String> {
        let mut world = self.clone();
        let keys = world.put(text);
        if world.errors(&keys).is_empty() { Err("it should be broken, and is not".to_owned()) } else { Ok(()) }
    }

    fn put(&mut self, text: &str) -> Vec<String> {
        let documents = text.split("\n---\n").map(|document| (identity(document), document.to_owned()));
        let documents: Vec<_> = documents.collect();
        let keys = documents.iter().map(|(key, _)| key.clone()).collect();
        self.0.extend(documents);
        keys
    }

    fn errors(&self, keys: &[String]) -> Vec<String> {
        let text: Vec<_> = self.0.values().map(String::as_str).collect();
        let once = read_text_once("the page", text.join("\n---\n").as_bytes());
        errors(&once, |object| keys.contains(&format!("{} {}", object.kind, object.key)))
    }
}

/// `ApiRoute shop/orders`
fn identity(document: &str) -> String {
    let value: Value = serde_saphyr::from_str(document).unwrap_or_else(|error| panic!("{error}: {document}"));
    let (kind, meta) = (value["kind"].as_str().unwrap_or_default(), &value["metadata"]);
    let name = meta["name"].as_str().unwrap_or_default();
    let own = if kind == "Namespace" { name } else { "default" };
    format!("{kind} {}/{name}", meta["namespace"].as_str().unwrap_or(own))
}

fn errors(once: &Once, is_meant: impl Fn(&ObjectRef) -> bool) -> Vec<String> {
    let is_error = |finding: &&FileFinding| finding.finding.severity == Severity::Error;
    let in_files = once.world.findings.iter().filter(is_error);
    let in_files = in_files.filter(|finding| finding.object.as_ref().is_none_or(&is_meant));
    let mut said: Vec<_> =
        in_files.map(|found| format!("{}: {}", found.finding.field, found.finding.message)).collect();
    let compiled = compile(&once.world.model, Options::default(), None);
    for (object, verdict) in compiled.verdicts.iter().filter(|(object, _)| is_meant(object)) {
        let errors = verdict.findings.iter().filter(|finding| finding.severity == Severity::Error);
        said.extend(errors.map(|finding| format!("{object}: {}: {}", finding.field, finding.message)));
    }
    said
}

pub(crate) fn folder_is_sound(folder: &Path) -> Result<(), String> {
    let once = read_once(&[folder.to_owned()]);
    assert!(once.complete, "{} cannot be read", folder.display());
    match errors(&once, |_| true) {
        errors if errors.is_empty() => Ok(()),
        errors => Err(errors.join("\n")),
    }
}

/// What the page about migration tells to do with an HTTPRoute.
pub(crate) fn migrated(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("parentRefs:"));
    let text = lines.collect::<Vec<_>>().join("\n");
    text.replace("gateway.networking.k8s.io/v1", "ravelin.dev/v1alpha1").replace("kind: HTTPRoute", "kind: ApiRoute")
}

/// Each key is one of the chart's, which has all of them with their defaults.
pub(crate) fn are_values_of_the_chart(text: &str) -> Result<(), String> {
    let chart = fs::read_to_string(root().join("charts/ravelin/values.yaml")).unwrap();
    let known: Value = serde_saphyr::from_str(&chart).unwrap();
    let said: Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    is_within(&said, &known, "")
}

fn is_within(said: &Value, known: &Value, path: &str) -> Result<(), String> {
    for (name, value) in said.as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let Some(inner) = known.get(name) else { return Err(format!("the chart has no value {path}")) };
        is_within(value, inner, &path)?;
    }
    Ok(())
}
