//! A page of Markdown, as far as the tests care: its fenced blocks, its links, its headings.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository (invariant)")
}

pub(crate) struct Page {
    pub(crate) path: PathBuf,
    /// From the repository's root.
    pub(crate) name: String,
    pub(crate) blocks: Vec<Block>,
    /// Without the blocks.
    pub(crate) prose: String,
}

pub(crate) struct Block {
    pub(crate) sort: Sort,
    /// Of the fence.
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// What stands behind the fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Objects that are sound.
    Yaml,
    /// Objects with an error.
    Broken,
    HttpRoute,
    /// Of the chart.
    Values,
    Json,
    /// Commands after `$ `, and what they print.
    Console,
    Text,
    Unknown,
}

impl Sort {
    fn of(info: &str) -> Self {
        match info {
            "yaml" => Self::Yaml,
            "yaml broken" => Self::Broken,
            "yaml httproute" => Self::HttpRoute,
            "yaml values" => Self::Values,
            "json" => Self::Json,
            "console" => Self::Console,
            "text" => Self::Text,
            _ => Self::Unknown,
        }
    }
}

impl Page {
    /// README, CONTRIBUTING and the book.
    pub(crate) fn all() -> Vec<Self> {
        let mut paths = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
        let mut folders = vec![root().join("docs/src")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { paths.push(path) }
            }
        }
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
        paths.sort();
        assert!(paths.len() > 10, "the book is not where it is looked for");
        paths.iter().map(|path| Self::read(path)).collect()
    }

    pub(crate) fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.strip_prefix(root()).unwrap_or(path).display().to_string();
        let (mut blocks, mut prose, mut open) = (Vec::new(), String::new(), None);
        for (index, line) in text.lines().enumerate() {
            open = match (open.take(), line.strip_prefix("```")) {
                (None, Some(info)) => Some(Block { sort: Sort::of(info), line: index + 1, text: String::new() }),
                (Some(block), Some("")) => {
                    blocks.push(block);
                    None
                }
                (Some(block), _) => Some(Block { text: block.text + line + "\n", ..block }),
                (None, None) => {
                    prose.push_str(line);
                    prose.push('\n');
                    None
                }
            };
        }
        assert!(open.is_none(), "{name}: a block is not closed");
        Self { path: path.to_owned(), name, blocks, prose }
    }

    /// The targets of `[text](target)`.
    pub(crate) fn links(&self) -> impl Iterator<Item = &str> {
        self.prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link)
    }

    /// The cells of the rows of tables that begin so.
    pub(crate) fn rows(&self, begin: &str) -> Vec<Vec<&str>> {
        let rows = self.prose.lines().filter(|line| line.starts_with(begin));
        rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
    }

    /// What headings are called in links, as mdBook makes it.
    pub(crate) fn anchors(&self) -> impl Iterator<Item = String> {
        let headings = self.prose.lines().filter(|line| line.starts_with('#'));
        headings.map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
    }
}
