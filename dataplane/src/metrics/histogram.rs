//! Durations in a few buckets.

use std::time::Duration;

/// Upper bounds in seconds; the last bucket has none. Few, for each route has them.
pub(super) const BOUNDS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

const NANOS: [u64; BOUNDS.len()] = [
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Histogram {
    /// Not cumulative.
    counts: [u64; BOUNDS.len() + 1],
    /// Nanoseconds.
    sum: u128,
}

impl Histogram {
    pub(crate) fn observe(&mut self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.counts[NANOS.partition_point(|bound| *bound < nanos)] += 1;
        self.sum += u128::from(nanos);
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(mine, more)| *mine += more);
        self.sum += other.sum;
    }

    /// Of each bound, how many were at or below it.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let counts = self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        BOUNDS.into_iter().zip(counts)
    }

    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Seconds.
    pub(super) fn sum(&self) -> f64 {
        self.sum as f64 / 1e9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_in_its_own_bucket_and_what_is_beyond_the_last_is_counted() {
        let mut histogram = Histogram::default();
        for micros in [0, 1_000, 1_001, 5_000_000, 5_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let cumulative: Vec<_> = histogram.cumulative().collect();
        assert_eq!(cumulative[..2], [(0.001, 2), (0.0025, 3)]);
        assert_eq!((cumulative[10], histogram.count()), ((5.0, 4), 5));
        assert!(NANOS.iter().zip(BOUNDS).all(|(nanos, bound)| *nanos as f64 == bound * 1e9));
    }
}
