//! What is known of a request: by its head, and by who sent it.

use std::net::SocketAddr;

use http::{HeaderMap, Method};
use serde_json::Value;

/// What matching, policies and expressions may read. It borrows from the request and from the connection.
#[derive(Clone, Copy, Debug)]
pub struct RequestView<'a> {
    pub method: &'a Method,
    /// In normal form; see [`crate::normalize`].
    pub path: &'a str,
    /// Without the `?`; as the client sent it.
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    /// Lower case, without port and final dot.
    pub host: &'a str,
    pub scheme: Scheme,
    /// `x-request-id`.
    pub id: &'a str,
    /// The client: the peer, or whom the trusted proxies name.
    pub source: SocketAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Who calls. The default is the anonymous caller: every field empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Caller {
    pub id: String,
    /// `apiKey`, ...; empty for the anonymous caller.
    pub method: &'static str,
    pub issuer: String,
    pub scopes: Vec<String>,
    pub groups: Vec<String>,
    /// A JSON object; `Null` stands for the empty one.
    pub claims: Value,
    pub plan: String,
}

/// Which rule a request came to: the `route` of expressions, logs and metrics.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RuleName {
    pub namespace: String,
    pub route: String,
    pub rule: String,
}
