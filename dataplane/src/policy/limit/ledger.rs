//! What is used of quotas, kept beyond the policies and beyond the process.
//!
//! A book is of a policy, the name of a limit, and how terms are divided. It stays when the policy is edited or is away
//! for a while, for a month goes on meanwhile; its accounts are forgotten when their terms end.
//!
//! On disk it is a journal, lines of JSON that each say how an account stands. What has changed is appended and synced
//! every second and at the end: who pulls the plug loses what was counted since. A line that is torn is no line. When the
//! journal has become much longer than what it says, it is written anew beside, synced and renamed.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::Ordering::Relaxed,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use ravelin_snapshot::{PolicyKey, rate_limit};
use serde::{Deserialize, Serialize};

use super::quota::{Account, Book, seconds};

/// All books.
#[derive(Default)]
pub struct Ledger(Mutex<Books>);

#[derive(Default)]
struct Books {
    books: BTreeMap<Title, Arc<Book>>,
    /// `None`: nothing is kept.
    folder: Option<PathBuf>,
    /// Open from the first book on.
    journal: Option<Journal>,
    /// Dropped, it ends the thread that writes.
    writer: Option<Sender<()>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Title {
    namespace: String,
    policy: String,
    limit: String,
    per: rate_limit::Period,
    time_zone: String,
}

struct Journal {
    file: File,
    path: PathBuf,
    /// Bytes that it has, and that it had when it was written anew.
    length: u64,
    fresh: u64,
    /// Writing has failed: how it ends nobody knows, and it is to be written anew.
    broken: bool,
    /// Held as long as this process writes here.
    _lock: File,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    #[serde(flatten)]
    title: Title,
    key: std::borrow::Cow<'a, str>,
    begins: i64,
    ends: i64,
    used: u64,
    granted: u64,
    requests: u64,
}

/// Between two times that it is written down.
const EVERY: Duration = Duration::from_secs(1);

/// How long another process that is about to end is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes by which a journal may be longer than twice what it says.
const SLACK: u64 = 1 << 20;

impl Title {
    pub(super) fn new(policy: &PolicyKey, limit: &str, said: &rate_limit::Quota) -> Self {
        Self {
            namespace: policy.namespace.clone(),
            policy: policy.name.clone(),
            limit: limit.to_owned(),
            per: said.per,
            time_zone: said.time_zone.clone(),
        }
    }
}

impl Ledger {
    /// Keeps what is used in `folder`, which is made when there is something to keep.
    pub fn in_folder(folder: PathBuf) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Books { folder: Some(folder), ..Books::default() })))
    }

    /// The book of this title; it is opened if there is none yet.
    pub(super) fn book(self: &Arc<Self>, title: Title) -> Arc<Book> {
        let mut books = self.books();
        if let Some(folder) = books.folder.take() {
            match books.open(&folder) {
                Ok(()) => {
                    let (end, ends) = mpsc::channel();
                    books.writer = Some(end);
                    keep_written(Arc::downgrade(self), ends);
                }
                Err(error) => {
                    let folder = folder.display();
                    tracing::error!(%folder, %error, "quotas are not kept: a restart forgets what was used");
                }
            }
        }
        Arc::clone(books.books.entry(title).or_insert_with(|| Arc::new(Book::new())))
    }

    /// Writes down what has changed.
    pub fn write(&self) {
        let mut books = self.books();
        if let Err(error) = books.write(SystemTime::now()) {
            tracing::error!(%error, "what is used of quotas cannot be written down; it is tried again");
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.write();
    }
}

/// A thread of its own: a disk may be slow. It ends when `end` is dropped.
fn keep_written(ledger: Weak<Ledger>, end: Receiver<()>) {
    let run = move || {
        while end.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
            let Some(ledger) = ledger.upgrade() else { return };
            ledger.write();
        }
    };
    if let Err(error) = thread::Builder::new().name("ledger".to_owned()).spawn(run) {
        tracing::error!(%error, "what is used of quotas is written down at the end only");
    }
}

impl Books {
    fn open(&mut self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let lock = lock(&folder.join("quotas.lock"))?;
        let path = folder.join("quotas");
        let now = SystemTime::now();
        match File::open(&path) {
            Ok(file) => self.read(BufReader::new(file), now)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        let mut journal = Journal { file, path, length: 0, fresh: 0, broken: false, _lock: lock };
        journal.renew(&self.lines(now, true)?)?;
        self.journal = Some(journal);
        Ok(())
    }

    /// The last line of an account says how it stands.
    fn read(&mut self, mut lines: impl BufRead, now: SystemTime) -> io::Result<()> {
        let (mut line, mut torn) = (Vec::new(), 0_u64);
        while lines.read_until(b'\n', &mut line)? > 0 {
            match serde_json::from_slice::<Line<'_>>(&line) {
                Ok(Line { title, key, begins, ends, used, granted, requests }) if line.ends_with(b"\n") => {
                    let key = key.into();
                    let account = Account { key, begins, ends, used, granted, requests, changed: false };
                    let book = self.books.entry(title).or_insert_with(|| Arc::new(Book::new()));
                    if ends > seconds(now) {
                        book.restore(account, now);
                    }
                }
                Ok(_) | Err(_) => torn += 1,
            }
            line.clear();
        }
        if torn > 0 {
            tracing::warn!(lines = torn, "lines of the quotas' journal cannot be read and are left out");
        }
        Ok(())
    }

    fn write(&mut self, now: SystemTime) -> io::Result<()> {
        let Some(mut journal) = self.journal.take() else { return Ok(()) };
        let anew = journal.broken || journal.length > 2 * journal.fresh + SLACK;
        let written = self.lines(now, anew).and_then(|lines| match (anew, lines.is_empty()) {
            (true, _) => journal.renew(&lines),
            (false, true) => Ok(()),
            (false, false) => journal.append(&lines),
        });
        journal.broken = written.is_err();
        self.journal = Some(journal);
        written
    }

    /// How accounts stand whose terms are not over: all, or those that have changed.
    fn lines(&self, now: SystemTime, all: bool) -> io::Result<Vec<u8>> {
        let mut lines = Vec::new();
        for (title, book) in &self.books {
            let changed = book.changed.swap(false, Relaxed);
            if !changed && !all {
                continue;
            }
            let mut failed = None;
            book.accounts.for_each(|account| {
                if account.ends > seconds(now) && (all || account.changed) {
                    let Account { ref key, begins, ends, used, granted, requests, .. } = *account;
                    let key = key.as_ref().into();
                    let line = Line { title: title.clone(), key, begins, ends, used, granted, requests };
                    match serde_json::to_writer(&mut lines, &line) {
                        Ok(()) => lines.push(b'\n'),
                        Err(error) => failed = Some(error),
                    }
                }
                account.changed = false;
            });
            if let Some(error) = failed {
                return Err(error.into());
            }
        }
        Ok(lines)
    }
}

#[allow(clippy::disallowed_methods, reason = "another process's lock sends no event that could be waited for")]
fn lock(path: &Path) -> io::Result<File> {
    let (file, begun) = (File::create(path)?, Instant::now());
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::Error(error)) => return Err(error),
            Err(fs::TryLockError::WouldBlock) if begun.elapsed() > PATIENCE => {
                return Err(io::Error::other("another process keeps its quotas there"));
            }
            Err(fs::TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

impl Journal {
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.file.write_all(lines)?;
        self.file.sync_data()?;
        self.length += lines.len() as u64;
        Ok(())
    }

    /// Writes it anew: whole, or not at all.
    fn renew(&mut self, lines: &[u8]) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        // It names callers.
        let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(lines)?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        self.file = OpenOptions::new().append(true).open(&self.path)?;
        (self.length, self.fresh) = (lines.len() as u64, lines.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
