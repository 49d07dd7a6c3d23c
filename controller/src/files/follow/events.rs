//! What the file system told us since we last looked.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use notify::{
    Event, EventKind,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode},
};
use tokio::sync::Notify;

use crate::files::folder::Touched;

/// A file that is not closed this long after its last change is read as it is. Where the system does not tell of closed
/// files, every change is a last one.
const LONGEST_WRITE: Duration =
    if cfg!(target_os = "linux") { Duration::from_secs(10) } else { Duration::from_millis(100) };

/// Filled by the watcher's thread, emptied by whoever follows.
#[derive(Default)]
pub(super) struct Events {
    gathered: Mutex<Gathered>,
    notify: Notify,
}

#[derive(Default)]
struct Gathered {
    /// The folder as it was named, and where that is.
    root: PathBuf,
    absolute: PathBuf,
    anchors: Vec<PathBuf>,
    touched: Touched,
    /// Files that were changed and not closed, and when they were changed last.
    writing: HashMap<PathBuf, Instant>,
}

impl Events {
    /// Says which paths matter.
    pub(super) fn aim(&self, root: &Path, absolute: &Path, anchors: Vec<PathBuf>) {
        let mut gathered = self.lock();
        gathered.root = root.to_owned();
        gathered.absolute = absolute.to_owned();
        gathered.anchors = anchors;
    }

    /// Called by the watcher's thread.
    pub(super) fn note(&self, event: notify::Result<Event>) {
        let matters = match event {
            Ok(event) if event.need_rescan() => self.note_all(),
            Ok(event) => event.paths.iter().filter(|path| self.note_path(path, event.kind)).count() > 0,
            Err(_) => self.note_all(),
        };
        if matters {
            self.notify.notify_one();
        }
    }

    /// Resolves once something changed since the last time that it did.
    pub(super) async fn changed(&self) {
        self.notify.notified().await;
    }

    /// What there is, and nothing from then on.
    pub(super) fn take(&self) -> Touched {
        let mut gathered = self.lock();
        let mut touched = std::mem::take(&mut gathered.touched);
        let now = Instant::now();
        gathered.writing.retain(|path, since| {
            let goes_on = now.duration_since(*since) < LONGEST_WRITE;
            if goes_on {
                touched.being_written.insert(path.clone());
            } else {
                touched.changed.insert(path.clone());
            }
            goes_on
        });
        touched
    }

    /// When the next file is read as it is because nobody closes it.
    pub(super) fn next_expiry(&self) -> Option<Duration> {
        let oldest = self.lock().writing.values().min().copied()?;
        Some(LONGEST_WRITE.saturating_sub(oldest.elapsed()))
    }

    fn note_all(&self) -> bool {
        self.lock().touched.all = true;
        true
    }

    /// Whether the path is of the folder and something happened to it.
    fn note_path(&self, path: &Path, kind: EventKind) -> bool {
        let mut gathered = self.lock();
        let writes = match kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
            EventKind::Access(_) => return false,
            EventKind::Modify(ModifyKind::Data(_)) => true,
            EventKind::Create(CreateKind::File) => is_empty_file(path),
            _ => false,
        };
        if gathered.anchors.iter().any(|anchor| anchor == path) {
            // The root itself: watches of what is below it may be of another folder now.
            gathered.touched.all |= !matches!(kind, EventKind::Modify(ModifyKind::Metadata(_)));
            return true;
        }
        let Ok(below) = path.strip_prefix(&gathered.absolute) else { return false };
        let path = gathered.root.join(below);
        // Of a move within the folder, both ends are told of by themselves as well.
        let says_more =
            !matches!(kind, EventKind::Modify(ModifyKind::Metadata(_) | ModifyKind::Name(RenameMode::Both)));
        if writes {
            gathered.writing.insert(path.clone(), Instant::now());
        } else if says_more {
            gathered.writing.remove(&path);
        }
        if kind == EventKind::Modify(ModifyKind::Name(RenameMode::To)) {
            gathered.touched.moved.insert(path.clone());
        } else if says_more {
            gathered.touched.moved.remove(&path);
        }
        gathered.touched.changed.insert(path);
        true
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        // Nothing here is left half-done by a panic.
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file that somebody made and will write to. A link to another one is whole from the start.
fn is_empty_file(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == 0)
}
