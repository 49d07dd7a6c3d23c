//! All matches of one host pattern, by path: what is exact and what is a prefix by hash, expressions one by one.

use std::{sync::Arc, time::SystemTime};

use ravelin_snapshot::{regex, route::PathMatch};
use regex_automata::meta::Regex;

use super::{Found, candidate::Candidate, sharded::Sharded};
use crate::request::RequestView;

/// Which path comes first: exact, then the longest prefix, then regular expressions; then [`super::candidate::Rank`].
#[derive(Clone, Default)]
pub(super) struct Paths {
    exact: Sharded<Arc<str>, Candidates>,
    prefix: Sharded<Arc<str>, Candidates>,
    /// Of the prefixes that are there.
    depths: Depths,
    regex: Arc<Vec<(Regex, Arc<Candidate>)>>,
}

/// Of one path, by rank.
type Candidates = Arc<[Arc<Candidate>]>;

impl Paths {
    pub(super) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefix.is_empty() && self.regex.is_empty()
    }

    /// The error is for a refusal of the snapshot.
    pub(super) fn insert(&mut self, path: &PathMatch, candidate: Arc<Candidate>) -> Result<(), String> {
        match path {
            PathMatch::Exact(path) => insert(&mut self.exact, path, candidate),
            PathMatch::Prefix(path) => {
                self.depths.add(path);
                insert(&mut self.prefix, path, candidate);
            }
            PathMatch::Regex(pattern) => {
                let regex = regex::build(pattern, true).map_err(|error| format!("{pattern}: {error}"))?;
                let all = Arc::make_mut(&mut self.regex);
                let at = all.partition_point(|(_, other)| other.rank < candidate.rank);
                all.insert(at, (regex, candidate));
            }
        }
        Ok(())
    }

    /// Takes out what of this path belongs to `candidate`'s route.
    pub(super) fn remove(&mut self, path: &PathMatch, gone: &Candidate) {
        match path {
            PathMatch::Exact(path) => drop(remove(&mut self.exact, path, gone)),
            PathMatch::Prefix(path) => {
                for _ in 0..remove(&mut self.prefix, path, gone) {
                    self.depths.subtract(path);
                }
            }
            PathMatch::Regex(_) => Arc::make_mut(&mut self.regex).retain(|(_, other)| other.route() != gone.route()),
        }
    }

    /// The first match that holds; `of` says whose matches count.
    pub(super) fn find(
        &self,
        request: &RequestView<'_>,
        now: SystemTime,
        of: impl Fn(&Candidate) -> bool,
    ) -> Option<Found<'_>> {
        let first = |candidates: &'_ Candidates| {
            candidates.iter().position(|candidate| of(candidate) && candidate.holds(request, now))
        };
        if let Some(candidates) = self.exact.get(request.path)
            && let Some(at) = first(candidates)
        {
            return Some(Found { rule: &candidates[at].rule, prefix: None });
        }
        for prefix in self.depths.prefixes(request.path) {
            if let Some(candidates) = self.prefix.get(prefix)
                && let Some(at) = first(candidates)
            {
                return Some(Found { rule: &candidates[at].rule, prefix: Some(prefix.len()) });
            }
        }
        let mut regexes = self.regex.iter();
        let found = regexes
            .find(|(regex, candidate)| of(candidate) && regex.is_match(request.path) && candidate.holds(request, now));
        found.map(|(_, candidate)| Found { rule: &candidate.rule, prefix: None })
    }
}

fn insert(map: &mut Sharded<Arc<str>, Candidates>, path: &str, candidate: Arc<Candidate>) {
    let mut all = map.get(path).map(|all| all.to_vec()).unwrap_or_default();
    let at = all.partition_point(|other| other.rank < candidate.rank);
    all.insert(at, candidate);
    map.insert(path.into(), all.into());
}

/// Returns how many are gone.
fn remove(map: &mut Sharded<Arc<str>, Candidates>, path: &str, gone: &Candidate) -> usize {
    let Some(all) = map.get(path) else { return 0 };
    let rest: Vec<_> = all.iter().filter(|other| other.route() != gone.route()).cloned().collect();
    let count = all.len() - rest.len();
    if rest.is_empty() {
        map.remove(path);
    } else if count > 0 {
        map.insert(path.into(), rest.into());
    }
    count
}

/// How deep prefixes are, and how long: a look-up hashes no prefix of a request's path that none of ours can equal.
#[derive(Clone)]
struct Depths {
    /// Prefixes of each depth; those deeper than the last count as that deep.
    counts: Arc<[u32; DEPTHS]>,
    /// Bytes of the longest that was ever there.
    longest: usize,
}

const DEPTHS: usize = 32;

impl Depths {
    fn add(&mut self, prefix: &str) {
        self.longest = self.longest.max(prefix.len());
        Arc::make_mut(&mut self.counts)[depth(prefix)] += 1;
    }

    fn subtract(&mut self, prefix: &str) {
        Arc::make_mut(&mut self.counts)[depth(prefix)] -= 1;
    }

    /// The prefixes of `path` that may be in the table, the longest first. `/` is the shortest.
    fn prefixes<'p>(&self, path: &'p str) -> impl Iterator<Item = &'p str> {
        // Without its final slash, `/a/` has the prefixes of `/a`.
        let whole = path.strip_suffix('/').unwrap_or(path);
        let mut end = Some(whole.len());
        let mut left = slashes(whole);
        std::iter::from_fn(move || {
            let here = end?;
            let (prefix, of) = (&whole[..here], left);
            end = memchr::memrchr(b'/', prefix.as_bytes());
            left = left.saturating_sub(1);
            Some((prefix, of))
        })
        .filter(|(prefix, of)| {
            !prefix.is_empty() && prefix.len() <= self.longest && self.counts[(*of).min(DEPTHS - 1)] > 0
        })
        .map(|(prefix, _)| prefix)
        .chain((self.counts[0] > 0).then_some("/"))
    }
}

impl Default for Depths {
    fn default() -> Self {
        Self { counts: Arc::new([0; DEPTHS]), longest: 0 }
    }
}

/// Segments: 0 of `/`, 2 of `/a/b`.
fn depth(prefix: &str) -> usize {
    if prefix == "/" { 0 } else { slashes(prefix).min(DEPTHS - 1) }
}

fn slashes(path: &str) -> usize {
    memchr::memchr_iter(b'/', path.as_bytes()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_prefixes_of_depths_that_are_there_are_looked_up() {
        let mut depths = Depths::default();
        for prefix in ["/", "/a", "/a/b/c", "/a/b/d"] {
            depths.add(prefix);
        }
        let of = |depths: &Depths, path| depths.prefixes(path).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(of(&depths, "/a/b/c/d/"), ["/a/b/c", "/a", "/"]);
        assert_eq!(of(&depths, "/"), ["/"]);
        depths.subtract("/a/b/c");
        depths.subtract("/a/b/d");
        depths.subtract("/");
        assert_eq!(of(&depths, "/a/b/c"), ["/a"]);
    }
}
