//! From the workers' buffers to the sink.

use std::{
    fmt,
    io::{self, Write},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc,
    },
    thread::{self, Thread},
    time::Duration,
};

use crate::metrics::{Counter, Metrics};

/// Bytes that a worker may have waiting; the writer holds as many of each once more.
const MAX_WAITING: usize = 1 << 20;

/// At half of it the writer is called at once.
const HASTE: usize = MAX_WAITING / 2;

/// How long the writer gathers lines: a line is at most so late, and a busy worker wakes nobody.
const GATHER: Duration = Duration::from_millis(50);

/// What is written: each has a writer of its own, so that a flood of one crowds out nothing of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Journal {
    /// A line a request.
    Access,
    /// A line a refusal by a policy.
    Audit,
}

impl Journal {
    fn name(self) -> &'static str {
        match self {
            Self::Access => "access-log",
            Self::Audit => "audit-log",
        }
    }

    fn dropped(self, metrics: &Metrics) -> &Counter {
        match self {
            Self::Access => &metrics.dropped_lines,
            Self::Audit => &metrics.dropped_audits,
        }
    }
}

/// Where lines go.
#[derive(Clone)]
pub struct Sink(Arc<Mutex<dyn Write + Send>>);

impl Sink {
    pub fn new(sink: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(sink)))
    }

    /// The process's stderr, beside its logs. Lines of the two are not mixed up.
    pub fn stderr() -> Self {
        Self::new(io::stderr())
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sink")
    }
}

/// The access log of a data plane, or its audit log. Its thread ends, with all lines written that the sink takes, when it is dropped and all
/// its feeds are.
pub struct Log {
    shared: Arc<Shared>,
    thread: Thread,
    /// Ends with the thread.
    ended: Mutex<mpsc::Receiver<()>>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Log")
    }
}

struct Shared {
    journal: Journal,
    metrics: Arc<Metrics>,
    buffers: Mutex<Vec<Arc<Mutex<Vec<u8>>>>>,
    /// The writer has found nothing, and sleeps until it is called.
    idle: AtomicBool,
    over: AtomicBool,
}

/// A worker's end of the log.
pub(crate) struct Feed {
    shared: Arc<Shared>,
    buffer: Arc<Mutex<Vec<u8>>>,
    log: Arc<Log>,
}

impl Log {
    pub fn start(journal: Journal, sink: Sink, metrics: Arc<Metrics>) -> io::Result<Arc<Self>> {
        let shared = Arc::new(Shared {
            journal,
            metrics,
            buffers: Mutex::default(),
            idle: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        let (writer, (end, ended)) = (Arc::clone(&shared), mpsc::channel::<()>());
        let run = move || {
            writer.run(&sink);
            drop(end);
        };
        let thread = thread::Builder::new().name(journal.name().to_owned()).spawn(run)?;
        Ok(Arc::new(Self { shared, thread: thread.thread().clone(), ended: Mutex::new(ended) }))
    }

    /// Writes what waits and ends; it waits for a sink that stalls no longer than `limit`. What comes later is lost.
    pub fn finish(&self, limit: Duration) {
        self.end();
        // Nothing is ever sent: the end of the sender is the message.
        lock(&self.ended).recv_timeout(limit).ok();
    }

    fn end(&self) {
        self.shared.over.store(true, SeqCst);
        self.thread.unpark();
    }

    pub(crate) fn feed(self: &Arc<Self>) -> Feed {
        let buffer = Arc::<Mutex<Vec<u8>>>::default();
        lock(&self.shared.buffers).push(Arc::clone(&buffer));
        Feed { shared: Arc::clone(&self.shared), buffer, log: Arc::clone(self) }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.end();
    }
}

impl Feed {
    /// Never waits for the sink.
    pub(crate) fn put(&self, line: &[u8]) {
        let filled = {
            let mut buffer = lock(&self.buffer);
            if buffer.len() + line.len() > MAX_WAITING {
                self.shared.journal.dropped(&self.shared.metrics).add(1);
                return;
            }
            let before = buffer.len();
            buffer.extend_from_slice(line);
            before < HASTE && buffer.len() >= HASTE
        };
        // What was put before the writer looked into the buffer is seen by it; what is put after sees it idle.
        if (self.shared.idle.load(SeqCst) && self.shared.idle.swap(false, SeqCst)) || filled {
            self.log.thread.unpark();
        }
    }
}

impl Shared {
    fn run(&self, sink: &Sink) {
        let mut taken = Vec::new();
        loop {
            let over = self.over.load(SeqCst);
            self.idle.store(true, SeqCst);
            if self.write(sink, &mut taken) {
                self.idle.store(false, SeqCst);
            } else if over {
                return;
            } else {
                thread::park();
            }
            if !over {
                thread::park_timeout(GATHER);
            }
        }
    }

    /// Whether there was anything. A sink that fails loses what it was given; the next lines are tried again.
    fn write(&self, sink: &Sink, taken: &mut Vec<u8>) -> bool {
        let mut any = false;
        let buffers = lock(&self.buffers).clone();
        for buffer in buffers {
            taken.clear();
            mem::swap(&mut *lock(&buffer), taken);
            if taken.is_empty() {
                continue;
            }
            any = true;
            let mut sink = lock(&sink.0);
            if sink.write_all(taken).and_then(|()| sink.flush()).is_err() {
                let lines = memchr::memchr_iter(b'\n', taken).count() as u64;
                self.journal.dropped(&self.metrics).add(lines);
            }
        }
        any
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
