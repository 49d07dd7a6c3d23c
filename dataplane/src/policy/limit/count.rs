//! What a limit counts: one type for all kinds, so that the rest of the gateway need not know them.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use ravelin_snapshot::{PolicyKey, rate_limit};

use super::{
    adaptive::Adaptive,
    bucket::{Buckets, Rate},
    gate::{Entry, Gates, Queued, Seat},
    keys::{Key, Keys},
    ledger::{Ledger, Title},
    line::{self, Place},
    quota::{self, Book, Quota},
    shared::{self, Question, Shared, Sharing},
    sketch::Sketch,
    window::{Span, Window},
};

/// What a count has to say after it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    /// Whole requests that pass now.
    pub(super) remaining: u64,
    /// Until one more passes, if time brings it; nothing if all pass.
    pub(super) more_in: Option<Duration>,
    /// How long the present term is, if there are terms.
    pub(super) term: Option<Duration>,
}

/// How long a request waits, and with which weight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) time: Duration,
    /// `None`: the policy has no priority, and all weigh 1.
    pub(super) weight: Option<u64>,
}

impl Patience {
    pub(super) const NONE: Self = Self { time: Duration::ZERO, weight: None };

    fn is_weighed(self) -> bool {
        self.weight.is_some() && !self.time.is_zero()
    }
}

/// A moment, by the clock that only goes forward and by that of the wall.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: Instant,
    pub(super) clock: SystemTime,
}

/// The cost does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) level: Level,
    /// Until the cost would pass if nobody else came; `None`: nobody can say, or it is more than ever passes.
    pub(super) retry_in: Option<Duration>,
}

/// The cost is taken.
pub(super) struct Taken {
    pub(super) key: Key,
    pub(super) level: Level,
    pub(super) turn: Turn,
    /// Where it was noted, for who gives it back.
    pub(super) mark: u64,
}

/// When a request may go on.
pub(super) enum Turn {
    Now,
    /// After this time.
    After(Duration),
    /// Now; the seat is held to the end of the answer.
    Seated(Hold),
    /// When it gets a seat.
    Queued(Queued),
    /// When those before it have had their turn, and there is enough.
    InLine(Place),
    /// When the store has admitted it.
    Asks(Box<Question>),
}

/// A seat, of this replica alone or of all.
pub(crate) enum Hold {
    Here(Seat),
    Shared(#[allow(dead_code, reason = "it is held, and given back when it is dropped")] shared::Seat),
}

impl Taken {
    pub(super) fn at_once(key: Key, level: Level) -> Self {
        Self { key, level, turn: Turn::Now, mark: 0 }
    }
}

impl Turn {
    pub(super) fn after(wait: Duration) -> Self {
        if wait.is_zero() { Self::Now } else { Self::After(wait) }
    }

    #[cfg(test)]
    pub(super) fn wait(&self) -> Duration {
        if let Self::After(wait) = self { *wait } else { Duration::ZERO }
    }
}

/// A limit's rule with what is remembered of its keys; the latter moves to the next table.
#[derive(Clone)]
pub(super) enum Count {
    /// And who waits, if there are weights.
    Bucket(Rate, Arc<Buckets>, Arc<Gates>),
    Window(Span, Arc<Keys<Window>>, Arc<Gates>),
    /// So many seats.
    Gate(u64, Arc<Gates>),
    Quota(Quota, Arc<Book>),
    Sketch(Arc<Sketch>),
    Adaptive(Arc<Adaptive>),
    /// Counted in the store that all replicas share.
    Shared(Arc<Shared>),
}

/// Whose count it is, and where those are that outlive it.
#[derive(Clone, Copy)]
pub(super) struct Owner<'a> {
    pub(super) policy: &'a PolicyKey,
    pub(super) ledger: &'a Arc<Ledger>,
    /// The limits of plans are others than the policy's own of the same names.
    pub(super) of_plan: bool,
    pub(super) sharing: Option<Sharing<'a>>,
}

impl Count {
    /// Nothing has been counted yet, but what the ledger, or the store, has.
    pub(super) fn new(said: &rate_limit::Limit, owner: Owner<'_>, start: Instant) -> Result<Self, String> {
        match owner.sharing {
            Some(sharing) => {
                let shared = Shared::new(owner.policy, said, owner.of_plan, sharing, start)?;
                Ok(Self::Shared(Arc::new(shared)))
            }
            None => Self::alone(said, owner.policy, owner.ledger, start),
        }
    }

    /// It is counted in this process.
    pub(super) fn alone(
        said: &rate_limit::Limit,
        policy: &PolicyKey,
        ledger: &Arc<Ledger>,
        start: Instant,
    ) -> Result<Self, String> {
        Ok(match &said.count {
            rate_limit::Count::TokenBucket(said) => {
                positive([said.requests.into(), said.burst.into(), said.per_ms])?;
                let buckets = Arc::new(Buckets::new(start));
                Self::Bucket(buckets.rate(said), buckets, Arc::new(Gates::new()))
            }
            rate_limit::Count::SlidingWindow(said) => {
                positive([said.requests.into(), said.per_ms])?;
                Self::Window(Span::new(said), Arc::new(Keys::new(start)), Arc::new(Gates::new()))
            }
            rate_limit::Count::Concurrency(max) => {
                positive([(*max).into()])?;
                Self::Gate((*max).into(), Arc::new(Gates::new()))
            }
            rate_limit::Count::Quota(quota) => {
                positive([quota.requests])?;
                let title = Title::new(policy, &said.name, quota);
                Self::Quota(Quota::new(quota)?, ledger.book(title))
            }
            rate_limit::Count::Approximate { window, sketch } => {
                positive([window.requests.into(), window.per_ms])?;
                let sketch = Sketch::new(window, sketch, start).ok_or("a sketch of nothing")?;
                Self::Sketch(Arc::new(sketch))
            }
            rate_limit::Count::Adaptive(said) => {
                positive([said.min.min(said.max).into(), said.target_ms])?;
                if said.min > said.max {
                    return Err("min is more than max".to_owned());
                }
                Self::Adaptive(Arc::new(Adaptive::new(said, start)))
            }
        })
    }

    /// Another rule that goes on from what this one has counted; `None`: it is of another kind.
    pub(super) fn go_on(&self, said: &rate_limit::Count) -> Option<Self> {
        match (self, said) {
            (Self::Bucket(_, buckets, line), rate_limit::Count::TokenBucket(said)) => {
                Some(Self::Bucket(buckets.rate(said), Arc::clone(buckets), Arc::clone(line)))
            }
            (Self::Window(_, keys, line), rate_limit::Count::SlidingWindow(said)) => {
                Some(Self::Window(Span::new(said), Arc::clone(keys), Arc::clone(line)))
            }
            (Self::Gate(_, gates), rate_limit::Count::Concurrency(max)) => {
                Some(Self::Gate((*max).into(), Arc::clone(gates)))
            }
            // A quota's book is found by its title, and what is shared is found in the store; a sketch has one shape; what latency
            // allows is learned anew.
            (
                Self::Bucket(..)
                | Self::Window(..)
                | Self::Gate(..)
                | Self::Quota(..)
                | Self::Sketch(..)
                | Self::Adaptive(..)
                | Self::Shared(..),
                _,
            ) => None,
        }
    }

    /// And the text that is to be kept with what is counted.
    pub(super) fn key(&self, text: &str) -> (Key, Option<String>) {
        let key = match self {
            Self::Bucket(_, buckets, _) => buckets.keys.key(text),
            Self::Window(_, keys, _) => keys.key(text),
            Self::Gate(_, gates) => gates.hashes.key(text),
            Self::Sketch(sketch) => sketch.hashes.key(text),
            Self::Adaptive(adaptive) => adaptive.gates.hashes.key(text),
            Self::Quota(_, book) => {
                let text = quota::shown(text);
                return (book.accounts.key(&text), Some(text.into_owned()));
            }
            Self::Shared(shared) => {
                let text = quota::shown(text);
                return (shared.key(&text), Some(text.into_owned()));
            }
        };
        (key, None)
    }

    /// Takes `cost`, all of it or nothing; if it does not pass now, then within `patience`.
    pub(super) fn take(
        &self,
        (key, text): (Key, Option<&str>),
        cost: u64,
        at: Moment,
        patience: Patience,
    ) -> Result<Taken, Refused> {
        match self {
            Self::Bucket(_, _, line) | Self::Window(_, _, line) if patience.is_weighed() => {
                line::take(self, line, key, cost, at, patience)
            }
            Self::Bucket(rate, buckets, _) => buckets.take(rate, key, cost, at.now, patience.time),
            Self::Window(span, keys, _) => span.take(keys, key, cost, at.now, patience.time),
            Self::Quota(quota, book) => quota.take(book, key, text.unwrap_or_default(), cost, at.clock),
            Self::Sketch(sketch) => sketch.take(key, cost, at.now),
            Self::Shared(shared) => shared.take((key, text.unwrap_or_default()), cost, at, patience),
            Self::Adaptive(adaptive) if cost > 0 => {
                let level = adaptive.level(key);
                let seat = adaptive.enter(key, cost, at.now).ok_or(Refused { level, retry_in: None })?;
                Ok(Taken { turn: Turn::Seated(Hold::Here(seat)), ..Taken::at_once(key, adaptive.level(key)) })
            }
            Self::Adaptive(_) => Ok(Taken::at_once(key, self.level(key, at))),
            Self::Gate(_, _) if cost == 0 => Ok(Taken::at_once(key, self.level(key, at))),
            Self::Gate(max, gates) => {
                let turn = match gates.enter(
                    key,
                    cost,
                    *max,
                    (!patience.time.is_zero()).then(|| patience.weight.unwrap_or(1)),
                ) {
                    Some(Entry::Seated(seat)) => Turn::Seated(Hold::Here(seat)),
                    Some(Entry::Queued(queued)) => Turn::Queued(queued),
                    None => return Err(Refused { level: self.level(key, at), retry_in: None }),
                };
                Ok(Taken { turn, ..Taken::at_once(key, self.level(key, at)) })
            }
        }
    }

    /// Undoes a `take` of `cost`.
    pub(super) fn give_back(&self, taken: &Taken, cost: u64, at: Moment) {
        match self {
            Self::Bucket(rate, buckets, _) => buckets.give_back(rate, taken.key, cost, at.now),
            Self::Window(span, keys, _) => span.give_back(keys, taken.key, cost, taken.mark, at.now),
            Self::Quota(_, book) => Quota::give_back(book, taken.key, cost, taken.mark, at.clock),
            Self::Sketch(sketch) => sketch.give_back(taken.key, cost, taken.mark),
            Self::Shared(shared) => shared.give_back(taken, cost, at),
            Self::Gate(..) | Self::Adaptive(_) => {} // the seat, or the place in the queue, goes with the turn
        }
    }

    /// Takes nothing.
    pub(super) fn level(&self, key: Key, at: Moment) -> Level {
        match self {
            Self::Bucket(rate, buckets, _) => buckets.level(rate, key, at.now),
            Self::Window(span, keys, _) => span.level(keys, key, at.now),
            Self::Quota(quota, book) => quota.level(book, key, at.clock),
            Self::Sketch(sketch) => sketch.level(key, at.now),
            Self::Adaptive(adaptive) => adaptive.level(key),
            Self::Shared(shared) => shared.level(key, at),
            Self::Gate(max, gates) => Level { remaining: gates.free(key, *max), more_in: None, term: None },
        }
    }

    /// Whether those who wait have weights.
    pub(super) fn weighs(&self) -> bool {
        match self {
            Self::Gate(..) | Self::Bucket(..) | Self::Window(..) => true,
            Self::Shared(shared) => shared.is_of_seats(),
            Self::Quota(..) | Self::Sketch(_) | Self::Adaptive(_) => false,
        }
    }

    /// How many keys are remembered, and how many had to be forgotten before their time.
    pub(super) fn keys(&self) -> (usize, u64) {
        match self {
            Self::Bucket(_, buckets, _) => (buckets.keys.count(), buckets.keys.evicted.get()),
            Self::Window(_, keys, _) => (keys.count(), keys.evicted.get()),
            Self::Gate(_, gates) => (gates.count(), 0),
            Self::Quota(_, book) => (book.accounts.count(), book.accounts.evicted.get()),
            Self::Sketch(_) => (0, 0), // it remembers none
            Self::Adaptive(adaptive) => (adaptive.bounds.count(), adaptive.bounds.evicted.get()),
            Self::Shared(shared) => shared.keys(),
        }
    }

    /// Bytes that what is remembered of keys takes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Bucket(_, buckets, _) => buckets.keys.bytes(),
            Self::Window(_, keys, _) => keys.bytes(),
            Self::Quota(_, book) => book.accounts.bytes(),
            Self::Sketch(sketch) => sketch.bytes(),
            Self::Adaptive(adaptive) => adaptive.bounds.bytes(),
            Self::Shared(shared) => shared.bytes(),
            Self::Gate(..) => 0, // there is nothing but what is under way
        }
    }
}

/// The compiler lets no other pass.
fn positive<const N: usize>(numbers: [u64; N]) -> Result<(), String> {
    if numbers.contains(&0) { Err("a limit of nothing".to_owned()) } else { Ok(()) }
}
