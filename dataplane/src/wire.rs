//! HTTP/1.1 as bytes: heads and bodies, read and written. What is read here is read as strictly as hyper reads it, and what is
//! written hyper reads as it was meant: it is the oracle of the tests in both directions. Whatever is not plain is left to hyper
//! on the client's side, and refused on the backend's.

mod answer;
mod body;
mod chunks;
mod known;
mod request;
#[cfg(test)]
mod tests;
mod write;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) use answer::{Answer, AnswerBounds, AnswerHead, KnownAnswer, read_answer};
pub(crate) use body::{Decoder, Piece};
pub(crate) use chunks::Bounds;
use known::Known;
pub(crate) use request::{KnownFields, LONG, NotRead, RequestHead, read_request};
pub(crate) use write::{Outgoing, Size, Told, announced, field, head_of_answer, head_of_request};

/// Fields of one head; hyper's own bound for answers. A request with more is hyper's.
const MAX_FIELDS: usize = 100;

/// What comes over a connection is not what its head promised.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("the connection ended before the message did")]
    Incomplete,
    #[error("the chunks are none")]
    Chunks,
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Where name and value of a field lie in their head.
#[derive(Clone, Copy, Default)]
struct Span {
    name: (u32, u32),
    value: (u32, u32),
}

/// Notes where the fields lie, so that the head need not be borrowed any more.
fn spans(head: &[u8], fields: &[httparse::Header<'_>]) -> [Span; MAX_FIELDS] {
    let mut spans = [Span::default(); MAX_FIELDS];
    let place = |part: &[u8]| {
        let from = part.as_ptr() as usize - head.as_ptr() as usize;
        // A head is smaller than 4 GiB by far.
        (from as u32, (from + part.len()) as u32)
    };
    for (span, field) in spans.iter_mut().zip(fields) {
        *span = Span { name: place(field.name.as_bytes()), value: place(field.value) };
    }
    spans
}

impl Span {
    fn name(self, head: &Bytes) -> Option<HeaderName> {
        HeaderName::from_bytes(&head[self.name.0 as usize..self.name.1 as usize]).ok()
    }

    /// It shares the head's bytes.
    fn value(self, head: &Bytes) -> Option<HeaderValue> {
        HeaderValue::from_maybe_shared(head.slice(self.value.0 as usize..self.value.1 as usize)).ok()
    }
}

/// Whether a head may end in `buffer`, of which the first `known` bytes are known to hold no whole one. A head that comes in
/// many pieces is not parsed anew with each of them.
pub(crate) fn may_be_whole(buffer: &[u8], known: usize) -> bool {
    let fresh = &buffer[known.min(buffer.len()).saturating_sub(3)..];
    !buffer.is_empty()
        && (known == 0
            || memchr::memchr_iter(b'\n', fresh).any(|at| matches!(&fresh[at + 1..], [b'\n', ..] | [b'\r', b'\n', ..])))
}

/// Empties a map that is not needed any more. It keeps its memory for the next head, unless that is unusually much.
pub(crate) fn empty(map: &mut HeaderMap) {
    const MOST: usize = 64;
    if map.capacity() > MOST {
        *map = HeaderMap::new();
    } else {
        map.clear();
    }
}
