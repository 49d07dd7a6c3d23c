//! Where a match stands among all: two in one place take the same requests, and only the first of them gets any.

use ravelin_snapshot::{
    Digest, ObjectKey,
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
pub(in crate::compile) type Claimant = (Seniority, usize, usize);

/// A host and a match of a rule of the route, by their indices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::compile) struct Place {
    pub(in crate::compile) digest: Digest,
    pub(in crate::compile) rule: usize,
    pub(in crate::compile) one: usize,
}

/// All places of a route; one for each host of each match.
pub(in crate::compile) fn places(route: &Route) -> Vec<Place> {
    let matches = route
        .rules
        .iter()
        .enumerate()
        .flat_map(|(rule, said)| said.matches.iter().enumerate().map(move |(one, said)| (rule, one, form(said))));
    let here = |(rule, one, form): (usize, usize, String)| {
        let hosts = route.hosts.iter();
        hosts.map(move |host| Place { digest: Digest::of(format!("{host} {form}").as_bytes()), rule, one })
    };
    matches.flat_map(here).collect()
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
    all: &Index<Digest, Claimant>,
    name: impl Fn(&ObjectKey, usize) -> String,
    notes: &mut Notes,
) {
    let field = Field::SPEC.member("rules");
    for hosts in places.chunk_by(|a, b| (a.rule, a.one) == (b.rule, b.one)) {
        let Some(Place { rule, one, .. }) = hosts.first() else { continue };
        let first = |place: &Place| all.get(&place.digest).next();
        // A rule that says the same twice loses nothing by it.
        let before = |first: &&Claimant| {
            let (route, at, _) = first;
            (route, *at) < (own, *rule)
        };
        let taken: Option<Vec<&Claimant>> = hosts.iter().map(|place| first(place).filter(before)).collect();
        let Some((route, at, _)) = taken.as_ref().and_then(|taken| taken.first()) else { continue };
        let field = field.item(*rule);
        let matches = field.member("matches");
        let message = format!("no request gets here: {} takes them all before", name(&route.1, *at));
        notes.warning(matches.item(*one), Reason::Shadowed, message, "Remove one of them, or tell them apart.");
    }
}
