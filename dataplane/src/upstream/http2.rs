//! HTTP/2 with prior knowledge: many requests share a connection, and the connection has a task of the worker's own.

mod streams;

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    sync::{Arc, Weak},
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use h2::{
    Reason as Code,
    client::{self, ResponseFuture, SendRequest},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, Version,
    header::{CONNECTION, HOST, TE, TRANSFER_ENCODING, UPGRADE},
    uri::{Authority, PathAndQuery, Scheme},
};
use tokio::sync::Notify;

use super::{
    attempt::{Broken, Why},
    endpoint::Endpoint,
    place::Place,
    socket::Socket,
    timer::Timer,
    transport::Offer,
    upload::Upload,
};
use crate::wire;
pub(super) use streams::{Answer, Pump};

/// How much of one answer may be on its way unread, bytes.
const WINDOW: u32 = 128 << 10;

/// Streams of one connection, however many more its backend allows: so many windows are the connection's own, so that answers
/// that nobody reads do not hold up the others.
const STREAMS: usize = 128;

/// Of an answer's head.
const HEADERS: u32 = 64 << 10;

/// What h2 believes until the backend has said how many streams it allows.
const UNSAID: usize = usize::MAX - 1;

/// A connection that is open.
pub(super) struct Connection {
    sender: SendRequest<Bytes>,
    pub(super) endpoint: Weak<Endpoint>,
    pub(super) endpoint_id: u64,
    scheme: Scheme,
    place: RefCell<Option<Place>>,
    open: Cell<usize>,
    /// Requests that were sent over it.
    sent: Cell<u64>,
    /// Since when it has had no stream.
    idle: Cell<Instant>,
    /// It takes no more requests.
    closing: Cell<bool>,
    close: Notify,
}

/// The future of a connection.
pub(super) type Driver = client::Connection<Socket, Bytes>;

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused;

/// Connects, and waits for the backend's settings: before them nobody knows how many requests it takes.
pub(super) async fn establish(endpoint: &Endpoint) -> Result<(SendRequest<Bytes>, Driver), Refused> {
    let stream = endpoint.connect(Offer::Http2, None).await.map_err(|_| Refused)?;
    let builder = client::Builder::new()
        .initial_max_send_streams(UNSAID)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW * STREAMS as u32)
        .max_header_list_size(HEADERS)
        .enable_push(false)
        .to_owned();
    let (sender, mut driver) = builder.handshake(stream).await.map_err(|_| Refused)?;
    poll_fn(|cx| match Pin::new(&mut driver).poll(cx) {
        Poll::Ready(_) => Poll::Ready(Err(Refused)),
        Poll::Pending if sender.current_max_send_streams() == UNSAID => Poll::Pending,
        Poll::Pending => Poll::Ready(Ok(())),
    })
    .await?;
    match sender.current_max_send_streams() {
        0 => Err(Refused),
        _ => Ok((sender, driver)),
    }
}

impl Connection {
    pub(super) fn new(sender: SendRequest<Bytes>, endpoint: &Arc<Endpoint>, place: Place, now: Instant) -> Self {
        Self {
            sender,
            endpoint: Arc::downgrade(endpoint),
            endpoint_id: endpoint.id,
            scheme: if endpoint.transport.is_secure() { Scheme::HTTPS } else { Scheme::HTTP },
            place: RefCell::new(Some(place)),
            open: Cell::new(0),
            sent: Cell::new(0),
            idle: Cell::new(now),
            closing: Cell::new(false),
            close: Notify::new(),
        }
    }

    /// Runs the connection to its end.
    pub(super) async fn drive(&self, driver: Driver) {
        tokio::select! {
            _ = driver => {} // its streams are told
            () = self.close.notified() => {}
        }
        self.closing.set(true);
        self.place.take();
    }

    pub(super) fn has_room(&self) -> bool {
        !self.closing.get() && self.open.get() < self.sender.current_max_send_streams().min(STREAMS)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.open.get() == 0
    }

    /// Since when it has been; only while it is.
    pub(super) fn idle_since(&self) -> Instant {
        self.idle.get()
    }

    /// Somebody waits for a connection.
    pub(super) fn is_wanted(&self) -> bool {
        self.with_place(Place::is_wanted).unwrap_or(false)
    }

    /// Lets go of the connection; whoever still has a stream loses it.
    pub(super) fn close(&self) -> Option<Place> {
        self.closing.set(true);
        self.close.notify_one();
        self.place.take()
    }

    /// Asks for its place, if it has one still.
    pub(super) fn with_place<T>(&self, ask: impl FnOnce(&Place) -> T) -> Option<T> {
        self.place.borrow().as_ref().map(ask)
    }

    pub(super) fn enter(&self) {
        self.open.set(self.open.get() + 1);
    }

    pub(super) fn leave(&self, now: Instant) {
        self.open.set(self.open.get() - 1);
        self.idle.set(now);
    }

    /// Sends the request and waits for the head of its answer. Dropping the future resets the stream.
    pub(super) async fn exchange(
        self: &Rc<Self>,
        request: Box<Request<Upload>>,
        timer: &mut Timer,
    ) -> Result<(Response<h2::RecvStream>, Pump), Broken> {
        let used = self.sent.replace(self.sent.get() + 1) > 0;
        let body = request.body().share();
        let harmless = body.is_empty() && request.method().is_idempotent();
        let announced = wire::announced(request.headers());
        let Some(sent) = translate(&request, &self.scheme) else {
            return Err(Broken { why: Why::Garbage, again: None, resend: false, written: false });
        };
        let unsent = |request| Broken { why: Why::Closed, again: Some(request), resend: true, written: false };
        let Ok((response, stream)) = self.sender.clone().send_request(sent, body.is_empty()) else {
            self.closing.set(true);
            return Err(unsent(request));
        };
        let mut pump = Pump::new(stream, body.share(), announced);
        let outcome = head(response, &mut pump, timer).await;
        let error = match outcome {
            Ok(Ok(answer)) => {
                body.forget();
                return Ok((answer, pump));
            }
            Ok(Err(error)) => error,
            Err(expired) => {
                let again = harmless.then_some(request);
                return Err(Broken { why: Why::Expired(expired), again, resend: false, written: true });
            }
        };
        let refused = error.is_remote() && (error.is_go_away() || error.reason() == Some(Code::REFUSED_STREAM));
        if error.is_go_away() || error.is_io() {
            self.closing.set(true);
        }
        // What h2 calls a remote GOAWAY is one that does not cover the stream: the backend has not processed it.
        if refused && body.rewind() {
            return Err(unsent(request));
        }
        let resend = harmless && used && !error.is_reset();
        Err(Broken { why: Why::Closed, again: harmless.then_some(request), resend, written: true })
    }
}

async fn head(
    mut response: ResponseFuture,
    pump: &mut Pump,
    timer: &mut Timer,
) -> Result<Result<Response<h2::RecvStream>, h2::Error>, super::timer::Expired> {
    timer
        .limit(poll_fn(|cx: &mut Context<'_>| {
            let _ = pump.poll(cx); // how it ends, the answer tells
            let answer = ready!(Pin::new(&mut response).poll(cx));
            Poll::Ready(answer)
        }))
        .await
}

/// As HTTP/2 has it (RFC 9113, 8.2.2 and 8.3.1): `Host` becomes `:authority`, what is about one connection goes.
fn translate(request: &Request<Upload>, scheme: &Scheme) -> Option<Request<()>> {
    let mut headers: HeaderMap = request.headers().clone();
    let host = headers.remove(HOST)?;
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    for name in ["keep-alive", "proxy-connection", "http2-settings"] {
        headers.remove(HeaderName::from_static(name));
    }
    if headers.get(TE).is_some_and(|te| te != "trailers") {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme.clone());
    parts.authority = Some(Authority::try_from(host.as_bytes()).ok()?);
    let path = request.uri().path_and_query().cloned();
    parts.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    let mut translated = Request::new(());
    *translated.method_mut() = request.method().clone();
    *translated.uri_mut() = Uri::from_parts(parts).ok()?;
    *translated.version_mut() = Version::HTTP_2;
    *translated.headers_mut() = headers;
    Some(translated)
}
