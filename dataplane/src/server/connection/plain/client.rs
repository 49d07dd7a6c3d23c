//! The client's end: its socket, what was read of it, and the body that is being read.

use std::{
    cell::RefCell,
    future::Future,
    io, mem,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::io::AsyncReadExt;

use super::End;
use crate::{
    body::BodyError,
    server::stream::Stream,
    upstream::Upload,
    wire::{self, Bounds, Decoder, KnownFields, NotRead, Outgoing, Piece, RequestHead, WireError},
};

/// What is read at once.
const READ: usize = 8 << 10;

/// Of a body: there is more where that came from.
const READ_BODY: usize = 32 << 10;

/// Of a body that nobody reads, in bytes: a longer rest costs more than a new connection.
const READ_OVER: u64 = 64 << 10;

/// One thread has it, in two places: the conversation, and the body of the request that is under way.
pub(in crate::server) struct Client {
    /// `None`: it is somebody else's now.
    stream: Option<Stream>,
    buffer: BytesMut,
    /// Bytes of it that are known to be no whole head.
    partial: usize,
    /// Of the heads before.
    known: KnownFields,
    body: Decoder,
    /// The body was not what its head promised.
    failed: bool,
}

impl Client {
    pub(in crate::server) fn new(stream: Stream) -> Rc<RefCell<Self>> {
        let (buffer, body) = (BytesMut::new(), Decoder::Length(0));
        Rc::new(RefCell::new(Self {
            stream: Some(stream),
            buffer,
            partial: 0,
            known: KnownFields::default(),
            body,
            failed: false,
        }))
    }

    /// The socket, as if nothing that was not taken had been read.
    pub(in crate::server) fn leave(&mut self) -> Option<Stream> {
        let mut stream = self.stream.take()?;
        if !self.buffer.is_empty() {
            stream.unread(&self.buffer);
        }
        Some(stream)
    }

    /// The next request's head. The error: there is none to be read here.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        spare: &mut HeaderMap,
        bounds: Bounds,
    ) -> Poll<Result<RequestHead<Upload>, End>> {
        loop {
            let known = mem::take(&mut self.partial);
            if wire::may_be_whole(&self.buffer, known) || self.buffer.len() >= wire::LONG {
                match wire::read_request(&mut self.buffer, spare, &mut self.known, bounds) {
                    Ok(head) => return Poll::Ready(Ok(head)),
                    Err(NotRead::Unusual) => return Poll::Ready(Err(End::Unusual)),
                    Err(NotRead::Partial) => {}
                }
            }
            self.partial = self.buffer.len();
            match ready!(self.poll_read(cx, READ)) {
                Ok(0) | Err(_) => return Poll::Ready(Err(End::Gone)),
                Ok(_) => {}
            }
        }
    }

    pub(super) fn expect(&mut self, body: Decoder) {
        self.body = body;
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, size: usize) -> Poll<io::Result<usize>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(0)) };
        // The memory of the last head, as soon as nobody reads in it any more.
        self.buffer.reserve(size.saturating_sub(self.buffer.len()).max(1024));
        pin!(stream.read_buf(&mut self.buffer)).poll(cx)
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, outgoing: &mut Outgoing) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Some(stream) => outgoing.poll_write(cx, Pin::new(stream)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// Whether the client has closed, as far as one can see without holding what it sends ahead.
    pub(super) fn is_gone(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(stream) = &self.stream else { return true };
        if !self.body.is_over() || !self.buffer.is_empty() || stream.poll_readable(cx).is_pending() {
            return false;
        }
        matches!(self.poll_read(cx, READ), Poll::Ready(Ok(0) | Err(_)))
    }

    /// Whether there will be a next request, as far as one can tell when the answer begins: who is told nothing sends one, and
    /// would lose it. What nobody reads of a body is read over if it is short; one that somebody reads may yet come to its end.
    pub(super) fn goes_on(client: &Rc<RefCell<Self>>) -> bool {
        let is_read = Rc::strong_count(client) > 1; // by a `ClientBody`
        let client = &mut *client.borrow_mut();
        if !is_read {
            client.pass_over();
        }
        !client.failed && (is_read || client.body.is_over() || client.is_short())
    }

    /// Whether the next request can be read: the body before it is over, or what is left of it is here.
    pub(super) fn is_ready(&mut self) -> bool {
        self.pass_over();
        if let (Some(stream), false) = (&self.stream, self.buffer.is_empty()) {
            stream.head_begins();
        }
        self.body.is_over() && !self.failed
    }

    /// Reads over the short rest of a body. False: there will be no next request.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        while !self.is_ready() {
            if self.failed || !self.is_short() || !matches!(ready!(self.poll_read(cx, READ)), Ok(1..)) {
                return Poll::Ready(false);
            }
        }
        Poll::Ready(true)
    }

    /// Takes what is here of a body that nobody reads.
    fn pass_over(&mut self) {
        while let Ok(Piece::Data(_) | Piece::Trailers(_)) = self.body.decode(&mut self.buffer) {}
    }

    /// What is left of the body is not worth a connection.
    fn is_short(&self) -> bool {
        self.body.left().is_some_and(|left| left <= READ_OVER)
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, WireError>> {
        loop {
            match self.body.decode(&mut self.buffer)? {
                Piece::Wanting => {}
                piece => return Poll::Ready(Ok(piece)),
            }
            if ready!(self.poll_read(cx, READ_BODY))? == 0 {
                self.body.closed()?;
            }
        }
    }
}

/// The body of the request that is under way.
pub(crate) struct ClientBody(Rc<RefCell<Client>>);

impl ClientBody {
    pub(super) fn of(client: &Rc<RefCell<Client>>) -> Self {
        Self(Rc::clone(client))
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let client = &mut *self.0.borrow_mut();
        let piece = ready!(client.poll_piece(cx));
        client.failed |= piece.is_err();
        Poll::Ready(match piece {
            Ok(Piece::Data(data)) => Some(Ok(Frame::data(data))),
            Ok(Piece::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
            Ok(Piece::End | Piece::Wanting) => None,
            Err(error) => Some(Err(BodyError::ClientWire(error))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.borrow().body.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.borrow().body.left().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
