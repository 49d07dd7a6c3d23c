//! Calls that several requests wait for, on whatever workers they are.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::sync::watch;

use crate::reject::Reason;

/// What makes requests identical: a hash that nobody finds a second text for.
pub(crate) type Key = [u8; 32];

/// Calls of one rule that are under way.
#[derive(Default)]
pub struct Flights {
    flying: Mutex<HashMap<Key, watch::Receiver<Option<Outcome>>>>,
    joined: AtomicU64,
}

/// What came of a call, for all who waited.
#[derive(Clone)]
pub(crate) enum Outcome {
    Answer(Arc<Answer>),
    Failed(Reason),
    /// It is not to be shared: each is to make a call of its own.
    Alone,
}

/// An answer that is here as a whole.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

pub(crate) enum Seat {
    /// Nobody makes this call yet.
    First(Leader),
    Other(watch::Receiver<Option<Outcome>>),
}

/// Who makes the call. Dropped without a word, it leaves the others to themselves.
pub(crate) struct Leader {
    flights: Arc<Flights>,
    key: Key,
    tell: watch::Sender<Option<Outcome>>,
}

impl Flights {
    pub(crate) fn join(self: &Arc<Self>, key: Key) -> Seat {
        let mut flying = self.flying();
        if let Some(call) = flying.get(&key) {
            self.joined.fetch_add(1, Relaxed);
            return Seat::Other(call.clone());
        }
        let (tell, call) = watch::channel(None);
        flying.insert(key, call);
        Seat::First(Leader { flights: Arc::clone(self), key, tell })
    }

    /// Requests that waited for another's call.
    pub fn joined(&self) -> u64 {
        self.joined.load(Relaxed)
    }

    fn flying(&self) -> MutexGuard<'_, HashMap<Key, watch::Receiver<Option<Outcome>>>> {
        self.flying.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leader {
    /// Whoever comes from now on makes a call of his own.
    pub(crate) fn tell(self, outcome: Outcome) {
        self.tell.send_replace(Some(outcome));
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.flights.flying().remove(&self.key);
    }
}
