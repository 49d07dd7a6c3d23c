//! One instant of the whole configuration.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Digest, ObjectKey, Parts, PolicyKey,
    auth::AuthPolicy,
    backend::{Backend, BackendKey},
    certificate::Certificate,
    rate_limit::RateLimitPolicy,
    route::{Action, Fallback, Guard, Route, Rule, Target},
};

/// Counts the snapshots of one replica; it goes on from the one that the data plane names when it connects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl Revision {
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Everything that the data plane needs in order to serve. Only complete worlds are made into one: nothing is
/// published before every source has been listed. A copy is cheap: all parts are shared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Snapshot {
    pub revision: Revision,
    pub routes: Parts<ObjectKey, Route>,
    pub backends: Parts<BackendKey, Backend>,
    pub auth: Parts<PolicyKey, AuthPolicy>,
    pub limits: Parts<PolicyKey, RateLimitPolicy>,
    /// By the Secret they come from.
    pub certificates: Parts<ObjectKey, Certificate>,
}

/// A key that leads nowhere. A snapshot with one is refused whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("route {route}, rule {rule}: {kind} {key} is not in the snapshot")]
pub struct Dangling {
    pub route: ObjectKey,
    pub rule: String,
    pub kind: &'static str,
    pub key: String,
}

impl Snapshot {
    /// Of the content, not of the revision: equal content has equal digests on every replica.
    pub fn digest(&self) -> Digest {
        let sums = [
            self.routes.digest(),
            self.backends.digest(),
            self.auth.digest(),
            self.limits.digest(),
            self.certificates.digest(),
        ];
        Digest::of(&crate::part::encode(&sums))
    }

    /// Finds the first key that leads nowhere. Work in proportion to the whole: [`Snapshot::check_route`] is for one.
    pub fn check(&self) -> Result<(), Dangling> {
        self.routes.iter().try_for_each(|(key, route)| self.check_route(key, route))
    }

    /// As [`Snapshot::check`], given that `before` passed it: work in proportion to what changed, unless something that
    /// a route may name is gone.
    pub fn check_since(&self, before: &Self) -> Result<(), Dangling> {
        let gone = self.backends.changes(&before.backends).any(|change| change.after.is_none())
            || self.auth.changes(&before.auth).any(|change| change.after.is_none())
            || self.limits.changes(&before.limits).any(|change| change.after.is_none())
            || self.certificates.changes(&before.certificates).any(|change| change.after.is_none());
        if gone {
            return self.check();
        }
        let mut routes = self.routes.changes(&before.routes).filter_map(|change| Some((change.key, change.after?)));
        routes.try_for_each(|(key, route)| self.check_route(key, route))
    }

    /// Of one route that is in the snapshot, or about to be.
    pub fn check_route(&self, key: &ObjectKey, route: &Route) -> Result<(), Dangling> {
        let dangling =
            |rule: &str, kind, to: String| Dangling { route: key.clone(), rule: rule.to_owned(), kind, key: to };
        if let Some(lost) = route.certificates.iter().find(|certificate| self.certificates.get(certificate).is_none()) {
            return Err(dangling("", "certificate", lost.to_string()));
        }
        for rule in &route.rules {
            if let Guard::Policy(policy) = &rule.auth
                && self.auth.get(policy).is_none()
            {
                return Err(dangling(&rule.name, "AuthPolicy", policy.to_string()));
            }
            for limit in &rule.limits {
                if let Guard::Policy(policy) = limit
                    && self.limits.get(policy).is_none()
                {
                    return Err(dangling(&rule.name, "RateLimitPolicy", policy.to_string()));
                }
            }
            if let Some(lost) = targets(rule).find(|backend| self.backends.get(backend).is_none()) {
                return Err(dangling(&rule.name, "backend", lost.to_string()));
            }
        }
        Ok(())
    }
}

/// The backends that a rule may call.
fn targets(rule: &Rule) -> impl Iterator<Item = &BackendKey> {
    let forward = match &rule.action {
        Action::Forward(forward) => Some(forward),
        Action::Redirect(_) | Action::Respond(_) | Action::Reject(_) => None,
    };
    let fallback = forward.and_then(|forward| forward.fallback.as_ref()).and_then(|fallback| match fallback {
        Fallback::Backend(target) => Some(target),
        Fallback::Respond(_) => None,
    });
    let weighted = forward.into_iter().flat_map(|forward| forward.backends.iter().map(|backend| &backend.target));
    weighted.chain(fallback).filter_map(|target| match target {
        Target::Backend(key) => Some(key),
        Target::Reject(_) => None,
    })
}
