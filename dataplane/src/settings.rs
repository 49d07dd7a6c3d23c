//! What the program's flags say to the data plane.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use ipnet::IpNet;

pub use crate::policy::limit::{Address, AddressError, StoreSettings};
use crate::{
    access_log::{Journal, Log, Sink},
    metrics::Metrics,
};

/// Fixed for the life of the process. An address with port 0 picks a free one.
#[derive(Clone, Debug)]
pub struct Settings {
    pub http: Option<SocketAddr>,
    pub https: Option<SocketAddr>,
    /// Loopback: everything that an operator may see and reset.
    pub admin: Option<SocketAddr>,
    /// The pod's address: health, readiness, metrics and no more.
    pub probe: Option<SocketAddr>,
    /// `None`: the cgroup's CPU quota, else at most four.
    pub workers: Option<usize>,
    /// Where the last accepted snapshot is kept. `None`: nowhere.
    pub state: Option<PathBuf>,
    /// Where what is used of quotas is kept. `None`: nowhere, a restart forgets it.
    pub quotas: Option<PathBuf>,
    /// Where shared limits are counted. `None`: nowhere, and what they limit is refused.
    pub store: Option<StoreSettings>,
    /// Keys of session persistence, which replicas share. `None`: one that is kept beside the quotas, else one of the process.
    pub session_key: Option<PathBuf>,
    /// Peers whose `X-Forwarded-*` and `Forwarded` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Peers that begin a connection with PROXY protocol v1 or v2.
    pub proxy_protocol: Vec<IpNet>,
    /// How long accepting goes on after the signal, while readiness is already down.
    pub drain_delay: Duration,
    /// How long open requests may take to finish after that.
    pub drain: Duration,
    pub access_log: AccessLog,
    /// Refusals by policies.
    pub audit_log: AccessLog,
    pub bounds: Bounds,
}

/// Where a log goes.
#[derive(Clone, Debug)]
pub enum AccessLog {
    Stderr,
    To(Sink),
    Off,
}

impl AccessLog {
    pub(crate) fn start(&self, journal: Journal, metrics: &Arc<Metrics>) -> io::Result<Option<Arc<Log>>> {
        let sink = match self {
            Self::Stderr => Sink::stderr(),
            Self::To(sink) => sink.clone(),
            Self::Off => return Ok(None),
        };
        Log::start(journal, sink, Arc::clone(metrics)).map(Some)
    }
}

/// Bounds on everything that a client can send or hold, with defaults that are safe at the edge.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// From the first byte to the end of the head; also the TLS handshake's.
    pub header_timeout: Duration,
    /// A kept connection without a request.
    pub idle_timeout: Duration,
    /// Between two pieces of a request's body.
    pub body_idle_timeout: Duration,
    pub max_header_bytes: usize,
    pub max_headers: usize,
    /// Of the process; the next is closed at once.
    pub max_connections: usize,
    /// Concurrent HTTP/2 streams of one connection.
    pub max_streams: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_idle_timeout: Duration::from_secs(30),
            max_header_bytes: 64 << 10,
            max_headers: 128,
            max_connections: 100_000,
            max_streams: 256,
        }
    }
}

impl Default for Settings {
    /// Loopback on free ports: what tests want.
    fn default() -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            http: Some(any),
            https: Some(any),
            admin: Some(any),
            probe: None,
            workers: Some(1),
            state: None,
            quotas: None,
            store: None,
            session_key: None,
            trusted_proxies: Vec::new(),
            proxy_protocol: Vec::new(),
            drain_delay: Duration::ZERO,
            drain: Duration::from_secs(30),
            access_log: AccessLog::Off,
            audit_log: AccessLog::Off,
            bounds: Bounds::default(),
        }
    }
}
