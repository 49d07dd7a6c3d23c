//! What answers are made of.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::sleep;

pub(super) type Content = UnsyncBoxBody<Bytes, io::Error>;

pub(super) fn whole(bytes: impl Into<Bytes>) -> Content {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// That many bytes.
pub(super) fn filler(size: u64) -> Content {
    Filler { left: size }.boxed_unsync()
}

/// `data: 0`, `data: 1`, and so on.
pub(super) fn events(count: u64, every: Duration) -> Content {
    let events = stream::iter(0..count).then(move |number| async move {
        if number > 0 && !every.is_zero() {
            sleep(every).await;
        }
        Ok(Frame::data(Bytes::from(format!("data: {number}\n\n"))))
    });
    StreamBody::new(events).boxed_unsync()
}

/// The request's own.
pub(super) fn back(body: Incoming) -> Content {
    body.map_err(io::Error::other).boxed_unsync()
}

/// As long as `content` by its head, but it breaks off half-way or, if its length is not known, at its end.
pub(super) fn broken(content: Content) -> Content {
    let left = content.size_hint().exact().map(|size| size / 2);
    Broken { content, left, over: false }.boxed_unsync()
}

struct Filler {
    left: u64,
}

const FILL: [u8; 16 * 1024] = [b'.'; 16 * 1024];

impl Body for Filler {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let some = self.left.min(FILL.len() as u64);
        self.left -= some;
        // `some` is at most FILL's length.
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&FILL).slice(..some as usize)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

struct Broken {
    content: Content,
    /// Bytes until it breaks, if the length is known.
    left: Option<u64>,
    over: bool,
}

impl Body for Broken {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.over {
            // Once more around the executor: what was given must reach the peer, not die with the connection.
            self.over = false;
            self.left = Some(0);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.left == Some(0) {
            return Poll::Ready(Some(Err(io::Error::other("broken off, as asked"))));
        }
        let frame = std::task::ready!(Pin::new(&mut self.content).poll_frame(context));
        let Some(Ok(frame)) = frame else {
            self.over = true;
            return self.poll_frame(context);
        };
        let Some(left) = self.left else { return Poll::Ready(Some(Ok(frame))) };
        let mut data = frame.into_data().unwrap_or_default();
        data.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        let left = left - data.len() as u64;
        self.left = Some(left);
        self.over = left == 0;
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}
