//! A socket in front of another one that counts what passes.

use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

/// Bytes that have passed a relay, both ways.
#[derive(Clone, Default)]
pub(super) struct Passed(Arc<AtomicU64>);

impl Passed {
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Relays one connection to `at` on to `to`.
    pub(super) fn relay(&self, at: &Path, to: PathBuf) -> std::io::Result<()> {
        let listener = UnixListener::bind(at)?;
        let passed = self.clone();
        thread::spawn(move || {
            let (client, _) = listener.accept()?;
            let server = UnixStream::connect(to)?;
            let (back, from) = (server.try_clone()?, client.try_clone()?);
            let counted = passed.clone();
            thread::spawn(move || counted.copy(back, from));
            passed.copy(client, server)
        });
        Ok(())
    }

    fn copy(&self, mut from: UnixStream, mut to: UnixStream) -> std::io::Result<()> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let length = from.read(&mut buffer)?;
            if length == 0 {
                return to.shutdown(std::net::Shutdown::Write);
            }
            to.write_all(&buffer[..length])?;
            self.0.fetch_add(length as u64, Relaxed);
        }
    }
}
