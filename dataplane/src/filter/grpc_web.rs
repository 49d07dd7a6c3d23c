//! gRPC-Web (gRPC's PROTOCOL-WEB): what browsers send for gRPC, which cannot read trailers. Towards a backend over HTTP/2 it becomes
//! gRPC; of the answer, the trailers become the last frame of the body. The form `-text` is base64 in both directions.
//!
//! A backend over HTTP/1.1 is none of gRPC: it gets what the browser sent, and may understand it itself.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use http_body::{Body, Frame, SizeHint};

use crate::{
    body::{AnswerBody, BodyError},
    upstream::Upload,
};

const GRPC: &str = "application/grpc";
const WEB: &str = "application/grpc-web";
const TEXT: &str = "application/grpc-web-text";

/// Of a frame that holds trailers.
const TRAILERS: u8 = 0x80;

/// The form in which a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Web {
    text: bool,
}

impl Web {
    /// `None`: it is not gRPC-Web.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        kind.starts_with(WEB).then(|| Self { text: kind.starts_with(TEXT) })
    }

    /// The request as gRPC has it.
    pub(crate) fn ask(self, request: &mut Request<Upload>) {
        let headers = request.headers_mut();
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let suffix = kind.strip_prefix(if self.text { TEXT } else { WEB }).unwrap_or_default();
        if let Ok(kind) = HeaderValue::try_from(format!("{GRPC}{suffix}")) {
            headers.insert(header::CONTENT_TYPE, kind);
        }
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.remove(HeaderName::from_static("x-grpc-web"));
        if self.text {
            headers.remove(header::CONTENT_LENGTH);
            request.body().decode_base64();
        }
    }

    /// An answer of gRPC as the browser reads it; any other is what it is.
    pub(crate) fn answer(self, answer: Response<AnswerBody>) -> Response<AnswerBody> {
        let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let Some(suffix) = kind.strip_prefix(GRPC).filter(|suffix| !suffix.starts_with("-web")) else { return answer };
        let kind = HeaderValue::try_from(format!("{}{suffix}", if self.text { TEXT } else { WEB }));
        let (mut head, body) = answer.into_parts();
        if let Ok(kind) = kind {
            head.headers.insert(header::CONTENT_TYPE, kind);
        }
        head.headers.remove(header::CONTENT_LENGTH);
        head.headers.remove(header::TRAILER);
        let body = AnswerBody::Web(Box::new(WebBody { body, text: self.text }));
        Response::from_parts(head, body)
    }
}

/// A body of gRPC as one of gRPC-Web.
pub struct WebBody {
    body: AnswerBody,
    text: bool,
}

impl Body for WebBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            other => return Poll::Ready(other),
        };
        let bytes = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => frame.into_trailers().map(|trailers| self::trailers(&trailers)).unwrap_or_default(),
        };
        // Each piece is encoded by itself: what has come is passed on at once.
        let bytes = if self.text { Bytes::from(STANDARD.encode(bytes)) } else { bytes };
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// A frame like a head of HTTP/1.1.
fn trailers(trailers: &HeaderMap) -> Bytes {
    let mut text = BytesMut::new();
    for (name, value) in trailers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            text.put(part);
        }
    }
    let mut frame = BytesMut::with_capacity(5 + text.len());
    frame.put_u8(TRAILERS);
    frame.put_u32(text.len() as u32); // a head is bounded well below
    frame.put(text);
    frame.freeze()
}

/// Base64 that comes in pieces, each of which may be padded.
#[derive(Default)]
pub(crate) struct Base64 {
    /// Of a group of four that is not whole yet.
    begun: Vec<u8>,
}

impl Base64 {
    /// `None`: it is none.
    pub(crate) fn decode(&mut self, piece: &[u8]) -> Option<Bytes> {
        let mut text = std::mem::take(&mut self.begun);
        text.extend_from_slice(piece);
        let whole = text.len() / 4 * 4;
        self.begun = text.split_off(whole);
        let mut decoded = Vec::with_capacity(whole / 4 * 3);
        for group in text.chunks_exact(4) {
            STANDARD.decode_vec(group, &mut decoded).ok()?;
        }
        Some(decoded.into())
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.begun.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_decoded_however_it_is_cut_and_padded_within() {
        let text = [STANDARD.encode("a"), STANDARD.encode("bcde"), STANDARD.encode("fgh")].concat();
        for size in 1..=text.len() {
            let mut base64 = Base64::default();
            let pieces = text.as_bytes().chunks(size).map(|piece| base64.decode(piece).unwrap());
            assert_eq!(pieces.collect::<Vec<_>>().concat(), b"abcdefgh", "{size}");
            assert!(base64.is_whole());
        }
        let mut cut = Base64::default();
        assert_eq!(cut.decode(b"YWJjZ").unwrap(), "abc");
        assert!(!cut.is_whole());
        assert_eq!(Base64::default().decode(b"a*b="), None);
    }

    #[test]
    fn only_what_says_so_is_grpc_web() {
        let kind = |kind: &'static str| {
            Web::of(&HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))]))
        };
        assert_eq!(kind("application/grpc-web+proto"), Some(Web { text: false }));
        assert_eq!(kind("application/grpc-web-text"), Some(Web { text: true }));
        assert_eq!(kind("application/grpc+proto"), None);
        assert_eq!(Web::of(&HeaderMap::new()), None);
    }

    #[test]
    fn trailers_are_a_frame_of_lines() {
        let said = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
        assert_eq!(trailers(&said)[..], b"\x80\0\0\0\x10grpc-status: 0\r\n"[..]);
    }
}
