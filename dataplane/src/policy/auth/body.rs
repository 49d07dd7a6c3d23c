//! A request's body that a decision depends on: read to its end, and there again for the backend.

use std::{future::poll_fn, pin::Pin};

use bytes::Bytes;
use http_body::Body;

use crate::upstream::Upload;

/// Bytes that are kept of a body, at most.
pub(super) const MAX_KEPT: usize = 64 << 10;

/// Why a body is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is longer than may be kept.
    TooLong,
    /// The client did not send it to the end, or put trailers behind it.
    Broken,
}

pub(super) async fn read(body: &Upload, most: usize) -> Result<Bytes, Unread> {
    let mut body = body.share();
    let mut read = Vec::new();
    while !body.is_end_stream() {
        let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await else { break };
        let data = frame.map_err(|_| Unread::Broken)?.into_data().map_err(|_| Unread::Broken)?;
        if read.len() + data.len() > most {
            return Err(Unread::TooLong);
        }
        read.extend_from_slice(&data);
    }
    if body.rewind() { Ok(read.into()) } else { Err(Unread::Broken) }
}
