//! How much: token buckets, per key.

mod buckets;

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue};
pub use ravelin_snapshot::rate_limit::Phase;
use ravelin_snapshot::{PolicyKey, auth::Mode, expression::Expression, rate_limit};

use crate::{
    expression::{Program, Scope},
    metrics::Counter,
    reject::{Detail, Reason, Reject},
};
use buckets::{Buckets, Level, Refused};

/// A RateLimitPolicy and its buckets. Shared by all workers.
pub struct RateLimitPolicy {
    pub key: PolicyKey,
    pub mode: Mode,
    pub limits: Vec<Limit>,
}

/// What a limit says of a request before anything is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    pub key: String,
    pub cost: u64,
    /// Requests that pass now.
    pub remaining: u64,
}

/// One limit and what lives of it.
pub struct Limit {
    said: rate_limit::Limit,
    key: Option<Program>,
    when: Option<Program>,
    cost: Option<Program>,
    buckets: Arc<Buckets>,
    /// Requests that it refused, or would have refused in `Shadow`.
    pub refused: Arc<Counter>,
}

/// The token of a request that all limits of a phase admitted, with what the answer tells about the tightest.
#[derive(Clone, Copy, Debug, Default)]
pub struct Permit<'t> {
    tightest: Option<(&'t rate_limit::Limit, Level)>,
}

impl RateLimitPolicy {
    /// Limits whose configuration equals `before`'s keep their buckets; counts go on by name. The error is for a refusal
    /// of the snapshot.
    pub fn compile(key: &PolicyKey, said: &rate_limit::RateLimitPolicy, before: Option<&Self>) -> Result<Self, String> {
        let limits = said.limits.iter().map(|said| {
            let old = before.and_then(|before| before.limits.iter().find(|old| old.said.name == said.name));
            Limit::compile(said, old).map_err(|why| format!("limit {}: {why}", said.name))
        });
        Ok(Self { key: key.clone(), mode: said.mode, limits: limits.collect::<Result<_, _>>()? })
    }
}

impl Limit {
    pub fn name(&self) -> &str {
        &self.said.name
    }

    pub fn phase(&self) -> Phase {
        self.said.phase
    }

    /// For `explain`: takes nothing. `None`: the limit is not for this request.
    pub fn preview(&self, scope: &Scope<'_>, now: Instant) -> Option<Preview> {
        let (key, cost) = self.demand(scope)?;
        let remaining = match self.buckets.take(&key, 0, now) {
            Ok(level) => level.remaining,
            Err(refused) => refused.level.remaining,
        };
        Some(Preview { key: key.into_owned(), cost, remaining })
    }

    fn compile(said: &rate_limit::Limit, before: Option<&Self>) -> Result<Self, String> {
        let program = |said: &Option<Expression>| {
            said.as_ref().map(Program::compile).transpose().map_err(|error| error.to_string())
        };
        let same = before.filter(|old| old.said == *said);
        Ok(Self {
            key: program(&said.key)?,
            when: program(&said.when)?,
            cost: program(&said.cost)?,
            buckets: same
                .map_or_else(|| Arc::new(Buckets::new(&said.bucket, Instant::now())), |old| Arc::clone(&old.buckets)),
            refused: before.map(|old| Arc::clone(&old.refused)).unwrap_or_default(),
            said: said.clone(),
        })
    }

    /// Which bucket, and how much of it; `None`: the limit is not for this request. API.md says what errors mean.
    fn demand<'s>(&'s self, scope: &Scope<'s>) -> Option<(Cow<'s, str>, u64)> {
        if self.when.as_ref().is_some_and(|when| !when.eval_bool(scope).unwrap_or(false)) {
            return None;
        }
        let key = self.key.as_ref().map_or(Ok(Cow::Borrowed("")), |key| key.eval_string(scope));
        let cost = self.cost.as_ref().map_or(Ok(1), |cost| cost.eval_int(scope));
        Some((key.unwrap_or_default(), u64::try_from(cost.unwrap_or(1)).unwrap_or(0)))
    }
}

/// All limits of these policies in `phase` admit, or nothing is taken. Those in `Shadow` count by themselves.
pub fn admit<'t>(
    policies: impl Iterator<Item = &'t RateLimitPolicy>,
    phase: Phase,
    scope: &Scope<'_>,
    now: Instant,
) -> Result<Permit<'t>, Reject> {
    let mut permit = Permit::default();
    let mut taken: Vec<(&Limit, Cow<'_, str>, u64)> = Vec::new();
    let limits = policies.flat_map(|policy| policy.limits.iter().map(move |limit| (policy.mode, limit)));
    for (mode, limit) in limits.filter(|(_, limit)| limit.said.phase == phase) {
        let Some((key, cost)) = limit.demand(scope) else { continue };
        match (limit.buckets.take(&key, cost, now), mode) {
            (Ok(level), Mode::Enforce) => {
                permit.note(&limit.said, level);
                taken.push((limit, key, cost));
            }
            (Ok(_), Mode::Shadow) => {}
            (Err(_), Mode::Shadow) => limit.refused.add(1),
            (Err(refused), Mode::Enforce) => {
                limit.refused.add(1);
                for (limit, key, cost) in taken {
                    limit.buckets.give_back(&key, cost, now);
                }
                return Err(refuse(&limit.said, refused));
            }
        }
    }
    Ok(permit)
}

impl<'t> Permit<'t> {
    fn note(&mut self, limit: &'t rate_limit::Limit, level: Level) {
        let tighter = |(_, known): &(_, Level)| {
            (level.remaining, std::cmp::Reverse(level.more_in)) < (known.remaining, std::cmp::Reverse(known.more_in))
        };
        if self.tightest.as_ref().is_none_or(tighter) {
            self.tightest = Some((limit, level));
        }
    }

    /// Of two phases of one request.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        if let Some((limit, level)) = other.tightest {
            self.note(limit, level);
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

/// `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers), as structured fields.
fn fields(limit: &rate_limit::Limit, level: Level) -> [(&'static str, String); 2] {
    let window = seconds(Duration::from_millis(limit.bucket.per_ms));
    let policy = format!("\"{}\";q={};w={window}", limit.name, limit.bucket.requests);
    let now = format!("\"{}\";r={};t={}", limit.name, level.remaining, seconds(level.more_in));
    [("ratelimit-policy", policy), ("ratelimit", now)]
}

fn refuse(limit: &rate_limit::Limit, refused: Refused) -> Reject {
    let detail = Detail {
        limit: Some(limit.name.clone()),
        retry_after: refused.retry_in.map(|wait| seconds(wait).max(1)),
        headers: fields(limit, refused.level).into(),
        ..Detail::default()
    };
    Reject { reason: Reason::RateLimited, detail: Some(Box::new(detail)) }
}

/// Rounded up: who waits as told is admitted.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
