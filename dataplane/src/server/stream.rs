//! A client's socket with or without TLS, and the pulse of what moves over it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use super::{
    fragment::{Cuts, Scan},
    refusal::{self, Malformed},
};

/// What is read from a plain connection to learn which protocol it speaks.
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The socket, what was read of it too early, and its pulse.
pub(super) struct Stream {
    io: Io,
    early: BytesMut,
    pulse: Arc<Pulse>,
    /// Written in place of so many bytes that were to be.
    instead: Option<(Bytes, usize)>,
    malformed: Option<Box<Malformed>>,
    /// HTTP/1.1 alone.
    scan: Option<Scan>,
}

impl Stream {
    /// `early` is read before the rest.
    pub(super) fn new(io: Io, early: BytesMut, pulse: Arc<Pulse>) -> Self {
        Self { io, early, pulse, instead: None, malformed: None, scan: None }
    }

    /// Whether targets with a fragment are to be told of.
    pub(super) fn scan(&mut self, told: bool) {
        self.scan = told.then(Scan::default);
    }

    /// The head that the parser refused, which ended the connection.
    pub(super) fn malformed(&mut self) -> Option<Box<Malformed>> {
        self.malformed.take()
    }

    /// What was read is to be read once more, from the beginning of a head.
    pub(super) fn unread(&mut self, bytes: &[u8]) {
        self.scan = self.scan.as_ref().map(|_| Scan::default());
        let mut early = BytesMut::from(bytes);
        early.extend_from_slice(&self.early);
        self.early = early;
    }

    /// Some of a head has been read already.
    pub(super) fn head_begins(&self) {
        self.pulse.head.store(true, Relaxed);
    }

    /// While no request is under way, what is written may be a refusal by the parser, which becomes one of ours.
    fn replace(&mut self, bytes: &[u8]) -> bool {
        if self.instead.is_none()
            && self.pulse.phase() != Phase::Busy
            && let Some((instead, malformed)) = refusal::instead_of(bytes)
        {
            self.instead = Some((instead, bytes.len()));
            self.malformed = Some(Box::new(malformed));
        }
        self.instead.is_some()
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.early.is_empty() {
            let count = self.early.len().min(buffer.remaining());
            buffer.put_slice(&self.early.split_to(count));
            if self.early.is_empty() {
                self.early = BytesMut::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = match &mut self.io {
            Io::Plain(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Io::Tls(tls) => Pin::new(tls).poll_read(cx, buffer),
        };
        if buffer.filled().len() > before {
            self.pulse.read();
        }
        read
    }

    fn poll_instead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        while let Some((instead, _)) = self.instead.as_mut().filter(|(instead, _)| instead.has_remaining()) {
            let written = match &mut self.io {
                Io::Plain(tcp) => Pin::new(tcp).poll_write(cx, instead),
                Io::Tls(tls) => Pin::new(tls).poll_write(cx, instead),
            };
            self.pulse.wrote(written.is_ready());
            instead.advance(ready!(written)?);
        }
        Poll::Ready(Ok(self.instead.take().map_or(0, |(_, length)| length)))
    }

    /// Whether reading is worth a try. After an idle time, nothing is left that has been read of the socket and not yet from here.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.early.is_empty() {
            return Poll::Ready(());
        }
        let tcp = match &self.io {
            Io::Plain(tcp) => tcp,
            Io::Tls(tls) => tls.get_ref().0,
        };
        // An error will be read too.
        tcp.poll_read_ready(cx).map(drop)
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = self.poll_bytes(cx, buffer);
        let Self { scan, pulse, .. } = &mut *self;
        if let (Some(scan), Some(bytes @ [_, ..])) = (scan, buffer.filled().get(before..)) {
            scan.read(bytes, &pulse.cuts);
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.replace(bytes) {
            return self.poll_instead(cx);
        }
        let written = match &mut self.io {
            Io::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Io::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        };
        self.pulse.wrote(written.is_ready());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(only) = slices.iter().find(|slice| !slice.is_empty())
            && self.replace(only)
        {
            return self.poll_instead(cx);
        }
        let written = match &mut self.io {
            Io::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, slices),
            Io::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, slices),
        };
        self.pulse.wrote(written.is_ready());
        written
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(tcp) => tcp.is_write_vectored(),
            Io::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = match &mut self.io {
            Io::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Io::Tls(tls) => Pin::new(tls).poll_flush(cx),
        };
        if flushed.is_pending() {
            self.pulse.wrote(false);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = match &mut self.io {
            Io::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Io::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        };
        if closed.is_pending() {
            self.pulse.wrote(false);
        }
        closed
    }
}

/// What happens on a connection, told without a clock: whoever watches it looks from time to time whether it has changed.
/// One thread writes it; it is atomic because an upgraded connection has to be `Send`.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// Requests and answers that are under way.
    open: AtomicU32,
    /// Something was read while nothing was under way: a head has begun.
    head: AtomicBool,
    /// The client does not take what is written.
    blocked: AtomicBool,
    /// Counts exchanges and writes.
    beats: AtomicU32,
    /// Targets that had a fragment.
    pub(super) cuts: Cuts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing is under way.
    Idle,
    /// A head has begun and is not complete.
    Head,
    Busy,
}

impl Pulse {
    /// As a connection begins: the first head is awaited.
    pub(super) fn new() -> Arc<Self> {
        let pulse = Self::default();
        pulse.head.store(true, Relaxed);
        Arc::new(pulse)
    }

    pub(super) fn phase(&self) -> Phase {
        if self.open.load(Relaxed) > 0 {
            Phase::Busy
        } else if self.head.load(Relaxed) {
            Phase::Head
        } else {
            Phase::Idle
        }
    }

    /// The connection is idle until a request comes, whatever is read meanwhile.
    pub(super) fn rest(&self) {
        self.head.store(false, Relaxed);
    }

    pub(super) fn beats(&self) -> u32 {
        self.beats.load(Relaxed)
    }

    pub(super) fn blocked(&self) -> bool {
        self.blocked.load(Relaxed)
    }

    fn read(&self) {
        if self.open.load(Relaxed) == 0 {
            self.head.store(true, Relaxed);
        }
    }

    fn wrote(&self, done: bool) {
        self.blocked.store(!done, Relaxed);
        if done {
            self.beat();
        }
    }

    fn beat(&self) {
        self.beats.store(self.beats.load(Relaxed).wrapping_add(1), Relaxed);
    }
}

/// One exchange that is under way: it is over when all its copies are gone.
#[derive(Debug)]
pub struct Open(Arc<Pulse>);

impl Open {
    pub(super) fn new(pulse: &Arc<Pulse>) -> Self {
        pulse.head.store(false, Relaxed);
        pulse.open.fetch_add(1, Relaxed);
        pulse.beat();
        Self(Arc::clone(pulse))
    }
}

impl Clone for Open {
    fn clone(&self) -> Self {
        Self::new(&self.0)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
        self.0.beat();
    }
}
