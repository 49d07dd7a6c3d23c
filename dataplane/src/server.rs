//! Threads, sockets, TLS, connections, drain: what surrounds the pipeline.

use std::{io, net::SocketAddr, path::PathBuf, rc::Rc, sync::Arc};

use arc_swap::ArcSwap;
use ravelin_snapshot::{Snapshot, channel::Subscriber, store::Store};
use tokio::net::TcpListener;

use crate::{
    Settings,
    admin::Pages,
    pipeline, receiver,
    request::{Connection, Scheme},
    table::Table,
    upstream::Pools,
};

/// What all threads share.
pub struct Shared {
    pub settings: Settings,
    table: ArcSwap<Table>,
}

impl Shared {
    pub fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// From now on every request sees `table`; those under way finish with theirs.
    pub fn swap(&self, table: Arc<Table>) {
        self.table.store(table);
    }
}

/// What one worker's thread owns: nothing here is shared, nothing here is locked.
pub struct Worker {
    pub settings: Settings,
    /// Its connections to backends.
    pub pools: Pools,
    shared: Arc<Shared>,
}

impl Worker {
    /// The table for one request: loaded once, held to its end.
    pub fn table(&self) -> Arc<Table> {
        self.shared.table()
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
    #[error("cannot start a worker: {0}")]
    Worker(io::Error),
}

/// A data plane that runs. Dropping it ends it at once; [`Running::drain`] ends it well.
pub struct Running {
    pub addresses: Addresses,
    pub shared: Arc<Shared>,
}

/// Starts the workers and, on the caller's tokio runtime, what serves them all: receiver, admin, probe. `pages` are the
/// binary's own pages of the admin interface.
pub async fn start(settings: Settings, source: Source, _pages: Pages) -> Result<Running, StartError> {
    let store = settings.state.as_ref().map(|folder| Store::new(folder.join("snapshot")));
    // Invariant: a snapshot of nothing has no part that could be refused.
    let empty = Table::build(Arc::new(Snapshot::default()), None).ok().expect("nothing is refused (invariant)");
    let shared = Arc::new(Shared { settings: settings.clone(), table: ArcSwap::from_pointee(empty) });
    let subscriber = match source {
        Source::Memory(subscriber) => subscriber,
        Source::Unix(path) => ravelin_snapshot::channel::unix::connect(path, None),
    };
    tokio::spawn(receiver::run(Arc::clone(&shared), subscriber, store));
    let mut addresses = Addresses::default();
    if let Some(address) = settings.http {
        let failed = |source| StartError::Listen { flag: "--http", address, source };
        let listener = std::net::TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        addresses.http = Some(listener.local_addr().map_err(failed)?);
        let shared = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("worker-0".to_owned())
            .spawn(move || work(shared, listener))
            .map_err(StartError::Worker)?;
    }
    Ok(Running { addresses, shared })
}

fn work(shared: Arc<Shared>, listener: std::net::TcpListener) {
    // Invariant: without a runtime there is no worker, and nothing else has started yet.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime (invariant)");
    let local = tokio::task::LocalSet::new();
    let worker = Rc::new(Worker { settings: shared.settings.clone(), pools: Pools::default(), shared });
    local.block_on(&runtime, async move {
        let Ok(listener) = TcpListener::from_std(listener) else { return };
        while let Ok((stream, peer)) = listener.accept().await {
            let Ok(local) = stream.local_addr() else { continue };
            let worker = Rc::clone(&worker);
            let connection = Connection { peer, local, scheme: Scheme::Http, server_name: None };
            tokio::task::spawn_local(async move {
                let service = hyper::service::service_fn(|request| {
                    let (worker, connection) = (Rc::clone(&worker), connection.clone());
                    async move { Ok::<_, std::convert::Infallible>(pipeline::handle(&worker, &connection, request).await) }
                });
                let served = hyper::server::conn::http1::Builder::new();
                drop(served.serve_connection(hyper_util::rt::TokioIo::new(stream), service).await);
            });
        }
    });
}
