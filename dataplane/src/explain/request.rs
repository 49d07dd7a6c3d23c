//! The request that is asked about.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header::HOST};
use ravelin_snapshot::path::normalize;

use super::Asked;
use crate::{
    policy::auth::ClientChain,
    request::{Connection, RequestView, Scheme, Target, is_authority, keep},
    settings::Bounds,
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
    /// Path and query, as they were asked for.
    raw: String,
    pub(super) query: String,
    headers: HeaderMap,
    id: HeaderValue,
    source: SocketAddr,
    /// Asked for, and not shown.
    chain: Arc<ClientChain>,
}

/// Of a URL, in bytes: more is read of none.
const MAX_URL: usize = 65_534;

/// In place of a fresh one: as long, and of the same digits.
const SOME_ID: HeaderValue = HeaderValue::from_static("00000000000000000000000000000000");

/// What cannot be a request, or is refused before anybody looks for a route.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRequest {
    #[error("`{0}` is not a method")]
    Method(String),
    #[error("`{0}` is not a URL; write http://api.example/path")]
    Url(String),
    #[error("a request with a URL of {0} bytes is answered with 431 headers_too_large: none has more than {MAX_URL}")]
    LongUrl(usize),
    #[error("`{0}` is not a header; write 'name: value'")]
    Header(String),
    #[error(
        "a request for the host `{0}` is answered with 400 bad_request: it is no name or address with at most a port"
    )]
    Host(String),
    #[error("a request with several headers `host` is answered with 400 bad_request")]
    Hosts,
    #[error("this request is answered with 400 bad_request: its method or its headers cannot be passed on")]
    Refused,
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
        if url.len() > MAX_URL {
            return Err(InvalidRequest::LongUrl(url.len()));
        }
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
        if map.get_all(HOST).iter().count() > 1 {
            return Err(InvalidRequest::Hosts);
        }
        // A client keeps to itself who it is at that host.
        let named = uri.authority().map(|named| named.as_str().rsplit('@').next().unwrap_or_default());
        let host = match (map.get(HOST), named) {
            (Some(host), _) => String::from_utf8_lossy(host.as_bytes()).into_owned(),
            (None, Some(named)) => named.to_owned(),
            (None, None) => return Err(bad()),
        };
        let value = HeaderValue::from_str(&host).ok().filter(|_| is_authority(&host));
        map.insert(HOST, value.ok_or(InvalidRequest::Host(host))?);
        let path = normalize(uri.path())
            .map_err(|why| InvalidRequest::Path { path: uri.path().to_owned(), why: why.to_string() })?
            .into_owned();
        let source = address(source.unwrap_or("127.0.0.1"))?;
        let target = target(&method, &uri, &map, &Connection::new(source, source, scheme, None, &[]))?;
        Ok(Self {
            method,
            scheme,
            connected: uri.host().map(plain),
            host: target.host().to_owned(),
            port: target.port(),
            path,
            raw: uri.path_and_query().map_or("/", |raw| raw.as_str()).to_owned(),
            query: uri.query().unwrap_or_default().to_owned(),
            id: keep(&map).unwrap_or(SOME_ID),
            headers: map,
            source,
            chain: Arc::default(),
        })
    }

    pub(super) fn view(&self) -> RequestView<'_> {
        RequestView {
            method: &self.method,
            path: &self.path,
            raw: &self.raw,
            query: &self.query,
            headers: &self.headers,
            host: &self.host,
            // Invariant: it was read as text.
            authority: self.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default(),
            scheme: self.scheme,
            id: self.id.to_str().unwrap_or_default(), // visible ASCII
            source: self.source,
            chain: Some(&self.chain),
        }
    }

    /// Whether a connection for the URL comes about: over TLS a name needs a certificate. Without a host in the URL there is one.
    pub(super) fn is_connected(&self, table: &Table) -> bool {
        self.connected.is_none() || self.scheme == Scheme::Http || table.certificates().has(self.server_name())
    }

    /// Whether the certificate of a connection for the URL is the host's. Without a host in the URL they are the same.
    pub(super) fn is_directed(&self, table: &Table) -> bool {
        self.connected.is_none()
            || self.scheme == Scheme::Http
            || table.certificates().fit(self.server_name(), &self.host)
    }

    /// What a client asks for in the handshake. An address is no server name (RFC 6066, 3).
    fn server_name(&self) -> Option<&str> {
        let named = |connected: &&str| connected.trim_matches(['[', ']']).parse::<IpAddr>().is_err();
        self.connected.as_deref().filter(named)
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

/// The head as the gateway reads it; how many headers it takes is a flag's matter.
fn target(method: &Method, uri: &Uri, headers: &HeaderMap, connection: &Connection) -> Result<Target, InvalidRequest> {
    let mut request = http::Request::new(());
    *request.method_mut() = method.clone();
    let origin = uri.path_and_query().map_or("/", |origin| origin.as_str());
    // As a client asks for a URL without a path.
    let slash = if origin.starts_with('?') { "/" } else { "" };
    *request.uri_mut() = format!("{slash}{origin}").parse().map_err(|_| InvalidRequest::Refused)?;
    *request.headers_mut() = headers.clone();
    let bounds = Bounds { max_headers: usize::MAX, ..Bounds::default() };
    Target::read(&request, connection, HeaderValue::from_static("-"), &[], &bounds).map_err(|_| InvalidRequest::Refused)
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
