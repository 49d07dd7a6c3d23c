//! From the parser's events to a tree, within budgets.

use std::collections::{BTreeMap, HashMap};

use granit_parser::{Event, ScalarStyle, Span, Tag};

use super::{Content, Entry, MAX_DEPTH, Node, Place, SyntaxError, scalar};

/// Values in one document, those behind aliases counted at each use.
const MAX_NODES: usize = 1_000_000;
/// Bytes of text in one document, counted likewise.
const MAX_TEXT: usize = 16 << 20;
/// Values behind aliases in a whole text, counted at each use: each costs all that is done with values.
const MAX_COPIED_NODES: usize = 100_000;
/// Bytes of text behind aliases, counted likewise.
const MAX_COPIED_TEXT: usize = 8 << 20;
/// A tree in the making.
#[derive(Default)]
pub(super) struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
    /// By the parser's number. What is still open has no entry: an alias to it is an endless tree.
    anchors: HashMap<usize, Node>,
    nodes: usize,
    text: usize,
    copied: Copied,
}

/// What aliases came to, in all documents so far.
#[derive(Clone, Copy, Default)]
pub(super) struct Copied {
    nodes: usize,
    text: usize,
}

/// A collection whose end has not come.
struct Open {
    place: Place,
    anchor: usize,
    collection: Collection,
}

enum Collection {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        /// And where among the entries they are.
        keys: BTreeMap<String, usize>,
        pending: Option<Key>,
        /// Of `<<`, in their order: keys of the map itself win, then earlier ones.
        merges: Vec<Node>,
    },
}

enum Key {
    Named(String, Place),
    Merge,
}

impl Builder {
    /// For the next document of a text whose earlier ones came to `copied`.
    pub(super) fn new(copied: Copied) -> Self {
        Self { copied, ..Self::default() }
    }

    pub(super) fn copied(&self) -> Copied {
        self.copied
    }

    pub(super) fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), SyntaxError> {
        let place = Place { line: span.start.line(), column: span.start.col() + 1 };
        match event {
            Event::Scalar(text, style, anchor, tag) => self.scalar(&text, style, anchor, tag.as_deref(), place),
            Event::SequenceStart(_, anchor, _) => self.begin(place, anchor, Collection::List(Vec::new())),
            Event::MappingStart(_, anchor, _) => {
                let (entries, keys) = (Vec::new(), BTreeMap::new());
                self.begin(place, anchor, Collection::Map { entries, keys, pending: None, merges: Vec::new() })
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let anchor = open.anchor;
                let node = open.close();
                self.place(node, anchor)
            }
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id).cloned() else {
                    return Err(error(place, "an alias stands inside of what it is an alias of"));
                };
                self.count_copy(&node, place)?;
                self.place(node, 0)
            }
            Event::UnresolvedAlias(_) => Err(error(place, "an alias of something that has no anchor")),
            _ => Ok(()),
        }
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        place: Place,
    ) -> Result<(), SyntaxError> {
        let plain = style == ScalarStyle::Plain;
        let tag = tag.map(|tag| tag.core_suffix().unwrap_or("?"));
        let content = scalar::read(text, plain, tag);
        if let Some(Open { collection: Collection::Map { pending: pending @ None, .. }, .. }) = self.open.last_mut() {
            let key = match scalar::key(&content) {
                Some(_) if plain && text == "<<" => Key::Merge,
                Some(key) => Key::Named(key, place),
                None => return Err(error(place, "a key must be a text")),
            };
            *pending = Some(key);
            return self.count(text.len(), place);
        }
        self.count(text.len(), place)?;
        self.place(Node { place, content }, anchor)
    }

    fn begin(&mut self, place: Place, anchor: usize, collection: Collection) -> Result<(), SyntaxError> {
        if let Some(Open { collection: Collection::Map { pending: None, .. }, .. }) = self.open.last() {
            return Err(error(place, "a key must be a text"));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(error(place, "it is nested too deeply: more than 64 levels"));
        }
        self.count(0, place)?;
        self.open.push(Open { place, anchor, collection });
        Ok(())
    }

    /// Puts a value where it belongs.
    fn place(&mut self, node: Node, anchor: usize) -> Result<(), SyntaxError> {
        if anchor != 0 {
            self.count_tree(&node, node.place)?;
            self.anchors.insert(anchor, node.clone());
        }
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut parent.collection {
            Collection::List(items) => items.push(node),
            Collection::Map { entries, keys, pending, merges } => match pending.take() {
                None => return Err(error(node.place, "a key must be a text")),
                Some(Key::Merge) => merge(node, merges)?,
                Some(Key::Named(key, place)) => {
                    if let Some(entry) = keys.get(&key).and_then(|at| entries.get_mut(*at)) {
                        entry.repeated.get_or_insert(place);
                        return Ok(());
                    }
                    keys.insert(key.clone(), entries.len());
                    entries.push(Entry { key, place, value: node, repeated: None });
                }
            },
        }
        Ok(())
    }

    fn count(&mut self, text: usize, place: Place) -> Result<(), SyntaxError> {
        self.nodes += 1;
        self.text += text;
        if self.nodes > MAX_NODES || self.text > MAX_TEXT {
            return Err(error(place, "the document is too large: more than 1,000,000 values or 16 MiB of text"));
        }
        Ok(())
    }

    /// A copy of a tree, before it is made; in depth bounded because every tree here is, and copies are counted.
    fn count_tree(&mut self, node: &Node, place: Place) -> Result<(), SyntaxError> {
        let depth = depth(node);
        if self.open.len() + depth > MAX_DEPTH {
            return Err(error(place, "it is nested too deeply: more than 64 levels"));
        }
        self.count_nodes(node, place)
    }

    fn count_copy(&mut self, node: &Node, place: Place) -> Result<(), SyntaxError> {
        let (nodes, text) = (self.nodes, self.text);
        self.count_tree(node, place)?;
        self.copied.nodes += self.nodes - nodes;
        self.copied.text += self.text - text;
        if self.copied.nodes > MAX_COPIED_NODES || self.copied.text > MAX_COPIED_TEXT {
            let message = "aliases stand for more than 100,000 values or 8 MiB of text in this file: use fewer of them";
            return Err(error(place, message));
        }
        Ok(())
    }

    fn count_nodes(&mut self, node: &Node, place: Place) -> Result<(), SyntaxError> {
        self.count(if let Content::Text(text) = &node.content { text.len() } else { 0 }, place)?;
        match &node.content {
            Content::List(items) => items.iter().try_for_each(|item| self.count_nodes(item, place)),
            Content::Map(entries) => entries.iter().try_for_each(|entry| {
                self.count(entry.key.len(), place)?;
                self.count_nodes(&entry.value, place)
            }),
            _ => Ok(()),
        }
    }

    /// What there is, collections whose end never came included.
    pub(super) fn finish(mut self) -> Option<Node> {
        while let Some(open) = self.open.pop() {
            // What does not fit is after the error anyway.
            let _ = self.place(open.close(), 0);
        }
        self.root
    }
}

impl Open {
    fn close(self) -> Node {
        let content = match self.collection {
            Collection::List(items) => Content::List(items),
            Collection::Map { mut entries, mut keys, merges, .. } => {
                for merged in merges {
                    let Content::Map(more) = merged.content else { continue };
                    entries.extend(more.into_iter().filter(|entry| keys.insert(entry.key.clone(), 0).is_none()));
                }
                Content::Map(entries)
            }
        };
        Node { place: self.place, content }
    }
}

/// The value of `<<`: a map, or a list of maps.
fn merge(node: Node, merges: &mut Vec<Node>) -> Result<(), SyntaxError> {
    match node.content {
        Content::Map(_) => merges.push(node),
        Content::List(items) if items.iter().all(|item| matches!(item.content, Content::Map(_))) => {
            merges.extend(items);
        }
        _ => return Err(error(node.place, "`<<` takes a map or a list of maps")),
    }
    Ok(())
}

fn depth(node: &Node) -> usize {
    1 + match &node.content {
        Content::List(items) => items.iter().map(depth).max().unwrap_or(0),
        Content::Map(entries) => entries.iter().map(|entry| depth(&entry.value)).max().unwrap_or(0),
        _ => 0,
    }
}

fn error(place: Place, message: &str) -> SyntaxError {
    SyntaxError { place, message: message.to_owned() }
}
