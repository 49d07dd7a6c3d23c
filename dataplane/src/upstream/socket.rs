//! The bytes between the gateway and a backend, plain or over TLS.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf, ReadHalf, WriteHalf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use tokio_rustls::client::TlsStream;

#[derive(Debug)]
pub(super) enum Socket {
    Plain(TcpStream),
    Tls(Box<Secured>),
}

#[derive(Debug)]
pub(super) struct Secured {
    stream: TlsStream<TcpStream>,
    /// There are records that the kernel had no room for. Whoever reads writes them: nobody asks for an answer and does not
    /// read it.
    behind: bool,
}

pub(super) enum Reading {
    Plain(OwnedReadHalf),
    Tls(ReadHalf<Secured>),
}

pub(super) enum Writing {
    Plain(OwnedWriteHalf),
    Tls(WriteHalf<Secured>),
}

impl From<TlsStream<TcpStream>> for Socket {
    fn from(stream: TlsStream<TcpStream>) -> Self {
        Self::Tls(Box::new(Secured { stream, behind: false }))
    }
}

impl Socket {
    pub(super) fn into_split(self) -> (Reading, Writing) {
        match self {
            Self::Plain(stream) => {
                let (reading, writing) = stream.into_split();
                (Reading::Plain(reading), Writing::Plain(writing))
            }
            Self::Tls(stream) => {
                let (reading, writing) = tokio::io::split(*stream);
                (Reading::Tls(reading), Writing::Tls(writing))
            }
        }
    }

    /// `None`: they are not of one socket.
    pub(super) fn reunite(reading: Reading, writing: Writing) -> Option<Self> {
        match (reading, writing) {
            (Reading::Plain(reading), Writing::Plain(writing)) => reading.reunite(writing).ok().map(Self::Plain),
            (Reading::Tls(reading), Writing::Tls(writing)) if reading.is_pair_of(&writing) => {
                Some(Self::Tls(Box::new(reading.unsplit(writing))))
            }
            _ => None,
        }
    }

    /// Whether something has come that nobody asked for, be it the end, as far as the event loop knows. What TLS says to itself
    /// does not count.
    pub(super) fn has_come(&mut self, cx: &mut Context<'_>) -> bool {
        match self {
            // It need not wake anybody: who waits for an answer asks to be woken then.
            Self::Plain(stream) => !is_blocked(&stream.try_io(Interest::READABLE, || peek(stream))),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, &mut ReadBuf::new(&mut [0])).is_ready(),
        }
    }

    /// The same, as the kernel knows it.
    pub(super) fn has_come_by_now(&self) -> bool {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.stream.get_ref().0,
        };
        !is_blocked(&peek(stream))
    }
}

fn peek(stream: &TcpStream) -> io::Result<usize> {
    SockRef::from(stream).peek(&mut [MaybeUninit::uninit()])
}

fn is_blocked(peeked: &io::Result<usize>) -> bool {
    matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

impl AsyncRead for Secured {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.behind {
            // How it fails, reading tells too.
            self.behind = !matches!(Pin::new(&mut self.stream).poll_flush(cx), Poll::Ready(Ok(())));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.behind = !matches!(Pin::new(&mut self.stream).poll_flush(cx), Poll::Ready(Ok(())));
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.behind = !matches!(Pin::new(&mut self.stream).poll_flush(cx), Poll::Ready(Ok(())));
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
        }
    }
}

impl AsyncRead for Reading {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(half) => Pin::new(half).poll_read(cx, buf),
            Self::Tls(half) => Pin::new(half).poll_read(cx, buf),
        }
    }
}

macro_rules! write_through {
    ($type:ty) => {
        impl AsyncWrite for $type {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    Self::Plain(io) => Pin::new(io).poll_write(cx, buf),
                    Self::Tls(io) => Pin::new(io).poll_write(cx, buf),
                }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    Self::Plain(io) => Pin::new(io).poll_write_vectored(cx, bufs),
                    Self::Tls(io) => Pin::new(io).poll_write_vectored(cx, bufs),
                }
            }

            fn is_write_vectored(&self) -> bool {
                match self {
                    Self::Plain(io) => io.is_write_vectored(),
                    Self::Tls(io) => io.is_write_vectored(),
                }
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    Self::Plain(io) => Pin::new(io).poll_flush(cx),
                    Self::Tls(io) => Pin::new(io).poll_flush(cx),
                }
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    Self::Plain(io) => Pin::new(io).poll_shutdown(cx),
                    Self::Tls(io) => Pin::new(io).poll_shutdown(cx),
                }
            }
        }
    };
}

write_through!(Socket);
write_through!(Writing);
