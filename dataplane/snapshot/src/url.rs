//! URLs that Ravelin itself asks: `http` or `https`, a host, perhaps a port, a path with a query. The controller checks
//! them by this code, the data plane uses what it makes of them.

use std::net::{IpAddr, Ipv6Addr};

/// A URL (RFC 3986, RFC 9110, 4.2), taken apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpUrl {
    pub https: bool,
    /// A DNS name in lower case, or an address without brackets.
    pub host: String,
    pub port: u16,
    /// Path and query, as they are sent.
    pub target: String,
}

/// Why a text is no such URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    #[error("it is longer than 2048 characters")]
    TooLong,
    #[error("it has characters that stand in no URL (RFC 3986)")]
    Characters,
    #[error("it begins neither with http:// nor with https://")]
    Scheme,
    #[error("it has no host that can be read")]
    Host,
    #[error("its port is none")]
    Port,
    #[error("it has a user or a password")]
    User,
    #[error("it has a fragment (`#`)")]
    Fragment,
}

impl HttpUrl {
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        if text.len() > 2048 {
            return Err(InvalidUrl::TooLong);
        }
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?#[]%".contains(&byte);
        if !text.bytes().all(known) {
            return Err(InvalidUrl::Characters);
        }
        if text.contains('#') {
            return Err(InvalidUrl::Fragment);
        }
        let (https, rest) = match text.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("http://").ok_or(InvalidUrl::Scheme)?),
        };
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(InvalidUrl::User);
        }
        let (host, port) = split(authority)?;
        let port = match port {
            None => {
                if https {
                    443
                } else {
                    80
                }
            }
            // `parse` takes a sign.
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|port| *port != 0).ok_or(InvalidUrl::Port)?
            }
            Some(_) => return Err(InvalidUrl::Port),
        };
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Ok(Self { https, host, port, target })
    }

    /// Scheme, host and port are the same.
    pub fn same_origin(&self, other: &Self) -> bool {
        (self.https, &self.host, self.port) == (other.https, &other.host, other.port)
    }

    /// What `location`, in an answer of this one, leads to.
    pub fn join(&self, location: &str) -> Result<Self, InvalidUrl> {
        let scheme = if self.https { "https" } else { "http" };
        match location {
            _ if location.contains("://") => Self::parse(location),
            _ if location.starts_with("//") => Self::parse(&format!("{scheme}:{location}")),
            _ if location.starts_with('/') => Self::parse(&format!("{scheme}://{}{location}", self.authority())),
            _ => Err(InvalidUrl::Scheme),
        }
    }

    /// For `Host`: without the port where it is the scheme's own.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.https, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

fn split(authority: &str) -> Result<(String, Option<&str>), InvalidUrl> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').ok_or(InvalidUrl::Host)?;
        let address: Ipv6Addr = address.parse().map_err(|_| InvalidUrl::Host)?;
        let port = match rest {
            "" => None,
            _ => Some(rest.strip_prefix(':').ok_or(InvalidUrl::Port)?),
        };
        return Ok((address.to_string(), port));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let host = host.to_ascii_lowercase();
    let name = host.strip_suffix('.').unwrap_or(&host);
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(inner)
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return Err(InvalidUrl::Host);
    }
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_or_refused() {
        let url = |https, host: &str, port, target: &str| {
            Ok(HttpUrl { https, host: host.to_owned(), port, target: target.to_owned() })
        };
        for (text, expected) in [
            ("https://id.example/keys?a=b", url(true, "id.example", 443, "/keys?a=b")),
            ("http://ID.example:8080", url(false, "id.example", 8080, "/")),
            ("https://id.example?x", url(true, "id.example", 443, "/?x")),
            ("https://[::1]:8443/", url(true, "::1", 8443, "/")),
            ("http://127.0.0.1/", url(false, "127.0.0.1", 80, "/")),
            ("ftp://id.example/", Err(InvalidUrl::Scheme)),
            ("HTTPS://id.example/", Err(InvalidUrl::Scheme)),
            ("https:///keys", Err(InvalidUrl::Host)),
            ("https://", Err(InvalidUrl::Host)),
            ("https://a..b/", Err(InvalidUrl::Host)),
            ("https://[::1/", Err(InvalidUrl::Host)),
            ("https://id.example\\@evil.example/", Err(InvalidUrl::Characters)),
            ("https://id.example/<a>", Err(InvalidUrl::Characters)),
            ("https://user@id.example/", Err(InvalidUrl::User)),
            ("https://id.example#@evil.example/", Err(InvalidUrl::Fragment)),
            ("https://id.example:0/", Err(InvalidUrl::Port)),
            ("https://id.example:+80/", Err(InvalidUrl::Port)),
            ("https://id.example:65536/", Err(InvalidUrl::Port)),
            ("https://id.example/a b", Err(InvalidUrl::Characters)),
            ("https://id.example/\r\nx: y", Err(InvalidUrl::Characters)),
            ("https://id\u{e9}.example/", Err(InvalidUrl::Characters)),
        ] {
            assert_eq!(HttpUrl::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn only_scheme_host_and_port_make_an_origin() {
        let from = HttpUrl::parse("https://id.example/keys").unwrap();
        for (location, same) in [
            ("/other", true),
            ("https://id.example:443/other", true),
            ("//id.example/other", true),
            ("http://id.example/keys", false),
            ("https://id.example:8443/", false),
            ("https://evil.example/", false),
            ("//evil.example/", false),
        ] {
            assert_eq!(from.join(location).unwrap().same_origin(&from), same, "{location}");
        }
        assert!(from.join("other").is_err());
        assert_eq!(HttpUrl::parse("http://[::1]:80/").unwrap().authority(), "[::1]");
    }
}
