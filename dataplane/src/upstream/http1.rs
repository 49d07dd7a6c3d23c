//! One HTTP/1.1 connection to a backend, driven by whoever has it.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io, mem,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker, ready},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Frame;
use tokio::{
    io::AsyncReadExt,
    net::{TcpSocket, TcpStream},
};

use super::{
    attempt::{Broken, Why},
    endpoint::Endpoint,
    place::Place,
    sending::Sending,
    socket::{Reading, Socket, Writing},
    timer::Timer,
    upload::Upload,
};
use crate::{
    request::Ours,
    upstream::{answer::Task, sending},
    wire::{self, Answer, AnswerHead, Decoder, KnownAnswer, Piece, WireError},
};

/// Of an answer's head; also the largest piece of a body that is read at once.
const BUFFER: usize = 64 << 10;

/// What is read at once, to begin with.
const READ: usize = 8 << 10;

/// Of interim answers (1xx, which end here) before the final one, bytes.
const INTERIM: usize = 256 << 10;

/// A head fits into the buffer.
const BOUNDS: wire::AnswerBounds =
    wire::AnswerBounds { head: BUFFER, trailers: wire::Bounds { bytes: 16 << 10, fields: 100 } };

/// A connection between uses is in its worker's pool, and nobody polls it.
pub(super) struct Connection {
    io: Io,
    /// What was read and not yet taken.
    buffer: BytesMut,
    /// Bytes of it that are known to be no whole head.
    partial: usize,
    /// Of the heads before.
    known: KnownAnswer,
    /// How much is read at once.
    read: usize,
    sending: Sending,
    /// Of the answer that is being read.
    decoder: Decoder,
    /// The backend takes another request over it.
    keep: bool,
    /// It has had an exchange before.
    used: bool,
    /// It has no other after that.
    single: bool,
    spare: HeaderMap,
    pub(super) endpoint: Weak<Endpoint>,
    pub(super) endpoint_id: u64,
    place: Place,
}

enum Io {
    Whole(Socket),
    /// The answer has begun before the request was sent to its end: the rest of it has a task of its own, for a reader that
    /// waits for the one before it goes on with the other must not hold up either.
    Read {
        half: Reading,
        sent: Rc<RefCell<Option<Sent>>>,
        _rest: Task,
    },
    /// In between, and after a panic.
    Nowhere,
}

/// The half that a request was sent over to its end.
struct Sent {
    half: Writing,
    sending: Sending,
}

/// Opens a socket. Its answers are to be sent on at once, so Nagle's algorithm is off.
pub(super) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_nodelay(true)?;
    socket.connect(address).await
}

impl Connection {
    /// `single`: it serves one request.
    pub(super) fn over(stream: Socket, endpoint: &Arc<Endpoint>, place: Place, single: bool) -> Box<Self> {
        Box::new(Self {
            io: Io::Whole(stream),
            buffer: BytesMut::new(),
            partial: 0,
            known: KnownAnswer::default(),
            read: READ,
            sending: Sending::default(),
            decoder: Decoder::Length(0),
            keep: true,
            used: false,
            single,
            spare: HeaderMap::new(),
            endpoint: Arc::downgrade(endpoint),
            endpoint_id: endpoint.id,
            place,
        })
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
    pub(super) fn into_tunnel(self) -> Option<(Socket, Bytes, Place)> {
        match self.io {
            Io::Whole(stream) if self.sending.is_over() => Some((stream, self.buffer.freeze(), self.place)),
            Io::Whole(_) | Io::Read { .. } | Io::Nowhere => None,
        }
    }

    /// Sends the request and waits for the head of its answer, whose body is read with [`Self::poll_body`]. Dropping the
    /// future closes the connection.
    pub(super) async fn exchange(
        &mut self,
        request: &mut Request<Upload>,
        ours: Option<&Ours<'_>>,
        upgradable: bool,
        timer: &mut Timer,
    ) -> Result<Response<()>, Broken<bool>> {
        let harmless = request.body().is_empty() && request.method().is_idempotent();
        let reused = mem::replace(&mut self.used, true);
        let mut received = 0;
        self.keep = false; // until the answer says otherwise
        self.sending.begin(request, ours);
        let method = request.method();
        let mut fresh = reused;
        let outcome = poll_fn(|cx| {
            if mem::take(&mut fresh) && self.is_stale(cx, !harmless) {
                return Poll::Ready(Err(Why::Closed));
            }
            self.poll_exchange(cx, method, &mut received, timer)
        })
        .await;
        let why = match outcome {
            Ok(head) if head.answer.status() == StatusCode::SWITCHING_PROTOCOLS && !upgradable => Why::Garbage,
            Ok(head) => {
                (self.decoder, self.keep) = (head.body, head.keep);
                // The next answer's fields go where the request's were.
                mem::swap(&mut self.spare, request.headers_mut());
                wire::empty(&mut self.spare);
                return Ok(head.answer);
            }
            Err(why) => why,
        };
        let written = self.sending.has_begun();
        let again = why != Why::Unsendable && (harmless || (!written && request.body().rewind()));
        Err(Broken { why, again, resend: reused && why == Why::Closed && again, written })
    }

    /// Whether something has come that nobody asked for: the end, or bytes. What cannot be sent again had better not be sent
    /// to a dead connection: then the kernel is asked (`probe`), rather than only the event loop.
    fn is_stale(&mut self, cx: &mut Context<'_>, probe: bool) -> bool {
        let Io::Whole(stream) = &mut self.io else { return true };
        !self.buffer.is_empty() || stream.has_come(cx) || (probe && stream.has_come_by_now())
    }

    fn poll_exchange(
        &mut self,
        cx: &mut Context<'_>,
        method: &Method,
        received: &mut usize,
        timer: &mut Timer,
    ) -> Poll<Result<AnswerHead, Why>> {
        let Io::Whole(stream) = &mut self.io else { return Poll::Ready(Err(Why::Closed)) };
        let sent = self.sending.poll(cx, Pin::new(stream));
        if let Poll::Ready(Err(sending::Failed::Body)) = sent {
            return Poll::Ready(Err(Why::Unsendable));
        }
        if let Poll::Ready(head) = self.poll_head(cx, method, received) {
            return Poll::Ready(head);
        }
        if let Poll::Ready(Err(_)) = sent {
            return Poll::Ready(Err(Why::Closed)); // and it has left no answer
        }
        timer.poll(cx).map(|expired| Err(Why::Expired(expired)))
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        method: &Method,
        received: &mut usize,
    ) -> Poll<Result<AnswerHead, Why>> {
        loop {
            let answer =
                match wire::may_be_whole(&self.buffer, mem::take(&mut self.partial)) || self.buffer.len() >= BUFFER {
                    true => wire::read_answer(&mut self.buffer, &mut self.spare, &mut self.known, method, BOUNDS),
                    false => Answer::Partial,
                };
            match answer {
                Answer::Final(head) => return Poll::Ready(Ok(head)),
                Answer::Garbage => return Poll::Ready(Err(Why::Garbage)),
                Answer::Interim if *received > INTERIM => return Poll::Ready(Err(Why::Garbage)),
                Answer::Interim => continue,
                Answer::Partial => self.partial = self.buffer.len(),
            }
            match ready!(self.poll_read(cx)) {
                Ok(0) | Err(_) if *received == 0 => return Poll::Ready(Err(Why::Closed)),
                Ok(0) | Err(_) => return Poll::Ready(Err(Why::Garbage)),
                Ok(count) => *received += count,
            }
        }
    }

    /// Reads what is there, as much as there is room for; 0: the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.buffer.reserve(self.read);
        let count = ready!(match &mut self.io {
            Io::Whole(stream) => pin!(stream.read_buf(&mut self.buffer)).poll(cx),
            Io::Read { half, .. } => pin!(half.read_buf(&mut self.buffer)).poll(cx),
            Io::Nowhere => Poll::Ready(Ok(0)),
        })?;
        if count >= self.read {
            self.read = (self.read * 2).min(BUFFER);
        }
        Poll::Ready(Ok(count))
    }

    /// What is left of the body, if all of it has come already.
    pub(super) fn take_whole(&mut self) -> Option<Bytes> {
        match self.decoder {
            Decoder::Length(left) if left > 0 && left <= self.buffer.len() as u64 => {
                self.decoder = Decoder::Length(0);
                // Invariant: no more than the buffer's length.
                Some(self.buffer.split_to(left as usize).freeze())
            }
            _ => None,
        }
    }

    /// The next piece of an answer's body.
    pub(super) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, WireError>>> {
        loop {
            match self.decoder.decode(&mut self.buffer) {
                Ok(Piece::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Piece::Trailers(trailers)) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Ok(Piece::End) => return Poll::Ready(None),
                Ok(Piece::Wanting) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
            let read = ready!(self.poll_read(cx)).map_err(WireError::from);
            let read = read.and_then(|count| if count == 0 { self.decoder.closed() } else { Ok(()) });
            if let Err(error) = read {
                return Poll::Ready(Some(Err(error)));
            }
        }
    }

    /// Of the body that is being read.
    pub(super) fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// The rest of the request, if there is any, is sent beside the answer.
    pub(super) fn send_apart(&mut self) {
        if self.sending.is_over() {
            return;
        }
        self.io = match mem::replace(&mut self.io, Io::Nowhere) {
            Io::Whole(stream) => {
                let (half, mut writing) = stream.into_split();
                let mut sending = mem::take(&mut self.sending);
                let sent = Rc::<RefCell<Option<Sent>>>::default();
                let done = Rc::clone(&sent);
                let rest = async move {
                    // If it fails, our side is closed: the backend will not wait for the rest.
                    if poll_fn(|cx| sending.poll(cx, Pin::new(&mut writing))).await.is_ok() {
                        done.replace(Some(Sent { half: writing, sending }));
                    }
                };
                Io::Read { half, sent, _rest: Task::spawn(rest) }
            }
            other => other,
        };
    }

    /// After the end of the answer: one connection again, if all of the request has been sent.
    pub(super) fn rejoin(&mut self) {
        if let Io::Read { sent, .. } = &self.io
            && let Some(Sent { half: writing, sending }) = sent.take()
            && let Io::Read { half, .. } = mem::replace(&mut self.io, Io::Nowhere)
            && let Some(stream) = Socket::reunite(half, writing)
        {
            (self.io, self.sending) = (Io::Whole(stream), sending);
        }
    }

    /// The exchange is over on both sides, and nothing speaks against the next.
    pub(super) fn is_idle(&self) -> bool {
        let whole = matches!(self.io, Io::Whole(_));
        whole && self.keep && !self.single && self.sending.is_over() && self.decoder.is_over() && self.buffer.is_empty()
    }

    /// Whether an idle connection is still good, as far as the event loop knows: no system call while nothing has come.
    pub(super) fn is_alive(&mut self) -> bool {
        let mut unwoken = Context::from_waker(Waker::noop());
        self.is_idle()
            && match &mut self.io {
                Io::Whole(stream) => !stream.has_come(&mut unwoken),
                Io::Read { .. } | Io::Nowhere => false,
            }
    }

    /// Gives back what the next exchange is not likely to need.
    pub(super) fn shrink(&mut self) {
        if self.read > READ {
            self.buffer = BytesMut::new();
            self.read = READ;
        }
    }
}
