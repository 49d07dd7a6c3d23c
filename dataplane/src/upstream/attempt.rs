//! One request at one endpoint: a place, a connection, an answer.

use std::{sync::Arc, time::Duration};

use http::{Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use ravelin_snapshot::backend::Connections;

use super::{
    Cause, Failure, Upload, UpstreamBody,
    answer::{Begun, Source},
    endpoint::Endpoint,
    http1, http2,
    place::{Flight, Patience, Place},
    pool::{Lease, Pools, Stream},
    timer::{Expired, Timer},
    transport::{Addresses, Offer},
    tunnel::{self, Tunnel},
};
use crate::{reject::Reason, request::Ours};

/// A kept connection over which a request may be sent again is the first one; over HTTP/2, where backends refuse streams and
/// go away with good manners, there may be some more.
const RESENDS: u32 = 3;

/// A request that came to nothing over one connection. `A` says whether it can be had again.
pub(super) struct Broken<A = Option<Box<Request<Upload>>>> {
    pub(super) why: Why,
    /// The request, or that it may be sent once more: nothing of it was processed, or its method is idempotent and it has no body.
    pub(super) again: A,
    /// It is to be sent again at once: that was the connection's end, not the request's.
    pub(super) resend: bool,
    /// The backend may have seen something of it.
    pub(super) written: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It was closed before any byte of an answer, or before anything was sent.
    Closed,
    /// An answer began, and was none.
    Garbage,
    /// The client did not send its body to the end.
    Unsendable,
    Expired(Expired),
}

impl Broken {
    fn fail(self) -> Failure {
        let reason = match self.why {
            Why::Expired(expired) => expired.into(),
            Why::Closed | Why::Garbage | Why::Unsendable => Reason::BackendRefused,
        };
        let cause = match self.why {
            Why::Closed => Cause::Reset { written: self.written },
            Why::Expired(Expired::Attempt | Expired::Idle) => Cause::Timeout,
            Why::Expired(Expired::Deadline) => Cause::Late,
            Why::Garbage => Cause::Garbage,
            Why::Unsendable => Cause::Other,
        };
        Failure { reason, cause, request: self.again }
    }
}

pub(super) struct Attempt<'a> {
    pools: &'a Pools,
    endpoint: &'a Arc<Endpoint>,
    bounds: &'a Connections,
    client: Option<Addresses>,
    stream_idle: Option<Duration>,
    ours: Option<Ours<'a>>,
    timer: Timer,
    patience: Patience,
}

impl<'a> Attempt<'a> {
    /// `timer` has been started already.
    pub(super) fn new(
        pools: &'a Pools,
        endpoint: &'a Arc<Endpoint>,
        bounds: &'a Connections,
        client: Option<Addresses>,
        timer: Timer,
        stream_idle: Option<Duration>,
        ours: Option<Ours<'a>>,
    ) -> Self {
        Self { pools, endpoint, bounds, client, stream_idle, ours, timer, patience: Patience::default() }
    }

    /// Waits until the request may be under way.
    pub(super) async fn begin(&mut self) -> Result<Flight, Reason> {
        let (counts, max) = (&self.endpoint.counts, self.bounds.max_requests);
        let flight = match Flight::begin(counts, max) {
            Some(flight) => flight,
            None => self.timer.limit(self.patience.wait(counts, self.bounds, Flight::wait(counts, max))).await??,
        };
        counts.count_request();
        Ok(flight)
    }

    /// A kept connection that turns out to be closed costs one more, which is fresh.
    pub(super) async fn http1(
        mut self,
        mut request: Box<Request<Upload>>,
        flight: Flight,
        upgrade: Option<(&OnUpgrade, &dyn Fn(Tunnel))>,
    ) -> Result<Response<Box<UpstreamBody>>, Failure> {
        let mut place = None;
        loop {
            let mut connection = match self.connection(place.take()).await {
                Ok(connection) => connection,
                Err(reason) => return Err(Failure::unwritten(reason, request)),
            };
            let lost =
                match connection.exchange(&mut request, self.ours.as_ref(), upgrade.is_some(), &mut self.timer).await {
                    Ok(answer) => {
                        return match upgrade {
                            Some((client, run)) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
                                self.tunnel(run, client, *connection, answer, flight)
                            }
                            _ => {
                                let begun = self.begun(std::mem::take(request.body_mut()), flight);
                                Ok(answer
                                    .map(|()| Box::new(UpstreamBody::new(Source::http1(connection, &begun), begun))))
                            }
                        };
                    }
                    Err(lost) => lost,
                };
            if !lost.resend {
                let again = lost.again.then_some(request);
                return Err(Broken { why: lost.why, again, resend: false, written: lost.written }.fail());
            }
            self.endpoint.counts.count_resent();
            place = Some(connection.into_place());
        }
    }

    /// An idle connection if there is one; a fresh one if there is a `place` for it already.
    async fn connection(&mut self, place: Option<Place>) -> Result<Box<http1::Connection>, Reason> {
        let lease = match place {
            Some(place) => Lease::New(place),
            None => self.timer.limit(self.pools.lease(self.endpoint, self.bounds, &mut self.patience)).await??,
        };
        self.patience = Patience::default(); // it waits no longer
        let place = match lease {
            Lease::Http1(connection) => return Ok(connection),
            // Only where the backend chooses: there is room for HTTP/2 alone.
            Lease::Http2(_) => return Err(Reason::Overloaded),
            Lease::New(place) => place,
        };
        self.open(place, Offer::Http1).await
    }

    async fn open(&mut self, place: Place, offer: Offer) -> Result<Box<http1::Connection>, Reason> {
        let limit = Duration::from_millis(self.bounds.connect_timeout_ms);
        let connecting = tokio::time::timeout(limit, self.endpoint.connect(offer, self.client));
        let connected = self.timer.limit(connecting).await?.map_err(|_| Reason::BackendTimeout)?;
        let stream = connected.map_err(|_| Reason::BackendRefused)?;
        Ok(http1::Connection::over(stream, self.endpoint, place, self.client.is_some()))
    }

    /// Whether the backend has chosen HTTP/2. The first connection asks it; one that is to be HTTP/2 is not kept.
    pub(super) async fn negotiate(&mut self) -> Result<bool, Reason> {
        if let Some(http2) = self.endpoint.speaks_http2() {
            return Ok(http2);
        }
        let lease = self.timer.limit(self.pools.lease(self.endpoint, self.bounds, &mut self.patience)).await??;
        self.patience = Patience::default();
        match lease {
            Lease::Http2(_) => return Ok(true), // others have asked meanwhile
            Lease::Http1(connection) => self.pools.put(connection),
            Lease::New(place) => {
                let connection = self.open(place, Offer::Either).await?;
                if self.endpoint.speaks_http2() != Some(true) {
                    self.pools.put(connection);
                }
            }
        }
        Ok(self.endpoint.speaks_http2().unwrap_or(false))
    }

    fn tunnel(
        self,
        run: &dyn Fn(Tunnel),
        client: &OnUpgrade,
        connection: http1::Connection,
        answer: Response<()>,
        flight: Flight,
    ) -> Result<Response<Box<UpstreamBody>>, Failure> {
        let refused = Failure::new(Reason::BackendRefused, None);
        let (socket, ahead, place) = connection.into_tunnel().ok_or(refused)?;
        let backend = tunnel::Backend { socket, ahead, place, flight };
        run(tunnel::dig(client.clone(), backend, self.stream_idle));
        Ok(answer.map(|()| Box::new(UpstreamBody::none())))
    }

    /// A stream that the backend has refused is opened again, as long as [`RESENDS`] allows.
    pub(super) async fn http2(
        mut self,
        mut request: Box<Request<Upload>>,
        flight: Flight,
    ) -> Result<Response<Box<UpstreamBody>>, Failure> {
        if let Some(ours) = &self.ours {
            ours.insert(request.headers_mut());
        }
        let mut resends = 0;
        loop {
            let stream = match self.stream().await {
                Ok(stream) => stream,
                Err(reason) => return Err(Failure::unwritten(reason, request)),
            };
            let upload = request.body().share();
            match stream.connection().exchange(request, &mut self.timer).await {
                Ok((answer, pump)) => {
                    let (head, body) = answer.into_parts();
                    let body = http2::Answer::new(body, &head.headers);
                    let source = Source::http2(body, pump, stream);
                    let body = UpstreamBody::new(source, self.begun(upload, flight));
                    return Ok(Response::from_parts(head, Box::new(body)));
                }
                Err(Broken { resend: true, again: Some(again), .. }) if resends < RESENDS => {
                    self.endpoint.counts.count_resent();
                    resends += 1;
                    request = again;
                }
                Err(broken) => return Err(broken.fail()),
            }
        }
    }

    async fn stream(&mut self) -> Result<Stream, Reason> {
        let stream = self.timer.limit(self.pools.stream(self.endpoint, self.bounds, &mut self.patience)).await?;
        self.patience = Patience::default();
        stream
    }

    fn begun(self, upload: Upload, flight: Flight) -> Begun {
        Begun { pools: self.pools.clone(), upload, timer: self.timer, stream_idle: self.stream_idle, flight }
    }
}
