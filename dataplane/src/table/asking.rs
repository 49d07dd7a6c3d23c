//! For which hosts a handshake asks the client for a certificate: those of routes with a policy that wants one.

use std::{collections::HashSet, sync::Arc};

use ravelin_snapshot::{
    HostPattern, Part, Snapshot,
    auth::AuthPolicy,
    route::{Guard, Route},
};

#[derive(Debug, Default)]
pub(crate) struct Asking {
    exact: HashSet<String>,
    /// What stands behind `*.`.
    wildcard: HashSet<String>,
    any: bool,
}

impl Asking {
    /// `known` itself if nothing of that changed since `before`; then it costs a look at what did.
    pub(super) fn follow(snapshot: &Snapshot, before: &Snapshot, known: &Arc<Self>) -> Arc<Self> {
        let policies = snapshot.auth.changes(&before.auth);
        let turned =
            policies.filter(|change| change.before.is_some_and(wants) != change.after.is_some_and(wants)).count() > 0;
        let mut routes = snapshot.routes.changes(&before.routes);
        let touched = |route: Option<&Part<Route>>, of: &Snapshot| route.is_some_and(|route| asks(route, of));
        if !turned && !routes.any(|change| touched(change.before, before) || touched(change.after, snapshot)) {
            return Arc::clone(known);
        }
        let mut asking = Self::default();
        for (_, route) in snapshot.routes.iter().filter(|(_, route)| asks(route, snapshot)) {
            for host in &route.hosts {
                match host {
                    HostPattern::Exact(name) => drop(asking.exact.insert(name.clone())),
                    HostPattern::Wildcard(suffix) => drop(asking.wildcard.insert(suffix.clone())),
                    HostPattern::Any => asking.any = true,
                }
            }
        }
        Arc::new(asking)
    }

    /// `name` in lower case, without final dot; `None`: the client has not said one. A request may come to a wider pattern where
    /// the narrower has no rule for it.
    pub(crate) fn asks(&self, name: Option<&str>) -> bool {
        self.any
            || name.is_some_and(|name| {
                let mut above = name.match_indices('.').map(|(at, _)| &name[at + 1..]);
                self.exact.contains(name) || above.any(|suffix| self.wildcard.contains(suffix))
            })
    }
}

fn wants(policy: &Part<AuthPolicy>) -> bool {
    policy.authentication.as_ref().is_some_and(|methods| methods.client_certificate.is_some())
}

fn asks(route: &Route, of: &Snapshot) -> bool {
    route.rules.iter().any(|rule| match &rule.auth {
        Guard::Policy(key) => of.auth.get(key).is_some_and(wants),
        Guard::Open | Guard::Closed(_) => false,
    })
}
