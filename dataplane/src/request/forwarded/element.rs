//! `Forwarded` as proxies write it (RFC 7239).

use std::net::SocketAddr;

use http::{HeaderMap, HeaderValue, header::FORWARDED};

use super::{address, scheme};
use crate::request::{Scheme, target::is_authority};

/// What one proxy says of whoever was connected to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Element {
    /// `None`: one that is no address.
    pub node: Option<SocketAddr>,
    pub proto: Option<Scheme>,
    pub host: Option<HeaderValue>,
    /// It says something that cannot be read: no backend is to read it either.
    pub garbled: bool,
}

/// From the nearest to the farthest.
pub(super) fn elements(headers: &HeaderMap) -> Vec<Element> {
    let garbled = || vec![Element { garbled: true, ..Element::default() }];
    let line = |line: &HeaderValue| std::str::from_utf8(line.as_bytes()).ok().and_then(of_line).unwrap_or_else(garbled);
    headers.get_all(FORWARDED).iter().rev().flat_map(|value| line(value).into_iter().rev()).collect()
}

/// From left to right. `None`: it is not as RFC 7239, 4 wants it, and a quote that a client left open may have swallowed what
/// a proxy put behind it.
fn of_line(line: &str) -> Option<Vec<Element>> {
    let (mut elements, mut rest) = (Vec::new(), line.trim());
    while !rest.is_empty() {
        let (mut element, mut names) = (Element::default(), Vec::new());
        while !rest.is_empty() && !rest.starts_with(',') {
            if let Some(behind) = rest.strip_prefix(';') {
                rest = behind.trim_start();
                continue;
            }
            let (name, value, behind) = pair(rest)?;
            let name = name.to_ascii_lowercase();
            if names.contains(&name) {
                return None;
            }
            element.note(&name, value);
            names.push(name);
            rest = behind.trim_start();
            if !rest.is_empty() && !rest.starts_with([',', ';']) {
                return None;
            }
        }
        elements.extend((!names.is_empty()).then_some(element));
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    Some(elements)
}

impl Element {
    fn note(&mut self, name: &str, value: &str) {
        match name {
            "for" => self.node = address(value),
            "proto" => {
                self.proto = scheme(value);
                self.garbled |= self.proto.is_none();
            }
            "host" => {
                self.host =
                    Some(value).filter(|host| is_authority(host)).and_then(|host| HeaderValue::from_str(host).ok());
                self.garbled |= self.host.is_none();
            }
            _ => {}
        }
    }
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
