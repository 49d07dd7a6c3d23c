//! WebSocket over a stream of HTTP/2 (RFC 8441), for backends that know it over HTTP/1.1 alone (RFC 6455): the request becomes
//! the upgrade that it stands for, so that routes and policies see one form of it, and the answer to that is turned back.

use std::sync::Arc;

use aws_lc_rs::{digest, rand};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::ext::Protocol;

/// What a server adds to a key (RFC 6455, 4.2.2).
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// With a request that is such an upgrade: what a backend has to say to be believed.
#[derive(Clone)]
pub(crate) struct WebSocket {
    accept: Arc<str>,
}

/// An extended CONNECT becomes a GET that asks for an upgrade. Another protocol stays what it is, which is refused.
pub(super) fn ask<B>(request: &mut Request<B>) -> Option<WebSocket> {
    if request.method() != Method::CONNECT || request.extensions().get::<Protocol>()?.as_str() != "websocket" {
        return None;
    }
    let mut key = [0; 16];
    rand::fill(&mut key).ok()?; // without randomness there is no key, and the request is refused
    let key = STANDARD.encode(key);
    *request.method_mut() = Method::GET;
    let headers = request.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::from_str(&key).ok()?);
    Some(WebSocket { accept: accept(&key).into() })
}

impl WebSocket {
    /// Whether it may be told. A success that is no agreement would say that the stream is open, which it is not.
    pub(crate) fn may_have<B>(&self, answer: &Response<B>) -> bool {
        let said = answer.headers().get(header::SEC_WEBSOCKET_ACCEPT);
        let agreed = answer.status() == StatusCode::SWITCHING_PROTOCOLS
            && is_websocket(answer.headers())
            && said.is_some_and(|said| said.as_bytes() == self.accept.as_bytes());
        agreed || !(answer.status().is_success() || answer.status().is_informational())
    }

    /// A 101 is a 200 here.
    pub(super) fn answer<B>(answer: &mut Response<B>) {
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            *answer.status_mut() = StatusCode::OK;
        }
        const OF_HTTP1: [HeaderName; 3] = [header::CONNECTION, header::UPGRADE, header::SEC_WEBSOCKET_ACCEPT];
        for name in OF_HTTP1 {
            answer.headers_mut().remove(name);
        }
    }
}

fn is_websocket(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

fn accept(key: &str) -> String {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), MAGIC].concat());
    STANDARD.encode(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_answered_as_the_rfc_has_it() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_success_that_opens_nothing_is_none() {
        let asked = WebSocket { accept: "right".into() };
        for (status, upgrade, accept, expected) in [
            (101, "WebSocket", "right", Some(200)),
            (101, "websocket", "wrong", None),
            (101, "other", "right", None),
            (200, "websocket", "right", None),
            (204, "", "", None),
            (404, "", "", Some(404)),
        ] {
            let mut answer = Response::builder()
                .status(status)
                .header("connection", "upgrade")
                .header("upgrade", upgrade)
                .header("sec-websocket-accept", accept)
                .header("sec-websocket-protocol", "chat")
                .body(())
                .unwrap();
            assert_eq!(asked.may_have(&answer), expected.is_some(), "{status} {upgrade} {accept}");
            WebSocket::answer(&mut answer);
            assert!(expected.is_none_or(|expected| answer.status() == expected), "{status} {upgrade} {accept}");
            assert_eq!(answer.headers().keys().collect::<Vec<_>>(), ["sec-websocket-protocol"]);
        }
    }
}
