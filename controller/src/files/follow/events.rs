//! What the file system told us since we last looked.

use std::{
    collections::HashMap,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use notify::{
    Event, EventKind,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode},
};
use tokio::sync::Notify;

use crate::files::folder::Touched;

/// Whether the system tells when a file that was written to is closed.
const WRITES_END: bool = cfg!(target_os = "linux");

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
    /// Files that were changed and not closed, and since when. Where the system does not tell of closed files, there are none.
    writing: HashMap<PathBuf, Instant>,
    /// Those of them that were moved away last and have not arrived: by what name the move goes, where in what was moved they are.
    moving: Option<(usize, Vec<(PathBuf, Instant)>)>,
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
            Ok(event) => {
                event.paths.iter().filter(|path| self.note_path(path, event.kind, event.tracker())).count() > 0
            }
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
        touched.being_written.clone_from(&gathered.writing);
        touched
    }

    fn note_all(&self) -> bool {
        self.lock().touched.all = true;
        true
    }

    /// Whether the path is of the folder and something happened to it.
    fn note_path(&self, path: &Path, kind: EventKind, tracker: Option<usize>) -> bool {
        let mut gathered = self.lock();
        let below = path.strip_prefix(&gathered.absolute).map(|below| gathered.root.join(below));
        if let EventKind::Access(kind) = kind
            && kind != AccessKind::Close(AccessMode::Write)
        {
            if let (AccessKind::Open(_), Ok(path)) = (kind, below) {
                gathered.touched.opened.insert(path);
            }
            return false;
        }
        if gathered.anchors.iter().any(|anchor| anchor == path) {
            if !matches!(kind, EventKind::Modify(ModifyKind::Metadata(_))) {
                // The root itself: watches of what is below it may be of another folder now, and so may be what is known.
                gathered.touched.all = true;
                gathered.writing.clear();
                if kind == EventKind::Modify(ModifyKind::Name(RenameMode::To)) {
                    let root = gathered.root.clone();
                    gathered.touched.moved.insert(root);
                }
            }
            return true;
        }
        let Ok(below) = below else { return false };
        gathered.note(below, kind, tracker);
        true
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        // Nothing here is left half-done by a panic.
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gathered {
    fn note(&mut self, path: PathBuf, kind: EventKind, tracker: Option<usize>) {
        // Of a move within the folder, both ends are told of by themselves as well.
        if !matches!(kind, EventKind::Modify(ModifyKind::Metadata(_) | ModifyKind::Name(RenameMode::Both))) {
            self.touched.moved.remove(&path);
            self.touched.closed.remove(&path);
            let written_since = self.writing.remove(&path);
            match kind {
                EventKind::Access(_) => drop(self.touched.closed.insert(path.clone())),
                EventKind::Modify(ModifyKind::Data(_)) if WRITES_END => {
                    self.writing.insert(path.clone(), written_since.unwrap_or_else(Instant::now));
                }
                EventKind::Create(CreateKind::File) if WRITES_END => self.note_new(&path),
                EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
                    let inside = self.writing.extract_if(|file, _| file.starts_with(&path));
                    let inside =
                        inside.filter_map(|(file, since)| Some((file.strip_prefix(&path).ok()?.into(), since)));
                    let mut moving: Vec<(PathBuf, Instant)> = inside.collect();
                    moving.extend(written_since.map(|since| (PathBuf::new(), since)));
                    self.moving = tracker.map(|tracker| (tracker, moving));
                }
                EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
                    let moving = self.moving.take().filter(|(of, _)| Some(*of) == tracker);
                    for (file, since) in moving.into_iter().flat_map(|(_, moving)| moving) {
                        let file = if file.as_os_str().is_empty() { path.clone() } else { path.join(file) };
                        self.writing.insert(file, since);
                    }
                    self.touched.moved.insert(path.clone());
                }
                _ => {}
            }
        }
        self.touched.changed.insert(path);
    }

    /// A file that somebody made is one that he will write to, unless it is a second name of one that was there. A link is whole
    /// from the start.
    fn note_new(&mut self, path: &Path) {
        let Ok(metadata) = std::fs::symlink_metadata(path) else { return };
        if metadata.is_symlink() {
            self.touched.moved.insert(path.to_owned());
        } else if metadata.is_file() && metadata.len() == 0 && metadata.nlink() == 1 {
            self.writing.insert(path.to_owned(), Instant::now());
        }
    }
}
