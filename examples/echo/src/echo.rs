//! The sample backend: where it runs, when it stops, what it counts.

use std::{
    collections::VecDeque,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use tokio::{
    runtime::{self, Handle},
    sync::{oneshot, watch},
};

use crate::Port;

mod answer;
mod connection;
mod content;
mod seen;
mod switches;
mod tunnel;

pub use seen::Seen;

/// How a backend is started. `Options::from("orders")` is one of that name on a free loopback port that remembers nothing.
#[derive(Clone, Debug)]
pub struct Options {
    /// What it calls itself in its answers.
    pub name: String,
    /// Where it listens; port 0 stands for any free one.
    pub listen: SocketAddr,
    /// How many of the last requests [`Echo::seen`] keeps.
    pub remember: usize,
}

impl From<&str> for Options {
    fn from(name: &str) -> Self {
        Self { name: name.to_owned(), listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), remember: 0 }
    }
}

/// A backend that answers with what it saw: a JSON object of [`Seen`].
///
/// It speaks HTTP/1.1 and HTTP/2 with prior knowledge on the same port, answers `Expect: 100-continue`, and echoes over an
/// upgraded connection: messages when the protocol is `websocket`, bytes with any other. `/healthz` answers 200, or 503
/// while draining or not [ready](Echo::set_ready); it is neither counted nor remembered.
///
/// Switches in the query, or in a header `x-echo` in the same notation, change the answer; the header goes before the query:
///
/// | switch | the answer |
/// |---|---|
/// | `status=503` | has this status |
/// | `delay=200ms` | begins that much later (`ms`, `s`, `m`) |
/// | `size=1Mi` | is that many bytes instead, with a Content-Length (`Ki`, `Mi`, `Gi`) |
/// | `chunks=10&every=10ms` | is that many server-sent events `data: 0`, `data: 1`, ... at that interval |
/// | `body=back` | is the request's body and trailers, as they come |
/// | `body=ignore` | begins before the request's body is read; it is never read |
/// | `header=name:value` | has this header too; may be repeated |
/// | `fail=head` | never begins: the connection is closed, or the stream reset |
/// | `fail=body` | breaks off in the middle of its body |
///
/// Dropping it [kills](Echo::kill) it.
#[derive(Debug)]
pub struct Echo {
    port: Port,
    site: Arc<Site>,
    phase: watch::Sender<Phase>,
    home: Home,
}

/// What a backend has had to do until now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests whose head has arrived.
    pub requests: u64,
    /// Connections that are open, those included that were upgraded.
    pub connections_open: u64,
    /// Connections that were accepted.
    pub connections_total: u64,
}

impl Echo {
    /// Runs in the current tokio runtime.
    pub fn start(options: impl Into<Options>) -> io::Result<Self> {
        Self::start_in(options.into(), Home { runtime: Handle::current(), _thread: None })
    }

    /// Runs on a thread of its own, which ends with it.
    pub fn on_thread(options: impl Into<Options>) -> io::Result<Self> {
        let own = runtime::Builder::new_current_thread().enable_all().build()?;
        let runtime = own.handle().clone();
        let (alive, ended) = oneshot::channel::<()>();
        thread::Builder::new().name("echo".to_owned()).spawn(move || drop(own.block_on(ended)))?;
        Self::start_in(options.into(), Home { runtime, _thread: Some(alive) })
    }

    fn start_in(options: Options, home: Home) -> io::Result<Self> {
        let port = Port::reserve_at(options.listen)?;
        let site = Arc::new(Site {
            name: options.name,
            ready: AtomicBool::new(true),
            counts: watch::Sender::default(),
            remember: options.remember,
            seen: Mutex::default(),
        });
        let phase = watch::Sender::new(Phase::Stopped);
        let mut echo = Self { port, site, phase, home };
        echo.restart()?;
        Ok(echo)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// What it calls itself.
    pub fn name(&self) -> &str {
        &self.site.name
    }

    /// Requests whose head has arrived.
    pub fn requests(&self) -> u64 {
        self.counts().requests
    }

    /// Connections that are open now.
    pub fn connections_open(&self) -> u64 {
        self.counts().connections_open
    }

    /// Connections that were accepted.
    pub fn connections_total(&self) -> u64 {
        self.counts().connections_total
    }

    /// All of that at one moment.
    pub fn counts(&self) -> Counts {
        *self.site.counts.borrow()
    }

    /// Returns once `reached` holds. Waits for ever if it never does: give it a deadline.
    pub async fn wait_until(&self, mut reached: impl FnMut(&Counts) -> bool) -> Counts {
        let mut counts = self.site.counts.subscribe();
        // Invariant: the sender lives in `site`, which we hold.
        *counts.wait_for(|counts| reached(counts)).await.expect("the counts are here (invariant)")
    }

    /// The last requests, oldest first: as many as [`Options::remember`] says. One is in here before its answer begins.
    pub fn seen(&self) -> Vec<Seen> {
        self.site.seen.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// What `/healthz` says.
    pub fn set_ready(&self, ready: bool) {
        self.site.ready.store(ready, Ordering::Relaxed);
    }

    /// Serves on, but says 503 on `/healthz` and `Connection: close` in every answer over HTTP/1.1.
    pub fn drain(&self) {
        self.advance(Phase::Draining);
    }

    /// Accepts no more, answers what was asked and closes every connection: the end of a good server.
    pub async fn stop(&self) {
        self.advance(Phase::Stopping);
        self.ended().await;
    }

    /// Closes the listener and every connection at once, in the middle of an answer too: a process that dies.
    pub async fn kill(&self) {
        self.advance(Phase::Stopped);
        self.ended().await;
    }

    /// Serves again on the same address, after [`Echo::stop`] or [`Echo::kill`]; does nothing while it serves.
    pub fn restart(&mut self) -> io::Result<()> {
        if *self.phase.borrow() < Phase::Stopping {
            return Ok(());
        }
        // Connections of the last time keep its phase.
        self.phase = watch::Sender::new(Phase::Serving);
        let run = Run { site: Arc::clone(&self.site), phase: self.phase.subscribe() };
        let _context = self.home.runtime.enter();
        let listener = self.port.listen()?;
        drop(self.home.runtime.spawn(connection::accept(listener, run)));
        Ok(())
    }

    fn advance(&self, to: Phase) {
        self.phase.send_if_modified(|phase| {
            let later = *phase < to;
            *phase = to.max(*phase);
            later
        });
    }

    /// The listener and every connection hold a receiver until they are closed.
    async fn ended(&self) {
        self.phase.closed().await;
    }
}

/// Where its tasks run. They end with the phase's sender, a thread of its own with `_thread`.
#[derive(Debug)]
struct Home {
    runtime: Handle,
    _thread: Option<oneshot::Sender<()>>,
}

/// What stays over a restart.
#[derive(Debug)]
struct Site {
    name: String,
    ready: AtomicBool,
    counts: watch::Sender<Counts>,
    remember: usize,
    seen: Mutex<VecDeque<Seen>>,
}

/// In the order in which they follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    Draining,
    /// Accepts no more, answers what was asked.
    Stopping,
    /// All is closed.
    Stopped,
}

/// One time between start and stop, as its tasks see it.
#[derive(Clone, Debug)]
struct Run {
    site: Arc<Site>,
    phase: watch::Receiver<Phase>,
}

impl Run {
    /// At `phase` or beyond it. The end of the [`Echo`] is the last phase.
    fn is(&self, phase: Phase) -> bool {
        *self.phase.borrow() >= phase || self.phase.has_changed().is_err()
    }

    async fn until(&self, phase: Phase) {
        // An error is the end of the `Echo`.
        drop(self.phase.clone().wait_for(|current| *current >= phase).await);
    }
}

#[cfg(test)]
mod tests;
