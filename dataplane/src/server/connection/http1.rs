//! HTTP/1.1 on a connection that is open.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

use super::{
    super::stream::{Phase, Stream},
    exchange::{Closing, Line},
    plain::{self, Client, End},
    watchdog::{Verdict, Watchdog},
};
use crate::Bounds;

pub(crate) fn builder(bounds: &Bounds) -> http1::Builder {
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

/// For what a client has still to send or to take when all is said: between two pieces of it.
const MOMENT: Duration = Duration::from_secs(2);

/// For all that a client has still to send when all is said.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came of a time of being served.
enum Left {
    /// The last answer is written.
    Done(Stream),
    Idle(Stream),
    /// The next request is one for hyper.
    Unusual(Stream),
    /// There is nothing more to be done: the connection is closed, a tunnel, or its time was over.
    Over,
}

pub(super) async fn serve(line: Line, mut stream: Stream, deadline: Instant) {
    let mut watchdog = Watchdog::new(&line.worker.settings.bounds, Some(deadline));
    let mut closing = Closing::new(&line.worker);
    loop {
        // Apart, so that an idle connection's task is small.
        let mut left = Box::pin(serve_plain(&line, stream, &mut watchdog, &mut closing)).await;
        if let Left::Unusual(stream) = left {
            left = Box::pin(serve_unusual(&line, stream, &mut watchdog, &mut closing)).await;
        }
        stream = match left {
            Left::Idle(stream) => stream,
            Left::Done(stream) => return Box::pin(linger(&line, stream)).await,
            Left::Unusual(_) | Left::Over => return,
        };
        if !rest(&line, &stream, &mut watchdog, &mut closing).await {
            return;
        }
    }
}

/// Requests that [`plain`] reads.
async fn serve_plain(line: &Line, stream: Stream, watchdog: &mut Watchdog, closing: &mut Closing<'_>) -> Left {
    let client = Client::new(stream);
    let ended = {
        let mut conversation = pin!(plain::converse(line, &client));
        poll_fn(|cx| match conversation.as_mut().poll(cx) {
            Poll::Ready(end) => Poll::Ready(Ok(end)),
            Poll::Pending => look_after(line, cx, watchdog, closing).map(Err),
        })
        .await
    };
    let Some(stream) = client.borrow_mut().leave() else { return Left::Over };
    match ended {
        Ok(End::Unusual) => Left::Unusual(stream),
        Ok(End::Last) => Left::Done(stream),
        Err(Verdict::Rest) => Left::Idle(stream),
        Ok(End::Gone) | Err(Verdict::Close) => Left::Over,
    }
}

/// Whatever HTTP/1.1 may be besides, until the connection is idle for a while.
async fn serve_unusual(line: &Line, mut stream: Stream, watchdog: &mut Watchdog, closing: &mut Closing<'_>) -> Left {
    stream.scan(true);
    let service = service_fn(|request: Request<Incoming>| line.answer(request, None));
    let mut served = line.worker.http1.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let ended = poll_fn(|cx| match Pin::new(&mut served).poll(cx) {
        Poll::Ready(done) => Poll::Ready(Ok(done)),
        Poll::Pending => look_after(line, cx, watchdog, closing).map(Err),
    })
    .await;
    if let Ok(Err(error)) = &ended {
        tracing::debug!(peer = %line.connection.peer, %error, "a connection broke");
    }
    // `None`: it is a tunnel now.
    let Some(parts) = served.into_parts() else { return Left::Over };
    let mut stream = parts.io.into_inner();
    match ended {
        Ok(_) => {
            if let Some(malformed) = stream.malformed() {
                line.malformed(&malformed);
            }
            Left::Done(stream)
        }
        Err(Verdict::Close) => Left::Over,
        Err(Verdict::Rest) => {
            stream.unread(&parts.read_buf);
            stream.scan(false);
            Left::Idle(stream)
        }
    }
}

/// To be asked after each poll of a connection.
fn look_after(line: &Line, cx: &mut Context<'_>, watchdog: &mut Watchdog, closing: &mut Closing<'_>) -> Poll<Verdict> {
    if closing.begins(cx) {
        // Not hyper's graceful shutdown: that would close on a client that is just about to send. While closing, every answer
        // says `Connection: close`.
        watchdog.hurry();
    }
    watchdog.poll(cx, &line.pulse, line.pulse.phase())
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

/// Closes our side. What the client is still sending is read for a while, for a socket that is closed with unread bytes takes
/// the last answer with it: many a client reads no refusal before it has sent its whole body.
async fn linger(line: &Line, mut stream: Stream) {
    let read = async {
        if !matches!(tokio::time::timeout(MOMENT, stream.shutdown()).await, Ok(Ok(()))) {
            return;
        }
        let mut sink = vec![0; 16 << 10];
        while let Ok(Ok(1..)) = tokio::time::timeout(MOMENT, stream.read(&mut sink)).await {}
    };
    let closing = async {
        let mut closing = Closing::new(&line.worker);
        poll_fn(|cx| if closing.begins(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
        tokio::time::sleep(MOMENT).await;
    };
    tokio::select! {
        () = read => {}
        () = tokio::time::sleep(PATIENCE) => {}
        () = closing => {}
    }
}
