//! One address of a backend, and what all workers together do with it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

/// An address that requests are sent to. It moves from table to table as long as its backend names it; when the last
/// table that has it is gone, so are its idle connections.
#[derive(Debug)]
pub struct Endpoint {
    pub address: SocketAddr,
    /// Unique in this process: what the workers' pools know it by.
    pub(super) id: u64,
    pub(super) counts: Arc<Counts>,
}

/// What goes on at an endpoint now, and what has.
#[derive(Debug, Default)]
pub struct Counts {
    in_flight: AtomicU32,
    connections: AtomicU32,
    requests: AtomicU64,
    resent: AtomicU64,
}

impl Endpoint {
    pub(super) fn new(address: SocketAddr) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { address, id: NEXT.fetch_add(1, Ordering::Relaxed), counts: Arc::default() }
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

    /// All requests so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Requests that had to be sent again because a kept connection was found closed.
    pub fn resent(&self) -> u64 {
        self.resent.load(Ordering::Relaxed)
    }

    pub(super) fn count_resent(&self) {
        self.resent.fetch_add(1, Ordering::Relaxed);
    }
}

/// A request under way at an endpoint; dropping it ends it.
#[derive(Debug)]
pub(super) struct Flight(Arc<Counts>);

impl Flight {
    /// `None`: as many are under way as may be.
    pub(super) fn begin(counts: &Arc<Counts>, max: u32) -> Option<Self> {
        if counts.in_flight.fetch_add(1, Ordering::Relaxed) >= max {
            counts.in_flight.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        counts.requests.fetch_add(1, Ordering::Relaxed);
        Some(Self(Arc::clone(counts)))
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The place of one connection among those that an endpoint may have; dropping it frees it.
#[derive(Debug)]
pub(super) struct Place(Arc<Counts>);

impl Place {
    /// `None`: there are as many connections as may be.
    pub(super) fn take(counts: &Arc<Counts>, max: u32) -> Option<Self> {
        if counts.connections.fetch_add(1, Ordering::Relaxed) >= max {
            counts.connections.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Self(Arc::clone(counts)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
