//! Token buckets, exact: time and tokens are integers of one scale, so nothing is rounded.
//!
//! A bucket is one number: when it will be full again. A bucket that is full says nothing. One that owes something has
//! promised it to requests that wait for their turn.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use ravelin_snapshot::rate_limit::TokenBucket;

use super::{
    count::{Level, Refused, Taken, Turn},
    keys::{Entry, Key, Keys},
};

/// The buckets of a limit, or of the limits of one name of several plans.
pub(super) struct Buckets {
    pub(super) keys: Keys<Bucket>,
    /// All that were ever used with these buckets, by number.
    rates: Mutex<Vec<TokenBucket>>,
}

/// How a bucket is filled.
#[derive(Clone, Debug)]
pub(super) struct Rate {
    said: TokenBucket,
    number: u32,
}

/// When a bucket is full again: 64 bits of nanoseconds and a fraction of one in units of 1 / `requests`. Of 32-bit words,
/// for it lies beside its key a million times.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    nanos: [u32; 2],
    fraction: u32,
    rate: u32,
}

impl Entry for Bucket {
    fn until(&self) -> u64 {
        // A fraction of a nanosecond later it is full.
        self.nanos().saturating_add(u64::from(self.fraction > 0))
    }
}

impl Bucket {
    fn nanos(&self) -> u64 {
        u64::from(self.nanos[0]) << 32 | u64::from(self.nanos[1])
    }
}

/// A time, or requests, in units of 1 / `requests` nanoseconds: in each nanosecond `requests` units pass, and a request
/// takes `per` nanoseconds of them. 64 bits of time, or of requests, and 32 of `requests` fit.
type Units = u128;

impl Buckets {
    pub(super) fn new(start: Instant) -> Self {
        Self { keys: Keys::new(start), rates: Mutex::default() }
    }

    /// A rate for these buckets. A bucket that was used at another rate keeps what is missing in it, in requests.
    pub(super) fn rate(&self, said: &TokenBucket) -> Rate {
        let mut rates = self.rates();
        let known = rates.iter().position(|known| known == said).unwrap_or_else(|| {
            rates.push(said.clone());
            rates.len() - 1
        });
        // Invariant: more than 2^32 rates do not fit into memory.
        Rate { said: said.clone(), number: u32::try_from(known).unwrap_or(u32::MAX) }
    }

    /// Takes `cost` from the bucket of `key`, all of it or nothing; if there is not enough, then what will have come within
    /// `patience`, behind those who wait already.
    pub(super) fn take(
        &self,
        rate: &Rate,
        key: Key,
        cost: u64,
        now: Instant,
        patience: Duration,
    ) -> Result<Taken, Refused> {
        let now = self.keys.nanos(now);
        let price = Units::from(cost) * rate.per();
        self.keys.update(key, now, |bucket| {
            let missing = self.missing(rate, bucket.as_ref(), now);
            let after = missing + price;
            let wait = rate.time(after.saturating_sub(rate.capacity()));
            if price > rate.capacity() || (wait > patience && cost > 0) {
                let retry_in = (price <= rate.capacity()).then_some(wait);
                return Err(Refused { level: rate.level(missing), retry_in });
            }
            if cost == 0 {
                return Ok(Taken::at_once(key, rate.level(missing)));
            }
            *bucket = Some(rate.full_in(after, now));
            Ok(Taken { turn: Turn::after(wait), ..Taken::at_once(key, rate.level(after)) })
        })
    }

    /// Gives back what was taken for a request that did not pass after all.
    pub(super) fn give_back(&self, rate: &Rate, key: Key, cost: u64, now: Instant) {
        let now = self.keys.nanos(now);
        self.keys.update(key, now, |bucket| {
            if bucket.is_some() {
                let missing = self.missing(rate, bucket.as_ref(), now);
                let after = missing.saturating_sub(Units::from(cost) * rate.per());
                *bucket = (after > 0).then(|| rate.full_in(after, now));
            }
        });
    }

    /// Takes nothing.
    pub(super) fn level(&self, rate: &Rate, key: Key, now: Instant) -> Level {
        let now = self.keys.nanos(now);
        rate.level(self.keys.read(key, |bucket| self.missing(rate, bucket, now)))
    }

    fn rates(&self) -> MutexGuard<'_, Vec<TokenBucket>> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn missing(&self, rate: &Rate, bucket: Option<&Bucket>, now: u64) -> Units {
        let Some(bucket) = bucket else { return 0 };
        if bucket.rate == rate.number {
            return rate.missing(bucket, now);
        }
        let rates = self.rates();
        // Invariant: numbers are given by `rate`.
        let Some(said) = rates.get(bucket.rate as usize) else { return 0 };
        let old = Rate { said: said.clone(), number: bucket.rate };
        let missing = old.missing(bucket, now);
        let part = (missing % old.per() * rate.per()).div_ceil(old.per());
        rate.capacity().min(missing / old.per() * rate.per() + part)
    }
}

impl Rate {
    /// Units that one request takes.
    fn per(&self) -> Units {
        Units::from(self.said.per_ms) * 1_000_000
    }

    fn capacity(&self) -> Units {
        Units::from(self.said.burst) * self.per()
    }

    fn requests(&self) -> Units {
        Units::from(self.said.requests)
    }

    fn missing(&self, bucket: &Bucket, now: u64) -> Units {
        let full_at = Units::from(bucket.nanos()) * self.requests() + Units::from(bucket.fraction);
        full_at.saturating_sub(Units::from(now) * self.requests())
    }

    fn full_in(&self, missing: Units, now: u64) -> Bucket {
        let full_at = Units::from(now) * self.requests() + missing;
        let nanos = u64::try_from(full_at / self.requests()).unwrap_or(u64::MAX);
        // Truncation is what is wanted; a fraction is less than `requests`.
        let fraction = (full_at % self.requests()) as u32;
        Bucket { nanos: [(nanos >> 32) as u32, nanos as u32], fraction, rate: self.number }
    }

    fn level(&self, missing: Units) -> Level {
        let left = self.capacity().saturating_sub(missing) / self.per();
        let next = missing + (left + 1) * self.per();
        let more_in = if missing == 0 { Duration::ZERO } else { self.time(next - self.capacity()) };
        // More than 64 bits of requests are not told apart.
        Level { remaining: u64::try_from(left).unwrap_or(u64::MAX), more_in: Some(more_in), term: None }
    }

    /// Rounded up, so that who waits so long finds what was promised.
    fn time(&self, units: Units) -> Duration {
        Duration::from_nanos(u64::try_from(units.div_ceil(self.requests())).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests;
