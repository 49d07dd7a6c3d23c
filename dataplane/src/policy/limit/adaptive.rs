//! Requests at once, as many as the backend's latency allows.
//!
//! The bound moves once a round, which is as many answers as the bound, at least [`ROUND`]: by a part of the way to where
//! latency, were it in proportion to requests at once, would be as aimed at. A part only, so that it comes near without
//! going beyond; and upwards only while it is used, for what nobody tries out nobody knows.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ravelin_snapshot::rate_limit;

use super::{
    count::Level,
    gate::{Entry as At, Gates, Seat},
    keys::{Entry, Key, Keys},
};

/// An adaptive limit, and what it has learned of each key.
pub(super) struct Adaptive {
    said: rate_limit::Adaptive,
    pub(super) gates: Arc<Gates>,
    pub(super) bounds: Keys<Bound>,
}

/// What is known of a key.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bound {
    /// Requests at once; 0 is not known yet.
    most: f64,
    /// Of this round: answers, nanoseconds that they took, and requests at once when there were most.
    answers: u32,
    took: f64,
    used: u64,
    until: u64,
}

impl Entry for Bound {
    fn until(&self) -> u64 {
        self.until
    }
}

/// Answers of a round, at least.
const ROUND: u32 = 16;

/// The part of the way that is gone in a round.
const STEP: f64 = 0.2;

/// How far the aim may lie in one round, as a factor.
const FARTHEST: f64 = 1.5;

/// What was learned is kept for so long without requests.
const MEMORY: Duration = Duration::from_secs(600);

impl Adaptive {
    pub(super) fn new(said: &rate_limit::Adaptive, start: Instant) -> Self {
        Self { said: said.clone(), gates: Arc::new(Gates::new()), bounds: Keys::new(start) }
    }

    /// Takes `cost` seats; `None`: there are not so many.
    pub(super) fn enter(self: &Arc<Self>, key: Key, cost: u64, now: Instant) -> Option<Seat> {
        let nanos = self.bounds.nanos(now);
        let most = self.bounds.update(key, nanos, |bound| {
            let bound = bound.get_or_insert_default();
            bound.until = nanos.saturating_add(u64::try_from(MEMORY.as_nanos()).unwrap_or(u64::MAX));
            self.most(bound)
        });
        match self.gates.enter(key, cost, most, None)? {
            At::Seated(seat) => {
                let used = self.gates.used(key);
                self.bounds.update(key, nanos, |bound| {
                    if let Some(bound) = bound {
                        bound.used = bound.used.max(used);
                    }
                });
                Some(seat.teaching(Arc::clone(self)))
            }
            At::Queued(_) => None, // nobody waits here
        }
    }

    pub(super) fn level(&self, key: Key) -> Level {
        let most = self.bounds.read(key, |bound| self.most(bound.unwrap_or(&Bound::default())));
        Level { remaining: self.gates.free(key, most), more_in: None, term: None }
    }

    /// The backend took so long to answer a request of this key.
    pub(super) fn learn(&self, key: Key, took: Duration) {
        // An entry is there as long as it has requests, unless there are too many keys.
        self.bounds.update(key, 0, |bound| {
            if let Some(bound) = bound {
                bound.learn(&self.said, took);
            }
        });
    }

    /// Whole requests.
    fn most(&self, bound: &Bound) -> u64 {
        (bound.most as u64).clamp(self.said.min.into(), self.said.max.into())
    }
}

impl Bound {
    fn learn(&mut self, said: &rate_limit::Adaptive, took: Duration) {
        let (min, max) = (f64::from(said.min), f64::from(said.max));
        self.most = self.most.clamp(min, max);
        self.answers += 1;
        self.took += took.as_secs_f64();
        if self.answers < ROUND.max(self.most as u32) {
            return;
        }
        let latency = self.took / f64::from(self.answers);
        let aim =
            (Duration::from_millis(said.target_ms).as_secs_f64() / latency.max(1e-9)).clamp(1.0 / FARTHEST, FARTHEST);
        let in_use = self.used as f64 * 2.0 >= self.most;
        if aim < 1.0 || in_use {
            self.most = (self.most * (1.0 + STEP * (aim - 1.0))).clamp(min, max);
        }
        (self.answers, self.took, self.used) = (0, 0.0, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::{cmp::Reverse, collections::BinaryHeap};

    use proptest::prelude::*;

    use super::*;

    /// A backend that answers `capacity` requests at once in `base`, and more in proportion later.
    struct Backend {
        base: f64,
        capacity: f64,
    }

    /// Simulated time: there is always somebody who wants to enter. Returns the bound after each of `answers` answers.
    fn run(
        adaptive: &Arc<Adaptive>,
        backend: &Backend,
        start: Instant,
        answers: usize,
        inside: &mut Vec<(u64, Seat)>,
    ) -> Vec<f64> {
        let key = adaptive.gates.hashes.key("");
        let mut now = inside.iter().map(|(at, _)| *at).min().unwrap_or(0);
        let mut leaving: BinaryHeap<Reverse<(u64, u64, usize)>> = BinaryHeap::new();
        let mut seats: Vec<Option<Seat>> = Vec::new();
        for (at, seat) in inside.drain(..) {
            leaving.push(Reverse((at, 0, seats.len())));
            seats.push(Some(seat));
        }
        let mut bounds = Vec::with_capacity(answers);
        for _ in 0..answers {
            while let Some(seat) = adaptive.enter(key, 1, start + Duration::from_nanos(now)) {
                let load = (leaving.len() + 1) as f64 / backend.capacity;
                let took = (backend.base * load.max(1.0) * 1e9) as u64;
                leaving.push(Reverse((now + took, took, seats.len())));
                seats.push(Some(seat));
            }
            let Reverse((at, took, which)) = leaving.pop().unwrap();
            now = at;
            adaptive.learn(key, Duration::from_nanos(took));
            seats[which] = None;
            bounds.push(adaptive.bounds.read(key, |bound| bound.unwrap().most));
        }
        inside.extend(leaving.into_iter().map(|Reverse((at, _, which))| (at, seats[which].take().unwrap())));
        bounds
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn it_comes_to_where_latency_is_as_aimed_at_stays_there_and_follows_the_backend(
            base_ms in 5..50_u64, capacity in 20..100_u32, slack in 2..6_u64,
        ) {
            let said = rate_limit::Adaptive { target_ms: base_ms * slack, min: 1, max: 1_000 };
            let start = Instant::now();
            let adaptive = Arc::new(Adaptive::new(&said, start));
            let mut backend = Backend { base: base_ms as f64 / 1e3, capacity: capacity.into() };
            let mut inside = Vec::new();
            for change in [1.0, 0.5, 2.0] {
                backend.capacity *= change;
                let best = backend.capacity * slack as f64;
                let bounds = run(&adaptive, &backend, start, 100 * best as usize, &mut inside);
                for bound in &bounds[bounds.len() / 2..] {
                    prop_assert!((bound / best - 1.0).abs() < 0.15, "{bound} is not near {best}");
                }
            }
        }

        #[test]
        fn it_never_leaves_its_bounds(min in 1..20_u32, more in 0..50_u32, took in proptest::collection::vec(0..10_000_u64, 1..500)) {
            let said = rate_limit::Adaptive { target_ms: 100, min, max: min + more };
            let mut bound = Bound::default();
            for took in took {
                bound.used = 1_000;
                bound.learn(&said, Duration::from_millis(took));
                prop_assert!(bound.most >= min.into() && bound.most <= (min + more).into());
            }
        }
    }

    #[test]
    fn what_nobody_tries_out_does_not_grow() {
        let said = rate_limit::Adaptive { target_ms: 100, min: 10, max: 1_000 };
        let mut bound = Bound::default();
        for _ in 0..1_000 {
            bound.used = 2;
            bound.learn(&said, Duration::from_millis(1));
        }
        assert_eq!(bound.most, 10.0);
    }
}
