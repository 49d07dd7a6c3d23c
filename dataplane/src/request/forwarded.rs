//! Who the client is, and what the backend is told about it: `X-Forwarded-For`, `-Proto`, `-Host` and `Forwarded`
//! (RFC 7239).
//!
//! What a client says itself is dropped. What a trusted proxy says is kept, the proxy is appended, and the client is the
//! rightmost address that is not a trusted proxy's: everything to the left of it anybody could have written.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, header::FORWARDED};
use ipnet::IpNet;

use super::{Connection, Scheme};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The port is 0 if a proxy has not told it.
    pub source: SocketAddr,
    /// How it reached us, or the first trusted proxy.
    pub scheme: Scheme,
}

impl Client {
    pub(super) fn of(connection: &Connection, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        if !connection.trusted {
            return Self { source: connection.peer, scheme: connection.scheme };
        }
        let said = headers.get_all(X_FORWARDED_PROTO).iter().next_back().and_then(|value| value.to_str().ok());
        let scheme = match said.and_then(|said| said.rsplit(',').next()).map(str::trim) {
            Some(said) if said.eq_ignore_ascii_case("https") => Scheme::Https,
            Some(said) if said.eq_ignore_ascii_case("http") => Scheme::Http,
            _ => connection.scheme,
        };
        let mut source = connection.peer;
        for hop in hops(headers) {
            // A trusted proxy names somebody of whom nothing is known: not itself, for it is trusted and they are not.
            source = hop.unwrap_or(UNKNOWN);
            if !is_trusted(trusted, source.ip()) {
                break;
            }
        }
        Self { source, scheme }
    }
}

/// From the nearest to the farthest; `None`: one that is no address. `X-Forwarded-For` counts before `Forwarded`.
fn hops(headers: &HeaderMap) -> Vec<Option<SocketAddr>> {
    let lines = |name: &HeaderName| headers.get_all(name).iter().rev().map(HeaderValue::as_bytes).collect::<Vec<_>>();
    let lists = lines(&X_FORWARDED_FOR);
    if !lists.is_empty() {
        // What is behind a comma a proxy wrote, whatever the client put before it.
        let hops = lists.iter().flat_map(|list| list.rsplit(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
        let address = |hop: &[u8]| std::str::from_utf8(hop).ok().and_then(address);
        return hops.filter(|hop| !hop.is_empty()).map(address).collect();
    }
    let nodes = |line: &[u8]| std::str::from_utf8(line).ok().and_then(nodes).unwrap_or_else(|| vec![None]);
    lines(&FORWARDED).into_iter().flat_map(|line| nodes(line).into_iter().rev()).collect()
}

/// The `for` of each element of one line, from left to right. `None`: it is not as RFC 7239, 4 wants it, and a quote that a
/// client left open may have swallowed what a proxy put behind it.
fn nodes(line: &str) -> Option<Vec<Option<SocketAddr>>> {
    let (mut nodes, mut rest) = (Vec::new(), line.trim());
    while !rest.is_empty() {
        let mut node = None;
        let mut seen = false;
        while !rest.is_empty() && !rest.starts_with(',') {
            if let Some(behind) = rest.strip_prefix(';') {
                rest = behind.trim_start();
                continue;
            }
            let (name, value, behind) = pair(rest)?;
            if name.eq_ignore_ascii_case("for") && node.replace(address(value)).is_some() {
                return None;
            }
            (seen, rest) = (true, behind.trim_start());
            if !rest.is_empty() && !rest.starts_with([',', ';']) {
                return None;
            }
        }
        nodes.extend(seen.then_some(node.flatten()));
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    Some(nodes)
}

/// A name, its value without quotes, and what is behind them. Unquoted ports and IPv6 addresses are taken, as many write them.
fn pair(text: &str) -> Option<(&str, &str, &str)> {
    let (name, text) = text.split_once('=')?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let (value, behind) = match text.strip_prefix('"') {
        Some(quoted) => {
            let mut escaped = false;
            let end = quoted.bytes().position(|byte| {
                let ends = byte == b'"' && !escaped;
                escaped = byte == b'\\' && !escaped;
                ends
            })?;
            (&quoted[..end], &quoted[end + 1..])
        }
        None => text.split_at(text.find([',', ';', ' ', '\t', '"']).unwrap_or(text.len())),
    };
    is_name.then_some((name, value, behind))
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`
fn address(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let ip = bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0));
    let found = ip.or_else(|_| text.parse::<SocketAddr>()).ok()?;
    Some(SocketAddr::new(found.ip().to_canonical(), found.port()))
}

impl Connection {
    /// Sets all four on a request whose own are still there. `host` is the `Host` that the client sent.
    pub(crate) fn tell(&self, headers: &mut HeaderMap, host: &HeaderValue) {
        let proto = HeaderValue::from_static(self.scheme.as_str());
        if !self.trusted {
            headers.insert(X_FORWARDED_FOR, self.peer_text.clone());
            headers.insert(X_FORWARDED_PROTO, proto);
            headers.insert(X_FORWARDED_HOST, host.clone());
            headers.insert(FORWARDED, self.forwarded(host));
            return;
        }
        append(headers, &X_FORWARDED_FOR, &self.peer_text);
        append(headers, &FORWARDED, &self.forwarded(host));
        headers.entry(X_FORWARDED_PROTO).or_insert(proto);
        headers.entry(X_FORWARDED_HOST).or_insert_with(|| host.clone());
    }

    fn forwarded(&self, host: &HeaderValue) -> HeaderValue {
        let mut cached = self.forwarded.borrow_mut();
        match &*cached {
            Some((of, value)) if of == host => value.clone(),
            _ => {
                let value = self.element(host);
                // A copy: the value that was read shares the whole buffer of its head, which would stay as long as this.
                let copy = HeaderValue::from_bytes(host.as_bytes()).unwrap_or_else(|_| host.clone());
                *cached = Some((copy, value.clone()));
                value
            }
        }
    }

    fn element(&self, host: &HeaderValue) -> HeaderValue {
        let client = match self.peer.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("\"[{ip}]\""),
        };
        let host = host.to_str().unwrap_or_default();
        let quote =
            if host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) { "" } else { "\"" };
        let text = format!("for={client};host={quote}{host}{quote};proto={}", self.scheme.as_str());
        // Invariant: the host was judged when the head was read; it holds neither quotes nor anything invisible.
        HeaderValue::try_from(text).expect("an address, a host and a scheme are a value (invariant)")
    }
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
mod tests {
    use super::*;

    fn connection(peer: &str, trusted: &[IpNet]) -> Connection {
        Connection::new(peer.parse().unwrap(), "192.0.2.9:80".parse().unwrap(), Scheme::Http, None, trusted)
    }

    fn headers(said: &[(&'static str, &'static str)]) -> HeaderMap {
        said.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn trusted() -> Vec<IpNet> {
        vec!["10.0.0.0/8".parse().unwrap(), "2001:db8:1::/48".parse().unwrap()]
    }

    #[test]
    fn the_client_is_the_rightmost_that_is_no_trusted_proxy() {
        for (peer, said, source) in [
            ("198.51.100.1:5", vec![("x-forwarded-for", "203.0.113.1")], "198.51.100.1:5"),
            ("10.0.0.1:5", vec![], "10.0.0.1:5"),
            ("10.0.0.1:5", vec![("x-forwarded-for", "1.1.1.1, 203.0.113.7")], "203.0.113.7:0"),
            ("[::ffff:10.0.0.1]:5", vec![("x-forwarded-for", "203.0.113.7:99, 10.2.2.2")], "203.0.113.7:99"),
            (
                "10.0.0.1:5",
                vec![("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "203.0.113.7,10.1.1.1")],
                "203.0.113.7:0",
            ),
            ("10.0.0.1:5", vec![("x-forwarded-for", "10.9.9.9, 10.8.8.8")], "10.9.9.9:0"),
            ("10.0.0.1:5", vec![("x-forwarded-for", "203.0.113.7, unknown, 10.8.8.8")], "0.0.0.0:0"),
            ("10.0.0.1:5", vec![("x-forwarded-for", "203.0.113.7, , 10.8.8.8,")], "203.0.113.7:0"),
            ("10.0.0.1:5", vec![("x-forwarded-for", "")], "10.0.0.1:5"),
            (
                "10.0.0.1:5",
                vec![("forwarded", "for=1.1.1.1, for=\"[2001:db8:2::1]:80\";proto=https, for=10.1.1.1")],
                "[2001:db8:2::1]:80",
            ),
            ("10.0.0.1:5", vec![("forwarded", "for=1.1.1.1, by=10.0.0.1;host=\"a,for=2.2.2.2\"")], "0.0.0.0:0"),
            (
                "10.0.0.1:5",
                vec![("forwarded", "for=1.1.1.1;x=\"a,;\\\"\";by=b,, for=2.2.2.2 ;proto=http")],
                "2.2.2.2:0",
            ),
            // What a client left open, and a proxy's word behind it.
            ("10.0.0.1:5", vec![("forwarded", "for=1.1.1.1;x=\"a, for=2.2.2.2")], "0.0.0.0:0"),
            ("10.0.0.1:5", vec![("forwarded", "for=1.1.1.1;x=\"a, for=\"[2001:db8:2::1]\"")], "0.0.0.0:0"),
            ("10.0.0.1:5", vec![("forwarded", "a\"b, for=2.2.2.2")], "0.0.0.0:0"),
            ("10.0.0.1:5", vec![("forwarded", "for=1.1.1.1;for=2.2.2.2")], "0.0.0.0:0"),
            ("10.0.0.1:5", vec![("forwarded", "for = 1.1.1.1")], "0.0.0.0:0"),
            ("10.0.0.1:5", vec![("forwarded", "for=1.1.1.1;x=\"a"), ("forwarded", "for=2.2.2.2")], "2.2.2.2:0"),
            ("10.0.0.1:5", vec![("forwarded", "for=1.1.1.1"), ("x-forwarded-for", "2.2.2.2")], "2.2.2.2:0"),
        ] {
            let client = Client::of(&connection(peer, &trusted()), &headers(&said), &trusted());
            assert_eq!(client.source, source.parse().unwrap(), "{peer} {said:?}");
        }
    }

    #[test]
    fn what_is_no_text_hides_nobody() {
        for (said, source) in
            [(&b"\xff, 203.0.113.7"[..], "203.0.113.7:0"), (b"203.0.113.7, \xff", "0.0.0.0:0"), (b"\xff", "0.0.0.0:0")]
        {
            let mut headers = HeaderMap::new();
            headers.insert(X_FORWARDED_FOR, HeaderValue::from_bytes(said).unwrap());
            let client = Client::of(&connection("10.0.0.1:5", &trusted()), &headers, &trusted());
            assert_eq!(client.source, source.parse().unwrap(), "{said:?}");
        }
    }

    #[test]
    fn a_strangers_word_is_dropped_and_a_trusted_proxys_is_carried_on() {
        let said = [
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil.example"),
            ("forwarded", "for=1.1.1.1"),
        ];
        let host = HeaderValue::from_static("shop.example:8080");
        let mut told = headers(&said);
        connection("198.51.100.1:5", &trusted()).tell(&mut told, &host);
        assert_eq!(told["x-forwarded-for"], "198.51.100.1");
        assert_eq!(told["x-forwarded-proto"], "http");
        assert_eq!(told["x-forwarded-host"], "shop.example:8080");
        assert_eq!(told["forwarded"], "for=198.51.100.1;host=\"shop.example:8080\";proto=http");
        let mut told = headers(&said);
        connection("[2001:db8:1::2]:5", &trusted()).tell(&mut told, &host);
        assert_eq!(told["x-forwarded-for"], "1.1.1.1, 2001:db8:1::2");
        assert_eq!(told["x-forwarded-proto"], "https");
        assert_eq!(told["x-forwarded-host"], "evil.example");
        assert_eq!(told["forwarded"], "for=1.1.1.1, for=\"[2001:db8:1::2]\";host=\"shop.example:8080\";proto=http");
        assert_eq!(told.len(), 4);
    }
}
