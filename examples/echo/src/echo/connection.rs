//! Connections: accepted, sniffed, driven, closed.

use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use hyper::{
    Request,
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::sleep,
};

use super::{Phase, Run, answer};

/// What a client of HTTP/2 says first (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// As large as HTTP/1.1 takes it here, so that a gateway meets one bound.
const MAX_HEADER_LIST: u32 = 400 * 1024;
/// How long a connection that has asked nothing yet may still ask when we stop: its first request is on its way, and a
/// client must not send it again on another connection, for this one was fresh.
const LAST_CALL: Duration = Duration::from_secs(1);

pub(super) async fn accept(listener: TcpListener, run: Run) {
    accept_from(&listener, &run).await;
    // In this order: who sees that nobody holds a `Run` may listen here again.
    drop(listener);
    drop(run);
}

async fn accept_from(listener: &TcpListener, run: &Run) {
    loop {
        // Those first that wait already: to the kernel's eye they are open.
        let accepted = tokio::select! {
            biased;
            () = run.until(Phase::Stopped) => return,
            accepted = listener.accept() => accepted,
            () = run.until(Phase::Stopping) => return,
        };
        match accepted {
            Ok((stream, _)) => drop(tokio::spawn(serve(stream, Open::new(run.clone())))),
            // Out of descriptors, or the peer has gone again: others get their turn first.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

/// A connection in the counts, for as long as anything of it is held.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) run: Run,
    /// Its place in the order of acceptance, from 1.
    pub(super) number: u64,
}

impl Open {
    fn new(run: Run) -> Arc<Self> {
        let mut number = 0;
        run.site.counts.send_modify(|counts| {
            counts.connections_open += 1;
            counts.connections_total += 1;
            number = counts.connections_total;
        });
        Arc::new(Self { run, number })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.run.site.counts.send_modify(|counts| counts.connections_open -= 1);
    }
}

async fn serve(stream: TcpStream, open: Arc<Open>) {
    let run = open.run.clone();
    // Small answers must not wait for acknowledgements. A peer that has gone already shows itself when we read.
    drop(stream.set_nodelay(true));
    let sniffed = tokio::select! {
        biased;
        () = run.until(Phase::Stopped) => return,
        () = last_call(&run) => return,
        sniffed = sniff(stream) => sniffed,
    };
    let Ok((stream, two)) = sniffed else { return };
    let io = TokioIo::new(stream);
    let held = Arc::clone(&open);
    let service = service_fn(move |request: Request<Incoming>| answer::answer(request, Arc::clone(&held)));
    if two {
        let connection = http2::Builder::new(TokioExecutor::new())
            .max_header_list_size(MAX_HEADER_LIST)
            .serve_connection(io, service);
        drive(connection, run, http2::Connection::graceful_shutdown).await;
    } else {
        let connection = http1::Builder::new().header_read_timeout(None).serve_connection(io, service).with_upgrades();
        drive(connection, run, http1::UpgradeableConnection::graceful_shutdown).await;
    }
    drop(open);
}

/// A broken connection is the peer's business: nobody is told.
async fn drive<C: Future>(connection: C, run: Run, stop: impl FnOnce(Pin<&mut C>)) {
    let mut connection = pin!(connection);
    tokio::select! {
        // First the connection, so that it has read what has arrived: one that has read nothing is closed unheard.
        biased;
        _ = connection.as_mut() => return,
        () = run.until(Phase::Stopping) => stop(connection.as_mut()),
    }
    tokio::select! {
        biased;
        () = run.until(Phase::Stopped) => {}
        _ = connection => {}
    }
}

async fn last_call(run: &Run) {
    run.until(Phase::Stopping).await;
    sleep(LAST_CALL).await;
}

/// Whether the peer speaks HTTP/2: as soon as one byte differs from the preface, it does not.
async fn sniff(mut stream: TcpStream) -> io::Result<(Rewound, bool)> {
    let mut head = BytesMut::with_capacity(PREFACE.len());
    while head.len() < PREFACE.len() && PREFACE.starts_with(&head) {
        if stream.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    let two = head.starts_with(PREFACE);
    Ok((Rewound { head: head.freeze(), stream }, two))
}

/// A stream whose first bytes were read already.
#[derive(Debug)]
struct Rewound {
    head: Bytes,
    stream: TcpStream,
}

impl AsyncRead for Rewound {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.head.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let some = self.head.len().min(buffer.remaining());
        buffer.put_slice(&self.head[..some]);
        self.head.advance(some);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
