//! YAML and JSON as trees that know where each value stands. Scalars mean what they mean to `kubectl`.
//!
//! Memory is bounded by the text: aliases are copies, and copies count against budgets of their document and of the text.

mod builder;
mod scalar;

use granit_parser::{Event, Options, Parser, ScanError};
use serde_json::{Map, Number, Value};

use builder::{Builder, Copied};

/// Levels of nesting: above what any kind of ours has, below what a stack bears.
const MAX_DEPTH: usize = 64;

/// Where something stands in a file; both count from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// A value and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) content: Content,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content {
    Null,
    /// And as it was written: `yes`, `on`.
    Bool(bool, Box<str>),
    /// And as it was written: `0x10`, `1_000`.
    Number(Number, Box<str>),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// A scalar that has no meaning in JSON, and why.
    Bad(&'static str),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    /// Of the key.
    pub(crate) place: Place,
    pub(crate) value: Node,
    /// Where the key stands a second time.
    pub(crate) repeated: Option<Place>,
}

/// One document of a stream.
#[derive(Debug)]
pub(crate) struct Document {
    /// What could be read, up to the error if there is one; absent for an empty document.
    pub(crate) root: Option<Node>,
    pub(crate) error: Option<SyntaxError>,
}

/// Why a document could not be read to its end. It never quotes the text, which may be a Secret's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {}, column {}: {message}", place.line, place.column)]
pub(crate) struct SyntaxError {
    pub(crate) place: Place,
    pub(crate) message: String,
}

/// The documents of a text, in order. A broken one does not take the ones behind the next `---`.
pub(crate) fn documents(text: &str) -> impl Iterator<Item = Document> + '_ {
    let options: Options = granit_parser::options! {
        emit_comments: false,
        block_scalar_eof_without_line_feed: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut ended = false;
    let mut copied = Copied::default();
    std::iter::from_fn(move || {
        while !ended {
            let mut builder = Builder::new(copied);
            let outcome = read_document(&mut parser, &mut builder);
            copied = builder.copied();
            let error = match outcome {
                Ok(true) => None,
                Ok(false) => {
                    ended = true;
                    return None;
                }
                Err(error) => {
                    ended = !matches!(parser.proceed_next_document(), Ok(true));
                    Some(error)
                }
            };
            let root = builder.finish();
            if error.is_some() || root.as_ref().is_some_and(|root| root.content != Content::Null) {
                return Some(Document { root, error });
            }
        }
        None
    })
}

/// Reads to the end of the next document; false is the end of the stream.
fn read_document<'a>(
    parser: &mut Parser<'a, impl granit_parser::BorrowedInput<'a>>,
    builder: &mut Builder,
) -> Result<bool, SyntaxError> {
    loop {
        match parser.next_event() {
            None | Some(Ok((Event::StreamEnd, _))) => return Ok(false),
            Some(Ok((Event::DocumentEnd, _))) => return Ok(true),
            Some(Ok((event, span))) => builder.take(event, &span)?,
            Some(Err(error)) => return Err(error.into()),
        }
    }
}

impl From<ScanError> for SyntaxError {
    fn from(error: ScanError) -> Self {
        let marker = error.marker();
        Self { place: Place { line: marker.line(), column: marker.col() + 1 }, message: error.info() }
    }
}

impl Node {
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        match &self.content {
            Content::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The first entry here or below whose key stands twice in its map.
    pub(crate) fn repeated(&self) -> Option<&Entry> {
        match &self.content {
            Content::List(items) => items.iter().find_map(Self::repeated),
            Content::Map(entries) => {
                entries.iter().find_map(|e| e.repeated.map_or_else(|| e.value.repeated(), |_| Some(e)))
            }
            _ => None,
        }
    }

    /// What `kubectl` would send; what has no meaning in JSON becomes null.
    pub(crate) fn to_json(&self) -> Value {
        match &self.content {
            Content::Null | Content::Bad(_) => Value::Null,
            Content::Bool(value, _) => Value::Bool(*value),
            Content::Number(number, _) => Value::Number(number.clone()),
            Content::Text(text) => Value::String(text.clone()),
            Content::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Content::Map(entries) => {
                Value::Object(entries.iter().map(|e| (e.key.clone(), e.value.to_json())).collect::<Map<_, _>>())
            }
        }
    }

    /// The deepest place on the way to a field such as `spec.rules[2].name`. Keys may hold dots.
    pub(crate) fn locate(&self, field: &str) -> Place {
        let mut node = self;
        let mut place = self.place;
        let mut rest = field;
        loop {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            match &node.content {
                Content::Map(entries) => {
                    let fits = |entry: &&Entry| {
                        rest.strip_prefix(entry.key.as_str()).is_some_and(|r| r.is_empty() || r.starts_with(['.', '[']))
                    };
                    let Some(entry) = entries.iter().filter(fits).max_by_key(|entry| entry.key.len()) else {
                        return place;
                    };
                    (node, place, rest) = (&entry.value, entry.place, &rest[entry.key.len()..]);
                }
                Content::List(items) => {
                    let index = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
                    let item = index.and_then(|(index, after)| Some((items.get(index.parse::<usize>().ok()?)?, after)));
                    let Some((item, after)) = item else { return place };
                    (node, place, rest) = (item, item.place, after);
                }
                _ => return place,
            }
        }
    }
}

#[cfg(test)]
mod tests;
