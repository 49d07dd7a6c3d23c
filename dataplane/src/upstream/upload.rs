//! The body of a request on its way to a backend.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;

use crate::body::{BodyError, Fate, RequestBody};

/// How much of a body may be kept until it is known that it need not be sent again.
const KEPT: usize = 64 << 10;

/// A request's body; the default is none. Two of one request share their source: what the first try took in vain, the second has again.
#[derive(Default)]
pub struct Upload {
    /// `None`: the request has no body.
    source: Option<Rc<Source>>,
}

/// Where a body comes from, and what has been taken of it so far.
pub(super) struct Source {
    state: RefCell<State>,
    /// The end has been taken, or an error.
    ended: Cell<bool>,
    /// Counts what passes, so that silence can be told.
    frames: Cell<u64>,
}

struct State {
    body: RequestBody,
    /// Taken, and needed again if the request is sent again.
    kept: Vec<Bytes>,
    /// How much more may be kept; `None`: something was taken and not kept.
    room: Option<usize>,
    /// To be given again before the rest of `body`.
    again: VecDeque<Bytes>,
    /// What is kept may be needed even after it was written.
    held: bool,
}

impl From<RequestBody> for Upload {
    fn from(body: RequestBody) -> Self {
        if body.is_end_stream() {
            return Self { source: None };
        }
        let state = State { body, kept: Vec::new(), room: Some(KEPT), again: VecDeque::new(), held: false };
        let source = Source { state: RefCell::new(state), ended: Cell::new(false), frames: Cell::new(0) };
        Self { source: Some(Rc::new(source)) }
    }
}

/// A body that is here already.
impl From<Bytes> for Upload {
    fn from(bytes: Bytes) -> Self {
        RequestBody::own(bytes).into()
    }
}

impl Upload {
    /// All of the body, if there is one, when it has passed. An error: it is more than [`KEPT`], or was broken off.
    pub(crate) fn copied(&self) -> Option<oneshot::Receiver<Bytes>> {
        self.source.as_ref().map(|source| source.state.borrow_mut().body.copied(KEPT))
    }

    /// From now on what it stands for is sent in its place.
    pub(crate) fn decode_base64(&self) {
        if let Some(source) = &self.source {
            source.state.borrow_mut().body.decode_base64();
        }
    }

    /// Counts its bytes, if it has any.
    pub(crate) fn count(&self, received: impl FnOnce() -> Rc<Cell<u64>>) {
        if let Some(source) = &self.source {
            source.state.borrow_mut().body.count(received);
        }
    }

    /// Tells whether it was the client that the request failed of.
    pub(crate) fn fate(&self) -> Fate {
        self.source.as_ref().map(|source| source.state.borrow_mut().body.fate()).unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.source.is_none()
    }

    /// The same body once more, for when this one is lost with the connection.
    pub(crate) fn share(&self) -> Self {
        Self { source: self.source.clone() }
    }

    /// All of it has been taken.
    pub(super) fn ended(&self) -> bool {
        self.source.as_ref().is_none_or(|source| source.ended.get())
    }

    /// How many pieces have passed.
    pub(super) fn frames(&self) -> u64 {
        self.source.as_ref().map_or(0, |source| source.frames.get())
    }

    /// It is written, and will not be sent again unless it is held: nothing more is kept.
    pub(super) fn forget(&self) {
        if let Some(source) = &self.source {
            let mut state = source.state.borrow_mut();
            if !state.held {
                (state.kept, state.room) = (Vec::new(), None);
            }
        }
    }

    /// From now on it is kept even if it is written, until it is released.
    pub(super) fn hold(&self) {
        if let Some(source) = &self.source {
            source.state.borrow_mut().held = true;
        }
    }

    pub(super) fn release(&self) {
        if let Some(source) = &self.source {
            source.state.borrow_mut().held = false;
            if source.frames.get() > 0 {
                self.forget();
            }
        }
    }

    /// Nothing is lost of what was taken.
    pub(super) fn can_rewind(&self) -> bool {
        let is_whole = |source: &Rc<Source>| source.state.borrow().room.is_some() || source.frames.get() == 0;
        self.source.as_ref().is_none_or(is_whole)
    }

    /// Begins anew. False: what was taken is lost.
    pub(crate) fn rewind(&self) -> bool {
        if !self.can_rewind() {
            return false;
        }
        let Some(source) = &self.source else { return true };
        let state = &mut *source.state.borrow_mut();
        for bytes in state.kept.drain(..).rev() {
            state.again.push_front(bytes);
        }
        source.ended.set(false);
        state.room = Some(KEPT);
        true
    }
}

impl State {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match self.again.pop_front() {
            Some(bytes) => Frame::data(bytes),
            None => match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                other => return Poll::Ready(other),
            },
        };
        self.room = match (self.room, frame.data_ref()) {
            (Some(room), Some(bytes)) if bytes.len() <= room => {
                self.kept.push(bytes.clone());
                Some(room - bytes.len())
            }
            _ => None,
        };
        if self.room.is_none() {
            self.kept = Vec::new();
        }
        Poll::Ready(Some(Ok(frame)))
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(source) = &self.source else { return Poll::Ready(None) };
        let mut state = source.state.borrow_mut();
        let frame = ready!(state.poll(cx));
        source.frames.set(source.frames.get() + 1);
        let last = !matches!(&frame, Some(Ok(frame)) if frame.is_data());
        source.ended.set(last || (state.again.is_empty() && state.body.is_end_stream()));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.source.as_ref().is_none_or(|source| {
            let state = source.state.borrow();
            state.again.is_empty() && state.body.is_end_stream()
        })
    }

    fn size_hint(&self) -> SizeHint {
        let Some(source) = &self.source else { return SizeHint::with_exact(0) };
        let state = source.state.borrow();
        let again: u64 = state.again.iter().map(|bytes| bytes.len() as u64).sum();
        match state.body.size_hint().exact() {
            Some(rest) => SizeHint::with_exact(rest + again),
            None => SizeHint::default(),
        }
    }
}
