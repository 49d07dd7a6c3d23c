//! Why a request comes to its rule and not to another: every match by its own words and without the index, for `explain`.

use std::{cmp::Reverse, collections::BTreeSet, time::SystemTime};

use ravelin_snapshot::{
    HostPattern,
    path::is_within,
    regex,
    route::{Match, PathMatch},
};

use super::{Rule, Table, candidate::Candidate};
use crate::request::RequestView;

/// A match whose host fits.
pub struct Tried<'t> {
    pub pattern: &'t HostPattern,
    pub rule: &'t Rule,
    pub said: &'t Match,
    /// `None`: all of it holds.
    pub why: Option<Why>,
}

/// The first thing that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    #[error("a more specific host belongs to another namespace")]
    Owner,
    #[error("the path")]
    Path,
    #[error("the method")]
    Method,
    #[error("the header {0}")]
    Header(String),
    #[error("the query parameter {0}")]
    Query(String),
    #[error("the expression in `when`")]
    When,
}

impl Table {
    /// In the order in which they count; the first that holds is the request's. Work in proportion to the whole table.
    pub fn trace(&self, request: &RequestView<'_>, now: SystemTime) -> Vec<Tried<'_>> {
        let host = HostPattern::Exact(request.host.to_owned());
        let mut all = Vec::new();
        for (_, route) in self.routes.iter() {
            for pattern in route.said.hosts.iter().filter(|pattern| pattern.covers(&host)) {
                for (at, one, candidate) in &route.candidates {
                    all.push((pattern, &route.said.rules[*at as usize].matches[*one as usize], candidate));
                }
            }
        }
        all.sort_by_key(|(pattern, said, candidate)| (width(pattern), order(&said.path), &candidate.rank));
        let first = all.first().map(|(pattern, ..)| width(pattern));
        let here = all.iter().take_while(|(pattern, ..)| Some(width(pattern)) == first);
        let owners: BTreeSet<&str> = here.map(|(.., candidate)| candidate.route().namespace.as_str()).collect();
        let tried = all.into_iter().map(|(pattern, said, candidate)| {
            let owned = owners.contains(candidate.route().namespace.as_str());
            let why = if owned { why_not(said, candidate, request, now) } else { Some(Why::Owner) };
            Tried { pattern, rule: &candidate.rule, said, why }
        });
        tried.collect()
    }
}

fn why_not(said: &Match, candidate: &Candidate, request: &RequestView<'_>, now: SystemTime) -> Option<Why> {
    if holds(&said.path, request.path) { candidate.why_not(request, now) } else { Some(Why::Path) }
}

/// The most specific first.
fn width(pattern: &HostPattern) -> (u8, Reverse<usize>) {
    match pattern {
        HostPattern::Exact(_) => (0, Reverse(0)),
        HostPattern::Wildcard(suffix) => (1, Reverse(suffix.len())),
        HostPattern::Any => (2, Reverse(0)),
    }
}

fn order(path: &PathMatch) -> (u8, Reverse<usize>) {
    match path {
        PathMatch::Exact(_) => (0, Reverse(0)),
        PathMatch::Prefix(prefix) => (1, Reverse(prefix.len())),
        PathMatch::Regex(_) => (2, Reverse(0)),
    }
}

fn holds(said: &PathMatch, path: &str) -> bool {
    match said {
        PathMatch::Exact(exact) => exact == path,
        PathMatch::Prefix(prefix) => is_within(path, prefix),
        PathMatch::Regex(pattern) => regex::build(pattern, true).is_ok_and(|regex| regex.is_match(path)),
    }
}
