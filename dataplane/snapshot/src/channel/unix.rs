//! The channel between two processes, over a Unix socket. The folder of the socket is the controller's.

mod client;
mod server;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::Snapshot;

use super::{Publisher, Subscriber, frame::FrameError};

/// Listens on a socket at `path`, mode 0600, in place of what is there. Of several connections the latest counts.
/// Needs a tokio runtime, on which its task runs.
pub fn listen(path: &Path) -> io::Result<Publisher> {
    server::listen(path)
}

/// Connects to the socket at `path`, again and again for ever, for a data plane that serves `serving`. Needs a tokio
/// runtime, on which its task runs.
pub fn connect(path: PathBuf, serving: Option<Arc<Snapshot>>) -> Subscriber {
    client::connect(path, serving, client::Backoff::default())
}

/// How long a peer may take until it has said who it is and what it holds.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the peer has not said who it is in {} s", HANDSHAKE.as_secs())]
    Silent,
    #[error(
        "the peer speaks version {theirs} of the snapshot's form and this program {ours}: run both halves from one image"
    )]
    Version { theirs: u32, ours: u32 },
    #[error("the peer breaks the protocol: {0}")]
    Protocol(&'static str),
    #[error("a newer connection has taken its place")]
    Superseded,
}

impl From<tokio::time::error::Elapsed> for Ended {
    fn from(_: tokio::time::error::Elapsed) -> Self {
        Self::Silent
    }
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Frame(error.into())
    }
}
