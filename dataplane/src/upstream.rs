//! Where requests go: backends, connections, balancing, streams.
//!
//! A connection is driven inside the task of the request that uses it: its future is polled together with the answer
//! and then with the answer's body, and only then is it put back into its worker's pool.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use ravelin_snapshot::{
    Part,
    backend::{self, Address, Algorithm, BackendKey},
};
use tokio::net::TcpStream;

use crate::{body::BodyError, reject::Reason, server::Worker};

/// A backend and what lives of it: balancer, counts of requests and connections, waiting requests. Shared by all
/// workers; it moves to the next table when its configuration is equal, and endpoint by endpoint otherwise.
pub struct Backend {
    pub key: BackendKey,
    pub said: Part<backend::Backend>,
}

/// One call of a backend.
pub struct Call<'a> {
    pub backend: &'a Arc<Backend>,
    /// Instead of the backend's own.
    pub algorithm: Option<Algorithm>,
    /// Ready to be sent: path, `Host`, headers; hop-by-hop headers are gone but for an upgrade that is to be tunnelled.
    pub request: Request<Incoming>,
    /// When the whole exchange has to be over: `request_timeout`.
    pub deadline: Option<Instant>,
    /// How long one attempt may take until the answer's head: `backend_timeout`.
    pub attempt_timeout: Option<std::time::Duration>,
    /// How long the streams may be silent afterwards.
    pub stream_idle: Option<std::time::Duration>,
}

/// A call that came to nothing.
pub struct Failure {
    pub reason: Reason,
    /// The request, if nothing of it was sent: a fallback can still have it.
    pub unsent: Option<Request<Incoming>>,
}

impl Backend {
    pub fn new(key: &BackendKey, said: &Part<backend::Backend>, _before: Option<&Self>) -> Self {
        Self { key: key.clone(), said: said.clone() }
    }
}

/// Chooses an endpoint, waits for a place, sends the request and returns the answer's head with its body to come.
pub async fn send(_worker: &Worker, call: Call<'_>) -> Result<Response<UpstreamBody>, Failure> {
    let refused = |unsent| Failure { reason: Reason::BackendRefused, unsent };
    let address = call.backend.said.endpoints.first().map(|endpoint| &endpoint.address);
    let Some(Address::Ip(address)) = address else {
        return Err(Failure { reason: Reason::NoEndpoints, unsent: Some(call.request) });
    };
    let Ok(stream) = TcpStream::connect(address).await else { return Err(refused(Some(call.request))) };
    let Ok((mut sender, mut connection)) = http1::handshake(TokioIo::new(stream)).await else {
        return Err(refused(Some(call.request)));
    };
    let answer = sender.send_request(call.request);
    tokio::pin!(answer);
    let answer = tokio::select! {
        answer = &mut answer => answer,
        _ = &mut connection => return Err(refused(None)),
    };
    let (head, body) = answer.map_err(|_| refused(None))?.into_parts();
    Ok(Response::from_parts(head, UpstreamBody { body, connection }))
}

/// The body of a backend's answer, and the connection that it comes over.
pub struct UpstreamBody {
    body: Incoming,
    connection: http1::Connection<TokioIo<TcpStream>, Incoming>,
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from)));
        }
        if let Poll::Ready(Err(error)) = Pin::new(&mut self.connection).poll(cx) {
            return Poll::Ready(Some(Err(error.into())));
        }
        Pin::new(&mut self.body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(BodyError::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
