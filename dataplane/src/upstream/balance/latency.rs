//! How long an endpoint takes to answer: a moving average in which a peak counts at once and is forgotten slowly.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// After so long without news what was known counts for 1/e.
const FORGET: Duration = Duration::from_secs(10);

/// What a failure counts for, at least: who refuses at once is not quick. Also what is believed of an endpoint that has not
/// answered yet and is busy.
const FAILURE: Duration = Duration::from_secs(1);

/// All workers write it; of two who write at the same moment one is forgotten, which the next answer makes good.
#[derive(Debug)]
pub(in crate::upstream) struct Latency {
    begun: Instant,
    /// In one word: microseconds (f32) and when that was, in milliseconds since `begun` (u32, which wraps after 49 days).
    word: AtomicU64,
}

impl Latency {
    pub(in crate::upstream) fn new(now: Instant) -> Self {
        Self { begun: now, word: AtomicU64::new(0) }
    }

    pub(in crate::upstream) fn observe(&self, took: Duration, failed: bool, now: Instant) {
        let took = if failed { took.max(FAILURE) } else { took };
        let micros = took.as_micros() as f32;
        let (known, at) = self.load();
        let kept = self.kept(at, now);
        let next = if micros > known * kept { micros } else { known * kept + micros * (1.0 - kept) };
        let millis = now.saturating_duration_since(self.begun).as_millis() as u32;
        self.word.store(u64::from(next.to_bits()) << 32 | u64::from(millis), Relaxed);
    }

    /// The time that one more request is likely to take, in microseconds, with so many under way.
    pub(in crate::upstream) fn cost(&self, flying: u32, now: Instant) -> f64 {
        let (known, at) = self.load();
        let micros = f64::from(known * self.kept(at, now));
        let micros = if known == 0.0 && flying > 0 { FAILURE.as_micros() as f64 } else { micros };
        micros * (f64::from(flying) + 1.0)
    }

    fn load(&self) -> (f32, u32) {
        let word = self.word.load(Relaxed);
        (f32::from_bits((word >> 32) as u32), word as u32)
    }

    /// How much of what was known at `at` still counts.
    fn kept(&self, at: u32, now: Instant) -> f32 {
        let millis = now.saturating_duration_since(self.begun).as_millis() as u32;
        let age = millis.wrapping_sub(at);
        (-(age as f32) / FORGET.as_millis() as f32).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_peak_counts_at_once_and_is_forgotten_slowly() {
        let now = Instant::now();
        let latency = Latency::new(now);
        latency.observe(10 * MS, false, now);
        assert!((latency.cost(0, now) - 10_000.0).abs() < 1.0);
        latency.observe(500 * MS, false, now);
        assert!((latency.cost(0, now) - 500_000.0).abs() < 1.0);
        latency.observe(10 * MS, false, now + 100 * MS);
        let cost = latency.cost(0, now + 100 * MS);
        assert!((490_000.0..500_000.0).contains(&cost), "{cost}");
        let later = now + Duration::from_secs(60);
        latency.observe(10 * MS, false, later);
        assert!((10_000.0..12_000.0).contains(&latency.cost(0, later)));
    }

    #[test]
    fn what_is_under_way_counts_and_a_quick_failure_is_not_quick() {
        let now = Instant::now();
        let latency = Latency::new(now);
        assert_eq!(latency.cost(0, now), 0.0);
        assert_eq!(latency.cost(1, now), 2_000_000.0);
        latency.observe(10 * MS, false, now);
        assert!((latency.cost(4, now) - 50_000.0).abs() < 1.0);
        latency.observe(MS, true, now);
        assert!((latency.cost(0, now) - 1_000_000.0).abs() < 1.0);
    }
}
