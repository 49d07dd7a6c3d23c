//! Whom a policy is not for, and where clients may come from.

use http::Method;
use ipnet::IpNet;
use ravelin_snapshot::{auth, path::is_within, regex, route::PathMatch};
use regex_automata::meta::Regex;

use crate::request::RequestView;

pub(super) struct Exclusion {
    path: Path,
    method: Option<Method>,
}

enum Path {
    Exact(String),
    Prefix(String),
    Regex(Regex),
}

impl Exclusion {
    pub(super) fn compile(said: &auth::Exclusion) -> Result<Self, String> {
        let path = match &said.path {
            PathMatch::Exact(path) => Path::Exact(path.clone()),
            PathMatch::Prefix(prefix) => Path::Prefix(prefix.clone()),
            PathMatch::Regex(pattern) => {
                Path::Regex(regex::build(pattern, true).map_err(|error| format!("{pattern}: {error}"))?)
            }
        };
        let method = said.method.as_deref().map(|method| method.parse().map_err(|_| format!("method {method}")));
        Ok(Self { path, method: method.transpose()? })
    }

    pub(super) fn holds(&self, request: &RequestView<'_>) -> bool {
        let path = match &self.path {
            Path::Exact(path) => path == request.path,
            Path::Prefix(prefix) => is_within(request.path, prefix),
            Path::Regex(regex) => regex.is_match(request.path),
        };
        path && self.method.as_ref().is_none_or(|method| method == request.method)
    }
}

pub(super) fn allows(network: &auth::Network, request: &RequestView<'_>) -> bool {
    // A client that came over a socket for both families is still the IPv4 client that the ranges speak of.
    let address = request.source.ip().to_canonical();
    let within = |ranges: &[IpNet]| ranges.iter().any(|range| range.contains(&address));
    // One of whom nobody knows who it is may be one of those that are denied.
    let unknown = address.is_unspecified() && !(network.allow.is_empty() && network.deny.is_empty());
    !unknown && !within(&network.deny) && (network.allow.is_empty() || within(&network.allow))
}
