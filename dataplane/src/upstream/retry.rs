//! When a request is sent again.
//!
//! A request that may be sent again after it was written is copied before it is sent: its head, and as much of its body as is
//! kept ([`Upload`]). A rule without `retry` has nothing of this.

mod budget;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use chrono::DateTime;
use http::{HeaderMap, Method, Request, Response, StatusCode, header::RETRY_AFTER};
use hyper::upgrade::OnUpgrade;
use ravelin_snapshot::{
    backend::RetryBudget,
    route::{self, RetryOn},
};

use super::{Call, Cause, Failure, Pools, Upload, UpstreamBody, once};
use budget::Window;

/// No wait is longer, whatever has been doubled; nor is a `Retry-After` waited for that is.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Of a rule.
#[derive(Debug)]
pub struct Retry {
    /// Beyond the first.
    attempts: u32,
    backoff: Duration,
    codes: Vec<StatusCode>,
    on: Vec<RetryOn>,
    methods: Vec<Method>,
}

/// Of a backend, on all workers: how many requests are sent again.
#[derive(Debug)]
pub struct Retries {
    said: RetryBudget,
    begun: Instant,
    window: Mutex<Window>,
    sent: AtomicU64,
    refused: AtomicU64,
}

impl Retry {
    pub fn compile(said: &route::Retry) -> Result<Self, String> {
        let route::Retry { attempts, backoff_ms, codes, on, methods } = said;
        let codes = codes.iter().map(|code| StatusCode::from_u16(*code).map_err(|_| format!("{code} is no status")));
        let methods = methods.iter().map(|method| method.parse().map_err(|_| format!("{method:?} is no method")));
        Ok(Self {
            attempts: *attempts,
            backoff: Duration::from_millis(*backoff_ms),
            codes: codes.collect::<Result<_, _>>()?,
            on: on.clone(),
            methods: methods.collect::<Result<_, String>>()?,
        })
    }

    /// Full jitter: anything from nothing to what has been doubled for every attempt before (`number` from 0).
    fn wait(&self, number: u32, random: u64) -> Duration {
        let longest = self.backoff.saturating_mul(1 << number.min(16)).min(MAX_WAIT);
        // 53 bits are all that a fraction has.
        longest.mul_f64((random >> 11) as f64 / (1_u64 << 53) as f64)
    }

    fn is_on(&self, cause: Cause) -> bool {
        match cause {
            Cause::Unreached => self.on.contains(&RetryOn::ConnectFailure),
            Cause::Reset { .. } => self.on.contains(&RetryOn::Reset),
            Cause::Timeout => self.on.contains(&RetryOn::Timeout),
            Cause::Late | Cause::Garbage | Cause::Other => false,
        }
    }
}

impl Retries {
    pub(super) fn new(said: &RetryBudget, before: Option<&Arc<Self>>, now: Instant) -> Arc<Self> {
        if let Some(before) = before.filter(|before| before.said == *said) {
            return Arc::clone(before);
        }
        let (window, sent, refused) = Default::default();
        Arc::new(Self { said: said.clone(), begun: now, window, sent, refused })
    }

    /// Requests that were sent again.
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Those that the budget did not allow.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    fn request(&self, now: Instant) {
        let second = now.saturating_duration_since(self.begun).as_secs();
        self.window.lock().unwrap_or_else(PoisonError::into_inner).request(second);
    }

    fn take(&self, now: Instant) -> bool {
        let second = now.saturating_duration_since(self.begun).as_secs();
        let taken = self.window.lock().unwrap_or_else(PoisonError::into_inner).take(&self.said, second);
        if taken { &self.sent } else { &self.refused }.fetch_add(1, Relaxed);
        taken
    }
}

/// Sends the request, and again as long as the rule, the backend's budget and the deadline allow.
pub(super) async fn send(
    pools: &Pools,
    call: &Call<'_>,
    retry: &Retry,
    mut request: Box<Request<Upload>>,
    upgrade: Option<&OnUpgrade>,
) -> Result<Response<Box<UpstreamBody>>, Failure> {
    call.backend.retries.request(Instant::now());
    let body = request.body().share();
    body.hold();
    let repeatable = retry.methods.contains(request.method());
    let mut tried = Vec::new();
    let mut number = 0;
    let outcome = loop {
        let last = number == retry.attempts;
        let copy = (repeatable && !last).then(|| copy(&request));
        let mut outcome = once(pools, call, request, upgrade, &mut tried).await;
        if last {
            break outcome;
        }
        let Some(ready) = ready(retry, &mut outcome, copy) else { break outcome };
        let wait = retry.wait(number, pools.random()).max(ready.after);
        if !fits(wait, call.deadline) || !call.backend.retries.take(Instant::now()) {
            if let Err(failure) = &mut outcome
                && ready.unwritten
            {
                failure.request = Some(ready.request);
            }
            break outcome;
        }
        drop(outcome); // an answer that nobody gets closes its connection, unless it is whole
        if !ready.unwritten && !body.rewind() {
            // Invariant: it could be rewound a moment ago, and nobody reads it now.
            return Err(Failure::new(crate::reject::Reason::BackendRefused, None));
        }
        tokio::time::sleep(wait).await;
        request = ready.request;
        number += 1;
    };
    body.release();
    outcome
}

/// What is needed to send it again.
struct Ready {
    request: Box<Request<Upload>>,
    /// Nothing of it was written: its body needs no rewinding.
    unwritten: bool,
    /// The backend asks for so much time.
    after: Duration,
}

/// `None`: it is not to be sent again, or cannot be.
fn ready(
    retry: &Retry,
    outcome: &mut Result<Response<Box<UpstreamBody>>, Failure>,
    copy: Option<Box<Request<Upload>>>,
) -> Option<Ready> {
    let after = match outcome {
        Ok(answer) if retry.codes.contains(&answer.status()) => retry_after(answer.headers(), SystemTime::now()),
        Ok(_) => return None,
        Err(failure) if !retry.is_on(failure.cause) => return None,
        Err(failure) => {
            if matches!(failure.cause, Cause::Unreached | Cause::Reset { written: false }) {
                let request = failure.request.take()?;
                return Some(Ready { request, unwritten: true, after: Duration::ZERO });
            }
            Duration::ZERO
        }
    };
    let request = copy.filter(|copy| copy.body().can_rewind())?;
    Some(Ready { request, unwritten: false, after })
}

/// The same request, with the same body.
fn copy(request: &Request<Upload>) -> Box<Request<Upload>> {
    let mut copy = Request::new(request.body().share());
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    *copy.version_mut() = request.version();
    copy.headers_mut().clone_from(request.headers());
    Box::new(copy)
}

fn fits(wait: Duration, deadline: Option<Instant>) -> bool {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    wait <= MAX_WAIT && left.is_none_or(|left| wait < left)
}

/// Seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Duration {
    let Some(said) = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()) else { return Duration::ZERO };
    if let Ok(seconds) = said.trim().parse() {
        return Duration::from_secs(seconds);
    }
    let date = DateTime::parse_from_rfc2822(said.trim()).map(SystemTime::from);
    date.ok().and_then(|date| date.duration_since(now).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_spread_over_what_is_doubled_and_bounded() {
        let said = route::Retry { attempts: 9, backoff_ms: 100, codes: vec![], on: vec![], methods: vec![] };
        let retry = Retry::compile(&said).unwrap();
        assert_eq!(retry.wait(0, 0), Duration::ZERO);
        for (number, longest) in [(0, 100), (1, 200), (5, 3200), (90, 10_000)] {
            let (half, most) = (retry.wait(number, u64::MAX / 2), retry.wait(number, u64::MAX));
            let millis = |wait: Duration| wait.as_secs_f64() * 1e3;
            assert!((millis(half) - f64::from(longest) / 2.0).abs() < 0.01, "{number}: {half:?}");
            assert!((millis(most) - f64::from(longest)).abs() < 0.01 && millis(most) <= f64::from(longest));
        }
    }

    #[test]
    fn a_backend_says_when_in_seconds_or_as_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (said, seconds) in [
            ("7", 7),
            ("Sun, 06 Nov 1994 08:49:40 GMT", 3),
            ("Sun, 06 Nov 1994 08:49:30 GMT", 0),
            ("soon", 0),
            ("-1", 0),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, said.parse().unwrap())]);
            assert_eq!(retry_after(&headers, now), Duration::from_secs(seconds), "{said}");
        }
    }
}
