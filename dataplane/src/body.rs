//! Bodies: of requests, as clients send them; of answers: nothing, a few bytes of our own, or a stream from a backend.

use std::{
    cell::Cell,
    convert::Infallible,
    future::Future,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

use hyper::body::Incoming;
use tokio::{
    sync::oneshot,
    time::{Instant, Sleep, sleep},
};

use crate::{
    filter::{
        compression::Compressed,
        grpc_web::{Base64, WebBody},
    },
    server::{ClientBody, Open},
    upstream::{Led, UpstreamBody},
    wire::WireError,
};

/// The body of a request: an error if the client breaks off or is silent for too long.
pub struct RequestBody {
    source: Source,
    idle: Option<Idle>,
    /// Bytes that have come, for the record of the request.
    received: Option<Rc<Cell<u64>>>,
    /// The client has broken off, or was silent for too long.
    failed: Option<Rc<Cell<bool>>>,
    /// Wants to have all of it too.
    copy: Option<Box<Copy>>,
    /// It is base64, and what passes is what that stands for.
    base64: Option<Box<Base64>>,
    /// The connection is in use as long as this is.
    _open: Option<Open>,
}

/// Where a body comes from.
pub(crate) enum Source {
    Hyper(Incoming),
    Plain(ClientBody),
    /// Ours, of a copy.
    Own(Option<Bytes>),
}

impl From<Incoming> for Source {
    fn from(body: Incoming) -> Self {
        Self::Hyper(body)
    }
}

impl From<ClientBody> for Source {
    fn from(body: ClientBody) -> Self {
        Self::Plain(body)
    }
}

impl Source {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Hyper(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(BodyError::Client)))
            }
            Self::Plain(body) => Pin::new(body).poll_frame(cx),
            Self::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Hyper(body) => body.is_end_stream(),
            Self::Plain(body) => body.is_end_stream(),
            Self::Own(bytes) => bytes.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Hyper(body) => body.size_hint(),
            Self::Plain(body) => body.size_hint(),
            Self::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
        }
    }
}

/// What became of a request's body.
#[derive(Default)]
pub(crate) struct Fate(Option<Rc<Cell<bool>>>);

impl Fate {
    pub(crate) fn is_clients_fault(&self) -> bool {
        self.0.as_ref().is_some_and(|failed| failed.get())
    }
}

/// What has passed of a body, for whoever wants it whole.
struct Copy {
    pieces: BytesMut,
    most: usize,
    give: oneshot::Sender<Bytes>,
}

impl Copy {
    /// `None`: it is whole and was given away, or will never be.
    fn take(mut self: Box<Self>, frame: Option<&Result<Frame<Bytes>, BodyError>>, ended: bool) -> Option<Box<Self>> {
        match frame {
            Some(Ok(frame)) => {
                let data = frame.data_ref().map(Bytes::as_ref).unwrap_or_default();
                if self.pieces.len() + data.len() > self.most {
                    return None;
                }
                self.pieces.extend_from_slice(data);
                if !ended && frame.is_data() {
                    return Some(self);
                }
            }
            Some(Err(_)) => return None,
            None => {}
        }
        drop(self.give.send(self.pieces.freeze())); // nobody may want it any longer
        None
    }
}

/// The bound on silence. There is no timer until the client is waited for.
struct Idle {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl RequestBody {
    pub(crate) fn new(body: impl Into<Source>, idle: Duration, open: Option<Open>) -> Self {
        let idle = Some(Idle { limit: idle, timer: None, waiting: false });
        Self { source: body.into(), idle, received: None, failed: None, copy: None, base64: None, _open: open }
    }

    /// In tests, whose clients do not fall silent.
    #[cfg(test)]
    pub(crate) fn unbounded(incoming: Incoming) -> Self {
        Self {
            source: Source::Hyper(incoming),
            idle: None,
            received: None,
            failed: None,
            copy: None,
            base64: None,
            _open: None,
        }
    }

    /// Counts its bytes, if it has any.
    pub(crate) fn count(&mut self, received: impl FnOnce() -> Rc<Cell<u64>>) {
        self.received = (!self.source.is_end_stream()).then(received);
    }

    /// Of bytes that are here already.
    pub(crate) fn own(bytes: Bytes) -> Self {
        let source = Source::Own((!bytes.is_empty()).then_some(bytes));
        Self { source, idle: None, received: None, failed: None, copy: None, base64: None, _open: None }
    }

    /// All of it, when it has passed; an error if it is more than so many bytes, or never whole.
    pub(crate) fn copied(&mut self, most: usize) -> oneshot::Receiver<Bytes> {
        let (give, copied) = oneshot::channel();
        self.copy = Some(Box::new(Copy { pieces: BytesMut::new(), most, give }));
        copied
    }

    /// From now on what it stands for passes in its place.
    pub(crate) fn decode_base64(&mut self) {
        self.base64 = (!self.source.is_end_stream()).then(Box::default);
    }

    /// Tells whether it was the client that the request failed of.
    pub(crate) fn fate(&mut self) -> Fate {
        if !self.source.is_end_stream() {
            self.failed = Some(Rc::default());
        }
        Fate(self.failed.clone())
    }
}

impl Idle {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !self.waiting {
            timer.as_mut().reset(Instant::now() + limit);
            self.waiting = true;
        }
        timer.as_mut().poll(cx)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = self.poll_decoded(cx);
        if let (Poll::Ready(Some(Err(_))), Some(failed)) = (&polled, &self.failed) {
            failed.set(true);
        }
        if let (Poll::Ready(frame), true) = (&polled, self.copy.is_some()) {
            let ended = self.source.is_end_stream();
            self.copy = self.copy.take().and_then(|copy| copy.take(frame.as_ref(), ended));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end_stream() && self.base64.as_ref().is_none_or(|base64| base64.is_whole())
    }

    fn size_hint(&self) -> SizeHint {
        if self.base64.is_some() { SizeHint::default() } else { self.source.size_hint() }
    }
}

impl RequestBody {
    /// One that stands for nothing yet is passed over.
    fn poll_decoded(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            let frame = ready!(self.poll(cx));
            let Some(base64) = &mut self.base64 else { return Poll::Ready(frame) };
            let whole = base64.is_whole();
            let decoded = match frame {
                Some(Ok(frame)) => frame.into_data().map(|data| base64.decode(&data)),
                None if !whole => Ok(None),
                other => return Poll::Ready(other),
            };
            match decoded {
                Ok(Some(data)) if data.is_empty() => {}
                Ok(Some(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(None) => return Poll::Ready(Some(Err(BodyError::Base64))),
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.source.poll(cx) {
            Poll::Ready(frame) => {
                if let Some(idle) = &mut self.idle {
                    idle.waiting = false;
                }
                if let (Some(received), Some(Ok(frame))) = (&self.received, &frame) {
                    received.set(received.get() + frame.data_ref().map_or(0, |data| data.len() as u64));
                }
                Poll::Ready(frame)
            }
            Poll::Pending => match &mut self.idle {
                Some(idle) => idle.poll(cx).map(|()| Some(Err(BodyError::Idle))),
                None => Poll::Pending,
            },
        }
    }
}

/// The body of an answer to a client.
pub enum AnswerBody {
    /// Ours: a problem, a direct response. `None` once it is sent.
    Own(Option<Bytes>),
    /// A backend's, with what keeps its connection going.
    Upstream(Box<UpstreamBody>),
    /// A backend's, of which some is here already.
    Led(Box<Led>),
    /// Of gRPC, as gRPC-Web.
    Web(Box<WebBody>),
    /// Either of them, compressed on the way.
    Compressed(Box<Compressed>),
}

/// Why a body broke off. The client sees its connection or stream reset.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the backend broke off: {0}")]
    Backend(#[from] WireError),
    #[error("the backend broke off: {0}")]
    BackendStream(#[from] h2::Error),
    #[error("the client broke off: {0}")]
    Client(#[source] hyper::Error),
    #[error("the client broke off: {0}")]
    ClientWire(#[source] WireError),
    #[error("the client's base64 cannot be read")]
    Base64,
    #[error("the stream was silent for too long")]
    Idle,
    #[error("the request took too long")]
    Deadline,
    #[error("it cannot be compressed: {0}")]
    Compression(#[source] io::Error),
}

impl AnswerBody {
    pub fn empty() -> Self {
        Self::Own(None)
    }
}

impl From<Bytes> for AnswerBody {
    fn from(bytes: Bytes) -> Self {
        Self::Own((!bytes.is_empty()).then_some(bytes))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Upstream(body) => Pin::new(body).poll_frame(cx),
            Self::Led(body) => Pin::new(body).poll_frame(cx),
            Self::Web(body) => Pin::new(body).poll_frame(cx),
            Self::Compressed(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_none(),
            Self::Upstream(body) => body.is_end_stream(),
            Self::Led(body) => body.is_end_stream(),
            Self::Web(body) => body.is_end_stream(),
            Self::Compressed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Upstream(body) => body.size_hint(),
            Self::Led(body) => body.size_hint(),
            Self::Web(body) => body.size_hint(),
            Self::Compressed(body) => body.size_hint(),
        }
    }
}

impl From<Infallible> for BodyError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
