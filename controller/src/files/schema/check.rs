//! A document against its schema: every flaw with its place, and what is sound in spite of them.

use std::{collections::HashSet, fmt::Display};

use base64::Engine;
use serde_json::{Map, Value};

use super::{Format, Schema, Shape, TextBounds, Unique, rule};
use crate::files::yaml::{Content, Entry, Node, Place};

/// Flaws that are told of one document; a broken generator should not fill the memory.
const MAX_FLAWS: usize = 64;
/// Characters of a value that a message shows.
const SHOWN: usize = 48;

/// Something that an API server would refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) place: Place,
    /// As `spec.rules[2].name`; empty is the document.
    pub(crate) field: String,
    pub(crate) message: String,
    pub(crate) remedy: String,
}

/// What is left out of the value because of a flaw in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// What has the wrong type or a word that does not exist.
    Types,
    /// Whatever is flawed in itself: a text that does not match its pattern too.
    Values,
}

/// The value of `node` without what cannot be decoded, and all flaws. Items keep their number where an empty object can
/// stand for them, so that a broken rule or match stands where it stood.
pub(crate) fn check(schema: &Schema, node: &Node, strictness: Strictness, flaws: &mut Vec<Flaw>) -> Value {
    let mut check = Check { flaws, field: String::new(), strictness };
    check.value(schema, node, node.place).value
}

struct Check<'a> {
    flaws: &'a mut Vec<Flaw>,
    field: String,
    strictness: Strictness,
}

struct Checked {
    value: Value,
    /// Whether `value` can stand where it stands.
    sound: bool,
}

impl Check<'_> {
    /// `place` is where messages point: the key, or the item.
    fn value(&mut self, schema: &Schema, node: &Node, place: Place) -> Checked {
        if let Content::Bad(why) = node.content {
            self.flaw(node.place, format!("it is {why}"), "put the value in quotes, or write another one");
            return unsound();
        }
        if node.content == Content::Null && schema.nullable {
            return Checked { value: Value::Null, sound: true };
        }
        let before = self.flaws.len();
        let mut checked = self.shape(schema, node, place);
        if !checked.sound {
            return checked;
        }
        if !schema.one_of.is_empty() && !schema.one_of.contains(&checked.value) {
            let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let words: Vec<_> = schema.one_of.iter().map(word).collect();
            let shown = shown(schema, node);
            self.flaw(node.place, format!("{shown} is not a value of this field"), one_of(&words));
            return unsound();
        }
        // Where something is left out, a rule would speak of what is not there.
        if self.flaws.len() == before {
            checked.sound &= self.rules(schema, &checked.value, place) || self.strictness == Strictness::Types;
        }
        checked
    }

    fn shape(&mut self, schema: &Schema, node: &Node, place: Place) -> Checked {
        match (&schema.shape, &node.content) {
            (Shape::Any, _) | (Shape::Bool, Content::Bool(..)) => sound(node.to_json()),
            (Shape::Text(bounds) | Shape::IntegerOrText(bounds), Content::Text(text)) => {
                let fits = self.text(schema, bounds, text, node);
                Checked { value: Value::String(text.clone()), sound: fits || self.strictness == Strictness::Types }
            }
            (Shape::IntegerOrText(_), Content::Number(number, _)) if !number.is_f64() => sound(node.to_json()),
            (Shape::Integer { min, max }, Content::Number(number, _)) if !number.is_f64() => {
                let number = number.as_i64().map(i128::from).or(number.as_u64().map(i128::from)).unwrap_or_default();
                self.range(node, &number, min, max)
            }
            (Shape::Number { min, max }, Content::Number(number, _)) => {
                let number = number.as_f64().unwrap_or_default();
                self.range(node, &number, min, max)
            }
            (Shape::List { items, min, max, unique }, Content::List(nodes)) => {
                self.size(node.place, nodes.len(), *min, *max, "items");
                self.unique(unique, nodes);
                sound(self.list(items, nodes))
            }
            (Shape::Object { .. }, Content::Map(entries)) => self.object(schema, entries, place),
            _ => {
                self.wrong_type(schema, node, place);
                unsound()
            }
        }
    }

    fn range<N: PartialOrd + Display>(&mut self, node: &Node, number: &N, min: &N, max: &N) -> Checked {
        if (min..=max).contains(&number) {
            return sound(node.to_json());
        }
        self.flaw(node.place, format!("{number} is out of range"), format!("write a number from {min} to {max}"));
        unsound()
    }

    fn list(&mut self, items: &Schema, nodes: &[Node]) -> Value {
        let may_be_empty = matches!(&items.shape, Shape::Object { required, .. } if required.is_empty());
        let mut values = Vec::with_capacity(nodes.len());
        for (index, node) in nodes.iter().enumerate() {
            let length = self.enter_item(index);
            let Checked { value, sound } = self.value(items, node, node.place);
            self.field.truncate(length);
            if sound {
                values.push(value);
            } else if may_be_empty {
                values.push(Value::Object(Map::new()));
            }
        }
        Value::Array(values)
    }

    fn object(&mut self, schema: &Schema, entries: &[Entry], place: Place) -> Checked {
        let Shape::Object { fields, required, others, max } = &schema.shape else { return unsound() };
        self.size(place, entries.len(), 0, *max, "entries");
        let mut object = Map::new();
        for entry in entries {
            let length = self.enter(&entry.key);
            if let Some(again) = entry.repeated {
                let message = format!("the key is there twice, first in line {}", entry.place.line);
                self.flaw(again, message, "remove one of the two");
            }
            match fields.get(&entry.key).or(others.as_deref()) {
                Some(of_field) => {
                    let Checked { value, sound } = self.value(of_field, &entry.value, entry.place);
                    if sound && !value.is_null() {
                        object.insert(entry.key.clone(), value);
                    }
                }
                None => self.unknown(entry, fields.keys()),
            }
            self.field.truncate(length);
        }
        let missing: Vec<_> = required.iter().filter(|name| !object.contains_key(*name)).collect();
        for name in &missing {
            // One that is there and flawed has been told of.
            if !entries.iter().any(|entry| entry.key == **name && entry.value.content != Content::Null) {
                let length = self.enter(name);
                self.flaw(place, "it is required and not there", format!("add `{name}`"));
                self.field.truncate(length);
            }
        }
        Checked { sound: missing.is_empty(), value: Value::Object(object) }
    }

    fn text(&mut self, schema: &Schema, bounds: &TextBounds, text: &str, node: &Node) -> bool {
        let before = self.flaws.len();
        let length = if bounds.min > 0 || bounds.max.is_some() { text.chars().count() } else { 0 };
        self.size(node.place, length, bounds.min, bounds.max.unwrap_or(usize::MAX), "characters");
        if let Some(pattern) = &bounds.pattern
            && self.flaws.len() == before
            && !pattern.is_match(text)
        {
            let message = format!("{} is not of the form of this field", shown(schema, node));
            self.flaw(node.place, message, format!("it must match {}", pattern.text));
        }
        match bounds.format {
            Format::Time if text.parse::<jiff::Timestamp>().is_err() => {
                let message = format!("{} is not a time", shown(schema, node));
                self.flaw(node.place, message, "write a time of RFC 3339, such as 2026-01-31T12:00:00Z");
            }
            Format::Base64 if base64::engine::general_purpose::STANDARD.decode(strip_breaks(text)).is_err() => {
                self.flaw(node.place, "the value is not base64", "encode it, or put the plain text into `stringData`");
            }
            _ => {}
        }
        self.flaws.len() == before
    }

    fn rules(&mut self, schema: &Schema, value: &Value, place: Place) -> bool {
        if schema.rules.is_empty() {
            return true;
        }
        let seen = rule::to_cel(value);
        let mut hold = true;
        for rule in &schema.rules {
            if !rule.holds(&seen, value) {
                hold = false;
                self.flaw(place, rule.message.clone(), "change the fields that the message names");
            }
        }
        hold
    }

    fn unique(&mut self, unique: &Unique, nodes: &[Node]) {
        let key = |node: &Node| match unique {
            Unique::None => None,
            Unique::Items => Some(node.to_json().to_string()),
            Unique::By(keys) => {
                let values: Vec<_> = keys.iter().map(|key| node.get(key).map(Node::to_json)).collect();
                values.iter().any(Option::is_some).then(|| format!("{values:?}"))
            }
        };
        let mut seen = HashSet::new();
        for (index, node) in nodes.iter().enumerate() {
            if key(node).is_some_and(|key| !seen.insert(key)) {
                let length = self.enter_item(index);
                self.flaw(node.place, "the list has an equal item before this one", "remove one of the two");
                self.field.truncate(length);
            }
        }
    }

    fn size(&mut self, place: Place, size: usize, min: usize, max: usize, what: &str) {
        if size < min {
            self.flaw(place, format!("it has {size} {what}"), format!("it needs at least {min}"));
        } else if size > max {
            self.flaw(place, format!("it has {size} {what}"), format!("at most {max} are allowed"));
        }
    }

    fn unknown<'s>(&mut self, entry: &Entry, known: impl Iterator<Item = &'s String>) {
        if self.flaws.len() > MAX_FLAWS {
            // It would not be told of, and looking for what was meant takes its time.
            return;
        }
        let known: Vec<_> = known.map(String::as_str).collect();
        let remedy = match nearest(&entry.key, &known) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "remove it".to_owned(),
            None => format!("remove it; there are {}", known.join(", ")),
        };
        self.flaw(entry.place, format!("unknown field `{}`", clipped(&entry.key)), remedy);
    }

    fn wrong_type(&mut self, schema: &Schema, node: &Node, place: Place) {
        let expected = schema.shape.expected();
        let message = format!("expected {expected}, found {}", found(schema, node));
        let remedy = match (&schema.shape, &node.content) {
            (Shape::Text(_), Content::Bool(_, written) | Content::Number(_, written)) if !schema.secret => {
                format!("put it in quotes: \"{}\"", clipped(written))
            }
            (Shape::Text(_), Content::Bool(..) | Content::Number(..)) => "put it in quotes".to_owned(),
            (Shape::Bool | Shape::Integer { .. } | Shape::Number { .. }, Content::Text(_)) => {
                format!("write {expected}, without quotes")
            }
            (_, Content::Null) => format!("write {expected}, or remove the field"),
            (Shape::List { .. }, Content::Map(_)) => "begin each item with `- `".to_owned(),
            _ => format!("write {expected}"),
        };
        let at = if node.content == Content::Null { place } else { node.place };
        self.flaw(at, message, remedy);
    }

    fn flaw(&mut self, place: Place, message: impl Into<String>, remedy: impl Into<String>) {
        let (message, remedy) = (message.into(), remedy.into());
        match self.flaws.len() {
            // What comes after may be anywhere: it is a fault of the whole document.
            MAX_FLAWS => self.flaws.push(Flaw {
                place,
                field: String::new(),
                message: "there are more errors from here on".to_owned(),
                remedy: "correct the first ones, then look again".to_owned(),
            }),
            n if n > MAX_FLAWS => {}
            _ => self.flaws.push(Flaw { place, field: self.field.clone(), message, remedy }),
        }
    }

    /// Returns the length to go back to.
    fn enter(&mut self, name: &str) -> usize {
        let length = self.field.len();
        if length > 0 {
            self.field.push('.');
        }
        self.field.push_str(&clipped(name));
        length
    }

    fn enter_item(&mut self, index: usize) -> usize {
        let length = self.field.len();
        self.field.push_str(&format!("[{index}]"));
        length
    }
}

fn sound(value: Value) -> Checked {
    Checked { value, sound: true }
}

fn unsound() -> Checked {
    Checked { value: Value::Null, sound: false }
}

impl Shape {
    fn expected(&self) -> &'static str {
        match self {
            Self::Any => "a value",
            Self::Bool => "true or false",
            Self::Text(_) => "a string",
            Self::Integer { .. } => "a whole number",
            Self::Number { .. } => "a number",
            Self::IntegerOrText(_) => "a whole number or a string",
            Self::List { .. } => "a list",
            Self::Object { .. } => "an object",
        }
    }
}

fn found(schema: &Schema, node: &Node) -> String {
    match &node.content {
        Content::Null => "nothing".to_owned(),
        Content::Bool(..) if schema.secret => "a boolean".to_owned(),
        Content::Number(..) if schema.secret => "a number".to_owned(),
        Content::Bool(value, written) if **written != value.to_string() => {
            format!("`{written}`, which is the boolean {value}")
        }
        Content::Bool(value, _) => format!("the boolean {value}"),
        Content::Number(_, written) => format!("the number {}", clipped(written)),
        Content::Text(_) => "a string".to_owned(),
        Content::List(_) => "a list".to_owned(),
        Content::Map(_) => "an object".to_owned(),
        Content::Bad(why) => (*why).to_owned(),
    }
}

/// A scalar for a message; what belongs to a secret is not shown.
fn shown(schema: &Schema, node: &Node) -> String {
    match &node.content {
        _ if schema.secret => "the value".to_owned(),
        Content::Text(text) => format!("`{}`", clipped(text)),
        Content::Bool(_, written) | Content::Number(_, written) => format!("`{}`", clipped(written)),
        _ => "the value".to_owned(),
    }
}

fn clipped(text: &str) -> String {
    let mut clipped: String = text.chars().take(SHOWN).map(|c| if c.is_control() { '?' } else { c }).collect();
    if clipped.len() < text.len() {
        clipped.push('…');
    }
    clipped
}

fn one_of(words: &[impl std::borrow::Borrow<str>]) -> String {
    format!("write one of {}", words.join(", "))
}

/// Line breaks are allowed in base64, as in Go.
fn strip_breaks(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect()
}

/// The word that was likely meant: at most two edits away, or the same but for its case.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let near = known.iter().map(|k| (distance(&word.to_lowercase(), &k.to_lowercase()), *k)).min();
    near.filter(|(distance, known)| *distance <= 2 && *distance < known.len().div_ceil(2)).map(|(_, known)| known)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
