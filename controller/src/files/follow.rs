//! Follows a folder: from events of the file system to worlds.
//!
//! Events say only *that* something may have changed; what changed, the folder itself says. A file that is known to be written
//! is left alone until it is closed, however long that takes; what nobody told of has to rest first (`folder/settle.rs`).

mod events;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

use super::folder::{Folder, Touched};
use crate::{files::FileFinding, publish::World, verdict::Finding};
use events::Events;

/// What lands within this time of the last change belongs to the same world.
const QUIET: Duration = Duration::from_millis(4);
/// However busy the folder is, a world is sent after this time.
const LONGEST_BURST: Duration = Duration::from_millis(40);
/// What counts must have been seen twice, this long after each other.
const SETTLING: Duration = Duration::from_millis(50);
/// The folder is looked at this often even if nobody says that it changed: events get lost, and some file systems have none.
const LOOK_ANYWAY: Duration = Duration::from_secs(10);
/// The same where the system gives no events at all, because it ran out of watches.
const LOOK_WITHOUT_EVENTS: Duration = Duration::from_secs(1);

/// Why a folder cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    #[error("{}: it is no folder that can be read: {error}", path.display())]
    Folder { path: PathBuf, error: std::io::Error },
    #[error("the system does not tell of changes to files: {0}")]
    Watch(#[from] notify::Error),
    #[error("the reader of files ended: {0}")]
    Reader(#[from] tokio::task::JoinError),
}

/// Sends the world that `root` amounts to, and another one after each change, until nobody listens.
pub async fn follow(root: PathBuf, worlds: watch::Sender<Option<Arc<World>>>) -> Result<(), FollowError> {
    std::fs::read_dir(&root).map_err(|error| FollowError::Folder { path: root.clone(), error })?;
    let events = Arc::new(Events::default());
    let watches = Watches::new(&root, Arc::clone(&events))?;
    let mut state = State { folder: Folder::new(root).with_patience(SETTLING), watches };
    let mut touched = Touched { all: true, ..Touched::default() };
    let mut told = Vec::new();
    loop {
        let (next, changed) = tokio::task::spawn_blocking(move || state.refresh(&touched)).await?;
        state = next;
        if changed {
            let world = state.folder.world();
            tell(&world, &mut told);
            worlds.send_replace(Some(Arc::new(world)));
        }
        let anyway = if state.watches.complete { LOOK_ANYWAY } else { LOOK_WITHOUT_EVENTS };
        let patience = state.folder.unsettled.map_or(anyway, |wait| wait.min(anyway));
        touched = tokio::select! {
            () = worlds.closed() => return Ok(()),
            touched = gather(&events, patience) => touched,
        };
    }
}

/// Logs what is new among the findings.
fn tell(world: &World, told: &mut Vec<FileFinding>) {
    for new in world.findings.iter().filter(|finding| !told.contains(finding)) {
        let FileFinding { file, place, object, finding } = new;
        let object = object.as_ref().map(ToString::to_string);
        let Finding { field, message, remedy, .. } = finding;
        tracing::warn!(file, line = place.line, object, field, remedy, "{message}");
    }
    told.clone_from(&world.findings);
}

/// Waits for a change and for those that come with it.
async fn gather(events: &Events, patience: Duration) -> Touched {
    if timeout(patience, events.changed()).await.is_ok() {
        let latest = Instant::now() + LONGEST_BURST;
        while let Ok(Ok(())) = timeout_at(latest, timeout(QUIET, events.changed())).await {}
    }
    events.take()
}

struct State {
    folder: Folder,
    watches: Watches,
}

impl State {
    fn refresh(mut self, touched: &Touched) -> (Self, bool) {
        self.watches.begin(touched);
        let watches = &mut self.watches;
        let changed = self.folder.refresh(touched, &mut |folder| watches.watch(folder));
        self.watches.end();
        (self, changed)
    }
}

/// The folders that the system tells us of: each by itself, so that a folder that took another's place is seen as new.
struct Watches {
    watcher: RecommendedWatcher,
    events: Arc<Events>,
    root: PathBuf,
    watched: HashMap<PathBuf, Watch>,
    /// Whether all folders are watched.
    complete: bool,
}

struct Watch {
    /// Device and inode.
    id: Option<(u64, u64)>,
    /// Seen in this round.
    used: bool,
}

impl Watches {
    fn new(root: &Path, events: Arc<Events>) -> Result<Self, FollowError> {
        let handler = Arc::clone(&events);
        let watcher = notify::recommended_watcher(move |event| handler.note(event))?;
        Ok(Self { watcher, events, root: root.to_owned(), watched: HashMap::new(), complete: true })
    }

    fn begin(&mut self, touched: &Touched) {
        self.complete = true;
        for watch in self.watched.values_mut() {
            watch.used = false;
        }
        // Whatever was made, moved or removed there may be another folder with the same inode.
        for path in &touched.changed {
            self.forget(&absolute(path));
        }
        if touched.all {
            let all: Vec<_> = self.watched.keys().cloned().collect();
            all.iter().for_each(|path| self.forget(path));
        }
        let anchors = anchors(&self.root);
        self.events.aim(&self.root, &absolute(&self.root), anchors.clone());
        for parent in anchors.iter().filter_map(|anchor| anchor.parent()) {
            self.watch(parent);
        }
    }

    fn watch(&mut self, folder: &Path) {
        let path = absolute(folder);
        let id = id(&path);
        if let Some(watch) = self.watched.get_mut(&path)
            && watch.id == id
        {
            watch.used = true;
            return;
        }
        self.forget(&path);
        match self.watcher.watch(&path, RecursiveMode::NonRecursive) {
            Ok(()) => drop(self.watched.insert(path, Watch { id, used: true })),
            // Gone again: its parent tells of that.
            Err(error) if matches!(error.kind, notify::ErrorKind::PathNotFound) => {}
            Err(error) => {
                tracing::warn!(folder = %path.display(), %error, "changes here are seen only every second");
                self.complete = false;
            }
        }
    }

    fn forget(&mut self, path: &Path) {
        if self.watched.remove(path).is_some() {
            // It fails where the folder is gone, and its watch with it.
            let _ = self.watcher.unwatch(path);
        }
    }

    fn end(&mut self) {
        let unused: Vec<_> =
            self.watched.iter().filter(|(_, watch)| !watch.used).map(|(path, _)| path.clone()).collect();
        unused.iter().for_each(|path| self.forget(path));
    }
}

/// The names whose change means that the folder is another one: its own, and that of what it is a link to.
fn anchors(root: &Path) -> Vec<PathBuf> {
    let own = absolute(root);
    let named =
        own.parent().zip(own.file_name()).and_then(|(parent, name)| Some(parent.canonicalize().ok()?.join(name)));
    let mut anchors: Vec<_> = named.into_iter().chain(root.canonicalize()).collect();
    anchors.dedup();
    anchors
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn id(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests;
