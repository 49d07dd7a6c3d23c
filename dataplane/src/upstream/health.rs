//! Which endpoints of a backend are well: learnt from the answers to requests, and from questions of our own.
//!
//! What is known is of the replica, not of a worker. A change raises the version, and whoever looks at the members next sees
//! it: requests look up nothing but a number.

mod condition;
mod probe;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use ravelin_snapshot::backend::{self, BackendKey};
use tokio::runtime::Handle;

use super::endpoint::Endpoint;
use condition::{Change, Condition};
pub(super) use probe::Asked;

/// Of one backend.
#[derive(Debug)]
pub struct Health {
    backend: BackendKey,
    said: backend::Health,
    begun: Instant,
    /// Changes so far.
    version: AtomicU64,
    /// When the next ejected endpoint comes back, in milliseconds since `begun`.
    due: AtomicU64,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Of the membership that the endpoints are of.
    generation: u64,
    /// By the endpoint's number.
    conditions: HashMap<u64, (SocketAddr, Condition)>,
}

/// How an endpoint is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// It does not pass its checks.
    pub ill: bool,
    /// It failed requests, and gets none for a while.
    pub ejected: bool,
}

impl Standing {
    pub fn is_well(self) -> bool {
        !self.ill && !self.ejected
    }
}

impl Health {
    /// Another configuration begins anew; `before` is spoken to in the same way. Checks run in `runtime`, which is not a worker's; without one there are none.
    pub(super) fn new(
        backend: &BackendKey,
        said: &backend::Health,
        before: Option<&Arc<Self>>,
        asked: Asked,
        runtime: Option<&Handle>,
    ) -> Arc<Self> {
        if let Some(before) = before.filter(|before| before.said == *said) {
            return Arc::clone(before);
        }
        let health = Arc::new(Self {
            backend: backend.clone(),
            said: said.clone(),
            begun: Instant::now(),
            version: AtomicU64::new(0),
            due: AtomicU64::new(u64::MAX),
            known: Mutex::default(),
        });
        if let (Some(active), Some(runtime)) = (&said.active, runtime) {
            drop(runtime.spawn(probe::run(Arc::downgrade(&health), active.clone(), asked)));
        }
        health
    }

    /// Below this percentage all are used.
    pub(super) fn panic_percent(&self) -> u8 {
        self.said.panic_percent
    }

    /// Goes up with every change.
    pub(super) fn version(&self) -> u64 {
        if self.due.load(Ordering::Relaxed) != u64::MAX {
            let now = self.now();
            if now.as_millis() as u64 >= self.due.load(Ordering::Relaxed) {
                let mut known = self.known();
                for (address, condition) in known.conditions.values_mut() {
                    self.tell(*address, condition.look(now));
                }
                self.schedule(&known);
            }
        }
        self.version.load(Ordering::Acquire)
    }

    /// From now on the endpoints are those of a new membership: its number.
    pub(super) fn join(&self) -> u64 {
        let mut known = self.known();
        known.generation += 1;
        known.generation
    }

    /// These are the endpoints, unless there is a newer membership. What is known of those that stay is kept.
    pub(super) fn follow<'e>(&self, generation: u64, endpoints: impl Iterator<Item = &'e Arc<Endpoint>>) {
        let mut known = self.known();
        if generation < known.generation {
            return;
        }
        let mut before = std::mem::take(&mut known.conditions);
        let kept = endpoints.map(|endpoint| {
            let condition = before.remove(&endpoint.id).unwrap_or((endpoint.address, Condition::default()));
            (endpoint.id, condition)
        });
        known.conditions = kept.collect();
        self.schedule(&known);
    }

    pub(super) fn standing(&self, endpoint: u64) -> Standing {
        self.known().conditions.get(&endpoint).map(|(_, condition)| condition.standing()).unwrap_or_default()
    }

    /// How a request went.
    pub(super) fn answered(&self, endpoint: u64, failed: bool) {
        let Some(passive) = &self.said.passive else { return };
        let now = self.now();
        let mut known = self.known();
        let all = known.conditions.len();
        let ejected = known.conditions.values().filter(|(_, condition)| condition.standing().ejected).count();
        let may_eject = (ejected + 1) * 100 <= all * usize::from(passive.max_ejected_percent);
        let Some((address, condition)) = known.conditions.get_mut(&endpoint) else { return };
        let change = condition.answered(passive, failed, may_eject, now);
        self.tell(*address, change);
        if change.is_some() {
            self.schedule(&known);
        }
    }

    /// Whom to ask.
    fn endpoints(&self) -> Vec<(u64, SocketAddr)> {
        self.known().conditions.iter().map(|(id, (address, _))| (*id, *address)).collect()
    }

    /// How a check went.
    fn checked(&self, endpoint: u64, passed: bool) {
        let Some(active) = &self.said.active else { return };
        let mut known = self.known();
        if let Some((address, condition)) = known.conditions.get_mut(&endpoint) {
            self.tell(*address, condition.checked(active, passed));
        }
    }

    /// One line a change.
    fn tell(&self, endpoint: SocketAddr, change: Option<Change>) {
        let Some(change) = change else { return };
        self.version.fetch_add(1, Ordering::Release);
        let backend = &self.backend;
        match change {
            Change::Ejected(span) => tracing::warn!(%backend, %endpoint, ?span, "an endpoint fails and is left out"),
            Change::Returned => tracing::info!(%backend, %endpoint, "an endpoint that was left out is used again"),
            Change::FellIll => tracing::warn!(%backend, %endpoint, "an endpoint does not pass its health check"),
            Change::Recovered => tracing::info!(%backend, %endpoint, "an endpoint passes its health check again"),
        }
    }

    fn schedule(&self, known: &Known) {
        let due = known.conditions.values().filter_map(|(_, condition)| condition.due()).min();
        self.due.store(due.map_or(u64::MAX, |due| due.as_millis() as u64), Ordering::Relaxed);
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // A panic leaves it whole: each change is a few assignments.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
