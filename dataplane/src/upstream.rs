//! Where requests go: backends, connections, balancing, streams.
//!
//! A connection over HTTP/1.1 is driven inside the task of the request that uses it: it is polled together with the answer
//! and then with the answer's body, and only then is it put back into its worker's pool. A second task is there only for what is
//! left of a request whose answer has begun, and for HTTP/2: a connection has one, for many requests share it.

mod answer;
mod attempt;
pub mod balance;
mod endpoint;
mod http1;
mod http2;
mod members;
mod place;
mod pool;
mod resolve;
mod sending;
mod timer;
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
    backend::{self, Algorithm, BackendKey, Protocol},
};
use tokio::runtime::Handle;

pub(crate) use self::resolve::addresses;
pub use self::{
    answer::UpstreamBody,
    endpoint::{Counts, Endpoint},
    pool::Pools,
    tunnel::Tunnel,
    upload::Upload,
};
use self::{
    attempt::Attempt,
    members::Membership,
    place::Overloaded,
    resolve::Source,
    timer::{Expired, Timer},
};
use crate::{metrics::Label, reject::Reason};

/// A backend and what lives of it: turns, counts of requests and connections, waiting requests. Shared by all workers; it
/// moves to the next table when its configuration is equal, and endpoint by endpoint otherwise.
pub struct Backend {
    pub key: BackendKey,
    /// What its counts are under, from table to table.
    pub label: Arc<Label>,
    pub said: Part<backend::Backend>,
    membership: Membership,
}

/// One call of a backend.
pub struct Call<'a> {
    pub backend: &'a Arc<Backend>,
    /// Instead of the backend's own.
    pub algorithm: Option<Algorithm>,
    /// Ready to be sent: path, `Host`, headers; hop-by-hop headers are gone but for an upgrade that is to be tunnelled.
    pub request: Box<Request<Upload>>,
    /// When the whole exchange has to be over: `request_timeout`.
    pub deadline: Option<Instant>,
    /// How long one attempt may take until the answer's head: `backend_timeout`.
    pub attempt_timeout: Option<Duration>,
    /// How long the streams may be silent afterwards.
    pub stream_idle: Option<Duration>,
    /// Runs what a 101 leads to: it lives longer than this call.
    pub tunnel: &'a dyn Fn(Tunnel),
    /// Where it is said which endpoint was chosen.
    pub called: Option<&'a Cell<Option<SocketAddr>>>,
}

/// A call that came to nothing.
pub struct Failure {
    pub reason: Reason,
    /// The request, if it may be sent to another backend: nothing of it was written, or it is idempotent and has no body.
    pub request: Option<Box<Request<Upload>>>,
}

impl Failure {
    fn new(reason: impl Into<Reason>, request: Option<Box<Request<Upload>>>) -> Self {
        Self { reason: reason.into(), request }
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
        // An endpoint's connections speak its backend's protocol.
        let kept = before.filter(|before| before.said.protocol == said.protocol).map(|before| &before.membership);
        let membership = Membership::new(&said.endpoints, kept, Source::System, runtime);
        let label = before.map_or_else(|| Label::new(key), |before| Arc::clone(&before.label));
        Self { key: key.clone(), label, said: said.clone(), membership }
    }

    /// For `/backends` and metrics.
    pub fn endpoints(&self) -> impl Iterator<Item = Arc<Endpoint>> {
        let endpoints: Vec<_> = self.membership.present().iter().cloned().collect();
        endpoints.into_iter()
    }
}

/// Chooses an endpoint, waits for a place, sends the request and returns the answer's head with its body to come.
///
/// A request that has an `Upgrade` header and came over a connection that can be upgraded (server's extension) may be
/// answered with a 101; the tunnel behind it begins when that answer has been sent to the client.
pub async fn send(pools: &Pools, mut call: Call<'_>) -> Result<Response<Box<UpstreamBody>>, Failure> {
    let upgrade = match call.request.headers().contains_key(UPGRADE) {
        true => call.request.extensions_mut().remove::<OnUpgrade>(),
        false => None,
    };
    let sent = exchange(pools, call, upgrade.as_ref()).await;
    sent.map_err(|mut failure| {
        if let (Some(request), Some(upgrade)) = (&mut failure.request, upgrade) {
            request.extensions_mut().insert(upgrade);
        }
        failure
    })
}

async fn exchange(
    pools: &Pools,
    call: Call<'_>,
    upgrade: Option<&OnUpgrade>,
) -> Result<Response<Box<UpstreamBody>>, Failure> {
    let Call { backend, algorithm, request, deadline, attempt_timeout, stream_idle, called, tunnel } = call;
    let mut timer = Timer::new(deadline);
    timer.start(attempt_timeout, Expired::Attempt);
    let bounds = &backend.said.connections;
    let algorithm = algorithm.unwrap_or(backend.said.algorithm);
    let mut present = backend.membership.present();
    let mut chosen = present.choose(algorithm, pools);
    if chosen.is_none() {
        let limit = Duration::from_millis(bounds.connect_timeout_ms);
        match timer.limit(backend.membership.resolved(limit)).await {
            Ok(true) => {}
            Ok(false) => return Err(Failure::new(Reason::BackendTimeout, Some(request))),
            Err(expired) => return Err(Failure::new(expired, Some(request))),
        }
        present = backend.membership.present();
        chosen = present.choose(algorithm, pools);
    }
    let Some(endpoint) = chosen else {
        return Err(Failure::new(Reason::NoEndpoints, Some(request)));
    };
    if let Some(called) = called {
        called.set(Some(endpoint.address));
    }
    let mut attempt = Attempt::new(pools, endpoint, bounds, timer, stream_idle);
    let flight = match attempt.begin().await {
        Ok(flight) => flight,
        Err(reason) => return Err(Failure::new(reason, Some(request))),
    };
    match backend.said.protocol {
        Protocol::Http1 => attempt.http1(request, flight, upgrade.map(|client| (client, tunnel))).await,
        Protocol::H2c => attempt.http2(request, flight).await,
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
