//! The request that is asked about.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, uri::Authority};

use super::Asked;
use crate::{
    normalize::normalize,
    request::{RequestView, Scheme},
    table::Table,
};

/// A request that nobody has sent.
#[derive(Clone, Debug)]
pub struct ExplainRequest {
    pub(super) method: Method,
    pub(super) scheme: Scheme,
    /// The URL's host, which a connection is opened for.
    connected: Option<String>,
    /// Lower case, without port and final dot.
    pub(super) host: String,
    pub(super) port: Option<u16>,
    pub(super) path: String,
    pub(super) query: String,
    headers: HeaderMap,
    source: SocketAddr,
}

/// What cannot be a request.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRequest {
    #[error("`{0}` is not a method")]
    Method(String),
    #[error("`{0}` is not a URL; write http://api.example/path")]
    Url(String),
    #[error("`{0}` is not a header; write 'name: value'")]
    Header(String),
    #[error("the header `host` is not a host; write 'host: api.example'")]
    Host,
    #[error("a request with the path {path} is answered with 400 bad_request: {why}")]
    Path { path: String, why: String },
    #[error("`{0}` is not an address")]
    Source(String),
}

impl ExplainRequest {
    /// `headers` are lines `name: value`; `source` is an address with or without a port, 127.0.0.1 by default. The header
    /// `host` goes before the URL's.
    pub fn parse<'h>(
        method: &str,
        url: &str,
        headers: impl IntoIterator<Item = &'h str>,
        source: Option<&str>,
    ) -> Result<Self, InvalidRequest> {
        let bad = || InvalidRequest::Url(url.to_owned());
        let method = method.parse().map_err(|_| InvalidRequest::Method(method.to_owned()))?;
        let uri: Uri = url.parse().map_err(|_| bad())?;
        let mut map = HeaderMap::new();
        for line in headers {
            let (name, value) = header(line).ok_or_else(|| InvalidRequest::Header(line.to_owned()))?;
            map.append(name, value);
        }
        let scheme = match uri.scheme_str() {
            None | Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            Some(_) => return Err(bad()),
        };
        // As clients have it: the URL says whom to connect to, and the header whom to ask for.
        let host = map.get(http::header::HOST).map(|host| host.to_str().ok()?.parse().ok());
        let authority: Authority = match (host, uri.authority()) {
            (Some(host), _) => host.ok_or(InvalidRequest::Host)?,
            (None, Some(authority)) => authority.clone(),
            (None, None) => return Err(bad()),
        };
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| InvalidRequest::Host)?;
        map.insert(http::header::HOST, host);
        let path = normalize(uri.path())
            .map_err(|why| InvalidRequest::Path { path: uri.path().to_owned(), why: why.to_string() })?
            .into_owned();
        Ok(Self {
            method,
            scheme,
            connected: uri.host().map(plain),
            host: plain(authority.host()),
            port: authority.port_u16(),
            path,
            query: uri.query().unwrap_or_default().to_owned(),
            headers: map,
            source: address(source.unwrap_or("127.0.0.1"))?,
        })
    }

    pub(super) fn view(&self) -> RequestView<'_> {
        RequestView {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
            host: &self.host,
            scheme: self.scheme,
            id: "",
            source: self.source,
        }
    }

    /// Whether the certificate of a connection for the URL is the host's. Without a host in the URL they are the same.
    pub(super) fn is_directed(&self, table: &Table) -> bool {
        let Some(connected) = &self.connected else { return true };
        // An address is no server name (RFC 6066, 3).
        let address = connected.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        let server_name = (!address).then_some(connected.as_str());
        self.scheme == Scheme::Http || table.certificates().fit(server_name, &self.host)
    }

    pub(super) fn asked(&self) -> Asked {
        Asked {
            method: self.method.to_string(),
            host: self.host.clone(),
            path: self.path.clone(),
            source: self.source.ip().to_string(),
        }
    }

    /// `Host` as a backend gets it if nothing changes it.
    pub(super) fn authority(&self) -> String {
        self.port.map_or_else(|| self.host.clone(), |port| format!("{}:{port}", self.host))
    }
}

/// Lower case, without the final dot.
fn plain(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

fn header(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    Some((name.trim().parse().ok()?, value.trim().parse().ok()?))
}

fn address(text: &str) -> Result<SocketAddr, InvalidRequest> {
    let alone = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0));
    alone.or_else(|_| text.parse()).map_err(|_| InvalidRequest::Source(text.to_owned()))
}
