//! Token buckets by key, exact: time and tokens are integers of one scale, so nothing is rounded.
//!
//! A bucket is one number: when it will be full again. A bucket that is full says nothing, so it is forgotten; that is
//! how memory follows the keys that are in use.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use foldhash::quality::RandomState;
use ravelin_snapshot::rate_limit::TokenBucket;

/// The buckets of one limit. Shared by all workers; `now` is the caller's.
pub(super) struct Buckets {
    said: TokenBucket,
    start: Instant,
    hashers: [RandomState; 2],
    shards: Box<[Mutex<Shard>]>,
}

/// What a bucket has to say after it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    /// Whole requests that pass now.
    pub(super) remaining: u64,
    /// Until one more passes; nothing if the bucket is full.
    pub(super) more_in: Duration,
}

/// The cost does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) level: Level,
    /// Until the cost would pass if nobody else came; `None`: it is more than the bucket holds.
    pub(super) retry_in: Option<Duration>,
}

const SHARDS: usize = 64;

/// Keys of a shard at most. Beyond, the half that is nearest to being full is forgotten: a million keys in all.
const MAX_KEYS: usize = (1 << 20) / SHARDS;

/// Keys by 128 bits of two seeded hashes: no text of a client is kept, and none can be found that shares a bucket.
type Key = u128;

/// A time in units of 1 / `requests` nanoseconds since `start`: in each nanosecond `requests` units pass, and a
/// request takes `per` nanoseconds of them. 64 bits of time and 64 of requests fit.
type Units = u128;

#[derive(Default)]
struct Shard {
    /// When each bucket is full again.
    full_at: HashMap<Key, Units, BuildHasherDefault<Hashed>>,
    /// Keys at which full buckets are looked for.
    sweep_at: usize,
}

impl Buckets {
    pub(super) fn new(said: &TokenBucket, start: Instant) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { said: said.clone(), start, hashers: [RandomState::default(), RandomState::default()], shards }
    }

    /// Takes `cost` from the bucket of `key`, all of it or nothing.
    pub(super) fn take(&self, key: &str, cost: u64, now: Instant) -> Result<Level, Refused> {
        let (key, now) = (self.key(key), self.units(now));
        let mut shard = self.shard(key);
        let before = shard.full_at.get(&key).copied().unwrap_or(0).max(now);
        let after = before + Units::from(cost) * self.per();
        if after - now > self.capacity() {
            return Err(self.refused(before - now, cost));
        }
        if cost > 0 {
            shard.put(key, after, now);
        }
        Ok(self.level(after - now))
    }

    /// Gives back what was taken for a request that another limit then refused.
    pub(super) fn give_back(&self, key: &str, cost: u64, now: Instant) {
        let (key, now) = (self.key(key), self.units(now));
        let mut shard = self.shard(key);
        if let Some(full_at) = shard.full_at.get_mut(&key) {
            *full_at = full_at.saturating_sub(Units::from(cost) * self.per()).max(now);
        }
    }

    fn key(&self, text: &str) -> Key {
        let [high, low] = self.hashers.each_ref().map(|state| Key::from(state.hash_one(text)));
        high << 64 | low
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, Shard> {
        // Truncation is what is wanted. A panic elsewhere leaves a shard whole: each change is one insertion.
        self.shards[(key >> 96) as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn units(&self, now: Instant) -> Units {
        now.saturating_duration_since(self.start).as_nanos() * Units::from(self.said.requests)
    }

    /// Units that one request takes.
    fn per(&self) -> Units {
        Units::from(self.said.per_ms) * 1_000_000
    }

    fn capacity(&self) -> Units {
        Units::from(self.said.burst) * self.per()
    }

    fn level(&self, missing: Units) -> Level {
        let left = self.capacity().saturating_sub(missing);
        // More than 64 bits of requests are not told apart.
        let remaining = u64::try_from(left / self.per()).unwrap_or(u64::MAX);
        let more_in = if missing == 0 { Duration::ZERO } else { self.time(self.per() - left % self.per()) };
        Level { remaining, more_in }
    }

    fn refused(&self, missing: Units, cost: u64) -> Refused {
        let cost = Units::from(cost) * self.per();
        let wait = (missing + cost).saturating_sub(self.capacity());
        Refused { level: self.level(missing), retry_in: (cost <= self.capacity()).then(|| self.time(wait)) }
    }

    /// Rounded up, so that who waits so long finds what was promised.
    fn time(&self, units: Units) -> Duration {
        let nanos = units.div_ceil(Units::from(self.said.requests));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    #[cfg(test)]
    pub(super) fn keys(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().full_at.len()).sum()
    }
}

impl Shard {
    fn put(&mut self, key: Key, full_at: Units, now: Units) {
        if self.full_at.len() >= self.sweep_at.max(64) && !self.full_at.contains_key(&key) {
            self.sweep(now);
        }
        self.full_at.insert(key, full_at);
    }

    /// Paid for by the insertions since the last one: it runs when as many keys have come as there were.
    fn sweep(&mut self, now: Units) {
        self.full_at.retain(|_, full_at| *full_at > now);
        if self.full_at.len() >= MAX_KEYS {
            let mut times: Vec<Units> = self.full_at.values().copied().collect();
            let (_, middle, _) = times.select_nth_unstable(MAX_KEYS / 2);
            let middle = *middle;
            self.full_at.retain(|_, full_at| *full_at > middle);
        }
        self.sweep_at = (self.full_at.len() * 2).min(MAX_KEYS);
        self.full_at.shrink_to(self.sweep_at);
    }
}

/// The key is a hash already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64; // truncation is what is wanted
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn buckets(requests: u64, per_ms: u64, burst: u64) -> (Buckets, Instant) {
        let start = Instant::now();
        (Buckets::new(&TokenBucket { requests, per_ms, burst }, start), start)
    }

    #[test]
    fn a_burst_passes_at_once_and_then_one_each_interval() {
        let (buckets, start) = buckets(100, 60_000, 20);
        for left in (0..20).rev() {
            assert_eq!(buckets.take("a", 1, start).unwrap().remaining, left);
        }
        let refused = buckets.take("a", 1, start).unwrap_err();
        assert_eq!((refused.level.remaining, refused.retry_in), (0, Some(Duration::from_millis(600))));
        assert!(buckets.take("b", 1, start).is_ok(), "another key has a bucket of its own");
        let almost = start + Duration::from_nanos(599_999_999);
        assert!(buckets.take("a", 1, almost).is_err());
        assert!(buckets.take("a", 1, start + Duration::from_millis(600)).is_ok());
        assert!(buckets.take("a", 1, start + Duration::from_millis(600)).is_err());
    }

    #[test]
    fn a_cost_beyond_the_burst_is_never_promised_and_no_cost_takes_nothing() {
        let (buckets, start) = buckets(10, 1_000, 5);
        assert_eq!(buckets.take("a", 6, start).unwrap_err().retry_in, None);
        assert_eq!(buckets.take("a", u64::MAX, start).unwrap_err().retry_in, None);
        assert_eq!(buckets.take("a", 0, start).unwrap(), Level { remaining: 5, more_in: Duration::ZERO });
        assert_eq!(buckets.keys(), 0);
    }

    #[test]
    fn full_buckets_are_forgotten_and_the_number_of_keys_is_bounded() {
        let (buckets, start) = buckets(1000, 1_000, 10);
        for n in 0..20_000 {
            buckets.take(&n.to_string(), 1, start + Duration::from_micros(n * 100)).unwrap();
        }
        assert!(buckets.keys() <= 2 * 64 * SHARDS, "{} keys are kept", buckets.keys());
        let (buckets, start) = self::buckets(1, 3_600_000, 10);
        for n in 0..(MAX_KEYS * SHARDS * 2) {
            buckets.take(&n.to_string(), 1, start).unwrap();
        }
        assert!(buckets.keys() <= MAX_KEYS * SHARDS);
    }

    proptest! {
        /// The definition: a bucket that holds `burst`, is refilled evenly and never overflows.
        #[test]
        fn it_admits_exactly_what_a_bucket_in_exact_fractions_does(
            requests in 1..2_000_000_000_u64,
            per_ms in 1..100_000_u64,
            burst in 1..50_u64,
            asks in proptest::collection::vec((0..2_000_000_000_u64, 0..4_u64, any::<bool>()), 1..60),
        ) {
            let (buckets, start) = buckets(requests, per_ms, burst);
            let per = u128::from(per_ms) * 1_000_000;
            // Tokens in units of 1/per, so that each nanosecond brings `requests` of them.
            let full = u128::from(burst) * per;
            let (mut tokens, mut last, mut now) = (full, 0_u128, 0_u128);
            for (gap, cost, undo) in asks {
                now += u128::from(gap);
                tokens = full.min(tokens + (now - last) * u128::from(requests));
                last = now;
                let at = start + Duration::from_nanos(now as u64);
                let price = u128::from(cost) * per;
                match buckets.take("k", cost, at) {
                    Ok(level) => {
                        prop_assert!(tokens >= price);
                        tokens -= price;
                        prop_assert_eq!(u128::from(level.remaining), tokens / per);
                        if undo { buckets.give_back("k", cost, at); tokens += price; }
                    }
                    Err(refused) => {
                        prop_assert!(tokens < price);
                        if let Some(wait) = refused.retry_in {
                            let then = full.min(tokens + wait.as_nanos() * u128::from(requests));
                            prop_assert!(then >= price, "who waits as told is admitted");
                        }
                    }
                }
            }
        }
    }
}
