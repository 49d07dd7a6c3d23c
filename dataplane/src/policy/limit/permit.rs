//! What an answer tells about the limits of its request.

use std::{cmp::Reverse, time::Duration};

use http::{HeaderMap, HeaderValue};
use ravelin_snapshot::rate_limit::{self, Count};

use super::{
    Limit,
    count::{Level, Refused},
};
use crate::reject::{Detail, Reason, Reject};

/// The token of a request that all limits of a phase admitted, with what the answer tells about the tightest.
#[derive(Clone, Copy, Default)]
pub struct Permit<'t> {
    tightest: Option<(&'t rate_limit::Limit, Level)>,
}

impl<'t> Permit<'t> {
    pub(super) fn note(&mut self, limit: &'t Limit, level: Level) {
        self.tighten(&limit.said, level);
    }

    fn tighten(&mut self, limit: &'t rate_limit::Limit, level: Level) {
        let rank = |level: &Level| (level.remaining, Reverse(level.more_in));
        if self.tightest.as_ref().is_none_or(|(_, known)| rank(&level) < rank(known)) {
            self.tightest = Some((limit, level));
        }
    }

    /// Of two phases of one request.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        if let Some((limit, level)) = other.tightest {
            self.tighten(limit, level);
        }
        self
    }

    /// Puts what is known about the tightest limit on an answer.
    pub fn tell(&self, answer: &mut HeaderMap) {
        if let Some((limit, level)) = &self.tightest {
            for (name, text) in fields(limit, *level) {
                // Invariant: names of limits are of letters, digits and `-_.`; without the compiler's check it is left out.
                if let Ok(value) = HeaderValue::try_from(text) {
                    answer.insert(name, value);
                }
            }
        }
    }
}

/// The answer to a request that a limit refuses.
pub(super) fn refuse(limit: &Limit, refused: Refused) -> Reject {
    let detail = Detail {
        limit: Some(limit.said.name.clone()),
        retry_after: refused.retry_in.map(|wait| seconds(wait).max(1)),
        headers: fields(&limit.said, refused.level).into(),
        ..Detail::default()
    };
    Reject { reason: Reason::RateLimited, detail: Some(Box::new(detail)) }
}

/// `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers), as structured fields.
fn fields(limit: &rate_limit::Limit, level: Level) -> [(&'static str, String); 2] {
    let policy = match &limit.count {
        Count::TokenBucket(said) => rate(said.requests, said.per_ms),
        Count::SlidingWindow(said) => rate(said.requests, said.per_ms),
    };
    let more = level.more_in.map(|time| format!(";t={}", seconds(time))).unwrap_or_default();
    let now = format!("\"{}\";r={}{more}", limit.name, level.remaining);
    [("ratelimit-policy", format!("\"{}\"{policy}", limit.name)), ("ratelimit", now)]
}

fn rate(requests: u32, per_ms: u64) -> String {
    format!(";q={requests};w={}", seconds(Duration::from_millis(per_ms)))
}

/// Rounded up: who waits as told is admitted.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
