//! What a limit counts: one type for all kinds, so that the rest of the gateway need not know them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ravelin_snapshot::rate_limit;

use super::{
    bucket::{Buckets, Rate},
    keys::{Key, Keys},
    window::{Span, Window},
};

/// What a count has to say after it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    /// Whole requests that pass now.
    pub(super) remaining: u64,
    /// Until one more passes, if time brings it; nothing if all pass.
    pub(super) more_in: Option<Duration>,
}

/// The cost does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) level: Level,
    /// Until the cost would pass if nobody else came; `None`: nobody can say, or it is more than ever passes.
    pub(super) retry_in: Option<Duration>,
}

/// The cost is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) key: Key,
    pub(super) level: Level,
    /// How long the request is to wait before it goes on.
    pub(super) wait: Duration,
    /// Where it was noted, for who gives it back.
    pub(super) mark: u64,
}

impl Taken {
    pub(super) fn at_once(key: Key, level: Level) -> Self {
        Self { key, level, wait: Duration::ZERO, mark: 0 }
    }
}

/// A limit's rule with what is remembered of its keys; the latter moves to the next table.
#[derive(Clone)]
pub(super) enum Count {
    Bucket(Rate, Arc<Buckets>),
    Window(Span, Arc<Keys<Window>>),
}

impl Count {
    /// Nothing has been counted yet.
    pub(super) fn new(said: &rate_limit::Count, start: Instant) -> Result<Self, String> {
        Ok(match said {
            rate_limit::Count::TokenBucket(said) => {
                positive(said.requests.min(said.burst).into(), said.per_ms)?;
                let buckets = Arc::new(Buckets::new(start));
                Self::Bucket(buckets.rate(said), buckets)
            }
            rate_limit::Count::SlidingWindow(said) => {
                positive(said.requests.into(), said.per_ms)?;
                Self::Window(Span::new(said), Arc::new(Keys::new(start)))
            }
        })
    }

    pub(super) fn key(&self, text: &str) -> Key {
        match self {
            Self::Bucket(_, buckets) => buckets.keys.key(text),
            Self::Window(_, keys) => keys.key(text),
        }
    }

    /// Takes `cost`, all of it or nothing; if it does not pass now, then within `patience`.
    pub(super) fn take(&self, key: Key, cost: u64, now: Instant, patience: Duration) -> Result<Taken, Refused> {
        match self {
            Self::Bucket(rate, buckets) => buckets.take(rate, key, cost, now, patience),
            Self::Window(span, keys) => span.take(keys, key, cost, now, patience),
        }
    }

    /// Undoes a `take` of `cost`.
    pub(super) fn give_back(&self, taken: &Taken, cost: u64, now: Instant) {
        match self {
            Self::Bucket(rate, buckets) => buckets.give_back(rate, taken.key, cost, now),
            Self::Window(span, keys) => span.give_back(keys, taken.key, cost, taken.mark, now),
        }
    }

    /// Takes nothing.
    pub(super) fn level(&self, key: Key, now: Instant) -> Level {
        match self {
            Self::Bucket(rate, buckets) => buckets.level(rate, key, now),
            Self::Window(span, keys) => span.level(keys, key, now),
        }
    }

    /// How many keys are remembered, and how many had to be forgotten before their time.
    pub(super) fn keys(&self) -> (usize, u64) {
        match self {
            Self::Bucket(_, buckets) => (buckets.keys.count(), buckets.keys.evicted.get()),
            Self::Window(_, keys) => (keys.count(), keys.evicted.get()),
        }
    }
}

/// The compiler lets no other pass.
fn positive(requests: u64, per_ms: u64) -> Result<(), String> {
    if requests == 0 || per_ms == 0 { Err("a rate of nothing".to_owned()) } else { Ok(()) }
}
