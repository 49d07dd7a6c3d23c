//! Requests at once: who enters holds a seat until his answer has ended; who may wait does so in a queue, first come,
//! first served.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::sync::oneshot;

use super::{
    adaptive::Adaptive,
    keys::{ByKey, Hashes, Key, SHARDS, lock},
};

/// Requests that wait for a key, at most; the next is refused.
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
    waiting: VecDeque<Waiter>,
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

    /// Takes `cost` seats of `max`; `None`: there are not so many. Who may wait never overtakes who waits already.
    pub(super) fn enter(self: &Arc<Self>, key: Key, cost: u64, max: u64, may_wait: bool) -> Option<Entry> {
        let mut shard = self.shard(key);
        let gate = shard.entry(key).or_default();
        gate.waiting.retain(|waiter| !waiter.seat.is_closed());
        let entry = if cost <= max.saturating_sub(gate.used) && gate.waiting.is_empty() {
            gate.used += cost;
            Some(Entry::Seated(Seat { gates: Arc::clone(self), key, cost, teaches: None }))
        } else if may_wait && cost <= max && gate.waiting.len() < MAX_WAITING {
            let (sender, seat) = oneshot::channel();
            gate.waiting.push_back(Waiter { cost, max, seat: sender });
            Some(Entry::Queued(Queued { gates: Arc::clone(self), key, seat }))
        } else {
            None
        };
        if gate.used == 0 && gate.waiting.is_empty() {
            shard.remove(&key);
        }
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

    /// Seats those who wait, as far as there is room after `freed` seats have become free.
    fn advance(self: &Arc<Self>, key: Key, freed: u64) {
        let mut shard = self.shard(key);
        let Some(gate) = shard.get_mut(&key) else { return };
        gate.used = gate.used.saturating_sub(freed);
        while let Some(first) = gate.waiting.front() {
            if !first.seat.is_closed() && first.cost > first.max.saturating_sub(gate.used) {
                break;
            }
            let Some(Waiter { cost, seat, .. }) = gate.waiting.pop_front() else { break };
            if let Err(mut unwanted) = seat.send(Seat { gates: Arc::clone(self), key, cost, teaches: None }) {
                unwanted.cost = 0; // nobody took it, and dropping it must not come back here
            } else {
                gate.used += cost;
            }
        }
        if gate.used == 0 && gate.waiting.is_empty() {
            shard.remove(&key);
        }
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
            self.gates.advance(self.key, self.cost);
        }
    }
}

impl Queued {
    /// `None` cannot be: the gate keeps the other end until it has sent a seat.
    pub(super) async fn seat(&mut self) -> Option<Seat> {
        (&mut self.seat).await.ok()
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.seat.close();
        // A seat that came in the same moment goes to the next, and so does the place.
        drop(self.seat.try_recv());
        self.gates.advance(self.key, 0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seat(entry: Option<Entry>) -> Option<Seat> {
        match entry {
            Some(Entry::Seated(seat)) => Some(seat),
            _ => None,
        }
    }

    fn queued(entry: Option<Entry>) -> Option<Queued> {
        match entry {
            Some(Entry::Queued(queued)) => Some(queued),
            _ => None,
        }
    }

    #[test]
    fn who_leaves_the_queue_gives_his_place_to_those_behind_him() {
        let gates = Arc::new(Gates::new());
        let key = gates.hashes.key("a");
        let first = seat(gates.enter(key, 2, 3, true)).unwrap();
        let mut large = queued(gates.enter(key, 3, 3, true)).unwrap();
        let mut small = queued(gates.enter(key, 1, 3, true)).unwrap();
        assert!(gates.enter(key, 1, 3, false).is_none(), "nobody overtakes");
        assert!(small.seat.try_recv().is_err());
        drop(large.seat.try_recv());
        drop(large);
        let small = small.seat.try_recv().unwrap();
        drop((first, small));
        assert_eq!(gates.count(), 0, "what is not used is not remembered");
    }

    #[test]
    fn the_queue_is_bounded_and_what_never_fits_does_not_wait() {
        let gates = Arc::new(Gates::new());
        let key = gates.hashes.key("a");
        assert!(gates.enter(key, 2, 1, true).is_none());
        let _first = seat(gates.enter(key, 1, 1, true)).unwrap();
        let waiting: Vec<_> = (0..MAX_WAITING).map(|_| queued(gates.enter(key, 1, 1, true)).unwrap()).collect();
        assert!(gates.enter(key, 1, 1, true).is_none());
        drop(waiting);
        assert!(gates.enter(key, 1, 1, true).is_some(), "those who gave up count no longer");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Come(u64, bool),
        /// A request of those seated ends.
        Leave(prop::sample::Index),
        /// One of those who wait gives up.
        GiveUp(prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (1..4_u64, any::<bool>()).prop_map(|(cost, waits)| Step::Come(cost, waits)),
            2 => any::<prop::sample::Index>().prop_map(Step::Leave),
            1 => any::<prop::sample::Index>().prop_map(Step::GiveUp),
        ]
    }

    proptest! {
        /// The oracle is a list of who is in and a list of who waits.
        #[test]
        fn there_are_never_more_than_the_limit_and_they_come_in_order(
            max in 1..6_u64, steps in proptest::collection::vec(step(), 1..120),
        ) {
            let gates = Arc::new(Gates::new());
            let key = gates.hashes.key("a");
            let mut inside: Vec<Seat> = Vec::new();
            let mut waiting: Vec<(u64, Queued)> = Vec::new();
            for step in steps {
                match step {
                    Step::Come(cost, waits) => {
                        let used: u64 = inside.iter().map(|seat| seat.cost).sum();
                        let fits = used + cost <= max && waiting.is_empty();
                        match gates.enter(key, cost, max, waits) {
                            Some(Entry::Seated(seat)) => { prop_assert!(fits); inside.push(seat); }
                            Some(Entry::Queued(queued)) => {
                                prop_assert!(!fits && waits && cost <= max);
                                waiting.push((cost, queued));
                            }
                            None => prop_assert!(!fits && (!waits || cost > max)),
                        }
                    }
                    Step::Leave(which) if !inside.is_empty() => {
                        let at = which.index(inside.len());
                        drop(inside.remove(at));
                    }
                    Step::GiveUp(which) if !waiting.is_empty() => {
                        let at = which.index(waiting.len());
                        drop(waiting.remove(at));
                    }
                    Step::Leave(_) | Step::GiveUp(_) => {}
                }
                // Whoever has room now has his seat, in the order of their coming, and nobody else.
                loop {
                    let used: u64 = inside.iter().map(|seat| seat.cost).sum();
                    prop_assert!(used <= max);
                    let Some((cost, first)) = waiting.first_mut() else { break };
                    match first.seat.try_recv() {
                        Ok(seat) => { prop_assert!(used + *cost <= max); inside.push(seat); waiting.remove(0); }
                        Err(_) => { prop_assert!(used + *cost > max); break; }
                    }
                }
                for (_, later) in waiting.iter_mut().skip(1) {
                    prop_assert!(later.seat.try_recv().is_err(), "he overtook");
                }
            }
            drop((inside, waiting));
            prop_assert_eq!(gates.count(), 0);
        }
    }
}
