//! A request on its way to a backend: its head, then its body as it comes.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderName, Request};
use http_body::Body;
use tokio::io::AsyncWrite;

use super::upload::Upload;
use crate::{
    request::{Ours, X_REQUEST_ID},
    wire::{self, Outgoing, Size},
};

#[derive(Default)]
pub(super) struct Sending {
    outgoing: Outgoing,
    upload: Option<Upload>,
    announced: Vec<HeaderName>,
}

/// Why not all of a request was sent.
#[derive(Debug)]
pub(super) enum Failed {
    /// The client did not send it to its end, or otherwise than it said.
    Body,
    Connection,
}

impl Sending {
    pub(super) fn begin(&mut self, request: &Request<Upload>, ours: Option<&Ours<'_>>) {
        let size = Size::of(request.body());
        // One that was to go over HTTP/2 before has them in its map.
        let ours = ours.filter(|_| !request.headers().contains_key(X_REQUEST_ID));
        let more = |text: &mut Vec<u8>| ours.iter().for_each(|ours| ours.write(text));
        self.outgoing.begin(|text| wire::head_of_request(text, request, size, more));
        self.upload = (size != Size::Nothing).then(|| request.body().share());
        self.announced = if size == Size::Unknown { wire::announced(request.headers()) } else { Vec::new() };
    }

    /// Everything is written.
    pub(super) fn is_over(&self) -> bool {
        self.upload.is_none() && self.outgoing.is_empty()
    }

    /// Some of it has been given to the kernel.
    pub(super) fn has_begun(&self) -> bool {
        self.outgoing.has_begun()
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>, mut io: Pin<&mut impl AsyncWrite>) -> Poll<Result<(), Failed>> {
        loop {
            let mut waits = false;
            // A first piece goes with the head, and small chunks go together.
            while !waits
                && self.outgoing.has_room()
                && let Some(upload) = &mut self.upload
            {
                match Pin::new(upload).poll_frame(cx) {
                    Poll::Ready(piece) => self.take(piece)?,
                    Poll::Pending => waits = true,
                }
            }
            let written = self.outgoing.poll_write(cx, io.as_mut());
            if self.outgoing.has_begun()
                && let Some(upload) = &self.upload
            {
                upload.forget();
            }
            ready!(written).map_err(|_| Failed::Connection)?;
            if self.upload.is_none() {
                self.outgoing.shrink();
                return Poll::Ready(Ok(()));
            }
            if waits {
                return Poll::Pending;
            }
        }
    }

    fn take(
        &mut self,
        piece: Option<Result<http_body::Frame<bytes::Bytes>, crate::body::BodyError>>,
    ) -> Result<(), Failed> {
        let frame = piece.transpose().map_err(|_| Failed::Body)?;
        let ended = match frame.map(http_body::Frame::into_data) {
            Some(Ok(data)) => {
                self.outgoing.push(data).map_err(|_| Failed::Body)?;
                let ended = self.upload.as_ref().is_none_or(Upload::is_end_stream);
                if ended { self.outgoing.finish(None) } else { Ok(()) }.map_err(|_| Failed::Body)?;
                ended
            }
            Some(Err(frame)) => {
                let trailers = frame.into_trailers().ok();
                let trailers = trailers.as_ref().map(|trailers| (trailers, &self.announced[..]));
                self.outgoing.finish(trailers).map_err(|_| Failed::Body)?;
                true
            }
            None => {
                self.outgoing.finish(None).map_err(|_| Failed::Body)?;
                true
            }
        };
        if ended {
            self.upload = None;
        }
        Ok(())
    }
}
