//! Bodies of requests.

use std::{convert::Infallible, io};

use ::http::HeaderMap;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use tokio::sync::mpsc;

/// What a [`Client`](super::Client) sends.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A body that is known: it is sent with its length.
pub fn body(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// A body that is sent as it is made. It ends when the [`Upload`] is dropped, which holds one piece at most.
pub fn upload() -> (Upload, Body) {
    let (sender, receiver) = mpsc::channel(1);
    let frames = stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    (Upload { sender }, StreamBody::new(frames).boxed_unsync())
}

/// The hand that feeds a body.
#[derive(Debug)]
pub struct Upload {
    sender: mpsc::Sender<io::Result<Frame<Bytes>>>,
}

impl Upload {
    /// The next piece. Returns when the connection has taken the one before; false if it takes no more.
    pub async fn send(&self, bytes: impl Into<Bytes>) -> bool {
        self.sender.send(Ok(Frame::data(bytes.into()))).await.is_ok()
    }

    /// Ends the body with trailers. HTTP/1.1 sends those that a `Trailer` header names.
    pub async fn finish(self, trailers: HeaderMap) -> bool {
        self.sender.send(Ok(Frame::trailers(trailers))).await.is_ok()
    }

    /// Breaks off: the connection is closed, or the stream reset.
    pub async fn abort(self) -> bool {
        self.sender.send(Err(io::Error::other("broken off by the test"))).await.is_ok()
    }
}
