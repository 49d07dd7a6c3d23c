//! Waiting until whoever changes files is done.
//!
//! A file that is saved in place is empty for a moment, and one that is removed and made anew is away for a moment. Events
//! tell of that, but later than a look at the folder may see it; and to a policy either would be a deletion. So what was
//! written to this instant, or is missing since then, keeps what it said, and nothing else is taken over before that is clear
//! either: a file that was renamed is not gone from one name before it is there by the other.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Folder, Listing, Stamp, Touched};

/// However restless the folder is, the rest of it counts after so many times its patience.
const MOST_PATIENCES: u32 = 10;

/// Whether it is waited, and what for.
#[derive(Debug, Default)]
pub(super) struct Settling {
    /// How long a change must have been left alone before it counts; zero takes it as it is.
    pub(super) patience: Duration,
    pub(super) waits_since: Option<Instant>,
    /// Files that are known and were not there when it was looked last, and since when.
    missing: HashMap<Arc<Path>, Instant>,
    /// What was touched meanwhile.
    held: Touched,
}

impl Folder {
    /// What is to be looked at now, or nothing while somebody may be in the middle of a change.
    pub(super) fn when_settled(&mut self, listing: &Listing, touched: &Touched) -> Option<Touched> {
        let now = Instant::now();
        let touched = std::mem::take(&mut self.settling.held).and(touched);
        let before = std::mem::take(&mut self.settling.missing);
        if listing.complete {
            let missing = self.files.keys().filter(|path| !listing.keeps(path));
            self.settling.missing =
                missing.map(|path| (path.clone(), before.get(path).copied().unwrap_or(now))).collect();
        }
        let waits = self.settling.missing.keys().any(|path| !self.is_gone(path))
            || listing.files.iter().any(|(path, stamp)| self.is_in_hand(path, stamp, &touched));
        let since = *self.settling.waits_since.get_or_insert(now);
        if waits && now.duration_since(since) < self.settling.patience * MOST_PATIENCES {
            self.settling.held = touched;
            return None;
        }
        self.settling.waits_since = None;
        Some(touched)
    }

    /// Whether a file is missing for good.
    pub(super) fn is_gone(&self, path: &Path) -> bool {
        self.settling.missing.get(path).is_some_and(|since| since.elapsed() >= self.settling.patience)
    }

    /// Whether somebody may be in the middle of writing a file, though no event has said so yet.
    pub(super) fn is_in_hand(&self, path: &Path, stamp: &Stamp, touched: &Touched) -> bool {
        let was_read = self.files.get(path).is_some_and(|known| known.stamp == Some(*stamp));
        // What was moved here is whole, unless somebody has emptied it since.
        let is_whole = touched.moved.contains(path) && stamp.size > 0;
        let is_news = !was_read || touched.changed.contains(path);
        is_news && !is_whole && !touched.being_written.contains(path) && stamp.is_younger_than(self.settling.patience)
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
}
