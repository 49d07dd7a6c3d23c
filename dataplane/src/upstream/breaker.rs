//! Leaves a backend alone for a while when it fails: closed, open, half open. Counted for all workers of the replica.

mod machine;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use ravelin_snapshot::backend::{self, BackendKey};

pub use machine::State;
use machine::{Machine, Outcome, Ticket};

/// Of one backend.
#[derive(Debug)]
pub struct Breaker {
    backend: BackendKey,
    begun: Instant,
    machine: Mutex<Machine>,
}

/// The leave to send one request. Without a word on how it went it does not count.
pub(super) struct Pass {
    breaker: Arc<Breaker>,
    /// `None` once it has been told.
    ticket: Option<Ticket>,
}

impl Breaker {
    /// Another configuration begins anew.
    pub(super) fn new(
        backend: &BackendKey,
        said: &backend::Breaker,
        before: Option<&Arc<Self>>,
        now: Instant,
    ) -> Arc<Self> {
        if let Some(before) = before.filter(|before| before.lock().said == *said) {
            return Arc::clone(before);
        }
        Arc::new(Self { backend: backend.clone(), begun: now, machine: Mutex::new(Machine::new(said.clone())) })
    }

    pub fn state(&self, now: Instant) -> State {
        self.lock().state(self.since(now))
    }

    /// Closes it, whatever it has seen.
    pub fn reset(&self, now: Instant) {
        self.change(now, Machine::reset);
    }

    /// `None`: it is open.
    pub(super) fn admit(self: &Arc<Self>, now: Instant) -> Option<Pass> {
        let at = self.since(now);
        let ticket = self.change(now, |machine| machine.admit(at))?;
        Some(Pass { breaker: Arc::clone(self), ticket: Some(ticket) })
    }

    /// One line a change.
    fn change<T>(&self, now: Instant, act: impl FnOnce(&mut Machine) -> T) -> T {
        let mut machine = self.lock();
        let before = machine.said_state();
        let done = act(&mut machine);
        let after = machine.said_state();
        drop(machine);
        if before != after {
            let (from, to) = (before.as_str(), after.as_str());
            tracing::warn!(backend = %self.backend, from, to, uptime = ?self.since(now), "circuit breaker");
        }
        done
    }

    fn since(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.begun)
    }

    fn lock(&self) -> MutexGuard<'_, Machine> {
        // A panic leaves it whole: each change is a few assignments.
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    pub(super) fn tell(mut self, failed: bool) {
        self.close(if failed { Outcome::Failure } else { Outcome::Success });
    }

    fn close(&mut self, outcome: Outcome) {
        if let Some(ticket) = self.ticket.take() {
            let now = Instant::now();
            let at = self.breaker.since(now);
            self.breaker.change(now, |machine| machine.tell(ticket, outcome, at));
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.close(Outcome::Unknown);
    }
}
