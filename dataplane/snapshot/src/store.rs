//! The last accepted snapshot on disk: what a data plane starts from when no controller answers.
//!
//! The file is one line of header (`ravelin-snapshot FORM SHA-256`) and the snapshot as JSON. It is written beside its
//! final name, forced to the disk and renamed, so that a crash leaves the old file or the new one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use crate::{
    Digest, FORM, Snapshot,
    part::{Malformed, decode, encode},
    snapshot::Dangling,
};

const MAGIC: &str = "ravelin-snapshot";

/// A file that holds one snapshot, secrets included: mode 0600, on a volume of the data plane's own.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
}

/// Why a file is not taken for a snapshot. The data plane starts without one; remove the file to be rid of the message.
#[derive(Debug, thiserror::Error)]
pub enum Damaged {
    #[error("{path}: {source}")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{path} is not a snapshot of Ravelin's: its first line is not `{MAGIC} FORM DIGEST`")]
    Foreign { path: PathBuf },
    #[error("{path} has form {found}, this program reads form {FORM}")]
    Form { path: PathBuf, found: String },
    #[error("{path} is damaged: its content does not have the digest that its first line says")]
    Digest { path: PathBuf },
    #[error("{path} cannot be read as a snapshot: {source}")]
    Content { path: PathBuf, source: Malformed },
    #[error("{path} is not whole: {source}")]
    Dangling { path: PathBuf, source: Box<Dangling> },
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
    pub fn save(&self, snapshot: &Snapshot) -> Result<(), NotKept> {
        self.replace(&encode(snapshot)).map_err(|source| NotKept { path: self.path.clone(), source })
    }

    fn replace(&self, content: &[u8]) -> io::Result<()> {
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        fs::create_dir_all(folder)?;
        let beside = self.path.with_extension("new");
        // A leftover of a crash may have another owner or mode: it is never written into.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(format!("{MAGIC} {FORM} {}\n", Digest::of(content)).as_bytes())?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        File::open(folder)?.sync_all()
    }

    /// `None`: there is no file.
    pub fn load(&self) -> Result<Option<Snapshot>, Damaged> {
        let path = || self.path.clone();
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Damaged::Unreadable { path: path(), source }),
        };
        let end = bytes.iter().take(256).position(|byte| *byte == b'\n');
        let (header, content) =
            end.map(|end| (&bytes[..end], &bytes[end + 1..])).ok_or(Damaged::Foreign { path: path() })?;
        let words: Vec<&str> = str::from_utf8(header).unwrap_or_default().split(' ').collect();
        let [MAGIC, form, digest] = words[..] else { return Err(Damaged::Foreign { path: path() }) };
        if form != FORM.to_string() {
            return Err(Damaged::Form { path: path(), found: form.to_owned() });
        }
        if digest != Digest::of(content).to_string() {
            return Err(Damaged::Digest { path: path() });
        }
        let snapshot: Snapshot = decode(content).map_err(|source| Damaged::Content { path: path(), source })?;
        snapshot.check().map_err(|source| Damaged::Dangling { path: path(), source: Box::new(source) })?;
        Ok(Some(snapshot))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::{ObjectKey, Part, Revision, Secret, certificate::Certificate};

    fn snapshot() -> Snapshot {
        let mut snapshot = Snapshot { revision: Revision(7), ..Snapshot::default() };
        let key = ObjectKey::new("shop", "tls");
        let certificate =
            Certificate { chain: "chain".to_owned(), key: Secret::new("the private key"), not_after: 0, ocsp: None };
        snapshot.certificates.insert(key, Part::new(certificate));
        snapshot
    }

    #[test]
    fn what_was_saved_is_loaded_whole_and_is_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("deep/snapshot"));
        assert!(store.load().unwrap().is_none());
        fs::create_dir_all(folder.path().join("deep")).unwrap();
        fs::write(folder.path().join("deep/snapshot.new"), "left by a crash").unwrap();
        store.save(&snapshot()).unwrap();
        let loaded = store.load().unwrap().unwrap();
        assert_eq!(loaded, snapshot());
        assert_eq!(loaded.certificates.iter().next().unwrap().1.key.expose(), "the private key");
        let mode = fs::metadata(folder.path().join("deep/snapshot")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_with_any_byte_changed_or_cut_is_refused_and_never_a_panic() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("snapshot");
        let store = Store::new(&path);
        store.save(&snapshot()).unwrap();
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x20;
            fs::write(&path, &bad).unwrap();
            let changed = store.load();
            assert!(changed.is_err(), "byte {at}");
            fs::write(&path, &good[..at]).unwrap();
            assert!(store.load().is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_file_of_another_form_says_which() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("snapshot");
        fs::write(&path, format!("{MAGIC} 999 {}\n{{}}", Digest::of(b"{}"))).unwrap();
        assert!(matches!(Store::new(&path).load(), Err(Damaged::Form { found, .. }) if found == "999"));
    }
}
