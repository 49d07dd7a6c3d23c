//! Requests at once: who enters holds a seat until his answer has ended; who may wait does so in a queue.
//!
//! The queue is weighted and fair ([`queue`]). Of one weight, who came first is seated first.

mod queue;

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::sync::oneshot;

use self::queue::{Place, Queue};
use super::{
    adaptive::Adaptive,
    keys::{ByKey, Hashes, Key, SHARDS, lock},
};

/// Requests that wait for a key, at most. Beyond, the one whose turn is last is refused.
const MAX_WAITING: usize = 1024;

/// The gates of a limit, by key. There is one for each key that has requests under way, and no other.
pub(super) struct Gates {
    pub(super) hashes: Hashes,
    shards: Box<[Mutex<ByKey<Gate>>]>,
}

#[derive(Default)]
struct Gate {
    /// Seats that are taken.
    used: u64,
    waiting: Queue<Waiter>,
}

struct Waiter {
    cost: u64,
    /// Seats that there are for him.
    max: u64,
    seat: oneshot::Sender<Seat>,
}

/// As many seats as a request costs, until it is dropped.
pub(crate) struct Seat {
    gates: Arc<Gates>,
    key: Key,
    cost: u64,
    /// Who learns from how long the backend takes.
    teaches: Option<Arc<Adaptive>>,
}

/// A place in the queue, until it is dropped.
pub(super) struct Queued {
    gates: Arc<Gates>,
    key: Key,
    place: Place,
    seat: oneshot::Receiver<Seat>,
}

pub(super) enum Entry {
    Seated(Seat),
    Queued(Queued),
}

impl Gates {
    pub(super) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { hashes: Hashes::default(), shards }
    }

    /// Takes `cost` seats of `max`; `None`: there are not so many. Who may wait has a weight. Nobody overtakes those who
    /// wait already, but by it.
    pub(super) fn enter(self: &Arc<Self>, key: Key, cost: u64, max: u64, weight: Option<u64>) -> Option<Entry> {
        let mut shard = self.shard(key);
        let gate = shard.entry(key).or_default();
        let entry = if cost <= max.saturating_sub(gate.used) && gate.waiting.is_empty() {
            gate.used += cost;
            Some(Entry::Seated(Seat { gates: Arc::clone(self), key, cost, teaches: None }))
        } else {
            weight.filter(|_| cost <= max).and_then(|weight| {
                let (sender, seat) = oneshot::channel();
                let place = gate.waiting.push(weight, cost, Waiter { cost, max, seat: sender });
                let refused = if gate.waiting.len() > MAX_WAITING { gate.waiting.pop_last() } else { None };
                let stays = refused != Some(place);
                stays.then(|| Entry::Queued(Queued { gates: Arc::clone(self), key, place, seat }))
            })
        };
        if gate.is_idle() {
            shard.remove(&key);
        }
        drop(shard);
        entry
    }

    /// Seats of `max` that are free, and not waited for.
    pub(super) fn free(&self, key: Key, max: u64) -> u64 {
        let shard = self.shard(key);
        shard.get(&key).map_or(max, |gate| if gate.waiting.is_empty() { max.saturating_sub(gate.used) } else { 0 })
    }

    /// Seats that are taken.
    pub(super) fn used(&self, key: Key) -> u64 {
        self.shard(key).get(&key).map_or(0, |gate| gate.used)
    }

    pub(super) fn count(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, ByKey<Gate>> {
        lock(&self.shards[key.shard()])
    }

    /// Seats those who wait, as far as there is room after `freed` seats have become free, and `gone` waits no longer.
    fn advance(self: &Arc<Self>, key: Key, freed: u64, gone: Option<Place>) {
        let mut shard = self.shard(key);
        let Some(gate) = shard.get_mut(&key) else { return };
        gate.used = gate.used.saturating_sub(freed);
        if let Some(place) = gone {
            gate.waiting.remove(place);
        }
        while let Some(first) = gate.waiting.first() {
            if first.cost > first.max.saturating_sub(gate.used) {
                break;
            }
            let Some(Waiter { cost, seat, .. }) = gate.waiting.pop() else { break };
            if let Err(mut unwanted) = seat.send(Seat { gates: Arc::clone(self), key, cost, teaches: None }) {
                unwanted.cost = 0; // nobody took it, and dropping it must not come back here
            } else {
                gate.used += cost;
            }
        }
        if gate.is_idle() {
            shard.remove(&key);
        }
    }
}

impl Gate {
    fn is_idle(&self) -> bool {
        self.used == 0 && self.waiting.is_empty()
    }
}

impl Seat {
    pub(super) fn teaching(self, adaptive: Arc<Adaptive>) -> Self {
        let mut seat = self;
        seat.teaches = Some(adaptive);
        seat
    }

    /// The backend took so long to answer.
    pub(super) fn answered(&self, took: Duration) {
        if let Some(adaptive) = &self.teaches {
            adaptive.learn(self.key, took);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.cost > 0 {
            self.gates.advance(self.key, self.cost, None);
        }
    }
}

impl Queued {
    /// `None`: the queue has become too long, and his turn was the last.
    pub(super) async fn seat(&mut self) -> Option<Seat> {
        (&mut self.seat).await.ok()
    }

    /// If it has come already.
    #[cfg(test)]
    pub(super) fn seated(&mut self) -> Option<Seat> {
        self.seat.try_recv().ok()
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.seat.close();
        // A seat that came in the same moment goes to the next, and so does the place.
        drop(self.seat.try_recv());
        self.gates.advance(self.key, 0, Some(self.place));
    }
}

#[cfg(test)]
mod tests;
