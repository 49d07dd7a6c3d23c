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
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RuleName {
    pub namespace: String,
    pub route: String,
    pub rule: String,
}

/// The connection that a request came over.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The other end of the socket, or whom the PROXY protocol names.
    pub peer: SocketAddr,
    pub local: SocketAddr,
    pub scheme: Scheme,
    /// The name that the client asked for in the TLS handshake, in lower case.
    pub server_name: Option<String>,
}

/// What the pipeline has found out about a request's head before it looks for a route. Owned, so that the head itself
/// can be changed for the backend while policies and logs still read what the client sent.
#[derive(Clone, Debug)]
pub struct Target {
    /// In normal form.
    pub path: String,
    pub query: String,
    pub host: String,
    pub id: String,
    pub source: SocketAddr,
}

impl Target {
    /// Judges host, path, query and forwarded headers. An error is a 400.
    pub fn read<B>(
        request: &http::Request<B>,
        connection: &Connection,
        _settings: &crate::Settings,
    ) -> Result<Self, crate::reject::Reject> {
        let bad = || crate::reject::Reject::from(crate::reject::Reason::BadRequest);
        let path = crate::normalize::normalize(request.uri().path()).map_err(|_| bad())?.into_owned();
        let host = request.headers().get(http::header::HOST).and_then(|host| host.to_str().ok()).ok_or_else(bad)?;
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host).to_ascii_lowercase();
        Ok(Self {
            path,
            query: request.uri().query().unwrap_or_default().to_owned(),
            host,
            id: String::new(),
            source: connection.peer,
        })
    }
}
