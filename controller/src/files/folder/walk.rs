//! Which files there are below a folder.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ffi::OsStr,
    fs,
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::Stamp;
use crate::files::finding::FileFinding;

pub(in crate::files) const MAX_FILES: usize = 100_000;
const MAX_FOLDERS: usize = 10_000;
const MAX_DEPTH: usize = 32;
const MAX_BYTES: u64 = 8 << 20;

#[derive(Debug, Default)]
pub(in crate::files) struct Listing {
    pub(in crate::files) files: BTreeMap<PathBuf, Stamp>,
    /// Where those that are links lead to, below the folder as it was named.
    pub(in crate::files) targets: HashMap<PathBuf, PathBuf>,
    /// Whether a file that is not listed is gone.
    pub(in crate::files) complete: bool,
    /// Folders and files that could not be looked at: what was below them stays.
    pub(in crate::files) hidden: Vec<PathBuf>,
    /// Links that lead to nothing and are called like no file that is read. They may have led to folders.
    pub(in crate::files) lost: Vec<PathBuf>,
    /// The first file beyond the bound.
    pub(in crate::files) beyond: Option<PathBuf>,
    pub(in crate::files) findings: Vec<FileFinding>,
}

impl Listing {
    /// Whether a file is there, or nobody can tell.
    pub(in crate::files) fn keeps(&self, path: &Path) -> bool {
        self.files.contains_key(path) || self.is_hidden(path)
    }

    /// The name by which changes of a file are told of.
    pub(in crate::files) fn target<'a>(&'a self, path: &'a Path) -> &'a Path {
        self.targets.get(path).map_or(path, PathBuf::as_path)
    }

    pub(in crate::files) fn is_hidden(&self, path: &Path) -> bool {
        self.hidden.iter().any(|hidden| path.starts_with(hidden))
    }

    /// What was below a link that leads to nothing stays; where nothing was, the link is nothing too.
    pub(in crate::files) fn hide_lost(&mut self, was_folder: impl Fn(&Path) -> bool) {
        for path in std::mem::take(&mut self.lost) {
            if was_folder(&path) {
                let message = "it is a link that leads to nothing; what was below it stays".to_owned();
                self.hide(&path, message, "mend it, or remove it");
            }
        }
    }
}

/// Lists the `.yaml`, `.yml` and `.json` files below `root`. What begins with a dot is passed over: editors keep their
/// drafts there, and Kubernetes the versions of a mounted ConfigMap; so is `lost+found`, which a file system keeps to itself and
/// the superuser. Symbolic links are followed as long as they stay below
/// `root`; what is reached twice counts once.
pub(in crate::files) fn walk(root: &Path, max_files: usize, enter: &mut dyn FnMut(&Path)) -> Listing {
    let mut listing = Listing { complete: true, ..Listing::default() };
    let real = match root.canonicalize() {
        Ok(real) if real.is_dir() => real,
        outcome => {
            let why = outcome.err().map_or_else(|| "it is no folder".to_owned(), |error| words(&error));
            listing.complete = false;
            listing.tell(root, format!("the folder is away: {why}; what it last said stays"), "put it back");
            return listing;
        }
    };
    let mut walk = Walk { root, real, listing, max_files, seen: HashSet::new(), folders: 0, enter };
    walk.folder(root, 0);
    let mut listing = walk.listing;
    if !root.is_dir() {
        // It went away meanwhile: what is not listed may be there again in a moment.
        listing.complete = false;
    }
    listing
}

struct Walk<'a> {
    root: &'a Path,
    real: PathBuf,
    listing: Listing,
    max_files: usize,
    /// Device and inode of what was reached.
    seen: HashSet<(u64, u64)>,
    folders: usize,
    enter: &'a mut dyn FnMut(&Path),
}

impl Walk<'_> {
    fn folder(&mut self, path: &Path, depth: usize) {
        self.folders += 1;
        if depth > MAX_DEPTH || self.folders > MAX_FOLDERS {
            self.listing.hide(
                path,
                "more than 32 folders deep, or more than 10,000 folders".to_owned(),
                "use fewer folders",
            );
            return;
        }
        match fs::metadata(path) {
            Ok(metadata) if self.seen.insert((metadata.dev(), metadata.ino())) => {}
            _ => return,
        }
        (self.enter)(path);
        let mut entries = match fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                let message = format!("the folder cannot be listed: {}; what it last said stays", words(&error));
                self.listing.hide(path, message, "let the program read it");
                return;
            }
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            if !name.as_encoded_bytes().starts_with(b".") && name != "lost+found" {
                self.entry(&entry, depth);
            }
        }
    }

    fn entry(&mut self, entry: &fs::DirEntry, depth: usize) {
        let path = entry.path();
        let (named, kind) = (is_manifest(&path), entry.file_type().ok());
        if kind.is_some_and(|kind| kind.is_file()) && !named {
            return;
        }
        let is_link = kind.is_some_and(|kind| kind.is_symlink());
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            // Gone meanwhile. A link is there, whatever it leads to.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_link => return,
            Err(error) if !named && leads_nowhere(&error) => {
                self.listing.lost.push(path);
                return;
            }
            Err(error) => {
                let link = if is_link { "it is a link that leads to nothing that can be read: " } else { "" };
                let message = format!("it cannot be read: {link}{}; what it last said stays", words(&error));
                self.listing.hide(&path, message, "mend it, or remove it");
                return;
            }
        };
        if !metadata.is_dir() && !named {
            return;
        }
        if is_link && path.canonicalize().is_ok_and(|target| !target.starts_with(&self.real)) {
            let message = "the link points out of the folder".to_owned();
            self.listing.hide(&path, message, "copy what it points to, or name that folder");
        } else if named && !metadata.is_file() {
            let what = if metadata.is_dir() { "a folder" } else { "no file" };
            let message = format!("it has the name of a file and is {what}; what it last said stays");
            self.listing.hide(&path, message, "rename it");
        } else if metadata.is_dir() {
            self.folder(&path, depth + 1);
        } else if self.listing.files.len() < self.max_files {
            if self.seen.insert((metadata.dev(), metadata.ino())) {
                if is_link
                    && let Ok(target) = path.canonicalize()
                    && let Ok(below) = target.strip_prefix(&self.real)
                {
                    self.listing.targets.insert(path.clone(), self.root.join(below));
                }
                self.listing.files.insert(path, Stamp::from(&metadata));
            }
        } else if self.listing.beyond.is_none() {
            let message = format!("it is not read: there are more than {} files", self.max_files);
            self.listing.tell(&path, message, "put several objects into a file");
            // Which of the files that are known are gone cannot be said.
            self.listing.complete = false;
            self.listing.beyond = Some(path);
        }
    }
}

impl Listing {
    fn hide(&mut self, path: &Path, message: String, remedy: &str) {
        self.hidden.push(path.to_owned());
        self.tell(path, message, remedy);
    }

    fn tell(&mut self, path: &Path, message: String, remedy: &str) {
        self.findings.push(FileFinding::unreadable(&path.display().to_string(), message, remedy));
    }
}

fn leads_nowhere(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP))
}

pub(in crate::files) fn is_manifest(path: &Path) -> bool {
    matches!(path.extension().and_then(OsStr::to_str), Some("yaml" | "yml" | "json"))
}

/// Why a file has no text.
#[derive(Debug)]
pub(in crate::files) struct Unreadable {
    pub(in crate::files) message: String,
    pub(in crate::files) remedy: &'static str,
}

/// Of a file and of nothing else: a pipe nobody writes to would hold up whoever opens or reads it. What was opened is asked, for
/// what a path leads to may change.
pub(in crate::files) fn read_text(path: &Path) -> Result<String, Unreadable> {
    let mut options = fs::OpenOptions::new();
    let opened = options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let file = opened.map_err(|error| unreadable(&error))?;
    if !file.metadata().map_err(|error| unreadable(&error))?.is_file() {
        return Err(Unreadable {
            message: "it is a pipe, a device or a folder, and no file".to_owned(),
            remedy: "put a file in its place; a pipe is read from the standard input, which is called -",
        });
    }
    text_of(file)
}

/// Reads to the end, but never more than a file may have.
pub(in crate::files) fn text_of(source: impl Read) -> Result<String, Unreadable> {
    let mut bytes = Vec::new();
    source.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Unreadable {
            message: "it is larger than 8 MiB".to_owned(),
            remedy: "split it into several files",
        });
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Unreadable { message: format!("it is not UTF-8, in line {line}"), remedy: "save it as UTF-8" }
    })
}

fn unreadable(error: &io::Error) -> Unreadable {
    let remedy =
        if error.kind() == io::ErrorKind::NotFound { "name one that is there" } else { "let the program read it" };
    Unreadable { message: format!("it cannot be read: {}", words(error)), remedy }
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it is not there".to_owned(),
        io::ErrorKind::PermissionDenied => "no permission".to_owned(),
        _ => error.to_string(),
    }
}
