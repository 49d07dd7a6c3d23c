//! Sees to it that no snapshot with a key that leads nowhere is handed out, in proportion to what changes.

use std::{collections::HashMap, sync::Arc};

use crate::{
    Part, Snapshot,
    auth::AuthPolicy,
    route::Route,
    snapshot::{Dangling, Named, names},
};

use super::wire::PartKey;

/// Checks one snapshot after the other.
#[derive(Default)]
pub(super) struct Checker {
    /// The last one that was found whole.
    whole: Arc<Snapshot>,
    /// How often its routes and policies name each part.
    uses: HashMap<PartKey, usize>,
}

impl Checker {
    /// As [`Snapshot::check`]; what is refused leaves no trace.
    pub(super) fn check(&mut self, snapshot: &Arc<Snapshot>) -> Result<(), Dangling> {
        let before = Arc::clone(&self.whole);
        let mut more: HashMap<PartKey, usize> = HashMap::new();
        let mut fewer: HashMap<PartKey, usize> = HashMap::new();
        for change in snapshot.routes.changes(&before.routes) {
            if let Some(route) = change.after {
                snapshot.check_route(change.key, route)?;
                count(&mut more, route);
            }
            if let Some(route) = change.before {
                count(&mut fewer, route);
            }
        }
        let asked = |policy: &Part<AuthPolicy>| {
            policy.external.as_ref().map(|external| PartKey::Backend(external.backend.clone()))
        };
        for change in snapshot.auth.changes(&before.auth) {
            if let Some(policy) = change.after {
                snapshot.check_auth(change.key, policy)?;
                asked(policy).into_iter().for_each(|key| *more.entry(key).or_default() += 1);
            }
            if let Some(policy) = change.before {
                asked(policy).into_iter().for_each(|key| *fewer.entry(key).or_default() += 1);
            }
        }
        // What did not change may name what is gone.
        let of = |uses: &HashMap<PartKey, usize>, key: &PartKey| uses.get(key).copied().unwrap_or_default();
        let is_used = |key: &PartKey| of(&self.uses, key) + of(&more, key) > of(&fewer, key);
        if gone(snapshot, &before).any(|key| is_used(&key)) {
            return snapshot.check();
        }
        for (key, more) in more {
            *self.uses.entry(key).or_default() += more;
        }
        for (key, fewer) in fewer {
            let uses = self.uses.get_mut(&key).map(|uses| {
                *uses = uses.saturating_sub(fewer);
                *uses
            });
            if uses == Some(0) {
                self.uses.remove(&key);
            }
        }
        self.whole = Arc::clone(snapshot);
        Ok(())
    }
}

fn count(uses: &mut HashMap<PartKey, usize>, route: &Part<Route>) {
    for (_, named) in names(route) {
        let key = match named {
            Named::Certificate(key) => PartKey::Certificate(key.clone()),
            Named::Auth(key) => PartKey::Auth(key.clone()),
            Named::Limits(key) => PartKey::Limits(key.clone()),
            Named::Backend(key) => PartKey::Backend(key.clone()),
        };
        *uses.entry(key).or_default() += 1;
    }
}

/// What routes and policies may name and is no longer there.
fn gone<'a>(now: &'a Snapshot, before: &'a Snapshot) -> impl Iterator<Item = PartKey> + 'a {
    let backends = now.backends.changes(&before.backends).filter(|change| change.after.is_none());
    let auth = now.auth.changes(&before.auth).filter(|change| change.after.is_none());
    let limits = now.limits.changes(&before.limits).filter(|change| change.after.is_none());
    let certificates = now.certificates.changes(&before.certificates).filter(|change| change.after.is_none());
    backends
        .map(|change| PartKey::Backend(change.key.clone()))
        .chain(auth.map(|change| PartKey::Auth(change.key.clone())))
        .chain(limits.map(|change| PartKey::Limits(change.key.clone())))
        .chain(certificates.map(|change| PartKey::Certificate(change.key.clone())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        HostPattern, ObjectKey, Rare, Secret,
        auth::Mode,
        certificate::Certificate,
        rate_limit::RateLimitPolicy,
        route::{Action, Broken, Guard, Rule},
    };

    fn key(name: u8) -> ObjectKey {
        ObjectKey::new("shop", format!("n{name}"))
    }

    fn route(certificates: Vec<u8>, limits: Vec<u8>) -> Route {
        let rule = Rule {
            name: "0".to_owned(),
            matches: Vec::new(),
            auth: Guard::Open,
            limits: limits.into_iter().map(|limit| Guard::Policy(key(limit))).collect(),
            request_headers: Rare::default(),
            response_headers: Rare::default(),
            filters: None,
            action: Action::Reject(Broken::RouteInvalid),
            timeouts: Rare::default(),
        };
        let certificates = certificates.into_iter().map(key).collect();
        Route { created: None, hosts: vec![HostPattern::Any], certificates, rules: vec![rule] }
    }

    #[derive(Clone, Debug)]
    enum Edit {
        Route(u8, Option<(Vec<u8>, Vec<u8>)>),
        Certificate(u8, bool),
        Limits(u8, bool),
    }

    fn edit() -> impl Strategy<Value = Edit> {
        let some = || proptest::collection::vec(0_u8..3, 0..3);
        let there = || prop::bool::weighted(0.8);
        prop_oneof![
            (0_u8..4, proptest::option::of((some(), some()))).prop_map(|(name, said)| Edit::Route(name, said)),
            (0_u8..3, there()).prop_map(|(name, there)| Edit::Certificate(name, there)),
            (0_u8..3, there()).prop_map(|(name, there)| Edit::Limits(name, there)),
        ]
    }

    fn apply(snapshot: &mut Snapshot, edit: Edit) {
        let Snapshot { routes, limits, certificates, .. } = snapshot;
        match edit {
            Edit::Route(name, Some((named, limits))) => routes.insert(key(name), Part::new(route(named, limits))),
            Edit::Route(name, None) => drop(routes.remove(&key(name))),
            Edit::Certificate(name, true) => {
                let certificate = Certificate { chain: String::new(), key: Secret::new(""), not_after: 0, ocsp: None };
                certificates.insert(key(name), Part::new(certificate));
            }
            Edit::Certificate(name, false) => drop(certificates.remove(&key(name))),
            Edit::Limits(name, true) => {
                let policy = RateLimitPolicy {
                    mode: Mode::Enforce,
                    limits: Vec::new(),
                    plans: None,
                    priority: None,
                    shared: None,
                };
                limits.insert(key(name), Part::new(policy));
            }
            Edit::Limits(name, false) => drop(limits.remove(&key(name))),
        }
    }

    proptest! {
        #[test]
        fn after_any_edits_it_finds_what_a_check_of_the_whole_finds(
            batches in proptest::collection::vec(proptest::collection::vec(edit(), 1..6), 1..20),
        ) {
            let (mut checker, mut snapshot) = (Checker::default(), Snapshot::default());
            for name in 0..3 {
                apply(&mut snapshot, Edit::Certificate(name, true));
                apply(&mut snapshot, Edit::Limits(name, true));
            }
            for batch in batches {
                let mut next = snapshot.clone();
                batch.into_iter().for_each(|edit| apply(&mut next, edit));
                prop_assert_eq!(checker.check(&Arc::new(next.clone())).is_ok(), next.check().is_ok());
                // What was refused is mostly repaired, and sometimes built upon.
                if next.check().is_ok() || next.routes.len().is_multiple_of(2) {
                    snapshot = next;
                }
            }
        }
    }
}
