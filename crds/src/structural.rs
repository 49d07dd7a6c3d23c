//! The OpenAPI part of a CRD, evaluated here: what an API server would refuse, for objects that never met one (files, tests).
//!
//! CEL rules are not evaluated; the compiler says the same in verdicts.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use regex_automata::meta::Regex;
use serde_json::Value;

/// What an object breaks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Path of the field, such as `spec.rules[0].matches[1].path.value`.
    pub field: String,
    pub message: String,
}

/// The schema of one kind, its patterns compiled.
#[derive(Clone, Debug)]
pub struct Schema(Node);

#[derive(Clone, Debug, Default)]
struct Node {
    type_: Type,
    allowed: Option<Vec<Value>>,
    pattern: Option<(String, Regex)>,
    /// Of characters, entries or properties, by the type.
    length: (Option<u64>, Option<u64>),
    range: (Option<f64>, Option<f64>),
    required: Vec<String>,
    properties: BTreeMap<String, Node>,
    /// Of the entries of a list or the values of a map.
    element: Option<Box<Node>>,
    keys: Keys,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Type {
    #[default]
    Any,
    Boolean,
    Integer,
    IntOrString,
    String,
    Array,
    Object,
}

/// What is unique in a list.
#[derive(Clone, Debug, Default)]
enum Keys {
    #[default]
    None,
    Whole,
    Fields(Vec<String>),
}

impl Schema {
    /// Of a CRD of [`crate::generate::all`].
    pub fn of(crd: &CustomResourceDefinition) -> Self {
        let schema = crd.spec.versions.first().and_then(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref());
        let mut root =
            Node::of(&serde_json::to_value(schema).expect("a schema holds nothing that JSON lacks (invariant)"));
        // The API server's own; their shapes are not the CRD's.
        for field in ["apiVersion", "kind", "metadata"] {
            root.properties.entry(field.to_owned()).or_default();
        }
        Self(root)
    }

    /// All that is wrong with an object, by field.
    pub fn violations(&self, object: &Value) -> Vec<Violation> {
        let mut violations = Vec::new();
        self.0.check(object, &mut Path::default(), &mut violations);
        violations
    }
}

/// Where we are, as text that is cut back on the way out.
#[derive(Default)]
struct Path(String);

impl Path {
    fn field<R>(&mut self, name: &str, inner: impl FnOnce(&mut Self) -> R) -> R {
        let dot = if self.0.is_empty() { "" } else { "." };
        self.part(&format!("{dot}{name}"), inner)
    }

    fn index<R>(&mut self, index: usize, inner: impl FnOnce(&mut Self) -> R) -> R {
        self.part(&format!("[{index}]"), inner)
    }

    fn part<R>(&mut self, part: &str, inner: impl FnOnce(&mut Self) -> R) -> R {
        let length = self.0.len();
        self.0.push_str(part);
        let result = inner(self);
        self.0.truncate(length);
        result
    }
}

impl Node {
    fn of(schema: &Value) -> Self {
        let text = |key: &str| schema.get(key).and_then(Value::as_str);
        let count = |key: &str| schema.get(key).and_then(Value::as_u64);
        let number = |key: &str| schema.get(key).and_then(Value::as_f64);
        let strings = |key: &str| {
            let list = schema.get(key).and_then(Value::as_array);
            list.into_iter().flatten().filter_map(|value| value.as_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        let type_ = match text("type") {
            _ if schema.get("x-kubernetes-int-or-string").is_some() => Type::IntOrString,
            Some("boolean") => Type::Boolean,
            Some("integer") => Type::Integer,
            Some("string") => Type::String,
            Some("array") => Type::Array,
            Some("object") => Type::Object,
            _ => Type::Any,
        };
        let length = match type_ {
            Type::Array => ("minItems", "maxItems"),
            Type::Object => ("minProperties", "maxProperties"),
            _ => ("minLength", "maxLength"),
        };
        let properties = schema.get("properties").and_then(Value::as_object);
        Self {
            type_,
            allowed: schema.get("enum").and_then(Value::as_array).cloned(),
            pattern: text("pattern").map(|pattern| {
                (pattern.to_owned(), Regex::new(pattern).expect("patterns of ours are valid (invariant, tested)"))
            }),
            length: (count(length.0), count(length.1)),
            range: (number("minimum"), number("maximum")),
            required: strings("required"),
            properties: properties.into_iter().flatten().map(|(name, of)| (name.clone(), Self::of(of))).collect(),
            element: schema.get("items").or(schema.get("additionalProperties")).map(|of| Box::new(Self::of(of))),
            keys: match text("x-kubernetes-list-type") {
                Some("set") => Keys::Whole,
                Some("map") => Keys::Fields(strings("x-kubernetes-list-map-keys")),
                _ => Keys::None,
            },
        }
    }

    fn check(&self, value: &Value, path: &mut Path, violations: &mut Vec<Violation>) {
        let mut refuse = |message: String| violations.push(Violation { field: path.0.clone(), message });
        if !self.type_.holds(value) {
            return refuse(format!("must be {}", self.type_.article()));
        }
        if let Some(allowed) = self.allowed.as_ref().filter(|allowed| !allowed.contains(value)) {
            let allowed: Vec<_> =
                allowed.iter().map(|value| value.as_str().map_or(value.to_string(), str::to_owned)).collect();
            return refuse(format!("must be one of {}", allowed.join(", ")));
        }
        match value {
            Value::String(text) => {
                self.check_length(text.chars().count(), "characters", &mut refuse);
                if let Some((pattern, _)) = self.pattern.as_ref().filter(|(_, regex)| !regex.is_match(text)) {
                    refuse(format!("must match {pattern}"));
                }
            }
            Value::Number(number) => self.check_range(number.as_f64().unwrap_or(f64::NAN), &mut refuse),
            Value::Array(list) => {
                self.check_length(list.len(), "entries", &mut refuse);
                self.check_entries(list, path, violations);
            }
            Value::Object(map) if self.type_ == Type::Object => {
                self.check_length(map.len(), "entries", &mut refuse);
                for name in self.required.iter().filter(|name| !map.contains_key(*name)) {
                    refuse(format!("{name} is missing"));
                }
                for (name, value) in map {
                    path.field(name, |path| match self.properties.get(name).or(self.element.as_deref()) {
                        Some(node) => node.check(value, path, violations),
                        None => violations.push(Violation {
                            field: path.0.clone(),
                            message: "there is no field of this name".to_owned(),
                        }),
                    });
                }
            }
            _ => {}
        }
    }

    fn check_length(&self, length: usize, of: &str, refuse: &mut impl FnMut(String)) {
        let length = length as u64;
        if let (Some(min), _) = self.length
            && length < min
        {
            refuse(format!("must have at least {min} {of}"));
        }
        if let (_, Some(max)) = self.length
            && length > max
        {
            refuse(format!("must have at most {max} {of}"));
        }
    }

    fn check_range(&self, number: f64, refuse: &mut impl FnMut(String)) {
        if let (Some(min), _) = self.range
            && number < min
        {
            refuse(format!("must be at least {min}"));
        }
        if let (_, Some(max)) = self.range
            && number > max
        {
            refuse(format!("must be at most {max}"));
        }
    }

    fn check_entries(&self, list: &[Value], path: &mut Path, violations: &mut Vec<Violation>) {
        let mut seen = BTreeSet::new();
        for (index, entry) in list.iter().enumerate() {
            path.index(index, |path| {
                let key = match &self.keys {
                    Keys::None => None,
                    Keys::Whole => Some(entry.to_string()),
                    Keys::Fields(fields) => {
                        let key: Vec<_> = fields.iter().map(|field| entry.get(field).unwrap_or(&Value::Null)).collect();
                        Some(format!("{key:?}"))
                    }
                };
                if key.is_some_and(|key| !seen.insert(key)) {
                    violations.push(Violation { field: path.0.clone(), message: "is there twice".to_owned() });
                }
                if let Some(node) = &self.element {
                    node.check(entry, path, violations);
                }
            });
        }
    }
}

impl Type {
    fn holds(self, value: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::Boolean => value.is_boolean(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::IntOrString => value.is_i64() || value.is_u64() || value.is_string(),
            Self::String => value.is_string(),
            Self::Array => value.is_array(),
            Self::Object => value.is_object(),
        }
    }

    fn article(self) -> &'static str {
        match self {
            Self::Any => "anything",
            Self::Boolean => "true or false",
            Self::Integer => "a whole number",
            Self::IntOrString => "a whole number or a text",
            Self::String => "a text",
            Self::Array => "a list",
            Self::Object => "a map",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate;
    use serde_json::json;

    #[test]
    fn says_field_and_bound_of_all_that_is_wrong() {
        let crds = generate::all();
        let schema = Schema::of(&crds[0]);
        let route = json!({"apiVersion": "ravelin.dev/v1alpha1", "kind": "ApiRoute", "metadata": {"name": "a"}, "spec": {
            "hostnames": ["UPPER", 7],
            "rules": [{
                "matches": [{"method": "get", "headers": [{"name": "a", "value": "1"}, {"name": "a", "value": "2"}]}],
                "retry": {"attempts": 101},
                "backendRefs": [{"port": 80}],
                "typo": true,
            }],
        }});
        let found: Vec<_> =
            schema.violations(&route).into_iter().map(|found| format!("{}: {}", found.field, found.message)).collect();
        assert_eq!(
            found,
            [
                r"spec.hostnames[0]: must match ^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
                "spec.hostnames[1]: must be a text",
                "spec.rules[0].backendRefs[0]: name is missing",
                "spec.rules[0].matches[0].headers[1]: is there twice",
                "spec.rules[0].matches[0].method: must be one of GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE, PATCH",
                "spec.rules[0].retry.attempts: must be at most 100",
                "spec.rules[0].typo: there is no field of this name",
            ]
        );
    }

    #[test]
    fn a_quantity_is_a_number_or_a_text() {
        let crds = generate::all();
        let schema = Schema::of(crds.iter().find(|crd| crd.spec.names.kind == "ApiRoute").unwrap());
        let min_size = |size: Value| {
            schema.violations(&json!({"spec": {"rules": [{"filters": [{"compression": {"minSize": size}}]}]}})).len()
        };
        assert_eq!([json!(1024), json!("1Ki"), json!(-1), json!("1KB"), json!(true)].map(min_size), [0, 0, 1, 1, 1]);
    }
}
