//! One HTTP/1.1 connection to a backend, driven by whoever has it.

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};
use http_body::{Body, Frame};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};

use super::{
    attempt::{Broken, Why},
    endpoint::Endpoint,
    place::Place,
    socket::{Seen, Socket},
    timer::Timer,
    upload::Upload,
};

/// Of an answer; also the largest piece of a body that is read at once.
const BUFFER: usize = 64 << 10;

/// Of interim answers (1xx, which end here) before the final one, bytes.
const INTERIM: usize = 256 << 10;

/// A connection and its future. Whoever uses it polls both; between uses it is in its worker's pool, and nobody does.
pub(super) struct Connection {
    sender: http1::SendRequest<Upload>,
    /// `None`: it has ended, and the socket is closed.
    driver: Option<http1::Connection<TokioIo<Socket>, Upload>>,
    seen: Rc<Seen>,
    /// It has had an exchange before.
    used: bool,
    pub(super) endpoint: Weak<Endpoint>,
    pub(super) endpoint_id: u64,
    place: Place,
}

/// Opens a socket. Its answers are to be sent on at once, so Nagle's algorithm is off.
pub(super) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_nodelay(true)?;
    socket.connect(address).await
}

impl Connection {
    pub(super) async fn over(stream: TcpStream, endpoint: &Arc<Endpoint>, place: Place) -> hyper::Result<Box<Self>> {
        let seen = Rc::<Seen>::default();
        let io = TokioIo::new(Socket::new(stream, Rc::clone(&seen)));
        let (sender, driver) = http1::Builder::new().max_buf_size(BUFFER).writev(true).handshake(io).await?;
        Ok(Box::new(Self {
            sender,
            driver: Some(driver),
            seen,
            used: false,
            endpoint: Arc::downgrade(endpoint),
            endpoint_id: endpoint.id,
            place,
        }))
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Closes it; its place can be another's.
    pub(super) fn into_place(self) -> Place {
        self.place
    }

    /// After a 101: the socket, what has been read beyond the answer's head, and the place. `None`: the request is still
    /// being written.
    pub(super) fn into_tunnel(mut self) -> Option<(Socket, Bytes, Place)> {
        let mut driver = self.driver.take()?;
        // It ends once both messages have: after a request with a body that may take long, and nobody asks for that.
        let mut unwoken = Context::from_waker(Waker::noop());
        if Pin::new(&mut driver).poll_without_shutdown(&mut unwoken).is_pending() {
            return None;
        }
        let parts = driver.into_parts();
        Some((parts.io.into_inner(), parts.read_buf, self.place))
    }

    /// Sends the request and waits for the head of its answer. Dropping the future closes the connection.
    pub(super) async fn exchange(
        &mut self,
        mut request: Request<Upload>,
        upgradable: bool,
        timer: &mut Timer,
    ) -> Result<Response<Incoming>, Broken> {
        *request.version_mut() = Version::HTTP_11; // the client's may be another, without chunks
        let body = request.body().share();
        let harmless = body.is_empty() && request.method().is_idempotent();
        // What cannot be sent again had better not be sent to a dead connection: that is worth a system call.
        let reused = std::mem::replace(&mut self.used, true);
        self.seen.begin(reused && !harmless);
        let mut answer = pin!(self.sender.try_send_request(request));
        let (driver, seen) = (&mut self.driver, &self.seen);
        let outcome = poll_fn(|cx| {
            let ended = drive(driver, cx);
            if seen.written() {
                body.forget();
            }
            // Only the driver brings the answer, and it was just polled: a waker would wake this very task.
            let mut unwoken = Context::from_waker(Waker::noop());
            let mut arrived = answer.as_mut().poll(&mut unwoken);
            if ended && arrived.is_pending() {
                *driver = None; // which tells the request of its fate
                arrived = answer.as_mut().poll(&mut unwoken);
            }
            if let Poll::Ready(answer) = arrived {
                return Poll::Ready(Ok(answer));
            }
            if seen.received() > INTERIM {
                return Poll::Ready(Err(Why::Garbage));
            }
            timer.poll(cx).map(|expired| Err(Why::Expired(expired)))
        })
        .await;
        let (why, unsent) = match outcome {
            Ok(Ok(answer)) if is_wrong(&answer, upgradable) => (Why::Garbage, None),
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(mut error)) => match error.take_message() {
                None if seen.received() > 0 => (Why::Garbage, None),
                unsent => (Why::Closed, unsent),
            },
            Err(why) => (why, None),
        };
        let again = match unsent {
            Some(request) => Some(request),
            None if harmless || (!seen.written() && body.rewind()) => parse(&seen.head(), body),
            None => None,
        };
        let resend = reused && why == Why::Closed;
        Err(Broken { why, again, resend })
    }

    /// The next piece of an answer's body; moves bytes as far as that takes.
    pub(super) fn poll_body(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        // As above: only the driver brings it.
        let mut unwoken = Context::from_waker(Waker::noop());
        if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(&mut unwoken) {
            return Poll::Ready(frame);
        }
        let _ = self.poll(cx); // what it came to, the body tells
        Pin::new(body).poll_frame(&mut unwoken)
    }

    /// Moves bytes, for as long as the exchange goes on in either direction.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if drive(&mut self.driver, cx) {
            self.driver = None;
        }
        if self.driver.is_none() || self.is_idle() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The exchange is over on both sides, and nothing speaks against the next.
    pub(super) fn is_idle(&self) -> bool {
        self.driver.is_some() && self.sender.is_ready()
    }

    /// Whether an idle connection is still good, as far as the event loop knows: no system call while nothing has come.
    pub(super) fn is_alive(&mut self) -> bool {
        let _ = self.poll(&mut Context::from_waker(Waker::noop()));
        self.is_idle()
    }
}

/// An upgrade that nobody asked for; or a length and chunks too, so that two readers can disagree about where the answer
/// ends (RFC 9112, 6.3).
fn is_wrong(answer: &Response<Incoming>, upgradable: bool) -> bool {
    let headers = answer.headers();
    (answer.status() == StatusCode::SWITCHING_PROTOCOLS && !upgradable)
        || (headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH))
}

/// Polls the connection's future; true if it has ended.
fn drive(driver: &mut Option<http1::Connection<TokioIo<Socket>, Upload>>, cx: &mut Context<'_>) -> bool {
    driver.as_mut().is_none_or(|driver| Pin::new(driver).poll(cx).is_ready())
}

/// The request, from the bytes that were written. Invariant: it is our own writing, so it parses.
fn parse(head: &[u8], body: Upload) -> Option<Request<Upload>> {
    let mut fields = vec![httparse::EMPTY_HEADER; 256];
    let mut parsed = httparse::Request::new(&mut fields);
    parsed.parse(head).ok().filter(httparse::Status::is_complete)?;
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    let mut request = Request::new(body);
    *request.method_mut() = Method::from_bytes(parsed.method?.as_bytes()).ok()?;
    *request.uri_mut() = parsed.path?.parse().ok()?;
    *request.headers_mut() = headers;
    Some(request)
}
