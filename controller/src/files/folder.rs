//! A folder of files and the world that it amounts to. Equal folders give equal worlds, whatever they went through, but for
//! files that are broken: what those last said stays.

mod walk;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fs::Metadata,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    file::{self, Reading},
    finding::{FileFinding, error},
    yaml::Place,
};
use crate::{
    model::Model,
    object::{AnyObject, ObjectRef},
    publish::World,
    verdict::Reason,
};
pub(super) use walk::{Listing, Unreadable, read_text, text_of, walk};

/// What is known of a folder.
#[derive(Debug, Default)]
pub(super) struct Folder {
    root: PathBuf,
    files: BTreeMap<PathBuf, Known>,
    /// Which files have an object of that name; the first in order has it in the model.
    holders: HashMap<ObjectRef, BTreeSet<PathBuf>>,
    /// Objects that several files have.
    contested: BTreeSet<ObjectRef>,
    model: Model,
    /// About the folder itself.
    findings: Vec<FileFinding>,
}

/// One file.
#[derive(Debug, Default)]
struct Known {
    stamp: Option<Stamp>,
    /// Of the bytes that were last judged.
    digest: Option<content::Digest>,
    /// Whether what is served passed the whole check. What never did is served as far as it is sound.
    passed: bool,
    objects: BTreeMap<ObjectRef, (Arc<AnyObject>, Place)>,
    /// About the bytes that were last judged, served or not.
    findings: Vec<FileFinding>,
}

/// As long as these are the same and nobody speaks of a change, a file is not read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Which files must be read again, and which must be left alone for now.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched {
    /// All of them.
    pub(super) all: bool,
    pub(super) changed: HashSet<PathBuf>,
    /// Somebody is in the middle of writing them.
    pub(super) being_written: HashSet<PathBuf>,
}

impl Folder {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, ..Self::default() }
    }

    /// Looks at the folder, takes over what changed, and says whether anything did. `enter` is told of each folder before it
    /// is listed, so that no change is missed between the two.
    pub(super) fn refresh(&mut self, touched: &Touched, enter: &mut dyn FnMut(&Path)) -> bool {
        let listing = walk(&self.root, enter);
        let mut changed = listing.findings != self.findings;
        self.findings.clone_from(&listing.findings);
        if listing.complete {
            let keeps = |path: &PathBuf| listing.files.contains_key(path) || listing.is_hidden(path);
            let gone: Vec<_> = self.files.keys().filter(|path| !keeps(path)).cloned().collect();
            for path in gone {
                changed = true;
                self.forget(&path);
            }
        }
        for (path, stamp) in &listing.files {
            changed |= !touched.being_written.contains(path) && self.look(path, *stamp, touched);
        }
        changed
    }

    /// Reads a file again if it may have changed.
    fn look(&mut self, path: &Path, stamp: Stamp, touched: &Touched) -> bool {
        let known = self.files.entry(path.to_owned()).or_default();
        if known.stamp == Some(stamp) && !touched.all && !touched.changed.contains(path) {
            return false;
        }
        known.stamp = Some(stamp);
        let name = path.display().to_string();
        let text = match read_text(path) {
            Ok(text) => text,
            Err(failure) => {
                // Judged anew when it can be read again, even if it then says what it said before.
                known.digest = None;
                let findings = vec![FileFinding::unreadable(&name, failure.message, failure.remedy)];
                let changed = known.findings != findings;
                known.findings = findings;
                return changed;
            }
        };
        let digest = content::of(&text);
        if known.digest == Some(digest) {
            return false;
        }
        known.digest = Some(digest);
        self.judge(path, file::read(&name, &text));
        true
    }

    /// Takes over what a file says, unless it is broken and said something better before.
    fn judge(&mut self, path: &Path, reading: Reading) {
        let Some(known) = self.files.get_mut(path) else { return };
        let sound = reading.is_sound();
        known.findings = reading.findings;
        if !sound && known.passed {
            return;
        }
        known.passed = sound;
        let objects =
            reading.items.into_iter().map(|item| (item.object.reference(), (Arc::new(item.object), item.place)));
        let before = std::mem::replace(&mut known.objects, objects.collect());
        let after: Vec<_> = known.objects.keys().cloned().collect();
        for reference in after {
            self.holders.entry(reference.clone()).or_default().insert(path.to_owned());
            self.settle(&reference);
        }
        self.leave(path, before.into_keys());
    }

    fn forget(&mut self, path: &Path) {
        let objects = self.files.remove(path).map(|known| known.objects).unwrap_or_default();
        self.leave(path, objects.into_keys());
    }

    /// Objects that `path` had and may have no longer.
    fn leave(&mut self, path: &Path, references: impl Iterator<Item = ObjectRef>) {
        for reference in references {
            if self.files.get(path).is_some_and(|known| known.objects.contains_key(&reference)) {
                continue;
            }
            if let Some(holders) = self.holders.get_mut(&reference) {
                holders.remove(path);
            }
            self.settle(&reference);
        }
    }

    /// Puts into the model what the first of the files that have it says.
    fn settle(&mut self, reference: &ObjectRef) {
        let holders = self.holders.get(reference);
        let count = holders.map_or(0, BTreeSet::len);
        let first = holders.and_then(BTreeSet::first).and_then(|path| self.files.get(path));
        match first.and_then(|known| known.objects.get(reference)) {
            Some((object, _)) => self.model.set((**object).clone()),
            None => {
                self.holders.remove(reference);
                self.model.remove(reference);
            }
        }
        if count > 1 {
            self.contested.insert(reference.clone());
        } else {
            self.contested.remove(reference);
        }
    }

    pub(super) fn world(&self) -> World {
        let mut findings = self.findings.clone();
        findings.extend(self.files.values().flat_map(|known| known.findings.iter().cloned()));
        findings.extend(self.contested.iter().flat_map(|reference| self.contests(reference)));
        World { model: self.model.clone(), findings, ..World::default() }
    }

    fn contests(&self, reference: &ObjectRef) -> Vec<FileFinding> {
        let place = |path: &PathBuf| self.files.get(path)?.objects.get(reference).map(|(_, place)| *place);
        let mut holders = self.holders.get(reference).into_iter().flatten();
        let Some(first) = holders.next() else { return Vec::new() };
        let first_place = place(first).unwrap_or_default();
        let told = holders.map(|path| {
            let message =
                format!("{reference} is also in {}, line {}, which counts", first.display(), first_place.line);
            let finding =
                error(Reason::Conflicted, "metadata.name".to_owned(), message, "remove or rename one of the two");
            let place = place(path).unwrap_or_default();
            FileFinding::new(&path.display().to_string(), place, Some(reference.clone()), finding)
        });
        told.collect()
    }
}

/// Digests of files: equal digests are equal texts, also for somebody who tries.
mod content {
    use aws_lc_rs::digest::{SHA256, digest};

    pub(super) type Digest = [u8; 32];

    pub(super) fn of(text: &str) -> Digest {
        let mut out = [0; 32];
        out.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        out
    }
}
