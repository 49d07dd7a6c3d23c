//! The code of the two halves, as far as the pages name it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::page::root;

const SOURCES: [&str; 3] = ["dataplane/src", "dataplane/snapshot/src", "controller/src"];

/// Each file with its text.
pub(crate) struct Code(Vec<(PathBuf, String)>);

impl Code {
    pub(crate) fn read() -> Self {
        let (mut files, mut folders) = (Vec::new(), SOURCES.map(|folder| root().join(folder)).to_vec());
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let text = fs::read_to_string(&path).unwrap();
                    files.push((path, text));
                }
            }
        }
        Self(files)
    }

    /// `name` begins below the sources of a crate.
    pub(crate) fn has_file(&self, name: &str) -> bool {
        SOURCES.iter().any(|folder| self.0.iter().any(|(path, _)| *path == root().join(folder).join(name)))
    }

    /// `module::item` is in the file of that module; `Type::item` is in a file that defines the type or has an `impl` of it.
    pub(crate) fn has_item(&self, name: &str) -> bool {
        let (owner, item) = name.rsplit_once("::").unwrap();
        let owner = owner.rsplit("::").next().unwrap();
        let is_type = owner.starts_with(char::is_uppercase);
        self.0.iter().any(|(path, text)| match is_type {
            true => speaks_of(text, owner) && (defines(text, item) || has_variant(text, owner, item)),
            false => is_module(path, owner) && defines(text, item),
        })
    }
}

fn is_module(path: &Path, name: &str) -> bool {
    path.file_stem().is_some_and(|stem| stem == name)
}

/// Whether one of `before` stands before the word.
fn has_word(text: &str, before: &[&str], word: &str) -> bool {
    before.iter().any(|before| {
        let whole = |rest: &str| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_');
        text.split(&format!("{before}{word}")).skip(1).any(whole)
    })
}

fn defines(text: &str, item: &str) -> bool {
    has_word(text, &["fn ", "struct ", "enum ", "trait ", "type ", "const "], item)
}

fn speaks_of(text: &str, owner: &str) -> bool {
    let lifetimes = ["impl ", "impl<'a> ", "impl<'t> "];
    has_word(text, &["struct ", "enum "], owner) || has_word(text, &lifetimes, owner)
}

fn has_variant(text: &str, owner: &str, variant: &str) -> bool {
    let body = text.split(&format!("enum {owner}")).nth(1).and_then(|rest| rest.split("\n}").next());
    body.is_some_and(|body| has_word(body, &["\n    "], variant))
}
