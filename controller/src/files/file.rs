//! From the text of one file to its objects and findings.

use std::collections::{BTreeMap, BTreeSet};

use ravelin_crds::AuthPolicySpec;
use ravelin_snapshot::ObjectKey;

use super::{
    document::{self, object_of},
    finding::{FileFinding, error},
    schema::{self, Flaw, Found},
    yaml::{Content, Document, Entry, Node, Place, SyntaxError, documents},
};
use crate::{
    compile,
    object::{AnyObject, DEFAULT_NAMESPACE, Fault, Kind, Meta, Object, ObjectRef},
    verdict::{Finding, Reason, Severity},
};

/// Errors that are told of one file.
const MAX_FINDINGS: usize = 1_000;

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) items: Vec<Item>,
    pub(super) findings: Vec<FileFinding>,
}

/// An object and where it stands.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) object: AnyObject,
    pub(super) place: Place,
    pub(super) root: Node,
}

impl Reading {
    /// Whether the file passes the whole check, so that it may replace what it said before.
    pub(super) fn is_sound(&self) -> bool {
        self.findings.iter().all(|finding| finding.finding.severity != Severity::Error)
    }
}

/// Reads a file that is called `name` in messages. Objects that are known to be sound are not compiled for it again.
pub(super) fn read(name: &str, text: &str, is_known: &dyn Fn(&AnyObject) -> bool) -> Reading {
    let mut reader =
        Reader { name, is_known, reading: Reading::default(), seen: BTreeMap::new(), policies: 0, lost: false };
    for document in documents(text) {
        reader.document(document);
    }
    if !reader.reading.is_sound() {
        reader.close_for_unknown_policies(text);
    }
    let findings = &mut reader.reading.findings;
    if findings.len() > MAX_FINDINGS {
        findings.truncate(MAX_FINDINGS);
        findings.push(FileFinding::unreadable(
            name,
            "there are more findings than are shown",
            "correct the first ones",
        ));
    }
    reader.reading
}

struct Reader<'a> {
    name: &'a str,
    is_known: &'a dyn Fn(&AnyObject) -> bool,
    reading: Reading,
    seen: BTreeMap<ObjectRef, Place>,
    /// Policies that were read, as far as they could be.
    policies: usize,
    /// A policy was not read, though it does not look like one.
    lost: bool,
}

impl Reader<'_> {
    fn document(&mut self, document: Document) {
        let Document { root, error } = document;
        let Some(root) = root else {
            if let Some(error) = error {
                self.tell(None, document::of_syntax(&error), Reason::Unreadable);
            }
            return;
        };
        let errors =
            |reading: &Reading| reading.findings.iter().filter(|f| f.finding.severity == Severity::Error).count();
        let told = errors(&self.reading);
        let again = root.repeated().and_then(|entry| Some(repeated(entry, entry.repeated?)));
        self.root(root, error.as_ref());
        // Whatever kind it has: a `---` that is missing makes one document of two, and the second is lost.
        if errors(&self.reading) == told
            && let Some(flaw) = again
        {
            self.tell(None, flaw, Reason::Invalid);
        }
    }

    /// An object, or a list of them.
    fn root(&mut self, root: Node, syntax: Option<&SyntaxError>) {
        let kind = root.get("kind").and_then(Node::text).unwrap_or_default();
        let Some(items) = items_of(kind, &root) else { return self.object(root, syntax) };
        // An API server leaves out what its items are.
        let of_policies = ["AuthPolicyList", "RateLimitPolicyList"].contains(&kind);
        self.lost |= of_policies && items.iter().any(|item| item.get("kind").is_none());
        for item in items {
            self.root(item.clone(), None);
        }
        if let Some(error) = syntax {
            self.tell(None, document::of_syntax(error), Reason::Unreadable);
        }
    }

    fn object(&mut self, root: Node, syntax: Option<&SyntaxError>) {
        let Some((kind, wrong)) = self.identify(&root, syntax) else { return };
        self.policies += usize::from(matches!(kind, Kind::AuthPolicy | Kind::RateLimitPolicy));
        let (object, flaws) = object_of(kind, &root, wrong, syntax);
        let reference = object.reference();
        if let Some(first) = self.seen.get(&reference) {
            let message = format!("{reference} is in this file twice, first in line {}", first.line);
            let twice =
                error(Reason::Conflicted, "metadata.name".to_owned(), message, "remove or rename one of the two");
            let place = root.locate("metadata.name");
            self.reading.findings.push(FileFinding::new(self.name, place, Some(reference), twice));
            return;
        }
        self.seen.insert(reference.clone(), root.place);
        if flaws.is_empty() && !(self.is_known)(&object) {
            for finding in compile::check_object(&object) {
                let place = root.locate(&finding.field);
                self.reading.findings.push(FileFinding::new(self.name, place, Some(reference.clone()), finding));
            }
        }
        for flaw in flaws {
            let reason = if syntax.is_some() { Reason::Unreadable } else { Reason::Invalid };
            self.tell(Some(reference.clone()), flaw, reason);
        }
        self.reading.items.push(Item { object, place: root.place, root });
    }

    /// The kind of a document, and what is wrong with how it says so. A document of somebody else's kind has none.
    fn identify(&mut self, root: &Node, syntax: Option<&SyntaxError>) -> Option<(Kind, Vec<Flaw>)> {
        let word = |field| root.get(field).and_then(Node::text);
        let (Some(version), Some(kind)) = (word("apiVersion"), word("kind")) else {
            let lacking = if word("kind").is_none() { "kind" } else { "apiVersion" };
            let flaw = syntax.map_or_else(|| lacks(root, lacking), document::of_syntax);
            self.tell(None, flaw, if syntax.is_some() { Reason::Unreadable } else { Reason::Invalid });
            return None;
        };
        match schema::find(version, kind) {
            Found::Kind(kind) => Some((kind, Vec::new())),
            Found::Foreign => {
                // It may hold our kinds behind the error; what is cut off cannot be told.
                if let Some(error) = syntax {
                    self.tell(None, document::of_syntax(error), Reason::Unreadable);
                }
                None
            }
            Found::NotYet => {
                let finding = Finding {
                    severity: Severity::Warning,
                    ..error(
                        Reason::Unsupported,
                        "kind".to_owned(),
                        format!("{kind} is not read by this version"),
                        "write an ApiRoute",
                    )
                };
                self.reading.findings.push(FileFinding::new(self.name, root.locate("kind"), None, finding));
                None
            }
            Found::Wrong { field, message, remedy, meant } => {
                let flaw = Flaw { place: root.locate(field), field: field.to_owned(), message, remedy };
                if let Some(kind) = meant {
                    return Some((kind, vec![flaw]));
                }
                self.tell(None, flaw, Reason::Invalid);
                None
            }
        }
    }

    /// A document that nobody can read may be a policy, and what a policy protects is not open because of a slip. If the text
    /// speaks of more policies than were read, all namespaces that it speaks of are closed.
    fn close_for_unknown_policies(&mut self, text: &str) {
        let policies = values_of(text, "kind").filter(|kind| ["AuthPolicy", "RateLimitPolicy"].contains(kind)).count();
        if policies <= self.policies && !self.lost {
            return;
        }
        let mut namespaces: BTreeSet<String> =
            self.reading.items.iter().map(|item| item.object.meta().key.namespace.clone()).collect();
        namespaces.extend(values_of(text, "namespace").map(str::to_owned));
        namespaces.insert(DEFAULT_NAMESPACE.to_owned());
        for namespace in namespaces {
            let object = closing_policy(namespace, self.name);
            let root = Node { place: Place::default(), content: Content::Null };
            self.reading.items.push(Item { object, place: root.place, root });
        }
    }

    fn tell(&mut self, object: Option<ObjectRef>, flaw: Flaw, reason: Reason) {
        let finding = error(reason, flaw.field, flaw.message, flaw.remedy);
        self.reading.findings.push(FileFinding::new(self.name, flaw.place, object, finding));
    }
}

/// Closes a namespace, whatever other policies say there, because `file` may hold one that cannot be read.
pub(super) fn closing_policy(namespace: String, file: &str) -> AnyObject {
    let key = ObjectKey::new(namespace.clone(), "unreadable");
    let spec = AuthPolicySpec {
        target_refs: vec![document::whole_namespace(namespace)],
        overrides: Some(true),
        ..Default::default()
    };
    let mut object = Object::new(Meta { key, ..Meta::default() }, spec);
    object.faults.push(Fault {
        field: String::new(),
        message: format!("a policy in {file} cannot be read"),
        remedy: "correct the file".to_owned(),
    });
    AnyObject::AuthPolicy(object)
}

/// The items of `kubectl get -o yaml` of several objects, and of lists that have a kind of their own.
fn items_of<'a>(kind: &str, root: &'a Node) -> Option<&'a [Node]> {
    let Content::List(items) = &root.get("items")?.content else { return None };
    let of = kind.strip_suffix("List")?;
    let is_ours = of.is_empty() || Kind::ALL.into_iter().any(|kind| kind.as_str() == of);
    (is_ours || items.iter().any(|item| item.get("kind").is_some())).then_some(items)
}

fn repeated(entry: &Entry, again: Place) -> Flaw {
    Flaw {
        place: again,
        field: String::new(),
        message: format!("a key is there twice, first in line {}", entry.place.line),
        remedy: "remove one of the two, or write `---` between two objects".to_owned(),
    }
}

fn lacks(root: &Node, field: &str) -> Flaw {
    let (message, remedy) = match &root.content {
        Content::Map(_) => match root.get(field) {
            Some(_) => ("expected a string".to_owned(), "put it in quotes".to_owned()),
            None => ("it is required and not there".to_owned(), format!("add `{field}`")),
        },
        _ => ("expected an object".to_owned(), "begin with `apiVersion` and `kind`".to_owned()),
    };
    Flaw { place: root.locate(field), field: field.to_owned(), message, remedy }
}

/// The values of a key, line by line, in a text that has no better form.
fn values_of<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(['\n', ',', '{', '}']).filter_map(move |line| {
        let line = line.trim_start_matches([' ', '\t', '-', '"', '\'']);
        let value = line.strip_prefix(key)?.trim_start_matches(['"', '\'', ' ', '\t']).strip_prefix(':')?;
        let value = value.split('#').next()?.trim().trim_matches(['"', '\'']);
        (!value.is_empty()).then_some(value)
    })
}

#[cfg(test)]
mod tests;
