//! The body of a backend's answer, and what keeps it coming.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;

use super::{
    http1::Connection,
    http2,
    place::Flight,
    pool::{Pools, Stream},
    timer::{Expired, Timer},
    upload::Upload,
};
use crate::body::BodyError;

/// The body of a backend's answer, and the connection that it comes over. Dropping it before its end closes the connection,
/// or resets the stream.
pub struct UpstreamBody {
    source: Source,
    timer: Timer,
    silence: Option<Silence>,
    _flight: Option<Flight>,
}

pub(super) enum Source {
    /// HTTP/1.1, all of it: the connection is back in its pool already, or closed.
    Whole(Option<Bytes>),
    /// HTTP/1.1: the connection, and where it goes afterwards.
    Driven {
        connection: Box<Connection>,
        pools: Pools,
    },
    Http2 {
        body: http2::Answer,
        _upload: Option<Task>,
        _stream: Stream,
    },
}

/// Ends with this value.
pub(super) struct Task(JoinHandle<()>);

impl Task {
    pub(super) fn spawn(work: impl Future<Output = ()> + 'static) -> Self {
        Self(tokio::task::spawn_local(work))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Tells when neither body has moved for a while. It looks four times in that while, so that pieces cost nothing.
struct Silence {
    quarter: Duration,
    /// Quarters in a row without a piece.
    quiet: u8,
    upload: Upload,
    pieces: u64,
    /// `pieces` and those of the upload, when it looked last.
    seen: (u64, u64),
}

impl Silence {
    fn is_too_long(&mut self) -> bool {
        let now = (self.pieces, self.upload.frames());
        self.quiet = if self.seen == now { self.quiet + 1 } else { 0 };
        self.seen = now;
        self.quiet >= 4
    }
}

/// What an exchange leaves behind when the head of its answer has come.
pub(super) struct Begun {
    pub(super) pools: Pools,
    pub(super) upload: Upload,
    pub(super) timer: Timer,
    pub(super) stream_idle: Option<Duration>,
    pub(super) flight: Flight,
}

impl Source {
    pub(super) fn http1(mut connection: Box<Connection>, begun: &Begun) -> Self {
        connection.send_apart();
        let whole = connection.take_whole();
        if connection.is_idle() {
            begun.pools.put(connection);
            return Self::Whole(whole);
        }
        if connection.decoder().is_over() {
            return Self::Whole(whole); // and the connection is closed
        }
        Self::Driven { connection, pools: begun.pools.clone() }
    }

    /// A request that is still under way has a task of its own.
    pub(super) fn http2(body: http2::Answer, mut pump: http2::Pump, stream: Stream) -> Self {
        let upload = (!pump.is_done()).then(|| Task::spawn(std::future::poll_fn(move |cx| pump.poll(cx))));
        Self::Http2 { body, _upload: upload, _stream: stream }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Whole(data) => Poll::Ready(data.take().map(|data| Ok(Frame::data(data)))),
            Self::Driven { connection, .. } => {
                connection.poll_body(cx).map(|piece| piece.map(|piece| piece.map_err(BodyError::from)))
            }
            Self::Http2 { body, .. } => body.poll(cx).map(|piece| piece.map(|piece| piece.map_err(BodyError::from))),
        }
    }

    fn is_whole(&self) -> bool {
        matches!(self, Self::Whole(_))
    }

    /// After the last piece: a connection that can be used again is; any other is closed.
    fn finish(&mut self) {
        if let Self::Driven { .. } = self
            && let Self::Driven { mut connection, pools } = mem::replace(self, Self::Whole(None))
        {
            connection.rejoin();
            if connection.is_idle() {
                pools.put(connection);
            }
        }
    }

    fn break_off(&mut self) {
        if let Self::Driven { .. } = self {
            *self = Self::Whole(None);
        }
    }
}

impl UpstreamBody {
    pub(super) fn new(source: Source, begun: Begun) -> Self {
        let Begun { upload, mut timer, stream_idle, flight, .. } = begun;
        let silence = stream_idle.filter(|_| !source.is_whole()).map(|limit| {
            let seen = (0, upload.frames());
            Silence { quarter: limit / 4, quiet: 0, upload, pieces: 0, seen }
        });
        timer.start(silence.as_ref().map(|silence| silence.quarter), Expired::Idle);
        Self { source, timer, silence, _flight: Some(flight) }
    }

    /// Of an answer that has none: a 101.
    pub(super) fn none() -> Self {
        Self { source: Source::Whole(None), timer: Timer::default(), silence: None, _flight: None }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        while let (Expired::Idle, Some(silence)) = (ready!(self.timer.poll(cx)), &mut self.silence) {
            if silence.is_too_long() {
                return Poll::Ready(BodyError::Idle);
            }
            self.timer.start(Some(silence.quarter), Expired::Idle);
        }
        Poll::Ready(BodyError::Deadline)
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let piece = match self.source.poll(cx) {
            Poll::Ready(piece) => piece,
            Poll::Pending => Some(Err(ready!(self.poll_timer(cx)))),
        };
        match &piece {
            Some(Ok(_)) if !self.is_end_stream() => {
                if let Some(silence) = &mut self.silence {
                    silence.pieces += 1;
                }
            }
            Some(Ok(_)) | None => self.source.finish(),
            Some(Err(_)) => self.source.break_off(),
        }
        Poll::Ready(piece)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Whole(data) => data.is_none(),
            Source::Driven { connection, .. } => connection.decoder().is_over(),
            Source::Http2 { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(data) => SizeHint::with_exact(data.as_ref().map_or(0, |data| data.len() as u64)),
            Source::Driven { connection, .. } => {
                connection.decoder().left().map_or_else(SizeHint::default, SizeHint::with_exact)
            }
            Source::Http2 { body, .. } => body.size_hint(),
        }
    }
}

/// An answer of which some has been read already.
pub struct Led {
    ahead: Option<Bytes>,
    rest: Box<UpstreamBody>,
}

impl Led {
    pub(crate) fn new(ahead: Bytes, rest: Box<UpstreamBody>) -> Self {
        Self { ahead: Some(ahead), rest }
    }
}

impl Body for Led {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.ahead.take() {
            Some(ahead) => Poll::Ready(Some(Ok(Frame::data(ahead)))),
            None => Pin::new(&mut *self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = self.ahead.as_ref().map_or(0, |ahead| ahead.len() as u64);
        self.rest.size_hint().exact().map_or_else(SizeHint::default, |rest| SizeHint::with_exact(rest + ahead))
    }
}
