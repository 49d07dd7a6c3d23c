//! After a 101: bytes both ways, until both sides have finished or nothing moves.

use std::{
    cell::Cell,
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional};

use super::{
    place::{Flight, Place},
    socket::Socket,
};

/// The life of a tunnel, to be run beside the connection that it came from. It begins when the client has its 101.
pub type Tunnel = Pin<Box<dyn Future<Output = ()>>>;

/// What stands at the backend's end of a tunnel. It counts as a request and as a connection as long as it lasts.
pub(super) struct Backend {
    pub(super) socket: Socket,
    /// What it has sent behind its 101 already.
    pub(super) ahead: Bytes,
    pub(super) place: Place,
    pub(super) flight: Flight,
}

/// `idle`: closed when nothing has moved for that long.
pub(super) fn dig(client: OnUpgrade, backend: Backend, idle: Option<Duration>) -> Tunnel {
    // The outcome is dropped: client and backend both see their connection close, and nobody else asks.
    Box::pin(async move { drop(run(client, backend, idle).await) })
}

async fn run(client: OnUpgrade, backend: Backend, idle: Option<Duration>) -> io::Result<()> {
    let Backend { socket, ahead, place: _place, flight: _flight } = backend;
    let moved = Rc::<Cell<u64>>::default();
    let client = client.await.map_err(io::Error::other)?;
    let mut client = Watched { io: TokioIo::new(client), moved: Rc::clone(&moved) };
    let mut backend = Watched { io: socket, moved: Rc::clone(&moved) };
    let copy = async {
        client.write_all(&ahead).await?;
        // A side that has finished is told on, and the other may go on.
        copy_bidirectional(&mut client, &mut backend).await.map(drop)
    };
    let copy = pin!(copy);
    match idle {
        None => copy.await,
        Some(limit) => tokio::select! {
            copied = copy => copied,
            () = silence(&moved, limit) => Err(io::ErrorKind::TimedOut.into()),
        },
    }
}

/// Returns when nothing has moved for `limit`, at most a quarter of it later.
async fn silence(moved: &Cell<u64>, limit: Duration) {
    let (mut seen, mut quiet) = (moved.get(), 0);
    while quiet < 4 {
        tokio::time::sleep(limit / 4).await;
        quiet = if seen == moved.get() { quiet + 1 } else { 0 };
        seen = moved.get();
    }
}

/// Counts what is read.
struct Watched<T> {
    io: T,
    moved: Rc<Cell<u64>>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        self.moved.set(self.moved.get() + 1);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
