//! Hostnames of routes and certificates.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which hosts a route answers for. Names are lower-case, without a port and without a final dot.
///
/// `Ord` sorts by kind and text; the order in which patterns are tried is the data plane's table's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HostPattern {
    /// The name itself: `api.shop.example`.
    Exact(String),
    /// One or more labels before the suffix (Gateway API): `*.shop.example` is held as `shop.example`.
    Wildcard(String),
    /// A route without hostnames.
    Any,
}

impl HostPattern {
    /// Reads `api.shop.example` or `*.shop.example`, in any case. It does not judge whether the name is a valid one.
    pub fn parse(text: &str) -> Self {
        let name = text.trim_end_matches('.').to_ascii_lowercase();
        match name.strip_prefix("*.") {
            Some(suffix) => Self::Wildcard(suffix.to_owned()),
            None => Self::Exact(name),
        }
    }

    /// Whether every host of `other` is a host of this pattern too.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (Self::Exact(mine), Self::Exact(theirs)) => mine == theirs,
            (Self::Wildcard(suffix), Self::Exact(name)) => is_below(name, suffix),
            (Self::Wildcard(suffix), Self::Wildcard(below)) => suffix == below || is_below(below, suffix),
            (Self::Exact(_) | Self::Wildcard(_), _) => false,
        }
    }
}

fn is_below(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
            Self::Any => f.write_str("*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_what_is_below_it_and_not_itself() {
        let wildcard = HostPattern::parse("*.Shop.example.");
        for (name, covered) in
            [("a.shop.example", true), ("a.b.shop.example", true), ("shop.example", false), ("xshop.example", false)]
        {
            assert_eq!(wildcard.covers(&HostPattern::parse(name)), covered, "{name}");
        }
        assert!(wildcard.covers(&HostPattern::parse("*.a.shop.example")));
        assert!(!HostPattern::parse("*.a.shop.example").covers(&wildcard));
        assert!(HostPattern::Any.covers(&wildcard) && !wildcard.covers(&HostPattern::Any));
    }
}
