//! Who the client is, and what the backend is told about it: `X-Forwarded-For`, `-Proto`, `-Host` and `Forwarded`
//! (RFC 7239).
//!
//! What a client says itself is dropped. What a trusted proxy says is kept, the proxy is appended, and the client is the
//! rightmost address that is not a trusted proxy's: everything to the left of it anybody could have written. Which header names
//! the client, `X-Forwarded-For` before `Forwarded`, is the one that is believed in the rest, and backends are told the same in
//! `X-Forwarded-*`. What means nothing counts as not said, and does not go on.

mod element;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, header::FORWARDED};
use ipnet::IpNet;

use super::{Connection, Scheme, Target, X_REQUEST_ID, target::is_authority};
use crate::wire;
use element::{Element, elements};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// A client that a trusted proxy did not name in a way that can be read. No list of addresses admits it.
const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

pub(super) fn is_trusted(trusted: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|range| range.contains(&address))
}

/// Who a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The port is 0 if a proxy has not told it.
    pub source: SocketAddr,
    /// How it reached us, or the first trusted proxy.
    pub scheme: Scheme,
    /// What it called the first trusted proxy, if `Forwarded` says so.
    host: Option<Box<HeaderValue>>,
}

impl Client {
    pub(super) fn of(connection: &Connection, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let mut client = Self { source: connection.peer, scheme: connection.scheme, host: None };
        if !connection.trusted {
            return client;
        }
        let forwarded = if headers.contains_key(X_FORWARDED_FOR) { Vec::new() } else { elements(headers) };
        if forwarded.is_empty() {
            let said = headers.get_all(X_FORWARDED_PROTO).iter().next_back().and_then(|value| value.to_str().ok());
            client.scheme = said.and_then(|said| scheme(said.rsplit(',').next()?)).unwrap_or(client.scheme);
        }
        let of_lists = hops(headers).map(|node| Element { node, ..Element::default() });
        for hop in forwarded.into_iter().chain(of_lists) {
            // A trusted proxy names somebody of whom nothing is known: not itself, for it is trusted and they are not.
            client.source = hop.node.unwrap_or(UNKNOWN);
            client.scheme = hop.proto.unwrap_or(client.scheme);
            client.host = hop.host.map(Box::new);
            if !is_trusted(trusted, client.source.ip()) {
                break;
            }
        }
        client
    }
}

/// Of `X-Forwarded-For`, from the nearest to the farthest; `None`: one that is no address.
fn hops(headers: &HeaderMap) -> impl Iterator<Item = Option<SocketAddr>> {
    let lists = headers.get_all(X_FORWARDED_FOR).iter().rev();
    // What is behind a comma a proxy wrote, whatever the client put before it.
    let hops = lists.flat_map(|list| list.as_bytes().rsplit(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    hops.filter(|hop| !hop.is_empty()).map(|hop| std::str::from_utf8(hop).ok().and_then(address))
}

/// `ws` and `wss` are what some proxies write of WebSockets.
fn scheme(text: &str) -> Option<Scheme> {
    match text.trim().to_ascii_lowercase().as_str() {
        "http" | "ws" => Some(Scheme::Http),
        "https" | "wss" => Some(Scheme::Https),
        _ => None,
    }
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`
fn address(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let ip = bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0));
    let found = ip.or_else(|_| text.parse::<SocketAddr>()).ok()?;
    Some(SocketAddr::new(found.ip().to_canonical(), found.port()))
}

/// The fields that every request gets from us on its way to a backend: who the client is, and the request's id.
#[derive(Clone, Copy, Debug)]
pub struct Ours<'a> {
    connection: &'a Connection,
    target: &'a Target,
}

impl<'a> Ours<'a> {
    /// Under which names they go.
    pub(crate) const NAMES: [HeaderName; 5] =
        [X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST, FORWARDED, X_REQUEST_ID];

    pub(crate) fn new(connection: &'a Connection, target: &'a Target) -> Self {
        Self { connection, target }
    }

    /// What the client says in their place counts for something.
    pub(crate) fn heed_the_client(&self) -> bool {
        self.connection.trusted
    }

    /// On a request whose own are still there.
    pub(crate) fn insert(&self, headers: &mut HeaderMap) {
        self.connection.tell(headers, self.target.authority(), &self.target.client);
        headers.insert(X_REQUEST_ID, self.target.id_value().clone());
    }

    /// The same as text, behind a head that has none of them.
    pub(crate) fn write(&self, text: &mut Vec<u8>) {
        self.connection.told(self.target.authority(), text);
        wire::field(text, &X_REQUEST_ID, self.target.id_value().as_bytes());
    }
}

impl Connection {
    /// What [`Self::tell_of_peer`] says, as text.
    fn told(&self, host: &HeaderValue, text: &mut Vec<u8>) {
        let mut cached = self.told.borrow_mut();
        if let Some((_, fields)) = cached.as_ref().filter(|(of, _)| of == host) {
            return text.extend_from_slice(fields);
        }
        let (mut headers, mut fields) = (HeaderMap::new(), Vec::new());
        self.tell_of_peer(&mut headers, host);
        headers.iter().for_each(|(name, value)| wire::field(&mut fields, name, value.as_bytes()));
        text.extend_from_slice(&fields);
        *cached = Some((copy(host), fields.into()));
    }

    /// Sets all four on a request whose own are still there. `host` is the `Host` that the client sent.
    fn tell(&self, headers: &mut HeaderMap, host: &HeaderValue, client: &Client) {
        if !self.trusted {
            return self.tell_of_peer(headers, host);
        }
        let proto = HeaderValue::from_static(client.scheme.as_str());
        let elements = elements(headers);
        if !headers.contains_key(X_FORWARDED_FOR) && !elements.is_empty() {
            // Backends of either habit hear the same.
            for element in elements.iter().rev() {
                let name = element.node.map_or_else(|| "unknown".to_owned(), |node| node.ip().to_string());
                append(headers, &X_FORWARDED_FOR, &value(name));
            }
            headers.insert(X_FORWARDED_PROTO, proto);
            headers.insert(X_FORWARDED_HOST, client.host.as_deref().unwrap_or(host).clone());
        } else {
            keep_if(headers, X_FORWARDED_PROTO, |said| scheme(said).is_some(), || proto);
            keep_if(headers, X_FORWARDED_HOST, is_authority, || host.clone());
        }
        if elements.iter().any(|element| element.garbled) {
            let named = if client.source == UNKNOWN { "unknown".to_owned() } else { node(client.source.ip()) };
            headers.insert(FORWARDED, value(format!("for={named}")));
        }
        append(headers, &X_FORWARDED_FOR, &self.peer_text);
        append(headers, &FORWARDED, &self.forwarded(host));
    }

    fn tell_of_peer(&self, headers: &mut HeaderMap, host: &HeaderValue) {
        headers.insert(X_FORWARDED_FOR, self.peer_text.clone());
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(self.scheme.as_str()));
        headers.insert(X_FORWARDED_HOST, host.clone());
        headers.insert(FORWARDED, self.forwarded(host));
    }

    fn forwarded(&self, host: &HeaderValue) -> HeaderValue {
        let mut cached = self.forwarded.borrow_mut();
        match &*cached {
            Some((of, value)) if of == host => value.clone(),
            _ => {
                let value = self.element(host);
                *cached = Some((copy(host), value.clone()));
                value
            }
        }
    }

    fn element(&self, host: &HeaderValue) -> HeaderValue {
        let client = node(self.peer.ip());
        let host = host.to_str().unwrap_or_default();
        let quote =
            if host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) { "" } else { "\"" };
        // The host was judged when the head was read: it holds neither quotes nor anything invisible.
        value(format!("for={client};host={quote}{host}{quote};proto={}", self.scheme.as_str()))
    }
}

/// As `Forwarded` names an address.
fn node(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("\"[{ip}]\""),
    }
}

fn value(text: String) -> HeaderValue {
    // Invariant: addresses, hosts and schemes are visible ASCII.
    HeaderValue::try_from(text).expect("addresses, hosts and schemes are a value (invariant)")
}

/// Leaves a list as it is if all of it means something, and says what is so in its place otherwise.
fn keep_if(
    headers: &mut HeaderMap,
    name: HeaderName,
    means: impl Fn(&str) -> bool,
    otherwise: impl FnOnce() -> HeaderValue,
) {
    let mut lines = headers.get_all(&name).iter().peekable();
    let sound = |line: &HeaderValue| line.to_str().is_ok_and(|list| list.split(',').all(|said| means(said.trim())));
    if lines.peek().is_none() || !lines.all(sound) {
        headers.insert(name, otherwise());
    }
}

/// The value that was read shares the whole buffer of its head, which would stay as long as this.
fn copy(host: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(host.as_bytes()).unwrap_or_else(|_| host.clone())
}

/// Several lines become one, in order.
fn append(headers: &mut HeaderMap, name: &HeaderName, last: &HeaderValue) {
    let mut list = Vec::new();
    for value in headers.get_all(name) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(last.as_bytes());
    let value = HeaderValue::try_from(list).unwrap_or_else(|_| last.clone());
    headers.insert(name, value);
}

#[cfg(test)]
mod tests;
