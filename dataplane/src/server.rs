//! Threads, sockets, TLS, connections, drain: what surrounds the pipeline.
//!
//! A worker is one thread with a runtime of its own: it accepts on listeners of its own, and a connection stays with the
//! worker that began to serve it. What the threads share is here, in [`Shared`]; none of it is written on a request's way.

mod connection;
mod cores;
mod fragment;
mod lifecycle;
mod listen;
mod proxy_protocol;
mod refusal;
mod spread;
mod stream;
pub mod tls;
mod worker;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use ravelin_snapshot::{channel::Subscriber, store::Store};
use tokio::sync::watch;

use crate::{
    Settings,
    access_log::{Journal, Log},
    admin::{self, Pages, Surface},
    metrics::{Metrics, Standing},
    policy::limit::{Ledger, SharedStore},
    receiver,
    session::{self, SealError, Seals},
    table::Table,
};
#[cfg(test)]
pub(crate) use connection::http1::builder as http1_builder;
pub(crate) use connection::{ClientBody, WebSocket};
pub use lifecycle::{NotReady, Origin, Progress, Stage};
pub use stream::Open;
pub use worker::Worker;

/// What all threads share.
pub struct Shared {
    pub settings: Settings,
    table: Arc<ArcSwap<Table>>,
    /// What has come of snapshots until now.
    progress: watch::Sender<Progress>,
    stage: watch::Sender<Stage>,
    /// Client connections and tunnels, for their bound and for metrics.
    connections: AtomicUsize,
    /// Those of them over TLS.
    secure: AtomicUsize,
    spread: spread::Spread,
    pub metrics: Arc<Metrics>,
    log: Option<Arc<Log>>,
    audit: Option<Arc<Log>>,
    pub(crate) seals: Arc<session::Current>,
    tls: tls::Acceptor,
    pub addresses: Addresses,
    pub started: Instant,
}

impl Shared {
    /// What requests see now. Hold it no longer than a request: what it holds is not freed before.
    pub fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// From now on every request sees `table`; those under way finish with theirs.
    pub fn swap(&self, table: Arc<Table>) {
        self.table.store(table);
    }

    /// What has come of snapshots until now.
    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// Where the process is between serving and its end.
    pub fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// The same, for whoever waits for the next.
    pub fn stages(&self) -> watch::Receiver<Stage> {
        self.stage.subscribe()
    }

    /// Whether this replica may be sent requests: it serves a complete snapshot, keeps up, and does not drain.
    pub fn ready(&self) -> Result<(), NotReady> {
        self.progress.borrow().judge(self.stage(), Instant::now())
    }

    /// Client connections that are open, tunnels included.
    pub fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// The same by worker.
    pub fn connections_by_worker(&self) -> Vec<usize> {
        self.spread.open()
    }

    /// For a scrape.
    pub(crate) fn standing(&self) -> Standing {
        let progress = self.progress();
        let secure = self.secure.load(Relaxed);
        let plain = self.connections().saturating_sub(secure);
        Standing {
            connections: vec![("http", plain as u64), ("https", secure as u64)],
            config_age: progress.swapped.map(|(at, _)| at.elapsed()),
            from_disk: progress.origin == Some(Origin::Disk),
            controller_connected: progress.connected,
            ready: self.ready().is_ok(),
        }
    }

    pub(crate) fn note(&self, change: impl FnOnce(&mut Progress)) {
        self.progress.send_modify(change);
    }
}

/// Where snapshots come from.
pub enum Source {
    /// The same process.
    Memory(Subscriber),
    /// The controller's socket.
    Unix(PathBuf),
}

/// Where the listeners ended up (port 0 picks one).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    pub http: Option<SocketAddr>,
    pub https: Option<SocketAddr>,
    pub admin: Option<SocketAddr>,
    pub probe: Option<SocketAddr>,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {address} ({flag}): {source}")]
    Listen { flag: &'static str, address: SocketAddr, source: io::Error },
    #[error("--admin {0} is not a loopback address: it shows everything and resets what it shows (use --probe)")]
    AdminNotLoopback(SocketAddr),
    #[error("cannot start a worker: {0}")]
    Worker(io::Error),
    #[error("cannot start the audit log: {0}")]
    AuditLog(io::Error),
    #[error("cannot start the access log: {0}")]
    AccessLog(io::Error),
    #[error("--session-key {path}: {why}")]
    SessionKey { path: String, why: SealError },
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// A data plane that runs. Dropping it ends it at once; [`Running::drain`] ends it well.
pub struct Running {
    pub addresses: Addresses,
    pub shared: Arc<Shared>,
    workers: Vec<worker::Handle>,
    /// Receiver, admin, probe: they end with this.
    _tasks: tokio::task::JoinSet<()>,
}

/// Starts the workers and, on the caller's tokio runtime, what serves them all: receiver, admin, probe. `pages` are the
/// binary's own pages of the admin interface.
pub async fn start(settings: Settings, source: Source, pages: Pages) -> Result<Running, StartError> {
    let count = settings.workers.unwrap_or_else(cores::count).max(1);
    let sockets = listen::Sockets::bind(&settings, count)?;
    let store = settings.state.as_ref().map(|folder| Store::new(folder.join("snapshot")));
    let ledger = settings.quotas.clone().map(Ledger::in_folder).unwrap_or_default();
    let runtime = tokio::runtime::Handle::current();
    let counts = settings.store.clone().map(|settings| SharedStore::new(settings, runtime.clone()));
    let seals = Arc::new(session::Current::from_pointee(seals(&settings)?));
    let empty = Table::empty(ledger, counts.clone(), runtime, Arc::clone(&seals));
    let (table, metrics) = (Arc::new(ArcSwap::from_pointee(empty)), Arc::<Metrics>::default());
    let (spread, doors) = spread::Spread::over(count);
    let log = settings.access_log.start(Journal::Access, &metrics).map_err(StartError::AccessLog)?;
    let audit = settings.audit_log.start(Journal::Audit, &metrics).map_err(StartError::AuditLog)?;
    let shared = Arc::new(Shared {
        tls: tls::Acceptor::new(Arc::clone(&table))?,
        table,
        progress: watch::Sender::new(Progress::default()),
        stage: watch::Sender::new(Stage::Serving),
        connections: AtomicUsize::new(0),
        secure: AtomicUsize::new(0),
        spread,
        metrics,
        log,
        audit,
        seals,
        addresses: sockets.addresses.clone(),
        started: Instant::now(),
        settings,
    });
    let mut tasks = tokio::task::JoinSet::new();
    if let Some(path) = shared.settings.session_key.clone() {
        tasks.spawn(session::follow(path, Arc::clone(&shared.seals)));
    }
    if let Some(counts) = counts {
        let (tried, first) = tokio::sync::oneshot::channel();
        tasks.spawn(counts.keep_connected(tried));
        // It ends one way or the other, in bounded time: nobody is to be served by the rules for a store that is away before.
        drop(first.await);
    }
    let kept = match &store {
        Some(store) => receiver::restore(&shared, store.clone()).await,
        None => None,
    };
    let subscriber = match source {
        Source::Memory(subscriber) => subscriber,
        Source::Unix(path) => ravelin_snapshot::channel::unix::connect(path, kept),
    };
    tasks.spawn(receiver::run(Arc::clone(&shared), subscriber, store));
    for (listener, surface) in [(sockets.admin, Surface::Admin(pages)), (sockets.probe, Surface::Probe)] {
        if let Some(listener) = listener {
            let listener = tokio::net::TcpListener::from_std(listener).map_err(StartError::Worker)?;
            tasks.spawn(admin::serve(listener, surface, Arc::clone(&shared)));
        }
    }
    let mut workers = Vec::new();
    for (number, (outer, inner)) in sockets.workers.into_iter().zip(doors).enumerate() {
        workers.push(worker::Handle::start(number, (outer, inner), &shared).await.map_err(StartError::Worker)?);
    }
    Ok(Running { addresses: shared.addresses.clone(), shared, workers, _tasks: tasks })
}

/// Who names a file of keys wants those; a folder that cannot be written costs sessions that outlive the process, no more.
fn seals(settings: &Settings) -> Result<Seals, StartError> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        |why| StartError::SessionKey { path, why }
    };
    if let Some(path) = &settings.session_key {
        return Seals::read(path).map_err(failed(path));
    }
    let kept = settings.quotas.as_ref().map(|folder| Seals::kept_in(folder));
    match kept {
        Some(Ok(seals)) => return Ok(seals),
        Some(Err(error)) => tracing::warn!(%error, "the key of sessions is not kept: they end with this process"),
        None => {}
    }
    Seals::random().map_err(failed(Path::new("")))
}

impl Running {
    /// Returns when the first complete snapshot is served.
    pub async fn served(&self) {
        // Invariant: the sender lives as long as `self`.
        drop(self.shared.progress.subscribe().wait_for(|progress| progress.origin.is_some()).await);
    }

    pub fn ready(&self) -> Result<(), NotReady> {
        self.shared.ready()
    }

    /// Ends well: readiness falls; after `drain_delay` nothing new is accepted, but for what waits in the accept queue,
    /// and kept connections are told; after `drain` at most, what is still open is closed.
    pub async fn drain(mut self) {
        self.shared.stage.send_replace(Stage::Announced);
        tokio::time::sleep(self.shared.settings.drain_delay).await;
        self.shared.stage.send_replace(Stage::Closing);
        let limit = self.shared.settings.drain;
        let finished = async {
            for worker in &mut self.workers {
                worker.finished().await;
            }
        };
        if tokio::time::timeout(limit, finished).await.is_err() {
            let open = self.shared.connections();
            tracing::warn!(open, "connections are closed before they have finished: --drain is over");
        }
        self.end().await;
    }

    async fn end(mut self) {
        self.shared.stage.send_replace(Stage::Ended);
        // A worker that does not come to its end by itself within this time is busy for ever; it goes with the process.
        let ended = async {
            for worker in &mut self.workers {
                worker.finished().await;
            }
        };
        drop(tokio::time::timeout(Duration::from_secs(5), ended).await);
        let table = self.shared.table();
        drop(tokio::task::spawn_blocking(move || table.ledger().write()).await);
        for log in [self.shared.log.clone(), self.shared.audit.clone()].into_iter().flatten() {
            // A sink that stalls keeps nobody from ending.
            drop(tokio::task::spawn_blocking(move || log.finish(Duration::from_secs(1))).await);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.stage.send_replace(Stage::Ended);
    }
}

/// A worker's own listeners.
struct Doors {
    http: Option<TcpListener>,
    https: Option<TcpListener>,
}
