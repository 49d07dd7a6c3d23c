//! One exchange: the request with its bounds, the answer with its end.

use std::{
    cell::Cell,
    convert::Infallible,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::super::{
    refusal::Malformed,
    stream::{Open, Pulse},
    worker::{Listening, Worker},
};
use crate::{
    body::{BodyError, RequestBody},
    pipeline::{self, Answered},
    record::Recorded,
    request::Connection,
    upstream::Upload,
};

/// Who asks, and on whose thread.
pub(super) struct Line {
    pub(super) worker: Rc<Worker>,
    pub(super) connection: Connection,
    pub(super) pulse: Arc<Pulse>,
}

impl Line {
    /// A head of which the parser could make nothing.
    pub(super) fn malformed(&self, malformed: &Malformed) {
        let Malformed { reason, id, sent } = malformed;
        self.worker.recorder.malformed(self.connection.peer, id.to_str().unwrap_or_default(), *reason, *sent as u64);
    }

    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        progress: Option<Rc<Progress>>,
    ) -> Result<Response<Counted>, Infallible> {
        let open = Open::new(&self.pulse);
        let idle = self.worker.settings.bounds.body_idle_timeout;
        let request = request.map(|body| RequestBody::new(body, idle, Some(open.clone())).into());
        self.connection.cut.set(request.version() != Version::HTTP_2 && self.pulse.cuts.take(&request));
        let answer = self.exchange(Box::new(request)).await.whole();
        Ok(answer.map(|body| Counted { body, progress, _open: open }))
    }

    pub(super) async fn exchange(&self, request: Box<Request<Upload>>) -> Answered {
        let http2 = request.version() == Version::HTTP_2;
        let mut answered = pipeline::handle(&self.worker, &self.connection, request).await;
        if self.worker.closing() && !http2 && answered.answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            answered.answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answered
    }
}

/// An answer's body; the exchange is open as long as it is there.
pub(super) struct Counted {
    body: Recorded,
    progress: Option<Rc<Progress>>,
    _open: Open,
}

/// Who is waited for. Nobody polls a body while its client has no room for more, so that only others can see it.
#[derive(Default)]
pub(super) struct Progress {
    /// A piece was given to the client, and the next has not been asked for.
    client: Cell<bool>,
    pieces: Cell<u32>,
}

impl Progress {
    /// The number of the piece that the client does not take.
    pub(super) fn stuck(&self) -> Option<u32> {
        self.client.get().then(|| self.pieces.get())
    }
}

impl Body for Counted {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(progress) = &self.progress {
            progress.client.set(false);
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(progress) = &self.progress {
            progress.client.set(true);
            progress.pieces.set(progress.pieces.get().wrapping_add(1));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Tells once that the worker is closing.
pub(super) struct Closing<'w> {
    worker: &'w Rc<Worker>,
    listening: Option<Listening>,
    told: bool,
}

impl<'w> Closing<'w> {
    pub(super) fn new(worker: &'w Rc<Worker>) -> Self {
        Self { worker, listening: None, told: false }
    }

    pub(super) fn begins(&mut self, cx: &mut Context<'_>) -> bool {
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
