//! The schemas of all kinds, in the form in which documents are checked: those of the CRDs for our kinds, those of
//! Kubernetes' types for its own. What an API server would refuse, a file is refused for, in the same words.

mod check;
mod kinds;
mod rule;

use std::{collections::BTreeMap, sync::OnceLock};

use regex_automata::meta::Regex;
use serde_json::Value;

pub(super) use check::{Flaw, Strictness, check};
pub(super) use kinds::{Found, find, schema_of};
use rule::Rule;

/// What a value must be.
#[derive(Debug, Default)]
pub(super) struct Schema {
    shape: Shape,
    /// Null is as good as absent.
    nullable: bool,
    /// Empty: all values of the shape.
    one_of: Vec<Value>,
    rules: Vec<Rule>,
    /// What is called so is shown in no message.
    secret: bool,
}

#[derive(Debug, Default)]
enum Shape {
    /// Whatever there is.
    #[default]
    Any,
    Bool,
    Text(TextBounds),
    Integer {
        min: i128,
        max: i128,
    },
    Number {
        min: f64,
        max: f64,
    },
    IntegerOrText(TextBounds),
    List {
        items: Box<Schema>,
        min: usize,
        max: usize,
        unique: Unique,
    },
    Object {
        fields: BTreeMap<String, Schema>,
        required: Vec<String>,
        others: Option<Box<Schema>>,
        max: usize,
    },
}

#[derive(Debug, Default)]
struct TextBounds {
    /// Lengths in characters.
    min: usize,
    max: Option<usize>,
    pattern: Option<Pattern>,
    format: Format,
}

#[derive(Debug)]
struct Pattern {
    text: String,
    /// Made when it is first needed: there are hundreds.
    regex: OnceLock<Regex>,
}

impl Pattern {
    fn is_match(&self, text: &str) -> bool {
        // Patterns are those of our CRDs, and a test makes all of them. (invariant)
        let make = || Regex::new(&self.text).expect("a pattern of a CRD is a regular expression");
        self.regex.get_or_init(make).is_match(text)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Format {
    #[default]
    None,
    /// RFC 3339.
    Time,
    Base64,
}

/// Which items of a list may not stand twice.
#[derive(Debug, Default)]
enum Unique {
    #[default]
    None,
    Items,
    /// Those that agree in these fields.
    By(Vec<String>),
}

impl Schema {
    /// From OpenAPI v3 as CRDs have it. Its words are a closed set; a test says that ours use no others.
    fn new(json: &Value) -> Self {
        Self {
            shape: Shape::new(json),
            nullable: json["nullable"] == Value::Bool(true),
            one_of: json["enum"].as_array().cloned().unwrap_or_default(),
            rules: list(&json["x-kubernetes-validations"]).iter().filter_map(Rule::new).collect(),
            secret: false,
        }
    }

    /// A field of an object.
    fn field_mut(&mut self, name: &str) -> Option<&mut Self> {
        match &mut self.shape {
            Shape::Object { fields, .. } => fields.get_mut(name),
            _ => None,
        }
    }

    /// A field of an object; inserted if it is not there.
    fn set_field(&mut self, name: &str, schema: Self) {
        if let Shape::Object { fields, .. } = &mut self.shape {
            fields.insert(name.to_owned(), schema);
        }
    }

    fn require(&mut self, name: &str) {
        if let Shape::Object { required, .. } = &mut self.shape
            && !required.iter().any(|field| field == name)
        {
            required.push(name.to_owned());
        }
    }

    /// Null means absent everywhere below, as it does in Kubernetes' own kinds.
    fn allow_null(&mut self) {
        self.nullable = true;
        match &mut self.shape {
            Shape::List { items, .. } => items.allow_null(),
            Shape::Object { fields, others, .. } => {
                fields.values_mut().for_each(Self::allow_null);
                others.iter_mut().for_each(|others| others.allow_null());
            }
            _ => {}
        }
    }

    fn keep_secret(&mut self) {
        self.secret = true;
        if let Shape::Object { others: Some(others), .. } = &mut self.shape {
            others.keep_secret();
        }
    }
}

impl Shape {
    fn new(json: &Value) -> Self {
        if json["x-kubernetes-int-or-string"] == Value::Bool(true) {
            return Self::IntegerOrText(TextBounds::new(json));
        }
        match json["type"].as_str() {
            Some("boolean") => Self::Bool,
            Some("string") => Self::Text(TextBounds::new(json)),
            Some("integer") => {
                let (min, max) = integer_range(json["format"].as_str());
                let (low, high) = (whole(&json["minimum"]), whole(&json["maximum"]));
                Self::Integer { min: low.unwrap_or(min).max(min), max: high.unwrap_or(max).min(max) }
            }
            Some("number") => Self::Number {
                min: json["minimum"].as_f64().unwrap_or(f64::MIN),
                max: json["maximum"].as_f64().unwrap_or(f64::MAX),
            },
            Some("array") => Self::List {
                items: Box::new(Schema::new(&json["items"])),
                min: size(&json["minItems"]).unwrap_or(0),
                max: size(&json["maxItems"]).unwrap_or(usize::MAX),
                unique: Unique::new(json),
            },
            Some("object") => Self::Object {
                fields: json["properties"]
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(name, schema)| (name.clone(), Schema::new(schema)))
                    .collect(),
                required: texts(&json["required"]),
                others: match &json["additionalProperties"] {
                    Value::Object(schema) => Some(Box::new(Schema::new(&Value::Object(schema.clone())))),
                    Value::Bool(true) => Some(Box::default()),
                    _ => (json["x-kubernetes-preserve-unknown-fields"] == Value::Bool(true)).then(Box::default),
                },
                max: size(&json["maxProperties"]).unwrap_or(usize::MAX),
            },
            _ => Self::Any,
        }
    }
}

impl TextBounds {
    fn new(json: &Value) -> Self {
        let pattern = json["pattern"].as_str().map(|text| Pattern { text: text.to_owned(), regex: OnceLock::new() });
        Self {
            min: size(&json["minLength"]).unwrap_or(0),
            max: size(&json["maxLength"]),
            pattern,
            format: match json["format"].as_str() {
                Some("date-time") => Format::Time,
                Some("byte") => Format::Base64,
                _ => Format::None,
            },
        }
    }
}

impl Unique {
    fn new(json: &Value) -> Self {
        match json["x-kubernetes-list-type"].as_str() {
            Some("set") => Self::Items,
            Some("map") => Self::By(texts(&json["x-kubernetes-list-map-keys"])),
            _ => Self::None,
        }
    }
}

fn integer_range(format: Option<&str>) -> (i128, i128) {
    match format {
        Some("uint8") => (0, u8::MAX.into()),
        Some("uint16") => (0, u16::MAX.into()),
        Some("uint32") => (0, u32::MAX.into()),
        Some("uint64" | "uint") => (0, u64::MAX.into()),
        Some("int32") => (i32::MIN.into(), i32::MAX.into()),
        _ => (i64::MIN.into(), i64::MAX.into()),
    }
}

fn whole(json: &Value) -> Option<i128> {
    // Bounds are written as floats here and there.
    json.as_i64().map(i128::from).or_else(|| json.as_u64().map(i128::from)).or_else(|| json.as_f64().map(|n| n as i128))
}

fn size(json: &Value) -> Option<usize> {
    whole(json).and_then(|n| usize::try_from(n).ok())
}

fn list(json: &Value) -> &[Value] {
    json.as_array().map_or(&[], Vec::as_slice)
}

fn texts(json: &Value) -> Vec<String> {
    list(json).iter().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}
