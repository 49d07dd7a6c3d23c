//! HTTP/1.1 on a connection that is open.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{io::AsyncReadExt, time::Instant};

use super::{
    super::stream::{Phase, Stream},
    exchange::{Closing, Line},
    watchdog::{Verdict, Watchdog},
};
use crate::Bounds;

pub(in crate::server) fn builder(bounds: &Bounds) -> http1::Builder {
    let mut http1 = http1::Builder::new();
    http1
        .timer(TokioTimer::new())
        // Ours: the watchdog knows an idle connection from a slow head.
        .header_read_timeout(None)
        .max_buf_size(bounds.max_header_bytes.max(8 << 10))
        .max_headers(bounds.max_headers)
        .max_header_size(bounds.max_header_bytes)
        // A client that has closed wants no answer any more: the backend is not kept busy for it.
        .half_close(false);
    http1
}

/// What came of a time of being served.
enum Left {
    Done(hyper::Result<()>),
    Expired,
    Idle,
}

pub(super) async fn serve(line: Line, mut stream: Stream, deadline: Instant) {
    let mut watchdog = Watchdog::new(&line.worker.settings.bounds, Some(deadline));
    let mut closing = Closing::new(&line.worker);
    stream.scan();
    loop {
        let service = service_fn(|request: Request<Incoming>| line.answer(request, None));
        let served = line.worker.http1.serve_connection(TokioIo::new(stream), service).with_upgrades();
        // Apart, so that an idle connection's task is small.
        let mut served = Box::new(served);
        let left = poll_fn(|cx| {
            if let Poll::Ready(done) = Pin::new(&mut *served).poll(cx) {
                return Poll::Ready(Left::Done(done));
            }
            if closing.begins(cx) {
                // Not hyper's graceful shutdown: that would close on a client that is just about to send. While closing,
                // every answer says `Connection: close`.
                watchdog.hurry();
            }
            watchdog.poll(cx, &line.pulse, line.pulse.phase()).map(|verdict| match verdict {
                Verdict::Close => Left::Expired,
                Verdict::Rest => Left::Idle,
            })
        });
        let left = left.await;
        if let Left::Done(Err(error)) = &left {
            tracing::debug!(peer = %line.connection.peer, %error, "a connection broke");
        }
        // `None`: it is a tunnel now.
        let Some(parts) = served.into_parts() else { return };
        let mut io = parts.io.into_inner();
        match left {
            Left::Done(_) => {
                if let Some(malformed) = io.malformed() {
                    line.malformed(&malformed);
                }
                return linger(io).await;
            }
            Left::Expired => return,
            Left::Idle => io.unread(&parts.read_buf),
        }
        stream = io;
        if !rest(&line, &stream, &mut watchdog, &mut closing).await {
            return;
        }
    }
}

/// Holds nothing of an idle connection but its socket: neither buffers nor the state of a protocol. Returns when there is
/// something to read; false: it was idle for too long.
async fn rest(line: &Line, stream: &Stream, watchdog: &mut Watchdog, closing: &mut Closing<'_>) -> bool {
    poll_fn(|cx| {
        if stream.poll_readable(cx).is_ready() {
            return Poll::Ready(true);
        }
        if closing.begins(cx) {
            watchdog.hurry();
        }
        loop {
            match watchdog.poll(cx, &line.pulse, Phase::Idle) {
                Poll::Ready(Verdict::Close) => return Poll::Ready(false),
                Poll::Ready(Verdict::Rest) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

/// Our side is closed. What the client is still sending is read for a moment, for a socket that is closed with unread bytes
/// takes the last answer with it.
async fn linger(mut stream: Stream) {
    const MOMENT: Duration = Duration::from_secs(2);
    const ENOUGH: usize = 1 << 20;
    let read = async {
        let mut sink = vec![0; 4096]; // not in the task, which every connection has
        let mut total = 0;
        while let Ok(count) = stream.read(&mut sink).await {
            total += count;
            if count == 0 || total > ENOUGH {
                break;
            }
        }
    };
    drop(tokio::time::timeout(MOMENT, read).await);
}
