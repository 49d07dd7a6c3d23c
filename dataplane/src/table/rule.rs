//! A rule, ready to run: what stands before it and what it does.

use std::{fmt::Display, hash::Hash, sync::Arc, time::Duration};

use http::HeaderName;
use ravelin_snapshot::{
    Empty, ObjectKey, PolicyKey, Rare,
    backend::{BackendKey, Balancing},
    filter, route,
};

use super::{Slot, Slots, extras::Extras};
use crate::{
    access_log::Fields,
    filter::{DirectResponse, Filters, HeaderEdits, Redirect, Rewrite, header_name},
    metrics::Label,
    policy::{auth::AuthPolicy, limit::RateLimitPolicy},
    reject::Reason,
    request::RuleName,
    upstream::{Backend, Retry, balance::Rotation},
};

/// One rule of a route.
pub struct Rule {
    pub name: RuleName,
    /// In the access log.
    pub(crate) logged: Fields,
    /// Of the route.
    pub label: Arc<Label>,
    pub auth: Guard,
    /// Every one must admit, outermost first.
    pub limits: Box<[Guard]>,
    pub request_headers: HeaderEdits,
    pub response_headers: HeaderEdits,
    /// What few rules have.
    pub filters: Option<Box<Filters>>,
    pub action: Action,
    pub timeouts: Rare<Timeouts>,
}

/// What stands before a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    Open,
    Policy(Slot),
    /// Refused with `policy_invalid`; the key names the policy.
    Closed(PolicyKey),
}

/// What a rule does with a request that its guards have admitted.
pub enum Action {
    Forward(Forward),
    Redirect(Redirect),
    Respond(DirectResponse),
    Reject(Reason),
}

/// On to one of some backends.
pub struct Forward {
    /// Those with a share.
    pub backends: Box<[Target]>,
    /// Whose turn it is, exact over time.
    pub rotation: Rotation,
    pub rewrite: Option<Box<Rewrite>>,
    /// Instead of the backends' own.
    pub balancing: Option<Box<Balancing>>,
    pub retry: Option<Arc<Retry>>,
    pub fallback: Option<Box<Fallback>>,
    /// What few rules have.
    pub extras: Option<Box<Extras>>,
}

/// A backend reference: where its share of the requests goes.
pub struct Target {
    pub weight: u32,
    pub to: Destination,
    /// After the rule's own.
    pub request_headers: HeaderEdits,
    pub response_headers: HeaderEdits,
    pub rewrite: Option<Box<Rewrite>>,
}

/// Where a reference leads: to a backend, or nowhere, which its share of the requests hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    Backend(Slot),
    Reject(Reason),
}

/// What answers when no backend does.
pub enum Fallback {
    Backend(Destination),
    Respond(DirectResponse),
}

/// How long what may take; absent: for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    pub request: Option<Duration>,
    pub backend_request: Option<Duration>,
    pub stream_idle: Option<Duration>,
    /// What a client has left, in milliseconds.
    pub deadline_header: Option<HeaderName>,
}

impl Empty for Timeouts {
    const EMPTY: &'static Self =
        &Self { request: None, backend_request: None, stream_idle: None, deadline_header: None };
}

/// All rules of a route. The error is for a refusal of the snapshot: it names the rule.
pub(super) fn compile(
    key: &ObjectKey,
    route: &route::Route,
    label: &Arc<Label>,
    auth: &Slots<PolicyKey, AuthPolicy>,
    limits: &Slots<PolicyKey, RateLimitPolicy>,
    backends: &Slots<BackendKey, Backend>,
) -> Result<Vec<Arc<Rule>>, String> {
    let names = Names { auth, limits, backends };
    let compile = |rule: &route::Rule| {
        let compiled = names.rule(key, label, rule).map_err(|why| format!("rule {}: {why}", rule.name))?;
        Ok(Arc::new(compiled))
    };
    route.rules.iter().map(compile).collect()
}

/// What a rule may name, by name. The channel has checked that all of it is there.
pub(super) struct Names<'a> {
    auth: &'a Slots<PolicyKey, AuthPolicy>,
    limits: &'a Slots<PolicyKey, RateLimitPolicy>,
    backends: &'a Slots<BackendKey, Backend>,
}

impl Names<'_> {
    fn rule(&self, key: &ObjectKey, label: &Arc<Label>, said: &route::Rule) -> Result<Rule, String> {
        let name = RuleName { route: key.clone(), rule: said.name.clone() };
        let limits = said.limits.iter().map(|said| guard(said, self.limits));
        let route::Timeouts { request_ms, backend_request_ms, stream_idle_ms, deadline_header } = &*said.timeouts;
        let deadline_header = deadline_header.as_deref().map(header_name).transpose()?;
        Ok(Rule {
            logged: Fields::rule(&name),
            name,
            label: Arc::clone(label),
            auth: guard(&said.auth, self.auth)?,
            limits: limits.collect::<Result<_, _>>()?,
            request_headers: HeaderEdits::compile(&said.request_headers)?,
            response_headers: HeaderEdits::compile(&said.response_headers)?,
            filters: said.filters.as_deref().map(Filters::compile).transpose()?.map(Box::new),
            action: self.action(&said.action, said.filters.as_deref())?,
            timeouts: Timeouts {
                request: request_ms.map(Duration::from_millis),
                backend_request: backend_request_ms.map(Duration::from_millis),
                stream_idle: stream_idle_ms.map(Duration::from_millis),
                deadline_header,
            }
            .into(),
        })
    }

    fn action(&self, said: &route::Action, filters: Option<&filter::Filters>) -> Result<Action, String> {
        Ok(match said {
            route::Action::Forward(forward) => Action::Forward(self.forward(forward, filters)?),
            route::Action::Redirect(redirect) => Action::Redirect(Redirect::compile(redirect)?),
            route::Action::Respond(response) => Action::Respond(DirectResponse::compile(response)?),
            route::Action::Reject(broken) => Action::Reject((*broken).into()),
        })
    }

    fn forward(&self, said: &route::Forward, filters: Option<&filter::Filters>) -> Result<Forward, String> {
        let shares = said.backends.iter().filter(|backend| backend.weight > 0);
        let backends = shares.map(|backend| {
            Ok(Target {
                weight: backend.weight,
                to: self.destination(&backend.target)?,
                request_headers: HeaderEdits::compile(&backend.request_headers)?,
                response_headers: HeaderEdits::compile(&backend.response_headers)?,
                rewrite: backend.rewrite.as_deref().map(Rewrite::compile).transpose()?.map(Box::new),
            })
        });
        let fallback = said.fallback.as_deref().map(|fallback| match fallback {
            route::Fallback::Backend(target) => self.destination(target).map(Fallback::Backend),
            route::Fallback::Respond(response) => DirectResponse::compile(response).map(Fallback::Respond),
        });
        Ok(Forward {
            rotation: Rotation::new(said.backends.iter().map(|backend| backend.weight).filter(|weight| *weight > 0)),
            backends: backends.collect::<Result<_, String>>()?,
            rewrite: said.rewrite.as_deref().map(Rewrite::compile).transpose()?.map(Box::new),
            balancing: said.balancing.clone(),
            retry: said.retry.as_ref().map(|said| Retry::compile(said).map(Arc::new)).transpose()?,
            fallback: fallback.transpose()?.map(Box::new),
            extras: Extras::compile(self, said, filters)?,
        })
    }

    pub(super) fn backend(&self, key: &BackendKey) -> Result<Slot, String> {
        named(self.backends, key)
    }

    fn destination(&self, said: &route::Target) -> Result<Destination, String> {
        Ok(match said {
            route::Target::Backend(key) => Destination::Backend(self.backend(key)?),
            route::Target::Reject(broken) => Destination::Reject((*broken).into()),
        })
    }
}

fn guard<V>(said: &route::Guard, policies: &Slots<PolicyKey, V>) -> Result<Guard, String> {
    Ok(match said {
        route::Guard::Open => Guard::Open,
        route::Guard::Policy(key) => Guard::Policy(named(policies, key)?),
        route::Guard::Closed(key) => Guard::Closed(key.clone()),
    })
}

fn named<K: Clone + Eq + Hash + Display, V>(slots: &Slots<K, V>, key: &K) -> Result<Slot, String> {
    slots.slot(key).ok_or_else(|| format!("{key} is not in the snapshot"))
}

impl From<route::Broken> for Reason {
    fn from(broken: route::Broken) -> Self {
        match broken {
            route::Broken::RouteInvalid => Self::RouteInvalid,
            route::Broken::BackendInvalid => Self::BackendInvalid,
            route::Broken::PolicyInvalid => Self::PolicyInvalid,
        }
    }
}
