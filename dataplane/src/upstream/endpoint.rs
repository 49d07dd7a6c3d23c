//! One address of a backend, and what all workers together do with it.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{
    balance::{Latency, Service},
    place::{Flight, Line, Seat, Turn},
    socket::Socket,
    transport::{Addresses, Offer, Transport, Unconnected},
};

/// An address that requests are sent to. It moves from table to table as long as its backend names it; when the last
/// table that has it is gone, so are its idle connections.
#[derive(Debug)]
pub struct Endpoint {
    pub address: SocketAddr,
    /// Unique in this process: what the workers' pools know it by.
    pub(super) id: u64,
    pub(super) counts: Arc<Counts>,
    /// Of its answers, while somebody wants to know.
    pub(super) latency: Latency,
    pub(super) service: Service,
    begun: Instant,
    /// Since when it has a share that others had already, in milliseconds since `begun`; [`ALWAYS`]: from the start.
    joined: AtomicU64,
    /// Its backend's.
    pub(super) transport: Arc<Transport>,
    /// What was agreed upon last time, if that is for the backend to choose.
    spoken: AtomicU8,
}

const ALWAYS: u64 = u64::MAX;

/// Values of `spoken`.
const UNKNOWN: u8 = 0;
const HTTP1: u8 = 1;
const HTTP2: u8 = 2;

/// What goes on at an endpoint now, and what has.
#[derive(Debug, Default)]
pub struct Counts {
    pub(super) in_flight: AtomicU32,
    pub(super) connections: AtomicU32,
    requests: AtomicU64,
    resent: AtomicU64,
    /// Requests that wait for a place, of either kind.
    pub(super) pending: AtomicU32,
    /// Those that wait until fewer requests are under way.
    pub(super) flights: Line<Flight>,
    /// Those that wait for a connection.
    pub(super) seats: Line<Seat, Turn>,
    /// How to tell a worker that somebody waits for a connection that it may have idle.
    workers: Mutex<Vec<Arc<Notify>>>,
}

impl Endpoint {
    pub(super) fn new(address: SocketAddr, transport: &Arc<Transport>, now: Instant, joins: bool) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            address,
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            counts: Arc::default(),
            latency: Latency::new(now),
            service: Service::default(),
            begun: now,
            joined: AtomicU64::new(if joins { 0 } else { ALWAYS }),
            transport: Arc::clone(transport),
            spoken: AtomicU8::new(UNKNOWN),
        }
    }

    /// Whether it takes a turn while its share grows from a tenth to the whole: with a chance that is its share.
    pub(super) fn is_warm(&self, slow_start: Duration, now: Instant, random: u64) -> bool {
        let joined = self.joined.load(Ordering::Relaxed);
        if joined == ALWAYS {
            return true;
        }
        let age = now.saturating_duration_since(self.begun + Duration::from_millis(joined));
        if age >= slow_start {
            return true;
        }
        let share = (age.as_secs_f64() / slow_start.as_secs_f64()).max(0.1);
        (random >> 11) as f64 / (1_u64 << 53) as f64 <= share
    }

    /// It was left out, and has a share again.
    pub(super) fn rejoin(&self, now: Instant) {
        let millis = now.saturating_duration_since(self.begun).as_millis() as u64;
        self.joined.store(millis, Ordering::Relaxed);
    }

    pub(super) async fn connect(&self, offer: Offer, client: Option<Addresses>) -> Result<Socket, Unconnected> {
        // Apart: a handshake's state is large, and few requests open a connection.
        let connected = Box::pin(self.transport.connect(self.address, offer, client)).await;
        let spoken = match (&connected, offer) {
            (Ok((_, http2)), Offer::Either) => {
                if *http2 {
                    HTTP2
                } else {
                    HTTP1
                }
            }
            (Ok(_), Offer::Http1 | Offer::Http2) => return connected.map(|(socket, _)| socket),
            // It may have changed its mind.
            (Err(_), _) => UNKNOWN,
        };
        self.spoken.store(spoken, Ordering::Relaxed);
        connected.map(|(socket, _)| socket)
    }

    /// Whether it has chosen HTTP/2; `None`: nobody has asked it.
    pub(super) fn speaks_http2(&self) -> Option<bool> {
        match self.spoken.load(Ordering::Relaxed) {
            HTTP1 => Some(false),
            HTTP2 => Some(true),
            _ => None,
        }
    }

    /// For `/backends` and metrics.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl Counts {
    /// Requests that are under way, bodies included.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Open connections, idle ones included.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Requests that wait for one of those to end.
    pub fn pending(&self) -> u32 {
        self.pending.load(Ordering::Relaxed)
    }

    /// All requests so far that were sent, or that there was a place for.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Requests that had to be sent again because a kept connection was found closed.
    pub fn resent(&self) -> u64 {
        self.resent.load(Ordering::Relaxed)
    }

    pub(super) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_resent(&self) {
        self.resent.fetch_add(1, Ordering::Relaxed);
    }

    /// From now on `worker` hears when somebody waits for a connection.
    pub(super) fn enlist(&self, worker: &Arc<Notify>) {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        if !workers.iter().any(|known| Arc::ptr_eq(known, worker)) {
            workers.push(Arc::clone(worker));
        }
    }

    pub(super) fn ask_for_idle_connections(&self) {
        for worker in self.workers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            worker.notify_one();
        }
    }
}
