//! Bodies of answers: nothing, a few bytes of our own, or a stream from a backend.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::upstream::UpstreamBody;

/// The body of an answer to a client.
pub enum AnswerBody {
    /// Ours: a problem, a direct response. `None` once it is sent.
    Own(Option<Bytes>),
    /// A backend's, with what keeps its connection going.
    Upstream(Box<UpstreamBody>),
}

/// Why a body broke off. The client sees its connection or stream reset.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the backend broke off: {0}")]
    Backend(#[from] hyper::Error),
    #[error("the backend broke off: {0}")]
    BackendStream(#[from] h2::Error),
    #[error("the stream was silent for too long")]
    Idle,
    #[error("the request took too long")]
    Deadline,
}

impl AnswerBody {
    pub fn empty() -> Self {
        Self::Own(None)
    }
}

impl From<Bytes> for AnswerBody {
    fn from(bytes: Bytes) -> Self {
        Self::Own((!bytes.is_empty()).then_some(bytes))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Upstream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_none(),
            Self::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Upstream(body) => body.size_hint(),
        }
    }
}

impl From<Infallible> for BodyError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
