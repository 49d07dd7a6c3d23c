//! The socket below an HTTP/1.1 connection, and what it has seen of the exchange that goes on over it.

use std::{
    cell::{Cell, RefCell},
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Heads beyond this are not kept for a second try.
const KEPT_HEAD: usize = 128 << 10;

/// A TCP connection that is watched.
pub(super) struct Socket {
    stream: TcpStream,
    seen: Rc<Seen>,
}

/// What has happened on a socket since [`Seen::begin`].
#[derive(Default)]
pub(super) struct Seen {
    written: Cell<bool>,
    received: Cell<usize>,
    probe: Cell<bool>,
    keep: Cell<bool>,
    head: RefCell<Vec<u8>>,
}

impl Seen {
    /// A new exchange begins. `probe`: ask the kernel once whether the connection still lives, rather than trust what
    /// the event loop knows so far.
    pub(super) fn begin(&self, probe: bool) {
        self.written.set(false);
        self.received.set(0);
        self.probe.set(probe);
        self.keep.set(true);
        self.head.borrow_mut().clear();
    }

    /// Some of the request has been given to the kernel.
    pub(super) fn written(&self) -> bool {
        self.written.get()
    }

    /// How many bytes of an answer have arrived.
    pub(super) fn received(&self) -> usize {
        self.received.get()
    }

    /// The first bytes of the request as they were to be written, the whole head among them: a copy of some hundred
    /// bytes costs a tenth of a copy of the header map, and it is parsed only when a request is sent again.
    pub(super) fn head(&self) -> Vec<u8> {
        self.head.take()
    }

    fn keep(&self, bytes: &[u8]) {
        let mut head = self.head.borrow_mut();
        if self.keep.get() && head.len() + bytes.len() <= KEPT_HEAD {
            head.extend_from_slice(bytes);
        }
        self.keep.set(false);
    }
}

impl Socket {
    pub(super) fn new(stream: TcpStream, seen: Rc<Seen>) -> Self {
        Self { stream, seen }
    }

    /// Whether something has come that nobody asked for: the end, or bytes.
    fn probe(&self) -> Poll<io::Result<()>> {
        match SockRef::from(&self.stream).peek(&mut [MaybeUninit::uninit()]) {
            Ok(0) => Poll::Ready(Ok(())),
            Ok(_) => Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "bytes that nobody asked for"))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.seen.probe.take()
            && let Poll::Ready(found) = self.probe()
        {
            return Poll::Ready(found);
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.seen.received.set(self.seen.received.get() + buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.seen.keep(buf);
        let count = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.seen.written.set(true);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // The head is always the first slice of the first write, and whole in it.
        if let Some(first) = bufs.first() {
            self.seen.keep(first);
        }
        let count = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        self.seen.written.set(true);
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
