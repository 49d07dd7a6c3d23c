//! HTTP/1.1 and HTTP/2 on a connection that is open, with every bound that a client has.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Version, header};
use http_body::{Body, Frame, SizeHint};
use hyper::{
    body::Incoming,
    rt::Executor,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{io::AsyncReadExt, task::spawn_local, time::Instant};

use super::{
    super::{
        stream::{Open, Phase, Pulse, Stream},
        worker::{Listening, Worker},
    },
    Opened,
    watchdog::{Verdict, Watchdog},
};
use crate::{
    Bounds,
    body::{BodyError, RequestBody},
    pipeline,
    record::Recorded,
    request::Connection,
};

/// How the protocols are spoken; made once a worker.
pub(in crate::server) struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<Local>,
}

impl Protocols {
    pub(in crate::server) fn new(bounds: &Bounds) -> Self {
        /// A peer that does not answer a ping is gone.
        const PING_EVERY: Duration = Duration::from_secs(30);
        const PING_TIMEOUT: Duration = Duration::from_secs(20);
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            // Ours: the watchdog knows an idle connection from a slow head.
            .header_read_timeout(None)
            .max_buf_size(bounds.max_header_bytes.max(8 << 10))
            .max_headers(bounds.max_headers)
            .max_header_size(bounds.max_header_bytes)
            .half_close(false);
        let mut http2 = http2::Builder::new(Local);
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(bounds.max_streams)
            .max_header_list_size(u32::try_from(bounds.max_header_bytes).unwrap_or(u32::MAX))
            // Rapid reset (CVE-2023-44487): streams that the client resets before we have looked at them, and those that
            // it makes us reset. Beyond, the connection is closed.
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(256)
            // What one stream, and one connection, may have us hold.
            .initial_stream_window_size(256 << 10)
            .initial_connection_window_size(1 << 20)
            .max_send_buf_size(64 << 10)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT);
        Self { http1, http2 }
    }
}

pub(super) async fn serve_http1(worker: Rc<Worker>, opened: Opened, deadline: Instant) {
    let Opened { stream, pulse, connection, .. } = opened;
    let connection = Rc::new(connection);
    let service = service_fn(|request: Request<Incoming>| answer(&worker, &connection, &pulse, request));
    let mut served = worker.protocols.http1.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut watchdog = Watchdog::new(&worker.settings.bounds, Some(deadline));
    let mut closing = Closing::new(&worker);
    let whole = poll_fn(|cx| {
        if let Poll::Ready(done) = Pin::new(&mut served).poll(cx) {
            return Poll::Ready(Some(done));
        }
        if closing.begins(cx) {
            // Not hyper's graceful shutdown: that would close on a client that is just about to send. While closing, every
            // answer says `Connection: close`.
            watchdog.hurry();
        }
        loop {
            match watchdog.poll(cx, &pulse, pulse.phase()) {
                Poll::Ready(Verdict::Close) => return Poll::Ready(None),
                Poll::Ready(Verdict::Rest) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    });
    let Some(done) = whole.await else { return };
    if let Err(error) = done {
        tracing::debug!(peer = %connection.peer, %error, "a connection broke");
    }
    if let Some(parts) = served.into_parts() {
        linger(parts.io.into_inner()).await;
    }
}

/// Our side is closed. What the client is still sending is read for a moment, for a socket that is closed with unread bytes
/// takes the last answer with it.
async fn linger(mut stream: Stream) {
    const MOMENT: Duration = Duration::from_secs(2);
    const ENOUGH: usize = 1 << 20;
    let read = async {
        let mut sink = [0; 4096];
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

pub(super) async fn serve_http2(worker: Rc<Worker>, opened: Opened) {
    let Opened { stream, pulse, connection, .. } = opened;
    let connection = Rc::new(connection);
    pulse.rest();
    let service = service_fn(|request: Request<Incoming>| {
        let (worker, connection, pulse) = (Rc::clone(&worker), Rc::clone(&connection), Arc::clone(&pulse));
        // Counted from here, not from the first poll of its task: a drain must see it.
        let open = Open::new(&pulse);
        async move {
            let answered = answer(&worker, &connection, &pulse, request).await;
            drop(open);
            answered
        }
    });
    let mut served = pin!(worker.protocols.http2.serve_connection(TokioIo::new(stream), service));
    let mut watchdog = Watchdog::new(&worker.settings.bounds, None);
    let mut closing = Closing::new(&worker);
    let mut told = false;
    let whole = poll_fn(|cx| {
        if let Poll::Ready(done) = served.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        if closing.begins(cx) {
            served.as_mut().graceful_shutdown();
            told = true;
            watchdog.hurry();
            cx.waker().wake_by_ref();
        }
        // Between streams there are pings, settings, pieces of heads: they are no reason to keep a connection.
        let phase = if pulse.phase() == Phase::Busy { Phase::Busy } else { Phase::Idle };
        loop {
            match watchdog.poll(cx, &pulse, phase) {
                Poll::Ready(Verdict::Close) if told || phase == Phase::Busy => return Poll::Ready(None),
                Poll::Ready(Verdict::Close) => {
                    // GOAWAY first, so that a request which is on its way is known to be lost or served.
                    served.as_mut().graceful_shutdown();
                    told = true;
                    watchdog.hurry();
                    cx.waker().wake_by_ref();
                }
                Poll::Ready(Verdict::Rest) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    });
    if let Some(Err(error)) = whole.await {
        tracing::debug!(peer = %connection.peer, %error, "a connection broke");
    }
}

/// One exchange: the request with its bounds, the answer with its end.
async fn answer(
    worker: &Rc<Worker>,
    connection: &Rc<Connection>,
    pulse: &Arc<Pulse>,
    request: Request<Incoming>,
) -> Result<Response<Counted>, Infallible> {
    let open = Open::new(pulse);
    let http2 = request.version() == Version::HTTP_2;
    let idle = worker.settings.bounds.body_idle_timeout;
    let request = request.map(|body| RequestBody::new(body, idle, Some(open.clone())));
    let mut answer = pipeline::handle(worker, connection, request).await;
    if worker.closing() && !http2 {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(answer.map(|body| Counted { body, _open: open }))
}

/// An answer's body; the exchange is open as long as it is there.
struct Counted {
    body: Recorded,
    _open: Open,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Tells once that the worker is closing.
struct Closing<'w> {
    worker: &'w Rc<Worker>,
    listening: Option<Listening>,
    told: bool,
}

impl<'w> Closing<'w> {
    fn new(worker: &'w Rc<Worker>) -> Self {
        Self { worker, listening: None, told: false }
    }

    fn begins(&mut self, cx: &mut Context<'_>) -> bool {
        if self.told {
            return false;
        }
        if self.listening.is_none() {
            // The waker is that of the connection's task, which stays the same.
            self.listening = Some(self.worker.listen(cx.waker()));
        }
        self.told = self.worker.closing();
        self.told
    }
}

/// Runs HTTP/2 streams on the thread of their connection.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Local;

impl<F> Executor<F> for Local
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, future: F) {
        spawn_local(future);
    }
}
