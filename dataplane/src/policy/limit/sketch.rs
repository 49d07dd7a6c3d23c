//! Very many keys in little memory: a count-min sketch over a sliding window.
//!
//! Time is cut into [`SLICES`] slices of a window. Each has a table of `depth` rows of `width` cells; a key has one cell in
//! each row, by hashes of its own, and what it takes is added to all of them. A key's count is the least of the sums of
//! its cells over the slices that a window may touch: never less than what it took, so that no key gets more than its
//! limit. It is more only by what others put into the same cells: with a width of e / error and a depth of
//! ln(1 / (1 - confidence)), by at most `error` of all that was admitted, in all but 1 - `confidence` of the cases (Cormode
//! and Muthukrishnan, 2005). And it counts for up to a slice longer than a window.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use ravelin_snapshot::rate_limit::{self, SlidingWindow};

use super::{
    count::{Level, Refused, Taken},
    keys::{Hashes, Key},
};

/// Slices of a window; one more is kept, for a window touches as many and a part of one.
const SLICES: u64 = rate_limit::Sketch::SLICES as u64 - 1;
const KEPT: u64 = SLICES + 1;

/// One limit's counts. Of fixed size, whatever comes.
pub(super) struct Sketch {
    pub(super) hashes: Hashes,
    start: Instant,
    requests: u64,
    /// Nanoseconds of a slice.
    slice: u64,
    width: usize,
    depth: usize,
    cells: Mutex<Cells>,
}

struct Cells {
    /// Slice after slice, row after row.
    counts: Box<[u32]>,
    /// The slice that is filled, from the start.
    now: u64,
}

impl Sketch {
    /// `None`: its shape holds nothing.
    pub(super) fn new(said: &SlidingWindow, shape: &rate_limit::Sketch, start: Instant) -> Option<Self> {
        let (width, depth) = (usize::try_from(shape.width).ok()?, usize::try_from(shape.depth).ok()?);
        let cells = width.checked_mul(depth)?.checked_mul(KEPT as usize).filter(|cells| *cells > 0)?;
        Some(Self {
            hashes: Hashes::default(),
            start,
            requests: said.requests.into(),
            slice: said.per_ms.saturating_mul(1_000_000).div_ceil(SLICES),
            width,
            depth,
            cells: Mutex::new(Cells { counts: vec![0; cells].into_boxed_slice(), now: 0 }),
        })
    }

    /// It is always as large.
    pub(super) fn bytes(&self) -> usize {
        self.width * self.depth * KEPT as usize * size_of::<u32>()
    }

    /// Takes `cost` from the window of `key`, all of it or nothing.
    pub(super) fn take(&self, key: Key, cost: u64, now: Instant) -> Result<Taken, Refused> {
        let nanos = self.nanos(now);
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        self.go_on(&mut cells, nanos / self.slice);
        let used = self.used(&cells, key, cells.now);
        if cost > 0 && used.saturating_add(cost) > self.requests {
            let level = self.level_of(&cells, key, used, nanos);
            let retry_in = (cost <= self.requests).then(|| self.free_in(&cells, key, cost, nanos));
            return Err(Refused { level, retry_in });
        }
        let count = u32::try_from(cost).unwrap_or(u32::MAX);
        for row in 0..self.depth {
            let place = self.place(key, row, cells.now);
            cells.counts[place] = cells.counts[place].saturating_add(count);
        }
        let used = self.used(&cells, key, cells.now);
        Ok(Taken { mark: cells.now, ..Taken::at_once(key, self.level_of(&cells, key, used, nanos)) })
    }

    /// Gives back what was taken in the slice `taken_in` for a request that did not pass after all.
    pub(super) fn give_back(&self, key: Key, cost: u64, taken_in: u64) {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        if taken_in + SLICES < cells.now {
            return;
        }
        let count = u32::try_from(cost).unwrap_or(u32::MAX);
        for row in 0..self.depth {
            let place = self.place(key, row, taken_in);
            cells.counts[place] = cells.counts[place].saturating_sub(count);
        }
    }

    /// Takes nothing.
    pub(super) fn level(&self, key: Key, now: Instant) -> Level {
        let nanos = self.nanos(now);
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        self.go_on(&mut cells, nanos / self.slice);
        let used = self.used(&cells, key, cells.now);
        self.level_of(&cells, key, used, nanos)
    }

    /// Empties the slices between that which was filled last and this one.
    fn go_on(&self, cells: &mut Cells, slice: u64) {
        let table = self.width * self.depth;
        let fresh = slice.saturating_sub(cells.now).min(KEPT);
        for gone in slice - fresh..slice {
            let begin = ((gone + 1) % KEPT) as usize * table; // less than KEPT
            cells.counts[begin..begin + table].fill(0);
        }
        cells.now = cells.now.max(slice);
    }

    /// What counts for a window that ends in the slice `end`, which is the present one or a later.
    fn used(&self, cells: &Cells, key: Key, end: u64) -> u64 {
        let slices = end.saturating_sub(SLICES)..=cells.now;
        let sum = |row| slices.clone().map(|slice| u64::from(cells.counts[self.place(key, row, slice)])).sum();
        (0..self.depth).map(sum).min().unwrap_or(0)
    }

    fn level_of(&self, cells: &Cells, key: Key, used: u64, nanos: u64) -> Level {
        let remaining = self.requests.saturating_sub(used);
        let more_in = if used == 0 { Duration::ZERO } else { self.free_in(cells, key, remaining + 1, nanos) };
        Level { remaining, more_in: Some(more_in), term: None }
    }

    /// Until `cost` passes, if nobody else comes.
    fn free_in(&self, cells: &Cells, key: Key, cost: u64, nanos: u64) -> Duration {
        let fits = |end: &u64| self.used(cells, key, *end).saturating_add(cost) <= self.requests;
        let last = cells.now + KEPT;
        let end = (cells.now..last).find(fits).unwrap_or(last);
        Duration::from_nanos((end * self.slice).saturating_sub(nanos))
    }

    fn place(&self, key: Key, row: usize, slice: u64) -> usize {
        let table = (slice % KEPT) as usize; // less than KEPT
        (table * self.depth + row) * self.width + key.row(row, self.width)
    }

    fn nanos(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sketch(requests: u32, per_ms: u64, width: u32, depth: u32) -> (Sketch, Instant) {
        let (said, start) = (SlidingWindow { requests, per_ms }, Instant::now());
        (Sketch::new(&said, &rate_limit::Sketch { width, depth }, start).unwrap(), start)
    }

    fn passes(sketch: &Sketch, key: u64, now: Instant) -> bool {
        sketch.take(sketch.hashes.key(&key.to_string()), 1, now).is_ok()
    }

    /// `error: 0.1%, confidence: 99.9%`, as the compiler says it.
    const SHAPE: (u32, u32) = (2719, 7);

    #[test]
    fn of_a_million_keys_the_error_is_larger_than_promised_for_no_more_than_promised() {
        // Each comes once. One whose count is more than 1 + 0.1 % of all would be refused at this limit.
        let (sketch, start) = sketch(1_001, 60_000, SHAPE.0, SHAPE.1);
        let (keys, at) = (1_000_000_u64, start + Duration::from_secs(1));
        let refused = (0..keys).filter(|key| !passes(&sketch, *key, at)).count() as u64;
        assert!(refused <= keys / 1_000, "{refused} of {keys} are refused");
    }

    #[test]
    fn a_heavy_key_among_many_has_its_limit_and_no_more() {
        let (sketch, start) = sketch(100, 60_000, SHAPE.0, SHAPE.1);
        assert!((0..10_000).all(|key| passes(&sketch, key, start)));
        let passed = (0..1_000).filter(|_| passes(&sketch, u64::MAX, start)).count();
        assert!((90..=100).contains(&passed), "{passed} passed");
    }

    proptest! {
        #[test]
        fn no_key_gets_more_than_requests_in_any_window_and_who_waits_as_told_is_admitted(
            requests in 1..20_u32, width in 1..8_u32, depth in 1..4_u32,
            asks in proptest::collection::vec((0..400_u64, 0..6_u64, 0..3_u64, any::<bool>()), 1..200),
        ) {
            let (sketch, start) = sketch(requests, 1_000, width, depth);
            let (mut ms, mut log) = (0, Vec::<(u64, u64, u64)>::new());
            for (gap, key, cost, undo) in asks {
                ms += gap;
                let (now, hashed) = (start + Duration::from_millis(ms), sketch.hashes.key(&key.to_string()));
                match sketch.take(hashed, cost, now) {
                    Ok(taken) if undo => sketch.give_back(hashed, cost, taken.mark),
                    Ok(_) => {
                        log.push((ms, key, cost));
                        let inside = log.iter().filter(|(at, known, _)| *known == key && at + 1_000 > ms);
                        prop_assert!(inside.map(|(_, _, cost)| cost).sum::<u64>() <= requests.into());
                    }
                    Err(refused) => match refused.retry_in {
                        _ if cost == 0 => prop_assert!(false, "nothing always passes"),
                        None => prop_assert!(cost > requests.into()),
                        Some(wait) => {
                            prop_assert!(wait <= Duration::from_millis(1_125));
                            prop_assert!(sketch.level(hashed, now + wait).remaining >= cost);
                            // To look ahead has emptied slices of the past: it is later now.
                            ms += u64::try_from(wait.as_millis()).unwrap() + 1;
                        }
                    },
                }
            }
        }
    }
}
