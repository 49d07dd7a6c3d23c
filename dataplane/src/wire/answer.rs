//! The head of an answer.

use std::mem::{self, MaybeUninit};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use hyper::ext::ReasonPhrase;

use super::{
    Bounds, Decoder, Known, MAX_FIELDS, Span,
    request::{copy, digits},
    spans,
};

pub(crate) enum Answer {
    /// There is more to come.
    Partial,
    /// 1xx, but for 101: another head follows.
    Interim,
    Final(AnswerHead),
    /// It is none, or one about whose end two readers could disagree.
    Garbage,
}

/// Of an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnswerBounds {
    /// Bytes.
    pub(crate) head: usize,
    pub(crate) trailers: Bounds,
}

pub(crate) struct AnswerHead {
    pub(crate) answer: http::Response<()>,
    pub(crate) body: Decoder,
    /// The backend takes another request over this connection.
    pub(crate) keep: bool,
}

/// Answers of HTTP/1.1 with a length, without a reason of their own and not to HEAD, by their heads.
pub(crate) type KnownAnswer = Known<Kept>;

pub(crate) struct Kept {
    status: StatusCode,
    fields: HeaderMap,
    length: u64,
    keep: bool,
}

/// `None`: it is to be parsed.
fn read_known(
    known: &KnownAnswer,
    buffer: &mut BytesMut,
    spare: &mut HeaderMap,
    method: &Method,
) -> Option<AnswerHead> {
    let (length, kept) = known.find(buffer).filter(|_| *method != Method::HEAD)?;
    buffer.advance(length);
    let mut answer = http::Response::new(());
    mem::swap(answer.headers_mut(), spare);
    copy(&kept.fields, answer.headers_mut());
    *answer.status_mut() = kept.status;
    Some(AnswerHead { answer, body: Decoder::Length(kept.length), keep: kept.keep })
}

/// Reads the head of the answer to a request of `method` off `buffer`. `spare` is a map whose memory may be used; `known` is of
/// the same connection.
pub(crate) fn read_answer(
    buffer: &mut BytesMut,
    spare: &mut HeaderMap,
    known: &mut KnownAnswer,
    method: &Method,
    bounds: AnswerBounds,
) -> Answer {
    if buffer.is_empty() {
        return Answer::Partial;
    }
    if let Some(head) = read_known(known, buffer, spare, method) {
        return Answer::Final(head);
    }
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut parsed, buffer, &mut fields) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if buffer.len() < bounds.head => return Answer::Partial,
        Ok(httparse::Status::Partial) | Err(_) => return Answer::Garbage,
    };
    let (Some(code), Some(minor)) = (parsed.code, parsed.version) else { return Answer::Garbage };
    let Ok(status) = StatusCode::from_u16(code) else { return Answer::Garbage };
    let said = parsed.reason.filter(|reason| status.canonical_reason() != Some(reason));
    let reason = said.and_then(|reason| ReasonPhrase::try_from(reason.as_bytes()).ok());
    let version = if minor == 1 { Version::HTTP_11 } else { Version::HTTP_10 };
    let (spans, count) = (spans(buffer, parsed.headers), parsed.headers.len());
    let mut head = buffer.split_to(length).freeze();
    if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
        return Answer::Interim;
    }
    let keep = known.note(&head);
    if keep {
        head = Bytes::copy_from_slice(&head); // what is kept must not keep the whole buffer
    }
    let Some(mut read) = assemble(&head, status, version, &spans[..count], spare, (method, bounds.trailers)) else {
        return Answer::Garbage;
    };
    if let (true, None, Decoder::Length(length)) = (keep, &reason, &read.body)
        && version == Version::HTTP_11
        && *method != Method::HEAD
    {
        known.keep(Kept { status, fields: read.answer.headers().clone(), length: *length, keep: read.keep });
    }
    if let Some(reason) = reason {
        read.answer.extensions_mut().insert(reason);
    }
    Answer::Final(read)
}

fn assemble(
    head: &Bytes,
    status: StatusCode,
    version: Version,
    spans: &[Span],
    spare: &mut HeaderMap,
    (method, trailers): (&Method, Bounds),
) -> Option<AnswerHead> {
    let mut answer = http::Response::new(());
    let headers = answer.headers_mut();
    mem::swap(headers, spare);
    headers.reserve(spans.len());
    let (mut length, mut chunked) = (None, false);
    let (mut keep, mut close) = (version == Version::HTTP_11, false);
    for span in spans {
        let (name, value) = (span.name(head)?, span.value(head)?);
        match name {
            header::CONTENT_LENGTH => {
                let number = digits(&value);
                let said = number.or_else(|| equal_lengths(&value))?;
                match length {
                    Some(before) if before != said => return None,
                    Some(_) => continue, // once is enough
                    None => length = Some(said),
                }
                headers.append(name, if number.is_some() { value } else { said.into() });
                continue;
            }
            // We have asked for no other coding, and HTTP/1.0 knows none.
            header::TRANSFER_ENCODING => {
                let plain = value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
                if chunked || !plain || version == Version::HTTP_10 {
                    return None;
                }
                chunked = true;
            }
            // Once any of them asks to close, no other undoes it.
            header::CONNECTION if close || says(&value, "close") => (close, keep) = (true, false),
            header::CONNECTION => keep = keep || says(&value, "keep-alive"),
            _ => {}
        }
        headers.append(name, value);
    }
    let bodyless = *method == Method::HEAD || matches!(status.as_u16(), 101 | 204 | 304);
    let body = match (chunked, length) {
        (true, Some(_)) => return None, // (RFC 9112, 6.3)
        _ if bodyless => Decoder::Length(0),
        (true, None) => Decoder::chunked(trailers),
        (false, Some(length)) => Decoder::Length(length),
        (false, None) => Decoder::Close,
    };
    *answer.status_mut() = status;
    *answer.version_mut() = version;
    let keep = keep && status != StatusCode::SWITCHING_PROTOCOLS && !matches!(body, Decoder::Close);
    Some(AnswerHead { answer, body, keep })
}

/// A list of equal numbers is that number (RFC 9110, 8.6).
fn equal_lengths(value: &HeaderValue) -> Option<u64> {
    let mut numbers = value.to_str().ok()?.split(',').map(|one| {
        let one = HeaderValue::from_str(one.trim()).ok()?;
        digits(&one)
    });
    let first = numbers.next()??;
    numbers.all(|other| other == Some(first)).then_some(first)
}

pub(super) fn says(value: &HeaderValue, token: &str) -> bool {
    let list = value.to_str().unwrap_or_default();
    list.split(',').any(|one| one.trim().eq_ignore_ascii_case(token))
}
