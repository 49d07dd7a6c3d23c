//! Counters of each worker, summed when they are scraped.
//!
//! A request takes one lock that nobody else wants, but for a scrape now and then, and looks up no string: routes and
//! backends carry a [`Label`] with a number.

mod cells;
mod collect;
mod counter;
mod family;
mod histogram;
mod label;
mod process;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::StatusCode;

use crate::reject::Reason;
pub(crate) use cells::Verb;
use cells::{Cells, Code, Series, Totals};
pub use collect::{Standing, text};
pub use counter::{Counter, work_as};
pub(crate) use histogram::Histogram;
pub use label::Label;
use label::{Directory, Number};

/// What all workers have counted.
#[derive(Debug, Default)]
pub struct Metrics {
    routes: Directory,
    backends: Directory,
    workers: Mutex<Vec<Arc<Mutex<Cells>>>>,
    /// Snapshots that the table refused.
    pub refused_snapshots: Counter,
    /// Lines of the access log that its sink was too slow for.
    pub dropped_lines: Counter,
    /// The same of the audit log.
    pub dropped_audits: Counter,
}

/// What one worker counts.
#[derive(Debug)]
pub(crate) struct Share {
    metrics: Arc<Metrics>,
    cells: Arc<Mutex<Cells>>,
}

/// What is counted of one request.
#[derive(Clone, Debug)]
pub(crate) struct Counted {
    pub(crate) verb: Verb,
    /// `None`: nothing was answered.
    pub(crate) code: Option<StatusCode>,
    pub(crate) reason: Option<Reason>,
    /// From the head of the request to the end of the answer.
    pub(crate) took: Duration,
    route: Number,
    /// Until the head of its answer.
    backend: Option<(Number, Duration)>,
}

impl Metrics {
    pub(crate) fn share(self: &Arc<Self>) -> Share {
        let cells = Arc::<Mutex<Cells>>::default();
        lock(&self.workers).push(Arc::clone(&cells));
        Share { metrics: Arc::clone(self), cells }
    }

    /// The sum of all workers.
    fn totals(&self) -> Totals {
        let (routes, backends) = (self.routes.names(), self.backends.names());
        let workers = lock(&self.workers).clone();
        let mut totals = Totals::default();
        for worker in workers {
            // Copied, so that the worker waits for no sorting.
            let cells = {
                let mut cells = lock(&worker);
                cells.fold(&routes, &backends);
                cells.clone()
            };
            totals.add(&cells, &routes, &backends);
        }
        totals
    }
}

impl Share {
    pub(crate) fn count(&self, counted: &Counted) {
        let Counted { verb, code, reason, took, route, backend } = counted;
        let code = code.map_or(Code::None, Code::Status);
        let mut cells = lock(&self.cells);
        cells.count(*route, Series { method: *verb, code, reason: *reason }, *took);
        if let Some((backend, took)) = backend {
            cells.time_backend(*backend, *took);
        }
    }
}

impl Counted {
    /// A request of which nothing is known yet.
    pub(crate) fn new(verb: Verb) -> Self {
        Self { verb, code: None, reason: None, took: Duration::ZERO, route: Number::NONE, backend: None }
    }

    pub(crate) fn set_route(&mut self, share: &Share, label: &Arc<Label>) {
        self.route = share.metrics.routes.number(label);
    }

    /// Of several calls of one request, the last goes with it and those before are counted at once.
    pub(crate) fn called(&mut self, share: &Share, label: &Arc<Label>, took: Duration) {
        let call = (share.metrics.backends.number(label), took);
        if let Some((backend, took)) = self.backend.replace(call) {
            lock(&share.cells).time_backend(backend, took);
        }
    }
}

/// A panic while counting may lose that count, no more.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
