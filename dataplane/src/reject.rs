//! Every answer that the gateway makes itself.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::policy::auth::Denial;

/// A stable reason (docs/src/run/reasons.md): the problem's `reason`, the metric's label and the log's field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    NotReady,
    RouteInvalid,
    BackendInvalid,
    NoRoute,
    NoEndpoints,
    BackendRefused,
    BackendTimeout,
    RequestTimeout,
    CircuitOpen,
    Overloaded,
    Unauthenticated,
    Forbidden,
    RateLimited,
    QuotaExceeded,
    LimitUnavailable,
    PolicyInvalid,
    BadRequest,
    Misdirected,
    HeadersTooLarge,
    BodyTooLarge,
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotReady => "not_ready",
            Self::RouteInvalid => "route_invalid",
            Self::BackendInvalid => "backend_invalid",
            Self::NoRoute => "no_route",
            Self::NoEndpoints => "no_endpoints",
            Self::BackendRefused => "backend_refused",
            Self::BackendTimeout => "backend_timeout",
            Self::RequestTimeout => "request_timeout",
            Self::CircuitOpen => "circuit_open",
            Self::Overloaded => "overloaded",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::RateLimited => "rate_limited",
            Self::QuotaExceeded => "quota_exceeded",
            Self::LimitUnavailable => "limit_unavailable",
            Self::PolicyInvalid => "policy_invalid",
            Self::BadRequest => "bad_request",
            Self::Misdirected => "misdirected",
            Self::HeadersTooLarge => "headers_too_large",
            Self::BodyTooLarge => "body_too_large",
        }
    }

    pub fn status(self) -> StatusCode {
        match self {
            Self::RouteInvalid | Self::BackendInvalid => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::BackendRefused => StatusCode::BAD_GATEWAY,
            Self::BackendTimeout | Self::RequestTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::NotReady
            | Self::NoEndpoints
            | Self::CircuitOpen
            | Self::Overloaded
            | Self::LimitUnavailable
            | Self::PolicyInvalid => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::RateLimited | Self::QuotaExceeded => StatusCode::TOO_MANY_REQUESTS,
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        }
    }
}

/// A refusal on its way to becoming an answer. It is small, for it is the `Err` of every stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Reject {
    pub reason: Reason,
    /// What a 401, 403 or 429 tells besides; boxed, for most have none.
    pub detail: Option<Box<Detail>>,
}

/// What a refusal tells beside its reason.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Detail {
    /// The authorization rule that refused.
    pub rule: Option<String>,
    /// The limit that refused.
    pub limit: Option<String>,
    /// Seconds, rounded up.
    pub retry_after: Option<u64>,
    /// `WWW-Authenticate`, `RateLimit`, `RateLimit-Policy`, ...: names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// Somebody else's answer, in place of ours.
    pub answer: Option<Arc<Passed>>,
    /// For the audit log, and for nobody else.
    pub denial: Option<Box<Denial>>,
    /// It is what was asked for: nothing is refused, and the reason counts nowhere.
    pub served: bool,
}

/// An answer that is passed on, as whoever was asked has said it.
#[derive(Clone, Debug, PartialEq)]
pub struct Passed {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Passed {
    fn response(&self) -> Response<Bytes> {
        let mut response = Response::new(self.body.clone());
        *response.status_mut() = self.status;
        response.headers_mut().clone_from(&self.headers);
        response
    }
}

impl From<Reason> for Reject {
    fn from(reason: Reason) -> Self {
        Self { reason, detail: None }
    }
}

impl Reject {
    /// Until the first snapshot is served: whoever comes again soon finds somebody who knows.
    pub(crate) fn not_ready() -> Self {
        let detail = Detail { retry_after: Some(1), ..Detail::default() };
        Self { reason: Reason::NotReady, detail: Some(Box::new(detail)) }
    }
}

impl Reason {
    /// The gRPC status of this refusal (docs/src/run/reasons.md).
    pub fn grpc_status(self) -> u8 {
        const INVALID_ARGUMENT: u8 = 3;
        const DEADLINE_EXCEEDED: u8 = 4;
        const PERMISSION_DENIED: u8 = 7;
        const RESOURCE_EXHAUSTED: u8 = 8;
        const UNIMPLEMENTED: u8 = 12;
        const UNAVAILABLE: u8 = 14;
        const UNAUTHENTICATED: u8 = 16;
        match self {
            Self::NoRoute => UNIMPLEMENTED,
            Self::Unauthenticated => UNAUTHENTICATED,
            Self::Forbidden => PERMISSION_DENIED,
            Self::RateLimited | Self::QuotaExceeded => RESOURCE_EXHAUSTED,
            Self::BackendTimeout | Self::RequestTimeout => DEADLINE_EXCEEDED,
            Self::BadRequest => INVALID_ARGUMENT,
            Self::NotReady
            | Self::RouteInvalid
            | Self::BackendInvalid
            | Self::NoEndpoints
            | Self::BackendRefused
            | Self::CircuitOpen
            | Self::Overloaded
            | Self::LimitUnavailable
            | Self::PolicyInvalid
            | Self::Misdirected
            | Self::HeadersTooLarge
            | Self::BodyTooLarge => UNAVAILABLE,
        }
    }

    /// For people: the problem's `title` and gRPC's message.
    pub fn title(self) -> &'static str {
        match self {
            Self::NotReady => "The gateway does not know its routes yet",
            Self::RouteInvalid => "The route is misconfigured",
            Self::BackendInvalid => "The route refers to a backend that cannot be used",
            Self::NoRoute => "No route matches",
            Self::NoEndpoints => "The backend has no ready endpoint",
            Self::BackendRefused => "The backend refused or broke off",
            Self::BackendTimeout => "The backend did not answer in time",
            Self::RequestTimeout => "The request took too long",
            Self::CircuitOpen => "The backend is not called for now",
            Self::Overloaded => "Too many requests wait for the backend",
            Self::Unauthenticated => "A valid credential is required",
            Self::Forbidden => "The caller may not do this",
            Self::RateLimited => "Too many requests",
            Self::QuotaExceeded => "The quota is used up",
            Self::LimitUnavailable => "The limit cannot be checked",
            Self::PolicyInvalid => "A policy of this route cannot be enforced",
            Self::BadRequest => "The request is malformed",
            Self::Misdirected => "The connection is not for this host",
            Self::HeadersTooLarge => "The request's headers are too large",
            Self::BodyTooLarge => "The request's body is too large",
        }
    }
}

/// What an answer has to know of the request that it refuses.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    pub request_id: &'a str,
    /// By its content type (`application/grpc`, `application/grpc+proto`, ...).
    pub grpc: bool,
}

impl Reject {
    /// The answer: a problem (RFC 9457), or for gRPC a response of trailers only (gRPC over HTTP/2, "Responses").
    pub fn render(&self, to: Refused<'_>) -> Response<Bytes> {
        let passed = self.detail.as_ref().and_then(|detail| detail.answer.as_deref());
        let mut response = match passed {
            _ if to.grpc => self.grpc(),
            Some(passed) => passed.response(),
            None => self.problem(to.request_id),
        };
        let headers = response.headers_mut();
        if let Some(detail) = &self.detail {
            for (name, value) in &detail.headers {
                // A value that no header can hold is left out: the status says what matters.
                if let Ok(value) = HeaderValue::from_str(value) {
                    headers.append(HeaderName::from_static(name), value);
                }
            }
            if let Some(seconds) = detail.retry_after {
                headers.insert(header::RETRY_AFTER, seconds.into());
                if to.grpc
                    && let Ok(details) = HeaderValue::from_str(&retry_info(self.reason, seconds))
                {
                    headers.insert("grpc-status-details-bin", details);
                }
            }
        }
        response
    }

    fn problem(&self, request_id: &str) -> Response<Bytes> {
        let detail = self.detail.as_deref();
        let problem = Problem {
            title: self.reason.title(),
            status: self.reason.status().as_u16(),
            reason: self.reason.as_str(),
            request_id,
            rule: detail.and_then(|detail| detail.rule.as_deref()),
            limit: detail.and_then(|detail| detail.limit.as_deref()),
        };
        // Invariant: a struct of strings and numbers serializes.
        let body = serde_json::to_vec(&problem).expect("plain data serializes (invariant)");
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = self.reason.status();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }

    fn grpc(&self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", u16::from(self.reason.grpc_status()).into());
        headers.insert("grpc-message", HeaderValue::from_static(self.reason.title()));
        response
    }
}

/// A `google.rpc.Status` with a `google.rpc.RetryInfo`, as gRPC carries it: protobuf in base64 without padding.
fn retry_info(reason: Reason, seconds: u64) -> String {
    const TYPE: &str = "type.googleapis.com/google.rpc.RetryInfo";
    // Protobuf: each field is its number and wire type in a byte (`<< 3`; 0 a varint, 2 bytes), then its value.
    let bytes = |number: u8, value: &[u8]| [&[number << 3 | 2], &*varint(value.len() as u64), value].concat();
    let duration = [&[1 << 3], &*varint(seconds)].concat();
    let retry_info = bytes(1, &duration);
    let any = [bytes(1, TYPE.as_bytes()), bytes(2, &retry_info)].concat();
    let code = vec![1 << 3, reason.grpc_status()];
    let status = [code, bytes(2, reason.title().as_bytes()), bytes(3, &any)].concat();
    STANDARD_NO_PAD.encode(status)
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(value as u8 | 0x80); // the low seven bits, and that there are more
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Problem<'a> {
    title: &'a str,
    status: u16,
    reason: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_its_reason_its_limit_and_when_to_come_again() {
        let detail = Detail {
            limit: Some("per-client".to_owned()),
            retry_after: Some(3),
            headers: vec![("ratelimit", "\"per-client\";r=0;t=3".to_owned()), ("x-bad", "a\r\nb".to_owned())],
            ..Detail::default()
        };
        let reject = Reject { reason: Reason::RateLimited, detail: Some(Box::new(detail)) };
        let answer = reject.render(Refused { request_id: "r-1", grpc: false });
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert_eq!(answer.headers()["retry-after"], "3");
        assert_eq!(answer.headers()["ratelimit"], "\"per-client\";r=0;t=3");
        assert!(!answer.headers().contains_key("x-bad"), "no header is split");
        let problem: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        let expected = serde_json::json!({
            "title": "Too many requests", "status": 429, "reason": "rate_limited", "requestId": "r-1", "limit": "per-client",
        });
        assert_eq!(problem, expected);
    }

    #[test]
    fn a_grpc_request_gets_a_grpc_status() {
        let answer = Reject::from(Reason::NoRoute).render(Refused { request_id: "r-1", grpc: true });
        assert_eq!((answer.status(), answer.body().len()), (StatusCode::OK, 0));
        assert_eq!(answer.headers()["grpc-status"], "12");
        assert!(!answer.headers().contains_key("grpc-status-details-bin"));
    }

    #[test]
    fn a_grpc_client_is_told_when_to_come_again() {
        let detail = Detail { retry_after: Some(300), ..Detail::default() };
        let reject = Reject { reason: Reason::RateLimited, detail: Some(Box::new(detail)) };
        let answer = reject.render(Refused { request_id: "r-1", grpc: true });
        assert_eq!(answer.headers()["grpc-status"], "8");
        assert_eq!(answer.headers()["retry-after"], "300");
        let status = STANDARD_NO_PAD.decode(&answer.headers()["grpc-status-details-bin"]).unwrap();
        // Written out by hand from status.proto, any.proto, error_details.proto and duration.proto.
        let expected = b"\x08\x08\x12\x11Too many requests\x1a\x31\
            \x0a\x28type.googleapis.com/google.rpc.RetryInfo\x12\x05\x0a\x03\x08\xac\x02";
        assert_eq!(status, expected);
    }
}
