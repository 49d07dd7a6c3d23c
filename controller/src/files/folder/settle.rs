//! What makes a look at a file trustworthy.
//!
//! A file that is saved in place is empty for a moment and half there for another, and one that is removed and made anew is away
//! for a moment: to a policy either would be a deletion. Events tell of that, but later than a look may see it, and the
//! file system's own times may be later still. So nothing is believed for its time: what a file says counts once it was
//! seen twice the same, with nothing told of it in between, by our own clock. How long that takes depends on what is known: little
//! if somebody said that the writing ended, much if nobody did, and most for a file that is empty and nobody emptied.
//! Nothing else is taken over meanwhile, for a while: a file that was renamed is not gone from one name before it is there by the other.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use ravelin_snapshot::Digest;

use super::{Folder, Listing, Stamp, Touched, digest_of, read_text};
use crate::files::finding::FileFinding;

/// However restless the folder is, the rest of it counts after so many times its patience.
const MOST_PATIENCES: u32 = 10;
/// The same before the first world, which nobody waits for in vain: what is in doubt after that closes.
const LONGEST_START: u32 = 30;
/// So many times its patience must what nobody vouches for, or what is empty, be the same.
const REST: u32 = 20;
/// So many times that must a file be empty that nobody is known to have emptied. As long may one be open for writing before it is
/// told of.
const LONG_REST: u32 = 200;

/// Whether it is waited, and what for.
#[derive(Debug, Default)]
pub(super) struct Settling {
    /// How long a change must have been left alone before it counts; zero takes it as it is.
    pub(super) patience: Duration,
    pub(super) waits_since: Option<Instant>,
    /// Files that are known and were not there when it was looked last, and since when.
    pub(super) missing: HashMap<Arc<Path>, Instant>,
    /// What files said when they were looked at, while that does not count yet.
    pub(super) sights: HashMap<PathBuf, Sight>,
    /// A file said something else when it was read than when it was looked at.
    pub(super) in_motion: bool,
    /// What was touched meanwhile.
    held: Touched,
}

/// What a file said, and since when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight {
    stamp: Stamp,
    pub(super) digest: Digest,
    empty: bool,
    pub(super) since: Instant,
    /// Whether somebody said that the change was done: it was closed, or came in one piece.
    told: bool,
    /// Whether all is known that happened before the look: our own opening of the file was told of, and events keep their order.
    witnessed: bool,
}

impl Folder {
    /// What is to be looked at now, or nothing while somebody may be in the middle of a change.
    pub(super) fn when_settled(&mut self, listing: &Listing, fresh: &Touched) -> Option<Touched> {
        let now = Instant::now();
        self.settling.in_motion = false;
        let touched = std::mem::take(&mut self.settling.held).and(fresh);
        let before = std::mem::take(&mut self.settling.missing);
        if listing.complete {
            let missing = self.files.keys().filter(|path| !listing.keeps(path));
            self.settling.missing =
                missing.map(|path| (path.clone(), before.get(path).copied().unwrap_or(now))).collect();
        }
        self.see(listing, &touched, fresh, now);
        let longest = self.settling.patience * if self.begun { MOST_PATIENCES } else { LONGEST_START };
        // What takes long holds up nothing else for all of that time.
        let holds = |path: &PathBuf, sight: &Sight| self.is_in_doubt(path) && now.duration_since(sight.since) < longest;
        let waits = self.settling.missing.keys().any(|path| !self.is_gone(path))
            || self.settling.sights.iter().any(|(path, sight)| holds(path, sight));
        let since = *self.settling.waits_since.get_or_insert(now);
        if waits && now.duration_since(since) < longest {
            self.settling.held = touched;
            return None;
        }
        self.settling.waits_since = None;
        Some(touched)
    }

    /// Looks at each file that may say something else than before, unless it was seen and nothing happened since.
    fn see(&mut self, listing: &Listing, touched: &Touched, fresh: &Touched, now: Instant) {
        let mut before = std::mem::take(&mut self.settling.sights);
        if self.settling.patience.is_zero() {
            return;
        }
        for (path, stamp) in &listing.files {
            let target = listing.target(path);
            let known = self.files.get(path.as_path());
            let seen = before.remove(path);
            let is_news = known.is_none_or(|known| known.stamp != Some(*stamp))
                || seen.is_some()
                || touched.all
                || touched.changed.contains(path)
                || touched.changed.contains(target);
            if !is_news || touched.being_written.contains_key(target) || touched.came_whole(path, target, stamp) {
                continue;
            }
            let is_touched = fresh.all || fresh.changed.contains(path) || fresh.changed.contains(target);
            if let Some(seen) = seen.filter(|seen| seen.stamp == *stamp && !is_touched) {
                let witnessed = seen.witnessed || fresh.opened.contains(target);
                self.settling.sights.insert(path.clone(), Sight { witnessed, ..seen });
                continue;
            }
            let text = read_text(path);
            let digest = digest_of(&text);
            // It says what it said: nothing that counts can be lost.
            if known.is_some_and(|known| known.judged == Some(digest)) {
                continue;
            }
            // Another file is in its place, and nobody wrote there: a link leads elsewhere now.
            let swapped = known.and_then(|known| known.stamp).is_some_and(|old| !old.is_same_file(stamp))
                && !touched.moved.is_empty()
                && !touched.changed.contains(target);
            let was_told = seen.is_some_and(|seen| seen.told && seen.digest == digest);
            let told = was_told || swapped || fresh.closed.contains(target) || fresh.moved.contains(path);
            let empty = text.is_ok_and(|text| text.trim().is_empty());
            let sight = Sight { stamp: *stamp, digest, empty, since: now, told, witnessed: swapped };
            self.settling.sights.insert(path.clone(), sight);
        }
    }

    /// How long a file must say the same before it counts.
    fn rest(&self, sight: &Sight) -> Duration {
        let patience = self.settling.patience;
        match (sight.empty, sight.told) {
            (false, told) if sight.witnessed && (told || !self.begun) => patience,
            (true, false) if self.begun => patience * LONG_REST,
            _ => patience * REST,
        }
    }

    /// Whether a file is missing for good.
    pub(super) fn is_gone(&self, path: &Path) -> bool {
        self.settling.missing.get(path).is_some_and(|since| since.elapsed() >= self.settling.patience)
    }

    /// Whether somebody may be in the middle of writing a file, though no event has said so yet.
    pub(super) fn is_in_doubt(&self, path: &Path) -> bool {
        self.settling.sights.get(path).is_some_and(|sight| sight.since.elapsed() < self.rest(sight))
    }

    /// When what is in doubt should be looked at again.
    pub(super) fn next_look(&self, being_written: &HashMap<PathBuf, Instant>) -> Option<Duration> {
        let patience = self.settling.patience;
        let restless =
            self.settling.in_motion || self.settling.missing.keys().any(|path| self.files.contains_key(path));
        let sights = self.settling.sights.values().map(|sight| {
            let rest = self.rest(sight).saturating_sub(sight.since.elapsed());
            // Its witness may come at any time; what has rested waits for others.
            if rest.is_zero() || !(sight.witnessed || sight.empty) { patience } else { rest }
        });
        let longest = patience * LONG_REST;
        let open = being_written.values().filter_map(|since| longest.checked_sub(since.elapsed()));
        restless
            .then_some(patience)
            .into_iter()
            .chain(sights)
            .chain(open)
            .min()
            .map(|wait| wait.max(Duration::from_millis(1)))
    }

    /// Tells of files that are open for writing for long. However long that is, no half of them counts.
    pub(super) fn tell_of_open_files(&self, listing: &mut Listing, touched: &Touched) {
        let longest = self.settling.patience * LONG_REST;
        let is_old = |path: &&PathBuf| {
            touched.being_written.get(listing.target(path)).is_some_and(|since| since.elapsed() >= longest)
        };
        let message = "somebody has it open for writing; what it last said stays until it is closed";
        let told = listing.files.keys().filter(is_old).map(|path| {
            FileFinding::unreadable(
                &path.display().to_string(),
                message,
                "end the program that writes it, or save it anew",
            )
        });
        let told: Vec<_> = told.collect();
        listing.findings.extend(told);
    }
}

impl Touched {
    fn and(mut self, newer: &Self) -> Self {
        let add = |all: &mut HashSet<PathBuf>, more: &HashSet<PathBuf>| all.extend(more.iter().cloned());
        self.all |= newer.all;
        self.moved.retain(|path| !newer.changed.contains(path));
        add(&mut self.moved, &newer.moved);
        add(&mut self.changed, &newer.changed);
        self.being_written.clone_from(&newer.being_written);
        self
    }

    /// Whether a file was moved here, by itself or with its folder, and nobody wrote to it since. An empty one may be emptied.
    pub(super) fn came_whole(&self, path: &Path, target: &Path, stamp: &Stamp) -> bool {
        let with_folder = || {
            !self.changed.contains(path)
                && !self.changed.contains(target)
                && path.ancestors().any(|folder| self.moved.contains(folder))
        };
        stamp.size > 0 && !self.being_written.contains_key(target) && (self.moved.contains(path) || with_folder())
    }
}
