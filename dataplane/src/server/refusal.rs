//! The answer to a head that is none. The parser refuses it before there is a request, with a status and nothing else; the
//! client gets what every other refusal looks like.

use bytes::{Bytes, BytesMut};
use http::HeaderValue;

use crate::{
    reject::{Reason, Refused, Reject},
    request::{RequestIds, X_REQUEST_ID},
};

/// What is known of a head that the parser refused, and of its answer.
pub(super) struct Malformed {
    pub(super) reason: Reason,
    pub(super) id: HeaderValue,
    /// Bytes of the answer's body.
    pub(super) sent: usize,
}

/// More than the parser ever writes of its own.
const MAX_PARSERS: usize = 256;

/// What is to be written instead of `written`, if that is a refusal of the parser's, whole and nothing else. To be asked only
/// while no request is under way: then it is the last that is written to this connection.
pub(super) fn instead_of(written: &[u8]) -> Option<(Bytes, Malformed)> {
    if written.len() > MAX_PARSERS {
        return None;
    }
    let (reason, date) = refused(written)?;
    let request_id = RequestIds::new().next();
    let id = request_id.to_str().unwrap_or_default();
    let answer = Reject::from(reason).render(Refused { request_id: id, grpc: false });
    let status = answer.status();
    let mut bytes = BytesMut::with_capacity(512);
    let first = format!("HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason().unwrap_or_default());
    bytes.extend_from_slice(first.as_bytes());
    for (name, value) in answer.headers() {
        bytes.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    let length = answer.body().len();
    let last = format!("{X_REQUEST_ID}: {id}\r\nconnection: close\r\ncontent-length: {length}\r\n{date}\r\n\r\n");
    bytes.extend_from_slice(last.as_bytes());
    bytes.extend_from_slice(answer.body());
    Some((bytes.freeze(), Malformed { reason, id: request_id, sent: length }))
}

/// The reason, and the line of the date.
fn refused(written: &[u8]) -> Option<(Reason, &str)> {
    let head = str::from_utf8(written).ok()?.strip_prefix("HTTP/1.1 ")?.strip_suffix("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let reason = match lines.next()?.split(' ').next()? {
        "400" => Reason::BadRequest,
        "414" | "431" => Reason::HeadersTooLarge,
        _ => return None,
    };
    let fields = [lines.next()?, lines.next()?, lines.next()?];
    let known = fields.contains(&"connection: close") && fields.contains(&"content-length: 0");
    let date = fields.into_iter().find(|field| field.starts_with("date: "))?;
    (known && lines.next().is_none()).then_some((reason, date))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARSERS: &str = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: Wed, 25 Nov 2026 00:49:07 GMT\r\n\r\n";

    #[test]
    fn the_parsers_refusal_becomes_ours_and_keeps_its_date() {
        let (ours, malformed) = instead_of(PARSERS.as_bytes()).unwrap();
        let ours = str::from_utf8(&ours).unwrap();
        let (head, body) = ours.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"));
        assert!(head.contains("\r\ncontent-type: application/problem+json\r\n"), "{head}");
        assert!(head.contains("\r\ndate: Wed, 25 Nov 2026 00:49:07 GMT"), "{head}");
        assert!(head.contains(&format!("\r\ncontent-length: {}\r\n", body.len())), "{head}");
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((malformed.reason, malformed.sent), (Reason::HeadersTooLarge, body.len()));
        assert_eq!(
            (&problem["reason"], &problem["requestId"]),
            (&"headers_too_large".into(), &malformed.id.to_str().unwrap().into())
        );
        assert!(head.contains(&format!("\r\nx-request-id: {}\r\n", problem["requestId"].as_str().unwrap())));
    }

    #[test]
    fn nothing_else_is_touched() {
        for other in [
            PARSERS.replace("431", "404"),
            PARSERS.replace("content-length: 0", "content-length: 1"),
            PARSERS.replace("connection: close\r\n", ""),
            PARSERS.replace("connection: close", "connection: close\r\nx: y"),
            format!("{PARSERS}x"),
            PARSERS[1..].to_owned(),
            PARSERS[..PARSERS.len() - 1].to_owned(),
            String::new(),
        ] {
            assert!(instead_of(other.as_bytes()).is_none(), "{other:?}");
        }
    }
}
