//! What becomes of a request that its limits admit: a wait for its turn, seats that it holds, and what the answer tells.

use std::{cmp::Reverse, rc::Rc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use ravelin_snapshot::rate_limit::{self, Count};

use super::{
    Limit,
    admit::{Attempt, Denied, Refusal},
    count::{Hold, Level},
};
use crate::{
    reject::{Detail, Reason, Reject},
    upstream::Tunnel,
};

// draft-ietf-httpapi-ratelimit-headers; both are structured fields.
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The token of a request that all limits of a phase admitted, with what the answer tells about the tightest.
#[derive(Default)]
pub struct Permit<'t> {
    tightest: Option<(&'t Limit, Level)>,
    seats: Vec<Hold>,
    /// It is not its turn yet, or the store is to be asked.
    waiting: Option<Box<Waiting<'t>>>,
}

struct Waiting<'t> {
    attempt: Attempt<'t>,
    /// Of those in `Shadow` that would ask the store, each by itself.
    shadows: Vec<Attempt<'t>>,
}

/// What a request holds until its answer has ended, and its tunnel if it becomes one.
#[derive(Clone, Default)]
pub struct Seats(Option<Rc<Vec<Hold>>>);

impl Seats {
    /// The backend took so long to answer, or to fail.
    pub fn answered(&self, took: Duration) {
        for hold in self.0.iter().flat_map(|seats| seats.iter()) {
            if let Hold::Here(seat) = hold {
                seat.answered(took);
            }
        }
    }

    /// Until the tunnel has ended, too.
    pub fn held_by(&self, tunnel: Tunnel) -> Tunnel {
        let Some(seats) = self.0.clone() else { return tunnel };
        Box::pin(async move {
            tunnel.await;
            drop(seats);
        })
    }
}

impl<'t> Permit<'t> {
    /// Nobody waits for the turns of those in `Shadow`, but their limits are counted.
    pub(super) fn new(attempt: Attempt<'t>, shadows: Vec<Attempt<'t>>) -> Self {
        let mut permit = Self::default();
        permit.tell_of(&attempt);
        let mut asking = Vec::new();
        for shadow in shadows {
            if shadow.asks() { asking.push(shadow) } else { shadow.keep(&mut permit.seats) }
        }
        if attempt.waits() || !asking.is_empty() {
            permit.waiting = Some(Box::new(Waiting { attempt, shadows: asking }));
        } else {
            attempt.keep(&mut permit.seats);
        }
        permit
    }

    fn tell_of(&mut self, attempt: &Attempt<'t>) {
        for (limit, level) in attempt.levels() {
            self.tighten(limit, level);
        }
    }

    fn tighten(&mut self, limit: &'t Limit, level: Level) {
        let rank = |level: &Level| (level.remaining, Reverse(level.more_in));
        if self.tightest.as_ref().is_none_or(|(_, known)| rank(&level) < rank(known)) {
            self.tightest = Some((limit, level));
        }
    }

    pub fn waits(&self) -> bool {
        self.waiting.is_some()
    }

    /// Returns when it is the request's turn. Who is not waited for any longer has given everything back.
    pub async fn wait(mut self) -> Result<Self, Reject> {
        if let Some(waiting) = self.waiting.take() {
            let Waiting { mut attempt, shadows } = *waiting;
            // On the heap, for few wait and every request's state would have to hold it.
            let kept = Box::pin(attempt.wait(shadows)).await.map_err(|denied| match denied {
                Denied::Limit(refusal) => refuse(refusal),
                Denied::Unavailable(limit) => unavailable(limit),
            })?;
            self.tell_of(&attempt);
            attempt.keep(&mut self.seats);
            self.seats.extend(kept);
        }
        Ok(self)
    }

    /// Of two phases of one request.
    #[must_use]
    pub fn and(mut self, mut other: Self) -> Self {
        if let Some((limit, level)) = other.tightest {
            self.tighten(limit, level);
        }
        self.seats.append(&mut other.seats);
        self
    }

    /// What is to be held as long as the request is under way.
    pub fn seats(&mut self) -> Seats {
        let seats = std::mem::take(&mut self.seats);
        Seats((!seats.is_empty()).then(|| Rc::new(seats)))
    }

    /// Puts what is known about the tightest limit on an answer.
    pub fn tell(&self, answer: &mut HeaderMap) {
        let Some((limit, level)) = &self.tightest else { return };
        let policy = || HeaderValue::try_from(policy_text(&limit.said, *level)).ok();
        // Invariant: names of limits are of letters, digits and `-_.`; without the compiler's check it is left out.
        if let Some(value) = limit.policy_field.clone().or_else(policy) {
            answer.insert(RATELIMIT_POLICY, value);
        }
        if let Ok(mut value) = HeaderValue::try_from(level_text(&limit.said, *level)) {
            value.set_sensitive(true); // hardly ever the same again: not for the tables of HTTP/2
            answer.insert(RATELIMIT, value);
        }
    }
}

/// The answer to a request that a limit refuses.
pub(super) fn refuse((limit, refused): Refusal<'_>) -> Reject {
    let detail = Detail {
        limit: Some(limit.said.name.clone()),
        retry_after: refused.retry_in.map(|wait| seconds(wait).max(1)),
        headers: fields(&limit.said, refused.level).into(),
        ..Detail::default()
    };
    Reject { reason: reason(limit), detail: Some(Box::new(detail)) }
}

/// The answer to a request that a limit would have to admit which cannot be asked.
fn unavailable(limit: &Limit) -> Reject {
    let detail = Detail { limit: Some(limit.said.name.clone()), retry_after: Some(1), ..Detail::default() };
    Reject { reason: Reason::LimitUnavailable, detail: Some(Box::new(detail)) }
}

/// Why it refuses.
pub(super) fn reason(limit: &Limit) -> Reason {
    match limit.said.count {
        Count::Quota(_) => Reason::QuotaExceeded,
        Count::TokenBucket(_)
        | Count::SlidingWindow(_)
        | Count::Concurrency(_)
        | Count::Approximate { .. }
        | Count::Adaptive(_) => Reason::RateLimited,
    }
}

fn fields(limit: &rate_limit::Limit, level: Level) -> [(&'static str, String); 2] {
    [("ratelimit-policy", policy_text(limit, level)), ("ratelimit", level_text(limit, level))]
}

/// `RateLimit-Policy`, written once; `None`: it depends on the time.
pub(super) fn policy_field(limit: &rate_limit::Limit) -> Option<HeaderValue> {
    if let Count::Quota(_) = limit.count {
        return None;
    }
    HeaderValue::try_from(policy_text(limit, Level { remaining: 0, more_in: None, term: None })).ok()
}

fn policy_text(limit: &rate_limit::Limit, level: Level) -> String {
    let rate = |requests, per_ms| format!(";q={requests};w={}", seconds(Duration::from_millis(per_ms)));
    let policy = match &limit.count {
        Count::TokenBucket(said) => rate(said.requests, said.per_ms),
        Count::SlidingWindow(said) | Count::Approximate { window: said, .. } => rate(said.requests, said.per_ms),
        Count::Concurrency(max) => format!(";q={max};qu=\"concurrent-requests\""),
        Count::Adaptive(said) => format!(";q={};qu=\"concurrent-requests\"", said.max),
        Count::Quota(said) => format!(";q={};w={}", said.requests, level.term.map_or(0, seconds)),
    };
    format!("\"{}\"{policy}", limit.name)
}

/// Each admitted request has this one: formatting would take several times as long.
fn level_text(limit: &rate_limit::Limit, level: Level) -> String {
    let mut text = String::with_capacity(limit.name.len() + 56); // two numbers of 20 digits, and what stands around
    let mut number = itoa::Buffer::new();
    for part in ["\"", &limit.name, "\";r=", number.format(level.remaining)] {
        text.push_str(part);
    }
    if let Some(time) = level.more_in {
        text.push_str(";t=");
        text.push_str(number.format(seconds(time)));
    }
    text
}

/// Rounded up: who waits as told is admitted.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
