//! CRDs of all kinds, as the API server takes them without a warning, and as YAML that is the same on every machine.

mod schema;

use aws_lc_rs::digest;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use crate::{ApiRoute, AuthPolicy, Backend, BackendPolicy, Plan, RateLimitPolicy};

/// Annotation of every CRD: the SHA-256 of its `spec` as JSON with sorted keys. Equal digests are equal schemas.
pub const SCHEMA_DIGEST: &str = "ravelin.dev/schema-digest";

/// The CRDs of all kinds of ours, in the order of the book.
pub fn all() -> Vec<CustomResourceDefinition> {
    [ApiRoute::crd(), Backend::crd(), BackendPolicy::crd(), AuthPolicy::crd(), RateLimitPolicy::crd(), Plan::crd()]
        .iter()
        .map(finish)
        .collect()
}

/// A CRD as YAML: keys sorted, one document, a line feed at the end.
pub fn yaml(crd: &CustomResourceDefinition) -> String {
    write(&to_json(crd))
}

/// The chart's copy of a CRD: an upgrade upgrades it, `helm uninstall` leaves it and with it all objects of its kind.
pub fn chart_template(crd: &CustomResourceDefinition) -> String {
    let mut crd = crd.clone();
    let annotations = crd.metadata.annotations.get_or_insert_default();
    annotations.insert("helm.sh/resource-policy".to_owned(), "keep".to_owned());
    let yaml = yaml(&crd);
    // What a CRD says must not be a template by accident. (invariant: no text of ours holds braces in pairs)
    assert!(!yaml.contains("{{"), "{:?} would be a template", crd.metadata.name);
    format!("{{{{- if .Values.crds.install }}}}\n{yaml}{{{{- end }}}}\n")
}

/// What `installed` lacks of the schema of the same kind here: fields and values of enums, as paths. Not empty: it is older
/// than this program, and the API server drops or refuses what users say there.
pub fn missing_in(installed: &CustomResourceDefinition) -> Vec<String> {
    let ours = all().into_iter().find(|crd| crd.metadata.name == installed.metadata.name);
    ours.map(|ours| schema::missing(&to_json(&ours), &to_json(installed))).unwrap_or_default()
}

fn finish(crd: &CustomResourceDefinition) -> CustomResourceDefinition {
    let mut json = to_json(crd);
    schema::tidy(&mut json["spec"]["versions"][0]["schema"]["openAPIV3Schema"]);
    let digest = digest::digest(&digest::SHA256, json["spec"].to_string().as_bytes());
    let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    json["metadata"]["annotations"][SCHEMA_DIGEST] = format!("sha256:{digest}").into();
    serde_json::from_value(json).expect("a CRD is a CRD again without some of its keys (invariant)")
}

fn to_json(crd: &CustomResourceDefinition) -> Value {
    let mut json = serde_json::to_value(crd).expect("a CRD holds nothing that JSON lacks (invariant)");
    json.sort_all_objects();
    json
}

/// Block style; texts as plain scalars where YAML reads them back as the same text, else in double quotes.
fn write(json: &Value) -> String {
    let mut out = String::new();
    block(json, 0, &mut out);
    out
}

fn block(json: &Value, indent: usize, out: &mut String) {
    match json {
        Value::Object(map) if !map.is_empty() => {
            for (index, (key, value)) in map.iter().enumerate() {
                if index > 0 {
                    out.push_str(&" ".repeat(indent));
                }
                out.push_str(&scalar(key));
                out.push(':');
                entry(value, indent, out);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for (index, value) in list.iter().enumerate() {
                if index > 0 {
                    out.push_str(&" ".repeat(indent));
                }
                out.push_str("- ");
                block(value, indent + 2, out);
            }
        }
        other => {
            out.push_str(&match other {
                Value::String(text) => scalar(text),
                other => other.to_string(),
            });
            out.push('\n');
        }
    }
}

/// What follows a key and its colon.
fn entry(value: &Value, indent: usize, out: &mut String) {
    let nested = match value {
        Value::Object(map) => (!map.is_empty()).then_some(indent + 2),
        Value::Array(list) => (!list.is_empty()).then_some(indent),
        _ => None,
    };
    match nested {
        Some(indent) => {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            block(value, indent, out);
        }
        None => {
            out.push(' ');
            block(value, indent, out);
        }
    }
}

/// JSON's quotes are YAML's double quotes.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || " .,;()/-_+".contains(c))
        && !text.ends_with(' ')
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text.to_ascii_lowercase().as_str());
    if plain { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_as_the_same() {
        for crd in all() {
            let read: Value = serde_saphyr::from_str(&yaml(&crd)).unwrap();
            assert_eq!(read, to_json(&crd));
        }
    }

    #[test]
    fn the_digest_follows_the_schema() {
        let mut digests: Vec<_> =
            all().into_iter().map(|crd| crd.metadata.annotations.unwrap()[SCHEMA_DIGEST].clone()).collect();
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), all().len());
        assert!(digests.iter().all(|digest| digest.len() == "sha256:".len() + 64));
    }

    #[test]
    fn an_older_crd_is_told_by_what_it_lacks() {
        let [newest, ..] = &all()[..] else { panic!() };
        assert_eq!(missing_in(newest), Vec::<String>::new());
        let mut older = to_json(newest);
        let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
        older.pointer_mut(spec).unwrap().as_object_mut().unwrap().remove("tls");
        let method =
            older.pointer_mut(&format!("{spec}/rules/items/properties/matches/items/properties/method/enum")).unwrap();
        method.as_array_mut().unwrap().retain(|method| method != "PATCH");
        let older = serde_json::from_value(older).unwrap();
        assert_eq!(missing_in(&older), ["spec.rules[].matches[].method: PATCH", "spec.tls"]);
    }
}
