//! Where requests go: backends, connections, balancing, streams.
//!
//! A connection over HTTP/1.1 is driven inside the task of the request that uses it: it is polled together with the answer
//! and then with the answer's body, and only then is it put back into its worker's pool. A second task is there only for what is
//! left of a request whose answer has begun, and for HTTP/2: a connection has one, for many requests share it.

mod answer;
mod attempt;
pub mod balance;
mod breaker;
pub mod coalesce;
mod endpoint;
mod health;
mod http1;
mod http2;
mod members;
mod mirrored;
mod place;
mod pool;
mod resolve;
mod retry;
mod sending;
mod socket;
mod timer;
mod transport;
mod tunnel;
mod upload;

use std::{
    cell::Cell,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Request, Response, header::UPGRADE};
use hyper::upgrade::OnUpgrade;
use ravelin_snapshot::{
    Part,
    backend::{self, Algorithm, BackendKey, Balancing, Protocol},
};
use tokio::runtime::Handle;

pub(crate) use self::resolve::addresses;
pub use self::{
    answer::{Led, UpstreamBody},
    breaker::{Breaker, State as BreakerState},
    endpoint::{Counts, Endpoint},
    health::{Health, Standing},
    mirrored::Mirrored,
    pool::Pools,
    retry::{Retries, Retry},
    transport::Addresses,
    tunnel::Tunnel,
    upload::Upload,
};
use self::{
    attempt::Attempt,
    health::Asked,
    members::{Membership, Wish},
    place::Overloaded,
    resolve::Source,
    timer::{Expired, Timer},
    transport::Transport,
};
use crate::{access_log::Fields, metrics::Label, reject::Reason, request::Ours};

/// A backend and what lives of it: turns, counts of requests and connections, waiting requests. Shared by all workers; it
/// moves to the next table when its configuration is equal, and endpoint by endpoint otherwise.
pub struct Backend {
    pub key: BackendKey,
    /// What its counts are under, from table to table.
    pub label: Arc<Label>,
    /// In the access log.
    pub(crate) logged: Fields,
    pub said: Part<backend::Backend>,
    pub retries: Arc<Retries>,
    pub breaker: Option<Arc<Breaker>>,
    /// Of copies of requests that it gets.
    pub mirrored: Arc<Mirrored>,
    health: Option<Arc<Health>>,
    membership: Membership,
    /// How its connections begin.
    transport: Arc<Transport>,
}

/// One call of a backend.
pub struct Call<'a> {
    pub backend: &'a Arc<Backend>,
    /// Instead of the backend's own.
    pub balancing: Option<&'a Balancing>,
    /// Of the request's key, for a consistent hash.
    pub hash: Option<u64>,
    /// The endpoint of the client's session; another is chosen if it is not there, or ill.
    pub wanted: Option<SocketAddr>,
    pub retry: Option<&'a Retry>,
    /// Goes with the request's own headers, none of which is one of these, and stays if the call fails.
    pub ours: Option<Ours<'a>>,
    /// When the whole exchange has to be over: `request_timeout`.
    pub deadline: Option<Instant>,
    /// How long one attempt may take until the answer's head: `backend_timeout`.
    pub attempt_timeout: Option<Duration>,
    /// How long the streams may be silent afterwards.
    pub stream_idle: Option<Duration>,
    /// Runs what a 101 leads to: it lives longer than this call.
    pub tunnel: &'a dyn Fn(Tunnel),
    /// For a backend that is told of its clients by PROXY protocol.
    pub client: Option<Addresses>,
    /// Where it is said which endpoint was chosen.
    pub called: Option<&'a Cell<Option<SocketAddr>>>,
}

/// A call that came to nothing.
pub struct Failure {
    pub reason: Reason,
    pub cause: Cause,
    /// The request, if it may be sent to another backend: nothing of it was written, or it is idempotent and has no body.
    pub request: Option<Box<Request<Upload>>>,
}

/// How a call came to nothing, as far as it matters for another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// There was no connection, or none in time: nothing was written.
    Unreached,
    /// It was closed before any byte of an answer.
    Reset { written: bool },
    /// The attempt took too long.
    Timeout,
    /// The request's own time was over before its answer began.
    Late,
    /// What came was no answer.
    Garbage,
    /// Another try would come to the same, or is not ours to make.
    Other,
}

impl Cause {
    fn is_backends_fault(self) -> bool {
        self != Self::Other
    }
}

/// Whether an attempt speaks against its backend; `None`: it came to none.
fn failed(outcome: &Result<Response<Box<UpstreamBody>>, Failure>) -> Option<bool> {
    match outcome {
        Ok(answer) => Some(answer.status().is_server_error()),
        Err(failure) => failure.cause.is_backends_fault().then_some(true),
    }
}

impl Failure {
    pub(crate) fn new(reason: impl Into<Reason>, request: Option<Box<Request<Upload>>>) -> Self {
        Self { reason: reason.into(), cause: Cause::Other, request }
    }

    /// There is no connection to send it over.
    fn unwritten(reason: impl Into<Reason>, request: Box<Request<Upload>>) -> Self {
        let reason = reason.into();
        let cause = match reason {
            Reason::BackendRefused | Reason::BackendTimeout => Cause::Unreached,
            _ => Cause::Other,
        };
        Self { reason, cause, request: Some(request) }
    }
}

impl Backend {
    /// An endpoint that `before` had too is the same: its counts go on, its idle connections stay warm.
    /// Names are resolved in `runtime`; without one nobody is asked for them.
    pub fn new(
        key: &BackendKey,
        said: &Part<backend::Backend>,
        before: Option<&Self>,
        runtime: Option<&Handle>,
    ) -> Self {
        // An endpoint's connections speak its backend's protocol, in its backend's way.
        let way = |said: &backend::Backend| (said.protocol, said.proxy_protocol, said.tls.clone());
        let kept = before.filter(|before| way(&before.said) == way(said));
        let transport = kept.map_or_else(|| Arc::new(Transport::new(said)), |before| Arc::clone(&before.transport));
        let health = said.health.as_ref().map(|health| {
            let before = kept.and_then(|before| before.health.as_ref());
            Health::new(key, health, before, Asked::new(said, &transport), runtime)
        });
        let kept = kept.map(|before| &before.membership);
        let membership = Membership::new(&said.endpoints, &transport, health.as_ref(), kept, Source::System, runtime);
        if let Algorithm::ConsistentHash(_) = said.balancing.algorithm {
            membership.present().keys(); // here it holds up no request
        }
        let label = before.map_or_else(|| Label::new(key), |before| Arc::clone(&before.label));
        let now = Instant::now();
        let retries = Retries::new(&said.retry_budget, before.map(|before| &before.retries), now);
        let breaker = said.breaker.as_ref().map(|said| {
            let before = before.and_then(|before| before.breaker.as_ref());
            Breaker::new(key, said, before, now)
        });
        let mirrored = before.map_or_else(Arc::default, |before| Arc::clone(&before.mirrored));
        let logged = Fields::backend(label.name());
        Self {
            key: key.clone(),
            label,
            logged,
            said: said.clone(),
            retries,
            breaker,
            mirrored,
            health,
            membership,
            transport,
        }
    }

    /// Of one of its endpoints; `None`: nobody looks after it.
    pub fn standing(&self, endpoint: &Endpoint) -> Option<Standing> {
        self.health.as_ref().map(|health| health.standing(endpoint.id))
    }

    /// For `/backends` and metrics.
    pub fn endpoints(&self) -> impl Iterator<Item = Arc<Endpoint>> {
        let endpoints: Vec<_> = self.membership.present().iter().cloned().collect();
        endpoints.into_iter()
    }
}

/// Chooses an endpoint, waits for a place, sends the request and returns the answer's head with its body to come.
///
/// The request is ready to be sent: path, `Host`, headers; hop-by-hop headers are gone but for an upgrade that is to be
/// tunnelled. One that has an `Upgrade` header and came over a connection that can be upgraded (server's extension) may be
/// answered with a 101; the tunnel behind it begins when that answer has been sent to the client.
pub async fn send(
    pools: &Pools,
    call: Call<'_>,
    mut request: Box<Request<Upload>>,
) -> Result<Response<Box<UpstreamBody>>, Failure> {
    let may_upgrade = !request.extensions().is_empty() && request.headers().contains_key(UPGRADE);
    let upgrade = match may_upgrade {
        true => request.extensions_mut().remove::<OnUpgrade>(),
        false => None,
    };
    let sent = match call.retry {
        None => once(pools, &call, request, upgrade.as_ref(), &mut Vec::new()).await,
        // Apart, so that others' state is smaller.
        Some(retry) => Box::pin(retry::send(pools, &call, retry, request, upgrade.as_ref())).await,
    };
    sent.map_err(|mut failure| {
        if let (Some(request), Some(upgrade)) = (&mut failure.request, upgrade) {
            request.extensions_mut().insert(upgrade);
        }
        failure
    })
}

/// One attempt, if the backend's breaker lets it pass.
async fn once(
    pools: &Pools,
    call: &Call<'_>,
    request: Box<Request<Upload>>,
    upgrade: Option<&OnUpgrade>,
    tried: &mut Vec<u64>,
) -> Result<Response<Box<UpstreamBody>>, Failure> {
    let Some(breaker) = &call.backend.breaker else {
        return attempt(pools, call, request, upgrade, tried).await;
    };
    let Some(pass) = breaker.admit(Instant::now()) else {
        return Err(Failure::new(Reason::CircuitOpen, Some(request)));
    };
    let outcome = attempt(pools, call, request, upgrade, tried).await;
    if let Some(failed) = failed(&outcome) {
        pass.tell(failed);
    }
    outcome
}

/// An upgrade is for HTTP/1.1; and a connection for one request (`alone`) is not worth more.
async fn is_http2(attempt: &mut Attempt<'_>, protocol: Protocol, alone: bool) -> Result<bool, Reason> {
    match protocol {
        Protocol::Http1 => Ok(false),
        Protocol::H2c => Ok(true),
        Protocol::Negotiated if alone => Ok(false),
        Protocol::Negotiated => attempt.negotiate().await,
    }
}

/// The endpoint is added to those that were `tried`.
async fn attempt(
    pools: &Pools,
    call: &Call<'_>,
    request: Box<Request<Upload>>,
    upgrade: Option<&OnUpgrade>,
    tried: &mut Vec<u64>,
) -> Result<Response<Box<UpstreamBody>>, Failure> {
    let Call { backend, ours, deadline, attempt_timeout, stream_idle, client, called, tunnel, .. } = *call;
    if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
        return Err(Failure::new(Reason::RequestTimeout, Some(request))); // nobody waits for what would come
    }
    let mut timer = Timer::new(deadline);
    timer.start(attempt_timeout, Expired::Attempt);
    let bounds = &backend.said.connections;
    let balancing = call.balancing.unwrap_or(&backend.said.balancing);
    let wish = Wish { balancing, pools, hash: call.hash, wanted: call.wanted, tried };
    let mut present = backend.membership.present();
    let mut chosen = present.choose(&wish);
    if chosen.is_none() {
        let limit = Duration::from_millis(bounds.connect_timeout_ms);
        match timer.limit(backend.membership.resolved(limit)).await {
            Ok(true) => {}
            Ok(false) => return Err(Failure::unwritten(Reason::BackendTimeout, request)),
            Err(expired) => return Err(Failure::unwritten(expired, request)),
        }
        present = backend.membership.present();
        chosen = present.choose(&wish);
    }
    let Some(endpoint) = chosen else {
        return Err(Failure::new(Reason::NoEndpoints, Some(request)));
    };
    if let Some(called) = called {
        called.set(Some(endpoint.address));
    }
    if call.retry.is_some() {
        tried.push(endpoint.id);
    }
    let mut attempt = Attempt::new(pools, endpoint, bounds, client, timer, stream_idle, ours);
    let flight = match attempt.begin().await {
        Ok(flight) => flight,
        Err(reason) => return Err(Failure::unwritten(reason, request)),
    };
    let measured = matches!(balancing.algorithm, Algorithm::PeakEwma | Algorithm::ServiceRate);
    let begun = measured.then(|| (Instant::now(), &balancing.algorithm));
    let alone = upgrade.is_some() || client.is_some();
    let http2 = match is_http2(&mut attempt, backend.said.protocol, alone).await {
        Ok(http2) => http2,
        Err(reason) => return Err(Failure::unwritten(reason, request)),
    };
    let outcome = match http2 {
        false => attempt.http1(request, flight, upgrade.map(|client| (client, tunnel))).await,
        true => attempt.http2(request, flight).await,
    };
    learn(backend, endpoint, begun, &outcome);
    outcome
}

/// What an attempt says of its endpoint. `begun`: where the time that it took counts, and for what.
fn learn(
    backend: &Backend,
    endpoint: &Endpoint,
    begun: Option<(Instant, &Algorithm)>,
    outcome: &Result<Response<Box<UpstreamBody>>, Failure>,
) {
    if let Some((begun, algorithm)) = begun {
        let now = Instant::now();
        match algorithm {
            Algorithm::ServiceRate => endpoint.service.observe(now - begun, outcome.is_err(), now),
            _ => endpoint.latency.observe(now - begun, outcome.is_err(), now),
        }
    }
    if let Some(health) = &backend.health
        && let Some(failed) = failed(outcome)
    {
        health.answered(endpoint.id, failed);
    }
}

impl From<Overloaded> for Reason {
    fn from(_: Overloaded) -> Self {
        Self::Overloaded
    }
}

impl From<Expired> for Reason {
    fn from(expired: Expired) -> Self {
        match expired {
            Expired::Deadline => Self::RequestTimeout,
            Expired::Attempt | Expired::Idle => Self::BackendTimeout,
        }
    }
}

#[cfg(test)]
mod tests;
