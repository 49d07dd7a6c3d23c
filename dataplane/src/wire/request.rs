//! The head of a request.

use std::mem::{self, MaybeUninit};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Uri, Version, header};

use super::{Bounds, Decoder, Known, MAX_FIELDS, Span, spans};

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
/// changes the connection. `spare` is a map whose memory may be used; `known` is of the same connection.
pub(crate) fn read_request<B: Default>(
    buffer: &mut BytesMut,
    spare: &mut HeaderMap,
    known: &mut KnownFields,
    bounds: Bounds,
) -> Result<RequestHead<B>, NotRead> {
    if let Some(head) = read_known(known, buffer, spare, bounds) {
        return Ok(head);
    }
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
    let mut head = buffer.split_to(length).freeze();
    let keep = known.note(&head[target.end..]);
    if keep {
        head = Bytes::copy_from_slice(&head); // what is kept must not keep the whole buffer
    }
    let Some(read) = assemble(&head, method, target, &spans[..count], spare, bounds) else {
        put_back(&head, buffer);
        return Err(NotRead::Unusual);
    };
    if keep && read.keep && matches!(read.body, Decoder::Length(0)) {
        known.keep(read.request.headers().clone());
    }
    Ok(read)
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

/// The fields of heads that say nothing of a body and do not close, by all that follows the target in them: nearly always the
/// same from head to head.
pub(crate) type KnownFields = Known<HeaderMap>;

/// A head that differs from those before in nothing but its method and its target. `None`: it is to be parsed.
fn read_known<B: Default>(
    known: &KnownFields,
    buffer: &mut BytesMut,
    spare: &mut HeaderMap,
    bounds: Bounds,
) -> Option<RequestHead<B>> {
    if !known.is_kept() {
        return None;
    }
    let from = memchr::memchr(b' ', &buffer[..buffer.len().min(8)])? + 1;
    let method = match &buffer[..from - 1] {
        b"GET" => Method::GET,
        b"HEAD" => Method::HEAD,
        b"POST" => Method::POST,
        b"PUT" => Method::PUT,
        b"PATCH" => Method::PATCH,
        b"DELETE" => Method::DELETE,
        b"OPTIONS" => Method::OPTIONS,
        _ => return None,
    };
    let target = from..from + memchr::memchr(b' ', &buffer[from..])?;
    let (rest, fields) = known.find(&buffer[target.end..])?;
    let length = target.end + rest;
    let plain = buffer[from] == b'/' && buffer[target.clone()].iter().all(|byte| PLAIN[usize::from(*byte)]);
    if !plain || target.len() > MAX_TARGET || length > bounds.bytes {
        return None;
    }
    let head = buffer.split_to(length).freeze();
    let Ok(uri) = Uri::from_maybe_shared(head.slice(target)) else {
        put_back(&head, buffer);
        return None;
    };
    let mut request = Box::new(http::Request::new(B::default()));
    let headers = request.headers_mut();
    mem::swap(headers, spare);
    copy(fields, headers);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_11;
    Some(RequestHead { request, body: Decoder::Length(0), keep: true })
}

/// Into the memory that there is already.
pub(super) fn copy(fields: &HeaderMap, into: &mut HeaderMap) {
    into.reserve(fields.len());
    for (name, value) in fields {
        into.append(name.clone(), value.clone());
    }
}

/// What stands for itself in a target of origin form (RFC 3986, 3.3 and 3.4).
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        plain[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let marks = b"/-._~%!$&'()*+,;=:@?";
    let mut at = 0;
    while at < marks.len() {
        plain[marks[at] as usize] = true;
        at += 1;
    }
    plain
};

/// It is rare.
fn put_back(head: &[u8], buffer: &mut BytesMut) {
    *buffer = [head, buffer].concat().as_slice().into();
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
