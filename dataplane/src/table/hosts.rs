//! From a host to the patterns that it is under, the most specific first.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use ravelin_snapshot::{HostPattern, route::PathMatch};

use super::{Found, candidate::Candidate, paths::Paths, sharded::Sharded};
use crate::request::RequestView;

/// All matches, by host pattern.
#[derive(Clone, Default)]
pub(super) struct Hosts {
    exact: Sharded<Arc<str>, Arc<Host>>,
    /// By suffix: `*.shop.example` is at `shop.example`.
    wildcard: Sharded<Arc<str>, Arc<Host>>,
    any: Arc<Host>,
}

/// One host pattern.
#[derive(Clone, Default)]
struct Host {
    paths: Paths,
    /// Matches of each namespace.
    namespaces: BTreeMap<Arc<str>, usize>,
}

impl Hosts {
    /// The error is for a refusal of the snapshot.
    pub(super) fn insert(
        &mut self,
        pattern: &HostPattern,
        path: &PathMatch,
        candidate: &Arc<Candidate>,
    ) -> Result<(), String> {
        self.change(pattern, |host| {
            *host.namespaces.entry(candidate.route().namespace.as_str().into()).or_default() += 1;
            host.paths.insert(path, Arc::clone(candidate))
        })
    }

    pub(super) fn remove(&mut self, pattern: &HostPattern, path: &PathMatch, gone: &Candidate) {
        self.change(pattern, |host| {
            if let Some(count) = host.namespaces.get_mut(gone.route().namespace.as_str()) {
                *count -= 1;
            }
            host.namespaces.retain(|_, count| *count > 0);
            host.paths.remove(path, gone);
        });
    }

    fn change<R>(&mut self, pattern: &HostPattern, change: impl FnOnce(&mut Host) -> R) -> R {
        let (map, name) = match pattern {
            HostPattern::Exact(name) => (&mut self.exact, name),
            HostPattern::Wildcard(suffix) => (&mut self.wildcard, suffix),
            HostPattern::Any => return change(Arc::make_mut(&mut self.any)),
        };
        // Taken out, so that what only this table holds is changed in place.
        let mut host = map.remove(name.as_str()).map(Arc::unwrap_or_clone).unwrap_or_default();
        let result = change(&mut host);
        if !host.paths.is_empty() {
            map.insert(name.as_str().into(), Arc::new(host));
        }
        result
    }

    /// The most specific pattern decides whose the host is: rules of a less specific one are tried only if they belong
    /// to a namespace that has rules there.
    pub(super) fn find(&self, request: &RequestView<'_>, now: SystemTime) -> Option<Found<'_>> {
        let mut owner: Option<&Host> = None;
        for host in self.patterns(request.host) {
            let owned = |candidate: &Candidate| {
                owner.is_none_or(|owner| owner.namespaces.contains_key(candidate.route().namespace.as_str()))
            };
            if let Some(found) = host.paths.find(request, now, owned) {
                return Some(found);
            }
            owner = owner.or((!host.paths.is_empty()).then_some(host));
        }
        None
    }

    fn patterns<'t>(&'t self, name: &str) -> impl Iterator<Item = &'t Host> {
        let exact = self.exact.get(name);
        let dots =
            memchr::memchr_iter(b'.', name.as_bytes()).take(if self.wildcard.is_empty() { 0 } else { MAX_LABELS });
        let wildcards = dots.filter_map(|dot| self.wildcard.get(&name[dot + 1..]));
        exact.into_iter().chain(wildcards).map(|host| &**host).chain(Some(&*self.any))
    }
}

/// A DNS name has no more (RFC 1035: 255 octets), so no more are looked up.
const MAX_LABELS: usize = 127;
