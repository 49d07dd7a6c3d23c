//! The head of a request.

use std::mem::{self, MaybeUninit};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Uri, Version, header};

use super::{Bounds, Decoder, MAX_FIELDS, Span, spans};

/// A head that is longer is hyper's, which knows how to refuse it.
pub(crate) const LONG: usize = 16 << 10;

/// Of a target; beyond it `Uri` has no room.
const MAX_TARGET: usize = 8 << 10;

/// Why a head was not read; nothing has been taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotRead {
    /// There is more to come.
    Partial,
    /// Let hyper read it.
    Unusual,
}

pub(crate) struct RequestHead<B> {
    /// Its body is yet to be put in.
    pub(crate) request: Box<http::Request<B>>,
    pub(crate) body: Decoder,
    /// The client may send another request over this connection.
    pub(crate) keep: bool,
}

/// Reads a head off `buffer`, if it is whole and plain: HTTP/1.1, no more than one statement about the body, nothing that
/// changes the connection. `spare` is a map whose memory may be used.
pub(crate) fn read_request<B: Default>(
    buffer: &mut BytesMut,
    spare: &mut HeaderMap,
    bounds: Bounds,
) -> Result<RequestHead<B>, NotRead> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    let length = match parsed.parse_with_uninit_headers(buffer, &mut fields) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if buffer.len() < LONG.min(bounds.bytes) => return Err(NotRead::Partial),
        Ok(httparse::Status::Partial) | Err(_) => return Err(NotRead::Unusual),
    };
    let (Some(1), Some(method), Some(target)) = (parsed.version, parsed.method, parsed.path) else {
        return Err(NotRead::Unusual);
    };
    let count = parsed.headers.len();
    // A fragment would be cut off without a word.
    if length > bounds.bytes || count > bounds.fields || target.len() > MAX_TARGET || target.contains('#') {
        return Err(NotRead::Unusual);
    }
    let Some(method) = Method::from_bytes(method.as_bytes()).ok().filter(|method| *method != Method::CONNECT) else {
        return Err(NotRead::Unusual);
    };
    let from = target.as_ptr() as usize - buffer.as_ptr() as usize;
    let target = from..from + target.len();
    let spans = spans(buffer, parsed.headers);
    let head = buffer.split_to(length).freeze();
    assemble(&head, method, target, &spans[..count], spare, bounds).ok_or_else(|| {
        // Put together again; it is rare.
        *buffer = [&head[..], buffer].concat().as_slice().into();
        NotRead::Unusual
    })
}

fn assemble<B: Default>(
    head: &Bytes,
    method: Method,
    target: std::ops::Range<usize>,
    spans: &[Span],
    spare: &mut HeaderMap,
    bounds: Bounds,
) -> Option<RequestHead<B>> {
    let uri = Uri::from_maybe_shared(head.slice(target)).ok()?;
    let mut request = Box::new(http::Request::new(B::default()));
    let headers = request.headers_mut();
    mem::swap(headers, spare);
    headers.reserve(spans.len());
    let (mut body, mut keep) = (None, true);
    for span in spans {
        let (name, value) = (span.name(head)?, span.value(head)?);
        match name {
            // One statement about the body, or it is hyper's.
            header::CONTENT_LENGTH | header::TRANSFER_ENCODING if body.is_some() => return None,
            header::CONTENT_LENGTH => body = Some(Decoder::Length(digits(&value)?)),
            header::TRANSFER_ENCODING if value.as_bytes().eq_ignore_ascii_case(b"chunked") => {
                body = Some(Decoder::chunked(bounds));
            }
            header::CONNECTION if value.as_bytes().eq_ignore_ascii_case(b"close") => keep = false,
            header::CONNECTION if value.as_bytes().eq_ignore_ascii_case(b"keep-alive") => {}
            header::TRANSFER_ENCODING | header::CONNECTION | header::UPGRADE | header::EXPECT | header::TE => {
                return None;
            }
            _ => {}
        }
        headers.append(name, value);
    }
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_11;
    Some(RequestHead { request, body: body.unwrap_or(Decoder::Length(0)), keep })
}

/// Digits and nothing else, and no more than a length may be.
pub(super) fn digits(value: &HeaderValue) -> Option<u64> {
    let text = value.as_bytes();
    let add = |sum: u64, byte: &u8| match byte {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    };
    // hyper keeps the two largest numbers for itself.
    text.iter().try_fold(0, add).filter(|length| !text.is_empty() && *length < u64::MAX - 1)
}
