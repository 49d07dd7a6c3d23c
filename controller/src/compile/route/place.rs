//! Where a match stands among all: two in one place take the same requests, and only the first of them gets any.

use ravelin_snapshot::{
    Digest, HostPattern, ObjectKey,
    route::{Match, PathMatch, Route},
};

use crate::{
    compile::{
        attach::Seniority,
        index::Index,
        notes::{Field, Notes},
    },
    verdict::Reason,
};

/// A match of a rule of a route, in the order in which equal ones are tried.
pub(in crate::compile) type Claimant = (Seniority, u32, u32);

/// What a host and a match come to: half a digest, which tells all of a cluster's apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::compile) struct Spot([u8; 16]);

/// A host and a match of a rule of the route, by their indices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::compile) struct Place {
    pub(in crate::compile) spot: Spot,
    pub(in crate::compile) rule: u32,
    pub(in crate::compile) one: u32,
}

/// All places of a route; one for each host of each match.
pub(in crate::compile) fn places(route: &Route) -> Box<[Place]> {
    let matches = route
        .rules
        .iter()
        .zip(0..)
        .flat_map(|(said, rule)| said.matches.iter().zip(0..).map(move |(said, one)| (rule, one, form(said))));
    let here = |(rule, one, form): (u32, u32, String)| {
        let hosts = route.hosts.iter();
        hosts.map(move |host| Place { spot: Spot::of(host, &form), rule, one })
    };
    matches.flat_map(here).collect()
}

impl Spot {
    fn of(host: &HostPattern, form: &str) -> Self {
        let mut half = [0; 16];
        half.copy_from_slice(&Digest::of(format!("{host} {form}").as_bytes()).bytes()[..16]);
        Self(half)
    }
}

/// The same for matches that take the same requests, as far as that shows.
fn form(said: &Match) -> String {
    let Match { path, method, headers, query, when } = said;
    let (mut headers, mut query) = (headers.clone(), query.clone());
    headers.sort_by(|a, b| a.name.cmp(&b.name));
    query.sort_by(|a, b| a.name.cmp(&b.name));
    let path = match path {
        PathMatch::Exact(path) => ("exact", path),
        PathMatch::Prefix(path) => ("prefix", path),
        PathMatch::Regex(path) => ("regex", path),
    };
    let when = when.as_ref().map(|when| &when.source);
    format!("{path:?} {method:?} {headers:?} {query:?} {when:?}")
}

/// Notes the matches that no request reaches: at every host another one is tried first, and takes all.
pub(in crate::compile) fn judge(
    own: &Seniority,
    places: &[Place],
    all: &Index<Spot, Claimant>,
    name: impl Fn(&ObjectKey, u32) -> String,
    notes: &mut Notes,
) {
    let field = Field::SPEC.member("rules");
    for hosts in places.chunk_by(|a, b| (a.rule, a.one) == (b.rule, b.one)) {
        let Some(Place { rule, one, .. }) = hosts.first() else { continue };
        let first = |place: &Place| all.get(&place.spot).next();
        // A rule that says the same twice loses nothing by it.
        let before = |first: &&Claimant| {
            let (route, at, _) = first;
            (route, *at) < (own, *rule)
        };
        let taken: Option<Vec<&Claimant>> = hosts.iter().map(|place| first(place).filter(before)).collect();
        let Some((route, at, _)) = taken.as_ref().and_then(|taken| taken.first()) else { continue };
        let field = field.item(*rule as usize);
        let matches = field.member("matches");
        let message = format!("no request gets here: {} takes them all before", name(&route.1, *at));
        notes.warning(
            matches.item(*one as usize),
            Reason::Shadowed,
            message,
            "Remove one of them, or tell them apart.",
        );
    }
}
