//! The idle connections of one worker.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::{Rc, Weak},
    time::{Duration, Instant},
};

use super::http1::Connection;

/// How often idle connections are looked through. Also how exact an idle time-out is.
const SWEEP: Duration = Duration::from_millis(250);

/// Idle connections that one worker keeps to one endpoint.
const KEPT: usize = 512;

/// What a worker's requests to backends share. Cheap to copy; nothing of it leaves the worker's thread.
#[derive(Clone, Default)]
pub struct Pools(Rc<Inner>);

#[derive(Default)]
struct Inner {
    /// By the endpoint's number.
    idle: RefCell<HashMap<u64, Idle, foldhash::fast::RandomState>>,
    /// The sweeper runs; it ends when nothing is idle.
    swept: Cell<bool>,
    /// The time of the last sweep: exact enough for idle times, and free.
    now: Cell<Option<Instant>>,
    random: Cell<u64>,
}

/// The last one in is the first one out, so that those beyond need grow old and are closed.
struct Idle {
    connections: Vec<(Box<Connection>, Instant)>,
    timeout: Duration,
}

impl Pools {
    /// An idle connection, the most recently used; it may have been closed since.
    pub(super) fn take(&self, endpoint: u64) -> Option<Box<Connection>> {
        let mut idle = self.0.idle.borrow_mut();
        idle.get_mut(&endpoint)?.connections.pop().map(|(connection, _)| connection)
    }

    /// Keeps an idle connection for the next request, at most for `timeout`.
    pub(super) fn put(&self, connection: Box<Connection>, timeout: Duration) {
        if connection.endpoint.strong_count() == 0 {
            return;
        }
        let now = if self.0.swept.replace(true) {
            self.0.now.get()
        } else {
            tokio::task::spawn_local(sweep(Rc::downgrade(&self.0)));
            None
        };
        let now = now.unwrap_or_else(Instant::now);
        self.0.now.set(Some(now));
        let mut idle = self.0.idle.borrow_mut();
        let idle = idle.entry(connection.endpoint_id).or_insert_with(|| Idle { connections: Vec::new(), timeout });
        idle.timeout = timeout;
        if idle.connections.len() < KEPT {
            idle.connections.push((connection, now));
        }
    }

    /// A number that nobody can foresee well enough to matter.
    pub(super) fn random(&self) -> u64 {
        // Weyl sequence and the finalizer of splitmix64.
        let state = self.0.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Closes what has been idle for too long, what the backend has closed, and what belongs to endpoints that are gone.
async fn sweep(pools: Weak<Inner>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(pools) = pools.upgrade() else { return };
        let now = Instant::now();
        pools.now.set(Some(now));
        let mut idle = pools.idle.borrow_mut();
        for idle in idle.values_mut() {
            let timeout = idle.timeout;
            idle.connections.retain_mut(|(connection, since)| {
                now.duration_since(*since) < timeout && connection.endpoint.strong_count() > 0 && connection.is_alive()
            });
        }
        idle.retain(|_, idle| !idle.connections.is_empty());
        if idle.is_empty() {
            pools.swept.set(false);
            return;
        }
    }
}
