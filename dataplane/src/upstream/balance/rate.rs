//! Shares in proportion to measured service rates.
//!
//! The rate of an endpoint is what it answers in a second of its time: the inverse of the mean time until an answer's head. Shares in
//! that proportion come to rest where the rates are those of the endpoints, whether these serve one request after another or many at
//! once: in a queue of rate `u` with load `l` the mean is `1 / (u - l)`, and shares `l` in proportion to `u - l` are in
//! proportion to `u`. More load makes an endpoint slower and so its share smaller, never larger: the loop damps itself.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;

/// Answers count for 1/e after so long.
const FORGET: Duration = Duration::from_secs(10);

/// What a failure counts for, at least: who refuses at once is not quick.
const FAILURE: Duration = Duration::from_secs(1);

/// Below so many answers, faded ones counted by what is left of them, nothing is known.
const KNOWN: f64 = 0.5;

/// Nobody has less than this part of the share of the quickest: whoever is better again is found out.
const LEAST: f64 = 0.02;

/// Shares are worked out anew so often.
const EVERY: Duration = Duration::from_millis(100);

/// Of one endpoint. It costs nothing until somebody wants to know.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Service(OnceLock<Box<Mutex<Mean>>>);

/// Sums in which what is old counts less.
#[derive(Debug)]
struct Mean {
    seconds: f64,
    answers: f64,
    at: Instant,
}

impl Service {
    pub(in crate::upstream) fn observe(&self, took: Duration, failed: bool, now: Instant) {
        let took = if failed { took.max(FAILURE) } else { took };
        let mean = self.0.get_or_init(|| Box::new(Mutex::new(Mean { seconds: 0.0, answers: 0.0, at: now })));
        let mut mean = mean.lock().unwrap_or_else(PoisonError::into_inner);
        mean.fade(now);
        mean.seconds += took.as_secs_f64();
        mean.answers += 1.0;
    }

    /// Answers a second; `None`: not known, or not any longer.
    pub(in crate::upstream) fn rate(&self, now: Instant) -> Option<f64> {
        let mut mean = self.0.get()?.lock().unwrap_or_else(PoisonError::into_inner);
        mean.fade(now);
        // A time of nothing is one too short to be measured.
        (mean.answers >= KNOWN).then(|| mean.answers / mean.seconds.max(1e-6 * mean.answers))
    }
}

impl Mean {
    fn fade(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.at);
        let kept = (-age.as_secs_f64() / FORGET.as_secs_f64()).exp();
        (self.seconds, self.answers, self.at) = (self.seconds * kept, self.answers * kept, now.max(self.at));
    }
}

/// Of the endpoints of a backend: whose turn it is.
#[derive(Debug)]
pub(in crate::upstream) struct Rates {
    begun: Instant,
    turns: AtomicU64,
    /// Milliseconds since `begun`: when shares are worked out next.
    due: AtomicU64,
    /// Sums of shares up to each place.
    sums: ArcSwap<Vec<f64>>,
}

impl Rates {
    pub(in crate::upstream) fn new(now: Instant) -> Self {
        Self { begun: now, turns: AtomicU64::new(0), due: AtomicU64::new(0), sums: ArcSwap::default() }
    }

    /// `known`: the rate and the weight of each place. `None`: nobody has a share.
    pub(in crate::upstream) fn turn(&self, now: Instant, known: impl Fn() -> Vec<(Option<f64>, u32)>) -> Option<usize> {
        let millis = now.saturating_duration_since(self.begun).as_millis() as u64;
        let (due, next) = (self.due.load(Relaxed), millis + EVERY.as_millis() as u64);
        if millis >= due && self.due.compare_exchange(due, next, Relaxed, Relaxed).is_ok() {
            self.sums.store(Arc::new(sums(&known())));
        }
        let mut sums = self.sums.load();
        if sums.is_empty() {
            // Another is about to work them out for the first time.
            self.sums.store(Arc::new(self::sums(&known())));
            sums = self.sums.load();
        }
        let whole = *sums.last().filter(|whole| **whole > 0.0)?;
        // Multiples of the golden ratio, modulo 1: any number of them in a row is spread evenly.
        let turn = self.turns.fetch_add(1, Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let at = (turn >> 11) as f64 / (1_u64 << 53) as f64 * whole;
        let place = sums.partition_point(|sum| *sum <= at);
        Some(place.min(sums.len() - 1))
    }
}

/// Who is not known has the mean of those who are; who has no weight has nothing.
fn sums(known: &[(Option<f64>, u32)]) -> Vec<f64> {
    let rates: Vec<f64> = known.iter().filter(|(_, weight)| *weight > 0).filter_map(|(rate, _)| *rate).collect();
    let mean = if rates.is_empty() { 1.0 } else { rates.iter().sum::<f64>() / rates.len() as f64 };
    let least = rates.iter().copied().fold(0.0, f64::max) * LEAST;
    let mut sum = 0.0;
    let shares = known.iter().map(|(rate, weight)| rate.unwrap_or(mean).max(least) * f64::from(*weight));
    shares
        .map(|share| {
            sum += share;
            sum
        })
        .collect()
}

#[cfg(test)]
mod tests;
