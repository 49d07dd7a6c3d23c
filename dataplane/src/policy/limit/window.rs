//! Sliding windows: never more than `requests` in any window of `per`.
//!
//! A window is the list of what was admitted, with times. Up to [`EXACT`] requests times are exact, and so is the limit.
//! Beyond, times are rounded up to a grain of `per` / [`EXACT`], so that a list has a bounded length. A request then
//! counts for up to a grain longer than `per`, and never shorter: the promise holds, and of a steady flow at the limit
//! at most one part in `EXACT` + 1 (0.8 %) is refused that exact times would admit.
//!
//! Proof of the promise. Let request i be admitted at a(i) and noted at r(i) >= a(i). When the last request j of some
//! window of `per` was admitted, all with r > a(j) - `per` were counted, and the sum was at most `requests`. Each request
//! of the window has r >= a > a(j) - `per`, so it was among them.

use std::time::{Duration, Instant};

use ravelin_snapshot::rate_limit::SlidingWindow;

use super::{
    count::{Level, Refused, Taken, Turn},
    keys::{Entry, Key, Keys},
};

/// Times that a window has, about; also the largest limit that is exact to the nanosecond.
pub(super) const EXACT: u64 = 128;

/// What is admitted.
#[derive(Clone, Debug)]
pub(super) struct Span {
    requests: u64,
    /// Nanoseconds, both.
    per: u64,
    grain: u64,
}

/// What was admitted, in order of time. A time may lie ahead: by a grain, or by as long as somebody waits.
#[derive(Debug, Default)]
pub(super) struct Window {
    marks: Vec<Mark>,
    until: u64,
    /// When the last of those who wait goes on, and not by a grain later.
    behind: u64,
}

static EMPTY: Window = Window { marks: Vec::new(), until: 0, behind: 0 };

/// It is taken.
pub(super) struct Noted {
    pub(super) level: Level,
    pub(super) wait: Duration,
    /// When it was noted to be.
    pub(super) at: u64,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    at: u64,
    count: u32,
}

impl Entry for Window {
    fn until(&self) -> u64 {
        self.until
    }

    fn heap(&self) -> usize {
        self.marks.capacity() * size_of::<Mark>()
    }
}

impl Span {
    pub(super) fn new(said: &SlidingWindow) -> Self {
        let per = said.per_ms.saturating_mul(1_000_000);
        let requests = u64::from(said.requests);
        let grain = if requests <= EXACT { 1 } else { (per / EXACT).max(1) };
        Self { requests, per, grain }
    }

    /// Takes `cost`, all of it or nothing; if it does not pass now, then within `patience`, behind those who wait already.
    pub(super) fn take(
        &self,
        keys: &Keys<Window>,
        key: Key,
        cost: u64,
        now: Instant,
        patience: Duration,
    ) -> Result<Taken, Refused> {
        let now = keys.nanos(now);
        let noted = keys.update(key, now, |window| self.note(window, cost, now, patience));
        noted.map(|Noted { level, wait, at }| Taken { turn: Turn::after(wait), mark: at, ..Taken::at_once(key, level) })
    }

    pub(super) fn note(
        &self,
        window: &mut Option<Window>,
        cost: u64,
        now: u64,
        patience: Duration,
    ) -> Result<Noted, Refused> {
        if let Some(window) = window {
            window.forget(now.checked_sub(self.per));
        }
        let known = window.as_ref().unwrap_or(&EMPTY);
        let (Ok(count), Some(at)) = (u32::try_from(cost), self.admits_at(known, cost, now)) else {
            return Err(Refused { level: self.level_of(known, now), retry_in: None });
        };
        if count == 0 {
            return Ok(Noted { level: self.level_of(known, now), wait: Duration::ZERO, at: now });
        }
        let wait = Duration::from_nanos(at - now);
        if wait > patience {
            return Err(Refused { level: self.level_of(known, now), retry_in: Some(wait) });
        }
        let window = window.get_or_insert_default();
        window.behind = at;
        let at = at.div_ceil(self.grain).saturating_mul(self.grain);
        window.add(at, count);
        window.until = at.saturating_add(self.per);
        Ok(Noted { level: self.level_of(window, now), wait, at })
    }

    /// Gives back what was taken for a request that did not pass after all.
    pub(super) fn give_back(&self, keys: &Keys<Window>, key: Key, cost: u64, taken_at: u64, now: Instant) {
        let count = u32::try_from(cost).unwrap_or(u32::MAX);
        keys.update(key, keys.nanos(now), |window| {
            let Some(known) = window else { return };
            if let Ok(place) = known.marks.binary_search_by_key(&taken_at, |mark| mark.at) {
                known.marks[place].count = known.marks[place].count.saturating_sub(count);
                if known.marks[place].count == 0 {
                    known.marks.remove(place);
                }
            }
            match known.marks.last() {
                Some(last) => {
                    known.until = last.at.saturating_add(self.per);
                    known.behind = known.behind.min(last.at);
                }
                None => *window = None,
            }
        });
    }

    /// Takes nothing.
    pub(super) fn level(&self, keys: &Keys<Window>, key: Key, now: Instant) -> Level {
        let now = keys.nanos(now);
        keys.read(key, |window| self.level_of(window.unwrap_or(&EMPTY), now))
    }

    /// When `cost` passes, if nobody else comes; `None`: never.
    fn admits_at(&self, window: &Window, cost: u64, now: u64) -> Option<u64> {
        let room = self.requests.checked_sub(cost)?;
        let counted = |mark: &&Mark| mark.at.saturating_add(self.per) > now;
        let mut used: u64 = window.marks.iter().filter(counted).map(|mark| u64::from(mark.count)).sum();
        // Nobody overtakes who waits.
        let mut at = now.max(window.behind);
        for mark in window.marks.iter().filter(counted) {
            if used <= room {
                break;
            }
            used -= u64::from(mark.count);
            at = at.max(mark.at.saturating_add(self.per));
        }
        Some(at)
    }

    fn level_of(&self, window: &Window, now: u64) -> Level {
        let counted = |mark: &&Mark| mark.at.saturating_add(self.per) > now;
        let used: u64 = window.marks.iter().filter(counted).map(|mark| u64::from(mark.count)).sum();
        let remaining = self.requests.saturating_sub(used);
        let more = if used == 0 { Some(now) } else { self.admits_at(window, remaining + 1, now) };
        Level { remaining, more_in: Some(Duration::from_nanos(more.unwrap_or(now).saturating_sub(now))), term: None }
    }
}

impl Window {
    /// What was admitted at `last` or before counts no longer.
    fn forget(&mut self, last: Option<u64>) {
        if let Some(last) = last {
            let old = self.marks.iter().take_while(|mark| mark.at <= last).count();
            self.marks.drain(..old);
        }
    }

    fn add(&mut self, at: u64, count: u32) {
        match self.marks.last_mut() {
            // Times come in order, so `at` is the last one's or later. All of one time are of one window: the sum fits.
            Some(last) if last.at >= at => last.count = last.count.saturating_add(count),
            _ => {
                self.marks.reserve_exact(1 + self.marks.len() / 2);
                self.marks.push(Mark { at, count });
            }
        }
    }
}

#[cfg(test)]
mod tests;
