//! A folder of files and the world that it amounts to. Equal folders give equal worlds, whatever they went through, but for
//! files that are broken: what those last said stays.

mod settle;
mod walk;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fs::Metadata,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use ravelin_snapshot::Digest;

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
use settle::Settling;
pub(super) use walk::{Listing, MAX_FILES, Unreadable, read_text, text_of, walk};

/// What is known of a folder.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    /// That are read.
    pub(super) max_files: usize,
    files: BTreeMap<Arc<Path>, Known>,
    /// Which files have an object of that name, in order; the first has it in the model.
    holders: HashMap<ObjectRef, Holders>,
    /// Objects that several files have.
    contested: BTreeSet<ObjectRef>,
    model: Model,
    /// About the folder itself.
    findings: Vec<FileFinding>,
    /// What is there, cannot be looked at and never could: nobody knows what it protects.
    blind: Option<PathBuf>,
    /// When it should be looked at again, whether or not anybody speaks of a change.
    pub(super) unsettled: Option<Duration>,
    settling: Settling,
    /// It was looked at before, and a world was made of it.
    begun: bool,
}

/// Mostly one, and sorted.
type Holders = Vec<Arc<Path>>;

/// One file.
#[derive(Debug, Default)]
struct Known {
    stamp: Option<Stamp>,
    /// The bytes that were last judged, or why there were none.
    judged: Option<Digest>,
    /// Whether what is served passed the whole check. What never did is served as far as it is sound.
    passed: bool,
    /// Whether it was ever read, so that something stays when it no longer can be.
    read: bool,
    /// It is there and was never read: nobody knows what it protects.
    blind: bool,
    objects: BTreeMap<ObjectRef, Held>,
    /// About the bytes that were last judged, served or not.
    findings: Vec<FileFinding>,
}

/// An object of a file.
#[derive(Debug)]
struct Held {
    place: Place,
    /// The object itself, where another file's object of that name is in the model.
    spare: Option<Box<AnyObject>>,
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

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|metadata| Self::from(&metadata))
    }

    fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
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
    /// Files and folders that were moved here, whole.
    pub(super) moved: HashSet<PathBuf>,
    /// Files that were written to and closed, and not written to since.
    pub(super) closed: HashSet<PathBuf>,
    /// Files that somebody opened, if only we: all that happened to them before is known.
    pub(super) opened: HashSet<PathBuf>,
    /// Somebody is in the middle of writing them, since when.
    pub(super) being_written: HashMap<PathBuf, Instant>,
}

impl Folder {
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            root,
            max_files: MAX_FILES,
            files: BTreeMap::new(),
            holders: HashMap::new(),
            contested: BTreeSet::new(),
            model: Model::default(),
            findings: Vec::new(),
            blind: None,
            unsettled: None,
            settling: Settling::default(),
            begun: false,
        }
    }

    /// Of a folder that is changed while it is looked at. What was written to or went missing within `patience` does not
    /// count yet.
    pub(super) fn with_patience(mut self, patience: Duration) -> Self {
        self.settling.patience = patience;
        self
    }

    /// Looks at the folder, takes over what changed, and says whether anything did. `enter` is told of each folder before it
    /// is listed, so that no change is missed between the two. The first world counts as a change.
    pub(super) fn refresh(&mut self, touched: &Touched, enter: &mut dyn FnMut(&Path)) -> bool {
        let mut listing = walk(&self.root, self.max_files, enter);
        listing.hide_lost(|link| self.files.keys().any(|path| path.starts_with(link)));
        let Some(touched) = self.when_settled(&listing, touched) else {
            self.unsettled = self.next_look(&touched.being_written);
            return false;
        };
        self.tell_of_open_files(&mut listing, &touched);
        let mut changed = !self.begun || listing.findings != self.findings;
        self.findings.clone_from(&listing.findings);
        for path in self.files.keys().filter(|path| !listing.keeps(path)).cloned().collect::<Vec<_>>() {
            if self.is_gone(&path) {
                changed = true;
                self.forget(&path);
            }
        }
        let unknown =
            |hidden: &&PathBuf| !self.files.iter().any(|(path, known)| known.read && path.starts_with(hidden));
        let blind = listing.beyond.iter().chain(listing.hidden.iter().filter(unknown)).next().cloned();
        changed |= self.blind != blind;
        self.blind = blind;
        for (path, stamp) in &listing.files {
            let target = listing.target(path);
            if !touched.being_written.contains_key(target) && !self.is_in_doubt(path) {
                changed |= self.look(path, target, *stamp, &touched);
            } else if !self.begun {
                // In hand from the start.
                self.files.entry(path.as_path().into()).or_default().blind = true;
            }
        }
        self.begun = true;
        self.unsettled = self.next_look(&touched.being_written);
        changed
    }

    /// Reads a file again if it may have changed.
    fn look(&mut self, path: &Path, target: &Path, stamp: Stamp, touched: &Touched) -> bool {
        let known = self.files.entry(path.into()).or_default();
        let seen = self.settling.sights.get(path);
        let is_spoken_of = touched.all || touched.changed.contains(path) || touched.changed.contains(target);
        if known.stamp == Some(stamp) && seen.is_none() && !is_spoken_of {
            return false;
        }
        let name = path.display().to_string();
        let text = read_text(path);
        let digest = digest_of(&text);
        let may_count = match seen {
            Some(seen) => seen.digest == digest,
            None => {
                self.settling.patience.is_zero()
                    || known.judged == Some(digest)
                    || touched.came_whole(path, target, &stamp)
            }
        };
        if Stamp::of(path) != Some(stamp) || !may_count {
            // Changed since it was looked at: nobody knows whether that was read before it, after it or in the middle of it.
            self.settling.sights.remove(path);
            self.settling.in_motion = true;
            known.stamp = None;
            known.blind |= !self.begun && !known.read;
            return false;
        }
        self.settling.sights.remove(path);
        known.stamp = Some(stamp);
        if known.judged == Some(digest) {
            return false;
        }
        known.judged = Some(digest);
        let text = match text {
            Ok(text) => text,
            Err(failure) => {
                known.blind = !known.read && path.exists();
                let findings = vec![FileFinding::unreadable(&name, failure.message, failure.remedy)];
                let changed = known.findings != findings;
                known.findings = findings;
                return changed;
            }
        };
        (known.read, known.blind) = (true, false);
        let passed = known.passed;
        // What is served and was sound is sound.
        let is_known = |object: &AnyObject| passed && self.model.holds(object);
        let reading = file::read(&name, &text, &is_known);
        self.judge(path, reading);
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
        let said: BTreeSet<_> = reading.items.iter().map(|item| item.object.reference()).collect();
        let gone: Vec<_> = known.objects.keys().filter(|reference| !said.contains(reference)).cloned().collect();
        gone.iter().for_each(|reference| self.leave(path, reference));
        for item in reading.items {
            self.enter(path, item.object, item.place);
        }
    }

    fn forget(&mut self, path: &Path) {
        let objects: Vec<_> =
            self.files.get(path).into_iter().flat_map(|known| known.objects.keys().cloned()).collect();
        objects.iter().for_each(|reference| self.leave(path, reference));
        self.files.remove(path);
    }

    /// `path` has this object, new or changed.
    fn enter(&mut self, path: &Path, object: AnyObject, place: Place) {
        let reference = object.reference();
        let Some((file, _)) = self.files.get_key_value(path) else { return };
        // With room for one, which is what most have.
        let holders = self.holders.entry(reference.clone()).or_insert_with(|| Vec::with_capacity(1));
        let first_before = holders.first().cloned();
        if let Err(at) = holders.binary_search(file) {
            holders.insert(at, Arc::clone(file));
        }
        let is_first = holders.first().is_some_and(|first| **first == *path);
        if holders.len() > 1 {
            self.contested.insert(reference.clone());
        }
        let loser = first_before.filter(|before| is_first && **before != *path);
        let beaten = loser.as_ref().and_then(|_| self.model.get(&reference)).map(Box::new);
        if let Some(loser) = loser
            && let Some(held) = self.held(&loser, &reference)
        {
            held.spare = beaten;
        }
        let spare = if is_first {
            self.model.set(object);
            None
        } else {
            Some(Box::new(object))
        };
        if let Some(known) = self.files.get_mut(path) {
            known.objects.insert(reference, Held { place, spare });
        }
    }

    /// `path` has this object no longer; the next of those that have it says what it is.
    fn leave(&mut self, path: &Path, reference: &ObjectRef) {
        if let Some(known) = self.files.get_mut(path) {
            known.objects.remove(reference);
        }
        let Some(holders) = self.holders.get_mut(reference) else { return };
        let was_first = holders.first().is_some_and(|first| **first == *path);
        holders.retain(|holder| **holder != *path);
        let next = holders.first().cloned();
        if holders.len() < 2 {
            self.contested.remove(reference);
        }
        match next {
            None => {
                self.holders.remove(reference);
                self.model.remove(reference);
            }
            Some(next) if was_first => {
                if let Some(object) = self.held(&next, reference).and_then(|held| held.spare.take()) {
                    self.model.set(*object);
                }
            }
            Some(_) => {}
        }
    }

    fn held(&mut self, path: &Path, reference: &ObjectRef) -> Option<&mut Held> {
        self.files.get_mut(path)?.objects.get_mut(reference)
    }

    pub(super) fn world(&self) -> World {
        let mut findings = self.findings.clone();
        findings.extend(self.files.values().flat_map(|known| known.findings.iter().cloned()));
        findings.extend(self.contested.iter().flat_map(|reference| self.contests(reference)));
        World { model: self.closed_where_blind(), findings, ..World::default() }
    }

    /// What was never read may hold the policy of any route, so all of them are closed until it can be read.
    fn closed_where_blind(&self) -> Model {
        let mut model = self.model.clone();
        let blind = self.files.iter().find(|(_, known)| known.blind).map(|(path, _)| &**path);
        let Some(path) = blind.or(self.blind.as_deref()) else { return model };
        let namespaces: BTreeSet<_> = self.model.routes.iter().map(|(key, _)| key.namespace.clone()).collect();
        for namespace in namespaces {
            model.set(file::closing_policy(namespace, &path.display().to_string()));
        }
        model
    }

    fn contests(&self, reference: &ObjectRef) -> Vec<FileFinding> {
        let place = |path: &Path| self.files.get(path)?.objects.get(reference).map(|held| held.place);
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

/// Of a text, or of why there is none.
fn digest_of(outcome: &Result<String, Unreadable>) -> Digest {
    match outcome {
        Ok(text) => Digest::of(text.as_bytes()),
        // No text begins so.
        Err(failure) => Digest::of(&[b"\xff", failure.message.as_bytes()].concat()),
    }
}

#[cfg(test)]
mod tests;
