//! Where requests go: backends, connections, balancing, streams.
//!
//! A connection is driven inside the task of the request that uses it: its future is polled together with the answer
//! and then with the answer's body, and only then is it put back into its worker's pool.

mod answer;
pub mod balance;
mod endpoint;
mod http1;
mod place;
mod pool;
mod socket;
mod timer;
mod tunnel;
mod upload;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Request, Response, StatusCode, header::UPGRADE};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use ravelin_snapshot::{
    Part,
    backend::{self, Address, Algorithm, BackendKey},
};

use self::{
    answer::Begun,
    balance::{Rotation, better_of_two},
    http1::{Broken, Connection, Why},
    place::{Flight, Overloaded, Patience, Place},
    pool::Lease,
    timer::{Expired, Timer},
};
pub use self::{
    answer::UpstreamBody,
    endpoint::{Counts, Endpoint},
    pool::Pools,
    upload::Upload,
};
use crate::{metrics::Label, reject::Reason};

/// A backend and what lives of it: turns, counts of requests and connections, waiting requests. Shared by all workers; it
/// moves to the next table when its configuration is equal, and endpoint by endpoint otherwise.
pub struct Backend {
    pub key: BackendKey,
    /// What its counts are under, from table to table.
    pub label: Arc<Label>,
    pub said: Part<backend::Backend>,
    members: Members,
}

/// The endpoints of a backend, and whose turn it is.
struct Members {
    endpoints: Vec<(Arc<Endpoint>, u32)>,
    rotation: Rotation,
}

/// One call of a backend.
pub struct Call<'a> {
    pub backend: &'a Arc<Backend>,
    /// Instead of the backend's own.
    pub algorithm: Option<Algorithm>,
    /// Ready to be sent: path, `Host`, headers; hop-by-hop headers are gone but for an upgrade that is to be tunnelled.
    pub request: Request<Upload>,
    /// When the whole exchange has to be over: `request_timeout`.
    pub deadline: Option<Instant>,
    /// How long one attempt may take until the answer's head: `backend_timeout`.
    pub attempt_timeout: Option<Duration>,
    /// How long the streams may be silent afterwards.
    pub stream_idle: Option<Duration>,
}

/// A call that came to nothing.
pub struct Failure {
    pub reason: Reason,
    /// The request, if it may be sent to another backend: nothing of it was written, or it is idempotent and has no body.
    pub request: Option<Box<Request<Upload>>>,
}

impl Failure {
    fn new(reason: impl Into<Reason>, request: Option<Request<Upload>>) -> Self {
        Self { reason: reason.into(), request: request.map(Box::new) }
    }
}

impl Backend {
    /// An endpoint that `before` had too is the same: its counts go on, its idle connections stay warm.
    pub fn new(key: &BackendKey, said: &Part<backend::Backend>, before: Option<&Self>) -> Self {
        let endpoints = said.endpoints.iter().filter_map(|endpoint| match endpoint.address {
            Address::Ip(address) => {
                let kept = before.filter(|before| before.said.protocol == said.protocol);
                let kept = kept.and_then(|before| before.members.by_address(address));
                Some((kept.cloned().unwrap_or_else(|| Arc::new(Endpoint::new(address))), endpoint.weight))
            }
            Address::Dns { .. } => None,
        });
        let endpoints: Vec<_> = endpoints.collect();
        let rotation = Rotation::new(endpoints.iter().map(|(_, weight)| *weight));
        let label = before.map_or_else(|| Label::new(key), |before| Arc::clone(&before.label));
        Self { key: key.clone(), label, said: said.clone(), members: Members { endpoints, rotation } }
    }

    /// For `/backends` and metrics.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.members.endpoints.iter().map(|(endpoint, _)| endpoint)
    }

    fn choose(&self, algorithm: Option<Algorithm>, pools: &Pools) -> Option<&Arc<Endpoint>> {
        let members = &self.members;
        let place = match algorithm.unwrap_or(self.said.algorithm) {
            Algorithm::RoundRobin => members.rotation.turn(),
            Algorithm::LeastRequest => better_of_two(&members.rotation, [pools.random(), pools.random()], |place| {
                let (endpoint, weight) = &members.endpoints[place];
                (endpoint.counts.in_flight(), *weight)
            }),
        };
        place.map(|place| &members.endpoints[place].0)
    }
}

impl Members {
    fn by_address(&self, address: std::net::SocketAddr) -> Option<&Arc<Endpoint>> {
        self.endpoints.iter().map(|(endpoint, _)| endpoint).find(|endpoint| endpoint.address == address)
    }
}

/// Chooses an endpoint, waits for a place, sends the request and returns the answer's head with its body to come.
///
/// A request that has an `Upgrade` header and came over a connection that can be upgraded (server's extension) may be
/// answered with a 101; the tunnel behind it begins when that answer has been sent to the client.
pub async fn send(pools: &Pools, mut call: Call<'_>) -> Result<Response<UpstreamBody>, Failure> {
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
) -> Result<Response<UpstreamBody>, Failure> {
    let Some(endpoint) = call.backend.choose(call.algorithm, pools) else {
        return Err(Failure::new(Reason::NoEndpoints, Some(call.request)));
    };
    let mut timer = Timer::new(call.deadline);
    timer.start(call.attempt_timeout, Expired::Attempt);
    let mut patience = Patience::default();
    let mut attempt = Attempt { pools, endpoint, bounds: &call.backend.said.connections, timer };
    let flight = match attempt.begin(&mut patience).await {
        Ok(flight) => flight,
        Err(reason) => return Err(Failure::new(reason, Some(call.request))),
    };
    let mut request = call.request;
    let mut place = None;
    loop {
        let mut connection = match attempt.connection(place.take(), &mut patience).await {
            Ok(connection) => connection,
            Err(reason) => return Err(Failure::new(reason, Some(request))),
        };
        let reused = connection.used;
        let upload = request.body().share();
        match connection.exchange(request, upgrade.is_some(), &mut attempt.timer).await {
            Ok(answer) => {
                let (timer, stream_idle) = (attempt.timer, call.stream_idle);
                return match upgrade {
                    Some(client) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
                        tunnel(pools, client, *connection, answer, flight, stream_idle)
                    }
                    _ => Ok(answer.map(|body| {
                        UpstreamBody::new(Begun { body, connection, upload, timer, stream_idle, flight }, pools)
                    })),
                };
            }
            // Once only: the next one is fresh.
            Err(Broken { why: Why::Closed, again: Some(again) }) if reused => {
                endpoint.counts.count_resent();
                (request, place) = (again, Some(connection.into_place()));
            }
            Err(Broken { why, again }) => {
                let reason = match why {
                    Why::Expired(expired) => expired.into(),
                    Why::Closed | Why::Garbage => Reason::BackendRefused,
                };
                return Err(Failure::new(reason, again));
            }
        }
    }
}

fn tunnel(
    pools: &Pools,
    client: &OnUpgrade,
    connection: Connection,
    answer: Response<Incoming>,
    flight: Flight,
    idle: Option<Duration>,
) -> Result<Response<UpstreamBody>, Failure> {
    let refused = Failure::new(Reason::BackendRefused, None);
    let (socket, ahead, place) = connection.into_tunnel().ok_or(refused)?;
    pools.tunnels().dig(client.clone(), tunnel::Backend { socket, ahead, place, flight }, idle);
    Ok(answer.map(UpstreamBody::none))
}

/// One request at one endpoint.
struct Attempt<'a> {
    pools: &'a Pools,
    endpoint: &'a Arc<Endpoint>,
    bounds: &'a backend::Connections,
    timer: Timer,
}

impl Attempt<'_> {
    async fn begin(&mut self, patience: &mut Patience) -> Result<Flight, Reason> {
        let (counts, max) = (&self.endpoint.counts, self.bounds.max_requests);
        let flight = match Flight::begin(counts, max) {
            Some(flight) => flight,
            None => self.timer.limit(patience.wait(counts, self.bounds, Flight::wait(counts, max))).await??,
        };
        counts.count_request();
        Ok(flight)
    }

    /// An idle connection if there is one; a fresh one if there is a `place` for it already.
    async fn connection(&mut self, place: Option<Place>, patience: &mut Patience) -> Result<Box<Connection>, Reason> {
        let lease = match place {
            Some(place) => Lease::New(place),
            None => self.timer.limit(self.pools.lease(self.endpoint, self.bounds, patience)).await??,
        };
        *patience = Patience::default(); // it waits no longer
        let place = match lease {
            Lease::Kept(connection) => return Ok(connection),
            Lease::New(place) => place,
        };
        let limit = Duration::from_millis(self.bounds.connect_timeout_ms);
        let connecting = tokio::time::timeout(limit, http1::connect(self.endpoint.address));
        let connected = self.timer.limit(connecting).await?.map_err(|_| Reason::BackendTimeout)?;
        let stream = connected.map_err(|_| Reason::BackendRefused)?;
        Connection::over(stream, self.endpoint, place).await.map_err(|_| Reason::BackendRefused)
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
