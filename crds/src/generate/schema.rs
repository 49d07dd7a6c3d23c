//! The schema of a CRD as JSON: what the derived one is cleared of, and how two are compared.

use serde_json::{Map, Value};

/// Formats that API servers know; they answer others, such as `uint32`, with a warning.
const FORMATS: [&str; 3] = ["int32", "int64", "date-time"];

/// Clears a derived schema of what an API server warns about or takes otherwise than it is meant.
///
/// - `format`s of Rust's integers;
/// - `nullable`, which would let `null` stand for a value: absent is absent;
/// - line feeds within the paragraphs of descriptions, which `kubectl explain` folds by itself.
pub(super) fn tidy(schema: &mut Value) {
    let Value::Object(object) = schema else { return };
    object.remove("nullable");
    if object.get("format").and_then(Value::as_str).is_some_and(|format| !FORMATS.contains(&format)) {
        object.remove("format");
    }
    if let Some(Value::Array(values)) = object.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if let Some(Value::String(text)) = object.get_mut("description") {
        *text = text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect::<Vec<_>>().join("\n\n");
    }
    for child in children(object) {
        tidy(child);
    }
}

fn children(object: &mut Map<String, Value>) -> Vec<&mut Value> {
    let mut children = Vec::new();
    for (key, value) in object.iter_mut() {
        match (key.as_str(), value) {
            ("properties", Value::Object(properties)) => children.extend(properties.values_mut()),
            ("items" | "additionalProperties" | "not", value) => children.push(value),
            ("allOf" | "anyOf" | "oneOf", Value::Array(schemas)) => children.extend(schemas),
            _ => {}
        }
    }
    children
}

/// Fields and values of enums that `theirs` lacks, both being whole CRDs.
pub(super) fn missing(ours: &Value, theirs: &Value) -> Vec<String> {
    const SCHEMA: &str = "/spec/versions/0/schema/openAPIV3Schema";
    let mut missing = Vec::new();
    compare(ours.pointer(SCHEMA), theirs.pointer(SCHEMA), "", &mut missing);
    missing
}

fn compare(ours: Option<&Value>, theirs: Option<&Value>, path: &str, missing: &mut Vec<String>) {
    let Some(ours) = ours else { return };
    let Some(theirs) = theirs else {
        missing.push(path.to_owned());
        return;
    };
    if let Some(values) = ours.get("enum").and_then(Value::as_array) {
        let known = theirs.get("enum").and_then(Value::as_array);
        let lacking = values.iter().filter(|value| known.is_some_and(|known| !known.contains(value)));
        missing.extend(
            lacking.map(|value| format!("{path}: {}", value.as_str().map_or(value.to_string(), str::to_owned))),
        );
    }
    if let Some(properties) = ours.get("properties").and_then(Value::as_object) {
        for (name, property) in properties {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            compare(Some(property), theirs.get("properties").and_then(|of| of.get(name)), &path, missing);
        }
    }
    if let Some(items) = ours.get("items") {
        compare(Some(items), theirs.get("items"), &format!("{path}[]"), missing);
    }
}
