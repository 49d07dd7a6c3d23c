//! What a rule changes on a request or answer: headers, host and path, redirects, direct responses; and what few rules do.

pub mod compression;
pub mod cors;
pub mod grpc_web;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use ravelin_snapshot::{Empty, Rare, filter, route};

use self::{compression::Compression, cors::Cors};

/// What few rules have.
pub struct Filters {
    pub cors: Option<Cors>,
    pub compression: Option<Compression>,
}

/// Changes of headers, in Gateway API's order: `set`, then `add`, then `remove`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeaderEdits(Rare<Edits>);

#[derive(Clone, Debug, Default, PartialEq)]
struct Edits {
    set: Vec<(HeaderName, HeaderValue)>,
    add: Vec<(HeaderName, HeaderValue)>,
    remove: Vec<HeaderName>,
}

/// Another host or path for the backend.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rewrite {
    pub host: Option<HeaderValue>,
    pub path: Option<PathRewrite>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathRewrite {
    Full(String),
    Prefix(String),
}

/// What is absent is the request's own.
#[derive(Clone, Debug, PartialEq)]
pub struct Redirect {
    scheme: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    path: Option<PathRewrite>,
    pub status: StatusCode,
}

/// What a redirect takes from the request.
#[derive(Clone, Copy, Debug)]
pub struct Redirected<'a> {
    pub scheme: &'a str,
    /// Without a port.
    pub host: &'a str,
    /// Of the listener as the client sees it: from `Host`.
    pub port: Option<u16>,
    pub path: &'a str,
    pub query: &'a str,
    /// Length of the prefix that matched.
    pub prefix: Option<usize>,
}

/// An answer without a backend.
#[derive(Clone, Debug, PartialEq)]
pub struct DirectResponse {
    pub status: StatusCode,
    pub content_type: Option<HeaderValue>,
    pub body: Bytes,
}

impl Filters {
    pub fn compile(said: &filter::Filters) -> Result<Self, String> {
        let filter::Filters { cors, compression, coalesce: _ } = said; // it goes with the backends
        Ok(Self {
            cors: cors.as_ref().map(Cors::compile).transpose()?,
            compression: compression.as_ref().map(Compression::compile).transpose()?,
        })
    }
}

impl Empty for Edits {
    const EMPTY: &'static Self = &Self { set: Vec::new(), add: Vec::new(), remove: Vec::new() };
}

impl HeaderEdits {
    /// The error names the header.
    pub fn compile(said: &route::HeaderChanges) -> Result<Self, String> {
        let header = |(name, text): &(String, String)| Ok((header_name(name)?, value(text)?));
        let edits = Edits {
            set: said.set.iter().map(header).collect::<Result<_, String>>()?,
            add: said.add.iter().map(header).collect::<Result<_, String>>()?,
            remove: said.remove.iter().map(|name| header_name(name)).collect::<Result<_, _>>()?,
        };
        Ok(Self(edits.into()))
    }

    /// The headers that it changes.
    pub(crate) fn names(&self) -> impl Iterator<Item = &HeaderName> {
        let Edits { set, add, remove } = &*self.0;
        set.iter().chain(add).map(|(name, _)| name).chain(remove)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn apply(&self, headers: &mut HeaderMap) {
        let Edits { set, add, remove } = &*self.0;
        for (name, value) in set {
            headers.insert(name, value.clone());
        }
        for (name, value) in add {
            headers.append(name, value.clone());
        }
        for name in remove {
            headers.remove(name);
        }
    }
}

impl Rewrite {
    pub fn compile(said: &route::Rewrite) -> Result<Self, String> {
        Ok(Self {
            host: said.hostname.as_deref().map(value).transpose()?,
            path: said.path.as_ref().map(PathRewrite::of),
        })
    }
}

impl PathRewrite {
    pub(crate) fn of(said: &route::PathRewrite) -> Self {
        match said {
            route::PathRewrite::Full(path) => Self::Full(path.clone()),
            route::PathRewrite::Prefix(prefix) => Self::Prefix(prefix.clone()),
        }
    }

    /// The new path. `prefix` is the length of what matched, without a final slash but for `/` itself; what follows it is
    /// kept, and there is one slash between the two (Gateway API, HTTPPathModifier).
    pub fn apply(&self, path: &str, prefix: Option<usize>) -> String {
        match self {
            Self::Full(new) => absolute(new.clone()),
            Self::Prefix(new) => {
                let rest = path.get(prefix.unwrap_or(0)..).unwrap_or_default().trim_start_matches('/');
                let new = new.strip_suffix('/').unwrap_or(new);
                let slash = path.len() > prefix.unwrap_or(0);
                absolute(if rest.is_empty() && !(slash && path.ends_with('/') && path.len() > 1) {
                    new.to_owned()
                } else {
                    format!("{new}/{rest}")
                })
            }
        }
    }
}

/// A path that begins with a slash, whatever the user wrote.
fn absolute(path: String) -> String {
    if path.starts_with('/') { path } else { format!("/{path}") }
}

impl Redirect {
    pub fn compile(said: &route::Redirect) -> Result<Self, String> {
        Ok(Self {
            scheme: said.scheme.clone(),
            host: said.hostname.clone(),
            port: said.port,
            path: said.path.as_ref().map(PathRewrite::of),
            status: status(said.status)?,
        })
    }

    /// The `Location`. A port that is not named is the scheme's own if the scheme is, else the request's (Gateway API,
    /// HTTPRequestRedirectFilter); the scheme's own port is left out.
    pub fn location(&self, from: Redirected<'_>) -> String {
        let scheme = self.scheme.as_deref().unwrap_or(from.scheme);
        let port = self.port.or(if self.scheme.is_some() { None } else { from.port });
        let port = port.filter(|port| !matches!((scheme, port), ("http", 80) | ("https", 443)));
        let host = self.host.as_deref().unwrap_or(from.host);
        let path = self.path.as_ref().map(|path| path.apply(from.path, from.prefix));
        let path = path.as_deref().unwrap_or(from.path);
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let query = if from.query.is_empty() { String::new() } else { format!("?{}", from.query) };
        format!("{scheme}://{host}{port}{path}{query}")
    }
}

impl DirectResponse {
    pub fn compile(said: &route::DirectResponse) -> Result<Self, String> {
        let kind = said.content_type.as_deref();
        let kind = kind.or((!said.body.is_empty()).then_some("text/plain; charset=utf-8"));
        Ok(Self {
            status: status(said.status)?,
            content_type: kind.map(value).transpose()?,
            body: Bytes::from(said.body.clone()),
        })
    }
}

/// Says that the answer depends on this header of the request (RFC 9110, 12.5.5).
fn vary(headers: &mut HeaderMap, name: &HeaderName) {
    let said = |value: &HeaderValue| {
        let list = value.to_str().unwrap_or_default();
        list.split(',').map(str::trim).any(|one| one == "*" || one.eq_ignore_ascii_case(name.as_str()))
    };
    if !headers.get_all(header::VARY).iter().any(said) {
        headers.append(header::VARY, HeaderValue::from(name.clone()));
    }
}

pub(crate) fn header_name(name: &str) -> Result<HeaderName, String> {
    name.parse().map_err(|_| format!("`{name}` is not a header's name"))
}

fn value(text: &str) -> Result<HeaderValue, String> {
    text.parse().map_err(|_| format!("`{text}` cannot stand in a header"))
}

fn status(code: u16) -> Result<StatusCode, String> {
    StatusCode::from_u16(code).map_err(|_| format!("{code} is not a status"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_replaced_as_gateway_api_says() {
        // path, matched prefix, replacement, result: the table of HTTPPathModifier.
        for (path, prefix, new, expected) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo/bar", "/foo", "", "/bar"),
            ("/foo/", "/foo", "", "/"),
            ("/foo", "/foo", "", "/"),
            ("/foo/", "/foo", "/", "/"),
            ("/foo", "/foo", "/", "/"),
            ("/foo/bar", "/foo", "/", "/bar"),
            ("/", "/", "/xyz", "/xyz"),
            ("/bar", "/", "/xyz", "/xyz/bar"),
            ("/bar/", "/", "/xyz/", "/xyz/bar/"),
            ("/bar", "/", "/", "/bar"),
        ] {
            let rewrite = PathRewrite::Prefix(new.to_owned());
            assert_eq!(rewrite.apply(path, Some(prefix.len())), expected, "{path} {prefix} -> {new:?}");
        }
        assert_eq!(PathRewrite::Full("/x".to_owned()).apply("/a/b", None), "/x");
        assert_eq!(PathRewrite::Full(String::new()).apply("/a/b", None), "/");
    }

    #[test]
    fn a_redirect_keeps_what_it_does_not_name() {
        let from = Redirected {
            scheme: "http",
            host: "a.example",
            port: Some(8080),
            path: "/p/q",
            query: "x=1",
            prefix: Some(2),
        };
        let plain = route::Redirect { scheme: None, hostname: None, port: None, path: None, status: 302 };
        for (said, expected) in [
            (plain.clone(), "http://a.example:8080/p/q?x=1"),
            (route::Redirect { scheme: Some("https".into()), ..plain.clone() }, "https://a.example/p/q?x=1"),
            (route::Redirect { port: Some(80), ..plain.clone() }, "http://a.example/p/q?x=1"),
            (
                route::Redirect { scheme: Some("https".into()), port: Some(8443), ..plain.clone() },
                "https://a.example:8443/p/q?x=1",
            ),
            (
                route::Redirect {
                    hostname: Some("b.example".into()),
                    path: Some(route::PathRewrite::Prefix("/v2".into())),
                    ..plain.clone()
                },
                "http://b.example:8080/v2/q?x=1",
            ),
        ] {
            assert_eq!(Redirect::compile(&said).unwrap().location(from), expected);
        }
    }

    #[test]
    fn headers_are_set_then_added_then_removed_and_none_is_split() {
        let said = route::HeaderChanges {
            set: vec![("x-a".into(), "1".into()), ("x-both".into(), "1".into()), ("x-gone".into(), "1".into())],
            add: vec![("x-b".into(), "2".into()), ("x-both".into(), "2".into()), ("x-added".into(), "2".into())],
            remove: ["x-c", "x-gone", "x-added"].map(String::from).to_vec(),
        };
        let mut headers = HeaderMap::new();
        for (name, value) in [("x-a", "0"), ("x-a", "00"), ("x-b", "1"), ("x-c", "3")] {
            headers.append(name, HeaderValue::from_static(value));
        }
        HeaderEdits::compile(&said).unwrap().apply(&mut headers);
        let all = |name| headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!((all("x-a"), all("x-b"), all("x-c")), (vec!["1"], vec!["1", "2"], vec![]));
        assert_eq!((all("x-both"), all("x-gone"), all("x-added")), (vec!["1", "2"], vec![], vec![]));
        let bad = route::HeaderChanges { set: vec![("x-a".into(), "a\r\nb".into())], ..said };
        assert!(HeaderEdits::compile(&bad).is_err());
    }
}
