//! HTTP/2 on a connection that is open.

mod websocket;

use std::{
    cell::RefCell,
    convert::Infallible,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, Request, Response, header};
use hyper::{body::Incoming, rt::Executor, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    task::spawn_local,
    time::{Sleep, sleep},
};

use super::{
    super::stream::{Open, Phase, Stream},
    exchange::{Closing, Counted, Line, Progress},
    watchdog::{Verdict, Watchdog},
};
use crate::Bounds;
pub(crate) use websocket::WebSocket;

/// A peer that does not answer a ping is gone.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

fn builder(bounds: &Bounds, streams: Streams) -> http2::Builder<Streams> {
    let mut http2 = http2::Builder::new(streams);
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
        .enable_connect_protocol()
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    http2
}

pub(super) async fn serve(line: Line, stream: Stream) {
    let bounds = &line.worker.settings.bounds;
    let mut watchdog = Watchdog::new(bounds, None);
    let streams = Streams { next: Rc::default(), patience: bounds.idle_timeout };
    let next = Rc::clone(&streams.next);
    let builder = builder(bounds, streams);
    let line = Rc::new(line);
    line.pulse.rest();
    let service = service_fn(|mut request: Request<Incoming>| {
        let line = Rc::clone(&line);
        // Counted from here, not from the first poll of its task: a drain must see it.
        let open = Open::new(&line.pulse);
        let progress = Rc::<Progress>::default();
        next.replace(Some(Rc::clone(&progress)));
        let websocket = websocket::ask(&mut request);
        let asks = websocket.is_some();
        if let Some(websocket) = websocket {
            request.extensions_mut().insert(websocket);
            request.extensions_mut().insert(open.clone());
        }
        // On the heap at once: it is large, and goes through many hands before it is first polled.
        Box::pin(answer(line, request, progress, asks, open))
    });
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut closing = Closing::new(&line.worker);
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
        let phase = if line.pulse.phase() == Phase::Busy { Phase::Busy } else { Phase::Idle };
        loop {
            match watchdog.poll(cx, &line.pulse, phase) {
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
        tracing::debug!(peer = %line.connection.peer, %error, "a connection broke");
    }
}

/// `asks`: it is a WebSocket that is asked for.
async fn answer(
    line: Rc<Line>,
    request: Request<Incoming>,
    progress: Rc<Progress>,
    asks: bool,
    open: Open,
) -> Result<Response<Counted>, Infallible> {
    let mut answered = line.answer(request, Some(progress)).await;
    if let Ok(answer) = &mut answered {
        if asks {
            WebSocket::answer(answer);
        }
        date(answer.headers_mut(), &line);
    }
    drop(open);
    answered
}

/// There is another one each second: the table of a connection (RFC 7541) would be full of old ones, and all of them looked at
/// for each answer.
fn date(answer: &mut HeaderMap, line: &Line) {
    answer.entry(header::DATE).or_insert_with(|| line.worker.date_value()).set_sensitive(true);
}

/// Runs the streams of one connection on its thread. A stream whose client does not take its answer is reset: it would
/// keep its backend busy for ever, for nobody polls its body and its time-outs.
#[derive(Clone)]
struct Streams {
    /// Of the stream that is begun next: hyper calls the service, and then runs what came of it here.
    next: Rc<RefCell<Option<Rc<Progress>>>>,
    patience: Duration,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, future: F) {
        match self.next.take() {
            Some(progress) => {
                let mut guard = Guard { progress, patience: self.patience, waiting: None };
                spawn_local(async move {
                    let mut future = pin!(future);
                    // Dropping a stream resets it.
                    poll_fn(|cx| if future.as_mut().poll(cx).is_ready() { Poll::Ready(()) } else { guard.poll(cx) })
                        .await;
                });
            }
            None => drop(spawn_local(future)),
        }
    }
}

/// Ready when one piece of an answer has been waiting for its client for too long.
struct Guard {
    progress: Rc<Progress>,
    patience: Duration,
    /// For which piece, and until when.
    waiting: Option<(u32, Pin<Box<Sleep>>)>,
}

impl Guard {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(piece) = self.progress.stuck() else {
            self.waiting = None;
            return Poll::Pending;
        };
        match &mut self.waiting {
            Some((same, timer)) if *same == piece => timer.as_mut().poll(cx),
            waiting => {
                let (_, timer) = waiting.insert((piece, Box::pin(sleep(self.patience))));
                timer.as_mut().poll(cx)
            }
        }
    }
}
