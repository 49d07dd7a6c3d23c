//! What a shared limit says, in the script's numbers, and how much of it a replica may lease.

use std::time::{Duration, SystemTime};

use ravelin_snapshot::rate_limit::{Count, Quota, SlidingWindow, TokenBucket};

use super::{
    super::{calendar::Calendar, quota::seconds, window::EXACT},
    seats::LIFE,
};

/// How long a lease lasts, at most.
const LEASE: Duration = Duration::from_millis(100);
/// Requests of a lease, at most.
const MOST: u64 = 10_000;
/// Of limits of fewer requests nothing is leased: who asks while a lease is on its way would notice.
const LEAST: u64 = 100;
/// Numbers of Lua and their integers: 53 bits.
pub(super) const WHOLE: u64 = 1 << 53;

/// A limit, in the script's units.
#[derive(Clone, Debug)]
pub(super) enum Rule {
    /// In each microsecond `refill` units come; a request takes `price`.
    Bucket {
        refill: u64,
        price: u64,
        burst: u64,
    },
    /// Microseconds.
    Window {
        requests: u64,
        per: u64,
        grain: u64,
    },
    Quota {
        requests: u64,
        calendar: Calendar,
    },
    /// Requests at once.
    Seats {
        max: u64,
    },
}

/// The kind of `Rule::Seats`, which is said without a rule, too.
pub(super) const SEATS: &str = "c";

/// What may be leased of a limit at once, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leases {
    /// 0: nothing is leased.
    pub(super) most: u64,
    pub(super) last: Duration,
}

impl Leases {
    pub(super) fn none(self) -> Self {
        Self { most: 0, ..self }
    }
}

impl Rule {
    /// The error is for a refusal of the snapshot.
    pub(super) fn new(said: &Count) -> Result<Self, String> {
        match said {
            Count::TokenBucket(TokenBucket { requests, per_ms, burst }) => {
                let (requests, per) = (u64::from(*requests), micros(*per_ms));
                let common = gcd(requests, per).max(1);
                Ok(Self::Bucket { refill: requests / common, price: per / common, burst: u64::from(*burst) })
            }
            Count::SlidingWindow(SlidingWindow { requests, per_ms }) => {
                let (requests, per) = (u64::from(*requests), micros(*per_ms));
                let grain = if requests <= EXACT { 1 } else { (per / EXACT).max(1) };
                Ok(Self::Window { requests, per, grain })
            }
            Count::Quota(said) => {
                let zone = said.time_zone.parse().map_err(|_| format!("there is no time zone {}", said.time_zone))?;
                Ok(Self::Quota { requests: said.requests, calendar: Calendar::new(said.per, zone) })
            }
            Count::Concurrency(max) => Ok(Self::Seats { max: u64::from(*max) }),
            Count::Approximate { .. } | Count::Adaptive(_) => {
                Err("adaptive and approximate limits are not shared".to_owned())
            }
        }
    }

    /// In the names of keys: counts of different kinds are different counts.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Bucket { .. } => "b",
            Self::Window { .. } => "w",
            Self::Quota { .. } => "q",
            Self::Seats { .. } => SEATS,
        }
    }

    /// A lease keeps back what comes in its life (a bucket), or counts for so much longer (a window): so much of the limit that
    /// it is not noticed. Limits of few requests are asked for each, and so are those for which a request may wait.
    pub(super) fn leases(&self) -> Leases {
        let few = self.requests() < LEAST;
        let leases = match *self {
            Self::Bucket { refill, price, burst } => {
                let quarter = u128::from(burst) * u128::from(price) / u128::from(4 * refill.max(1));
                let last = LEASE.min(Duration::from_micros(u64::try_from(quarter).unwrap_or(u64::MAX)));
                Leases { most: (burst / 4).min(MOST), last }
            }
            Self::Window { requests, per, grain } => {
                let most = if grain == 1 { 0 } else { (requests / 8).min(MOST) };
                Leases { most, last: LEASE.min(Duration::from_micros(per / 256)) }
            }
            Self::Quota { requests, .. } => Leases { most: (requests / 10_000).min(MOST), last: LEASE },
            Self::Seats { .. } => Leases { most: 0, last: Duration::ZERO },
        };
        if few { leases.none() } else { leases }
    }

    /// The script's a, b, c and d.
    pub(super) fn numbers(&self, clock: SystemTime) -> [u64; 4] {
        let last = u64::try_from(self.leases().last.as_micros()).unwrap_or(WHOLE);
        match *self {
            Self::Bucket { refill, price, burst } => [refill, price, burst, last],
            Self::Window { requests, per, grain } => [requests, per, grain, last],
            Self::Quota { requests, calendar } => {
                let term = calendar.term(seconds(clock));
                let [begins, ends, next] =
                    [term.begins, term.ends, calendar.term(term.ends).ends].map(i64::unsigned_abs);
                [requests, begins, ends, next]
            }
            Self::Seats { max } => [max, u64::try_from(LIFE.as_micros()).unwrap_or(WHOLE), 0, 0],
        }
    }

    /// What all may have at once, in a window or in a term.
    pub(super) fn requests(&self) -> u64 {
        match *self {
            Self::Bucket { burst, .. } => burst,
            Self::Window { requests, .. } | Self::Quota { requests, .. } => requests,
            Self::Seats { max } => max,
        }
    }

    /// The length of the present term, if there are terms.
    pub(super) fn term(&self, clock: SystemTime) -> Option<Duration> {
        match self {
            Self::Bucket { .. } | Self::Window { .. } | Self::Seats { .. } => None,
            Self::Quota { calendar, .. } => {
                let term = calendar.term(seconds(clock));
                Some(Duration::from_secs(term.ends.saturating_sub(term.begins).unsigned_abs()))
            }
        }
    }
}

/// What one of `replicas` may have while nobody counts for all: together they have no more than the limit, but for one request
/// each.
pub(super) fn share(said: &Count, replicas: u32) -> Count {
    let replicas = replicas.max(1);
    match said {
        Count::TokenBucket(said) => Count::TokenBucket(TokenBucket {
            per_ms: said.per_ms.saturating_mul(u64::from(replicas)),
            burst: (said.burst / replicas).max(1),
            ..*said
        }),
        Count::SlidingWindow(said) => {
            // Where there is less than one for each, each has one in a longer time.
            let times = replicas.div_ceil(said.requests.max(1)).max(1);
            let (requests, per_ms) = ((said.requests / replicas).max(1), said.per_ms.saturating_mul(u64::from(times)));
            Count::SlidingWindow(SlidingWindow { requests, per_ms })
        }
        Count::Quota(said) => {
            Count::Quota(Quota { requests: (said.requests / u64::from(replicas)).max(1), ..said.clone() })
        }
        Count::Concurrency(max) => Count::Concurrency((max / replicas).max(1)),
        other @ (Count::Approximate { .. } | Count::Adaptive(_)) => other.clone(),
    }
}

fn micros(millis: u64) -> u64 {
    millis.saturating_mul(1_000).min(WHOLE / 4)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
