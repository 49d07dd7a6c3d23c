//! What a request's head asks for: host, path, query, in the one form that route, policy and backend all read.

use std::rc::Rc;

use http::{HeaderValue, Method, Request, Uri, Version, header};
use ipnet::IpNet;
use ravelin_snapshot::path::normalize;

use super::{Client, Connection, Scheme};
use crate::{
    reject::{Reason, Reject},
    settings::Bounds,
};

/// Judged before a route is looked for. It shares the head's bytes, so that the head itself can be changed for the
/// backend while policies and logs still read what the client sent.
#[derive(Clone, Debug)]
pub struct Target {
    uri: Uri,
    /// If the client wrote it otherwise.
    path: Option<String>,
    authority: Rc<Authority>,
    /// `Host` says just that, and alone.
    said: bool,
    id: HeaderValue,
    pub client: Client,
}

/// What the client calls us: host and port.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Authority {
    text: HeaderValue,
    /// In lower case, without final dot.
    host: String,
    port: Option<u16>,
}

impl Target {
    /// Judges the whole head. The error is a 400, or a 431.
    pub fn read<B>(
        request: &Request<B>,
        connection: &Connection,
        id: HeaderValue,
        trusted: &[IpNet],
        bounds: &Bounds,
    ) -> Result<Self, Reject> {
        // HTTP/2 bounds the size of a head, not the number of its fields.
        if request.headers().len() > bounds.max_headers {
            return Err(Reason::HeadersTooLarge.into());
        }
        if connection.cut.get() || !is_framed(request) || is_padded(request) {
            return Err(bad());
        }
        let uri = request.uri();
        let path = match uri.path() {
            "*" if request.method() == Method::OPTIONS => None,
            // Also CONNECT, whose target has no path: this is no forward proxy.
            path => {
                let normal = normalize(path).map_err(|_| bad())?;
                if normal == path && begins_with_path(request)? { None } else { Some(normal.into_owned()) }
            }
        };
        let (authority, said) = authority(request, connection)?;
        let client = Client::of(connection, request.headers(), trusted);
        Ok(Self { uri: uri.clone(), path, authority, said, id, client })
    }

    /// In normal form; `*` for the server itself.
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or_else(|| self.uri.path())
    }

    /// As the client sent it.
    pub fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }

    /// Path and query, as the client sent them.
    pub fn raw(&self) -> &str {
        self.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str)
    }

    /// Lower case, without port and final dot.
    pub fn host(&self) -> &str {
        &self.authority.host
    }

    /// The port in `Host`.
    pub fn port(&self) -> Option<u16> {
        self.authority.port
    }

    /// `Host`, as the client sent it.
    pub fn authority(&self) -> &HeaderValue {
        &self.authority.text
    }

    /// Whether the request's `Host` is what [`Self::authority`] says.
    pub(crate) fn is_host_said(&self) -> bool {
        self.said
    }

    /// `x-request-id`.
    pub fn id(&self) -> &str {
        // Invariant: ids are visible ASCII.
        self.id.to_str().unwrap_or_default()
    }

    pub fn id_value(&self) -> &HeaderValue {
        &self.id
    }

    pub fn scheme(&self) -> Scheme {
        self.client.scheme
    }

    /// The client's target is in origin form, and its path in normal form.
    pub(crate) fn is_origin(&self) -> bool {
        self.path.is_none() && self.uri.authority().is_none()
    }

    /// Path and query for the backend, in origin form. `path` and `query` in place of the client's.
    pub fn origin(&self, path: Option<&str>, query: Option<&str>) -> Result<Uri, Reject> {
        if path.is_none() && query.is_none() && self.path.is_none() {
            let mut parts = http::uri::Parts::default();
            parts.path_and_query = self.uri.path_and_query().cloned();
            return Uri::from_parts(parts).map_err(|_| bad());
        }
        let path = path.unwrap_or_else(|| self.path());
        let text = match query.or_else(|| self.uri.query()) {
            Some(query) if !query.is_empty() || self.uri.query() == Some("") => format!("{path}?{query}"),
            _ => path.to_owned(),
        };
        Uri::try_from(text).map_err(|_| bad())
    }
}

/// Whether the target says its path. In absolute form `http://a?b` leaves it out, and means `/` (RFC 9112, 3.2.1); everywhere
/// else it has to be there (RFC 9113, 8.3.1).
fn begins_with_path<B>(request: &Request<B>) -> Result<bool, Reject> {
    let uri = request.uri();
    let said = uri.path_and_query().is_some_and(|said| said.as_str().starts_with('/'));
    let absolute = request.version() != Version::HTTP_2 && uri.authority().is_some();
    if said || absolute { Ok(said) } else { Err(bad()) }
}

fn bad() -> Reject {
    Reason::BadRequest.into()
}

/// Whether everybody on the way agrees where the body ends. The parser has refused what it does not understand itself:
/// lengths that differ or are no numbers, an encoding that does not end in `chunked`; it drops a length beside an encoding
/// and closes the connection afterwards. What is left is an encoding besides `chunked`: we would pass the body on without
/// undoing it.
fn is_framed<B>(request: &Request<B>) -> bool {
    let mut encodings = request.headers().get_all(header::TRANSFER_ENCODING).iter();
    match (encodings.next(), encodings.next()) {
        (None, _) => true,
        (Some(only), None) => only.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

/// HTTP/2 carries white space around a value, where it is malformed (RFC 9113, 8.2.1). A backend of HTTP/1.1 would not see
/// it, and read another value than routes and policies did.
fn is_padded<B>(request: &Request<B>) -> bool {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let padded = |value: &HeaderValue| blank(value.as_bytes().first()) || blank(value.as_bytes().last());
    request.version() == Version::HTTP_2 && request.headers().values().any(padded)
}

/// And whether `Host` says just that.
fn authority<B>(request: &Request<B>, connection: &Connection) -> Result<(Rc<Authority>, bool), Reject> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() || request.method() == Method::CONNECT {
        return Err(bad());
    }
    let http2 = request.version() == Version::HTTP_2;
    let asked = request.uri().authority();
    if asked.is_some() && !request.uri().scheme_str().is_some_and(|scheme| matches!(scheme, "http" | "https")) {
        return Err(bad());
    }
    match (asked, host) {
        (Some(asked), host) => {
            let asked = connection.authority(asked.as_str().as_bytes()).ok_or_else(bad)?;
            match host {
                // In absolute form the target counts, whatever `Host` says (RFC 9112, 3.2.2); but there has to be one, and a host.
                Some(host) if !http2 && !host.is_empty() && Authority::read(host).is_none() => Err(bad()),
                Some(_) if !http2 => Ok((asked, false)),
                None if !http2 && request.version() == Version::HTTP_11 => Err(bad()),
                // A request of two hosts is malformed (RFC 9113, 8.3.1).
                Some(host) if Authority::read(host).is_none_or(|host| host.host != asked.host) => Err(bad()),
                Some(_) | None => Ok((asked, false)),
            }
        }
        (None, Some(host)) => Ok((connection.authority(host.as_bytes()).ok_or_else(bad)?, true)),
        // The first HTTP had no `Host`: the address is its name for us.
        (None, None) if request.version() < Version::HTTP_11 => {
            let address = HeaderValue::try_from(connection.local.to_string()).map_err(|_| bad())?;
            Ok((Authority::read(&address).ok_or_else(bad)?.into(), false))
        }
        (None, None) => Err(bad()),
    }
}

/// Whether it could stand in `Host`.
pub(crate) fn is_authority(text: &str) -> bool {
    HeaderValue::from_str(text).is_ok_and(|text| Authority::read(&text).is_some())
}

impl Connection {
    /// What a `Host` or an `:authority` says: nearly always what the one before it said.
    fn authority(&self, host: &[u8]) -> Option<Rc<Authority>> {
        let mut cached = self.authority.borrow_mut();
        if let Some(authority) = cached.as_ref().filter(|authority| authority.text.as_bytes() == host) {
            return Some(Rc::clone(authority));
        }
        // A copy: the value that was read shares the whole buffer of its head, which would stay as long as this.
        let copy = HeaderValue::from_bytes(host).ok()?;
        *cached = Authority::read(&copy).map(Rc::new);
        cached.clone()
    }
}

impl Authority {
    /// A name, an IPv4 address or an IPv6 address in brackets, and perhaps a port.
    fn read(text: &HeaderValue) -> Option<Self> {
        let whole = text.to_str().ok()?;
        let (host, port) = match whole.strip_prefix('[') {
            Some(rest) => {
                let end = rest.find(']')?;
                rest[..end].parse::<std::net::Ipv6Addr>().ok()?;
                (&whole[..end + 2], &whole[end + 2..])
            }
            None => {
                let end = whole.find(':').unwrap_or(whole.len());
                let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
                if end > 255 || !whole[..end].bytes().all(named) {
                    return None;
                }
                (&whole[..end], &whole[end..])
            }
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
            None | Some(_) => return None,
        };
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.is_empty() || host.ends_with('.') || host.starts_with('.') {
            return None;
        }
        Some(Self { text: text.clone(), host: host.to_ascii_lowercase(), port })
    }
}

#[cfg(test)]
mod tests;
