//! Every answer that the gateway makes itself.

use http::StatusCode;

/// A stable reason of API.md: the problem's `reason`, the metric's label and the log's field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
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
            Self::NoEndpoints | Self::CircuitOpen | Self::Overloaded | Self::LimitUnavailable | Self::PolicyInvalid => {
                StatusCode::SERVICE_UNAVAILABLE
            }
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
}

impl From<Reason> for Reject {
    fn from(reason: Reason) -> Self {
        Self { reason, detail: None }
    }
}
