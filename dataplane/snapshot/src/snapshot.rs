//! One instant of the whole configuration.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

use crate::{
    Digest, ObjectKey, Parts, PolicyKey,
    auth::AuthPolicy,
    backend::{Backend, BackendKey},
    certificate::Certificate,
    rate_limit::RateLimitPolicy,
    route::{Action, Fallback, Forward, Guard, Route, Rule, Target},
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
#[error("{part}{rule}: {kind} {key} is not in the snapshot")]
pub struct Dangling {
    /// What names it.
    pub part: String,
    /// Which of its rules; may be empty.
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

    /// Finds the first key that leads nowhere: work in proportion to the whole.
    pub fn check(&self) -> Result<(), Dangling> {
        self.routes.iter().try_for_each(|(key, route)| self.check_route(key, route))?;
        self.auth.iter().try_for_each(|(key, policy)| self.check_auth(key, policy))
    }

    /// Of one route that is in the snapshot, or about to be.
    pub fn check_route(&self, key: &ObjectKey, route: &Route) -> Result<(), Dangling> {
        let lost = names(route).find_map(|(rule, named)| {
            let (there, kind, to) = match named {
                Named::Certificate(key) => (self.certificates.get(key).is_some(), "certificate", key as &dyn Display),
                Named::Auth(key) => (self.auth.get(key).is_some(), "AuthPolicy", key as _),
                Named::Limits(key) => (self.limits.get(key).is_some(), "RateLimitPolicy", key as _),
                Named::Backend(key) => (self.backends.get(key).is_some(), "backend", key as _),
            };
            (!there).then(|| {
                let (part, rule) = (format!("route {key}"), format!(", rule {rule}"));
                Dangling { part, rule, kind, key: to.to_string() }
            })
        });
        lost.map_or(Ok(()), Err)
    }

    /// Of one AuthPolicy that is in the snapshot, or about to be.
    pub fn check_auth(&self, key: &PolicyKey, policy: &AuthPolicy) -> Result<(), Dangling> {
        let asked = policy.external.as_ref().map(|external| &external.backend);
        let lost = asked.filter(|backend| self.backends.get(backend).is_none());
        lost.map_or(Ok(()), |backend| {
            let (part, rule) = (format!("AuthPolicy {key}"), String::new());
            Err(Dangling { part, rule, kind: "backend", key: backend.to_string() })
        })
    }
}

/// A part that a route names.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Named<'a> {
    Certificate(&'a ObjectKey),
    Auth(&'a PolicyKey),
    Limits(&'a PolicyKey),
    Backend(&'a BackendKey),
}

/// All parts that a route names, each with the rule that names it.
pub(crate) fn names(route: &Route) -> impl Iterator<Item = (&str, Named<'_>)> {
    let certificates = route.certificates.iter().map(|key| ("", Named::Certificate(key)));
    let rules = route.rules.iter().flat_map(|rule| {
        let auth = policy(&rule.auth).into_iter().map(Named::Auth);
        let limits = rule.limits.iter().filter_map(policy).map(Named::Limits);
        auth.chain(limits).chain(targets(rule).map(Named::Backend)).map(|named| (rule.name.as_str(), named))
    });
    certificates.chain(rules)
}

fn policy(guard: &Guard) -> Option<&PolicyKey> {
    match guard {
        Guard::Policy(key) => Some(key),
        Guard::Open | Guard::Closed(_) => None,
    }
}

/// The backends that a rule may call.
fn targets(rule: &Rule) -> impl Iterator<Item = &BackendKey> {
    let forward = match &rule.action {
        Action::Forward(forward) => Some(forward),
        Action::Redirect(_) | Action::Respond(_) | Action::Reject(_) => None,
    };
    let fallback = forward.and_then(|forward| forward.fallback.as_deref()).and_then(|fallback| match fallback {
        Fallback::Backend(target) => Some(target),
        Fallback::Respond(_) => None,
    });
    let weighted = forward.into_iter().flat_map(|forward| forward.backends.iter().map(|backend| &backend.target));
    let mirrors = forward.into_iter().flat_map(Forward::all_mirrors).map(|mirror| &mirror.backend);
    let called = weighted.chain(fallback).filter_map(|target| match target {
        Target::Backend(key) => Some(key),
        Target::Reject(_) => None,
    });
    called.chain(mirrors)
}
