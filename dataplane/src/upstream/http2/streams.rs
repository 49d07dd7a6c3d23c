//! The two directions of a stream.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, header::CONTENT_LENGTH};
use http_body::{Body, Frame, SizeHint};

use crate::upstream::upload::Upload;

/// Brings a request's body to the backend, no faster than it is taken.
pub(in crate::upstream) struct Pump {
    stream: SendStream<Bytes>,
    body: Upload,
    announced: Vec<HeaderName>,
    done: bool,
}

impl Pump {
    /// Of the trailers, those are sent that were `announced`.
    pub(super) fn new(stream: SendStream<Bytes>, body: Upload, announced: Vec<HeaderName>) -> Self {
        let done = body.is_empty();
        Self { stream, body, announced, done }
    }

    pub(in crate::upstream) fn is_done(&self) -> bool {
        self.done
    }

    /// Ready when there is nothing more to do, for better or worse.
    pub(in crate::upstream) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.done {
            // One byte of capacity is asked for before a piece is: so the client is not read for a backend that does not.
            self.stream.reserve_capacity(1);
            if self.stream.capacity() == 0 {
                match ready!(self.stream.poll_capacity(cx)) {
                    Some(Ok(0)) => continue,
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => break,
                }
            } else if self.stream.poll_reset(cx).is_ready() {
                break; // also an early answer that wants no more
            }
            let piece = ready!(Pin::new(&mut self.body).poll_frame(cx));
            let last = self.body.is_end_stream();
            let sent = match piece.map(|piece| piece.map(Frame::into_data)) {
                None => self.stream.send_data(Bytes::new(), true),
                Some(Ok(Ok(bytes))) => {
                    self.done = last;
                    self.stream.send_data(bytes, last)
                }
                Some(Ok(Err(frame))) => self.finish(&frame.into_trailers().unwrap_or_default()),
                Some(Err(_)) => {
                    self.stream.send_reset(Reason::CANCEL);
                    break;
                }
            };
            if sent.is_err() || self.body.ended() {
                break;
            }
        }
        self.done = true;
        Poll::Ready(())
    }

    fn finish(&mut self, trailers: &HeaderMap) -> Result<(), h2::Error> {
        let sent = trailers.iter().filter(|(name, _)| self.announced.contains(name));
        let sent: HeaderMap = sent.map(|(name, value)| (name.clone(), value.clone())).collect();
        if sent.is_empty() { self.stream.send_data(Bytes::new(), true) } else { self.stream.send_trailers(sent) }
    }
}

/// The body of an answer.
pub(in crate::upstream) struct Answer {
    stream: RecvStream,
    /// Bytes that are still to come, if the backend has said so.
    left: Option<u64>,
    data_over: bool,
}

impl Answer {
    pub(in crate::upstream) fn new(stream: RecvStream, headers: &HeaderMap) -> Self {
        let said = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let left = if stream.is_end_stream() { Some(0) } else { said };
        Self { stream, left, data_over: false }
    }

    pub(in crate::upstream) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.data_over {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(bytes)) => {
                    // It has been read when it is given away: one piece is on its way at most.
                    drop(self.stream.flow_control().release_capacity(bytes.len()));
                    self.left = self.left.map(|left| left.saturating_sub(bytes.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Err(error)) if error.reason() == Some(Reason::NO_ERROR) => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.data_over = true,
            }
        }
        match ready!(self.stream.poll_trailers(cx)) {
            Ok(trailers) => Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers)))),
            Err(error) if error.reason() == Some(Reason::NO_ERROR) => Poll::Ready(None),
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }

    pub(in crate::upstream) fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    pub(in crate::upstream) fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
