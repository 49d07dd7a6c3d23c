//! A rule, ready to run: what stands before it and what it does.

use std::{sync::Arc, time::Duration};

use ravelin_snapshot::{
    ObjectKey, PolicyKey,
    backend::{Algorithm, BackendKey},
    route,
};

use super::{Slot, Slots};
use crate::{
    filter::{DirectResponse, HeaderEdits, Redirect, Rewrite},
    policy::{auth::AuthPolicy, limit::RateLimitPolicy},
    reject::Reason,
    request::RuleName,
    upstream::Backend,
};

/// One rule of a route.
pub struct Rule {
    pub name: RuleName,
    pub auth: Guard,
    /// Every one must admit, outermost first.
    pub limits: Vec<Guard>,
    pub request_headers: HeaderEdits,
    pub response_headers: HeaderEdits,
    pub action: Action,
    pub timeouts: Timeouts,
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

pub struct Forward {
    /// Those with a share; chosen by smooth weighted round robin, exact over time.
    pub backends: Vec<Target>,
    pub rewrite: Option<Rewrite>,
    pub algorithm: Option<Algorithm>,
    pub fallback: Option<Fallback>,
}

/// A backend reference: where its share of the requests goes.
pub struct Target {
    pub weight: u32,
    pub to: Destination,
    /// After the rule's own.
    pub request_headers: HeaderEdits,
    pub response_headers: HeaderEdits,
    pub rewrite: Option<Rewrite>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    Backend(Slot),
    Reject(Reason),
}

pub enum Fallback {
    Backend(Destination),
    Respond(DirectResponse),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    pub request: Option<Duration>,
    pub backend_request: Option<Duration>,
    pub stream_idle: Option<Duration>,
}

/// All rules of a route. The error is for a refusal of the snapshot: it names the rule.
pub fn compile(
    key: &ObjectKey,
    route: &route::Route,
    _auth: &Slots<PolicyKey, AuthPolicy>,
    _limits: &Slots<PolicyKey, RateLimitPolicy>,
    backends: &Slots<BackendKey, Backend>,
) -> Result<Vec<Arc<Rule>>, String> {
    let rules = route.rules.iter().map(|rule| {
        let name = RuleName { namespace: key.namespace.clone(), route: key.name.clone(), rule: rule.name.clone() };
        let action = match &rule.action {
            route::Action::Forward(forward) => {
                let targets = forward.backends.iter().filter_map(|backend| match &backend.target {
                    route::Target::Backend(key) => Some(Target {
                        weight: backend.weight,
                        to: Destination::Backend(backends.slot(key)?),
                        request_headers: HeaderEdits::default(),
                        response_headers: HeaderEdits::default(),
                        rewrite: None,
                    }),
                    route::Target::Reject(_) => None,
                });
                let backends = targets.collect();
                Action::Forward(Forward { backends, rewrite: None, algorithm: forward.algorithm, fallback: None })
            }
            _ => Action::Reject(Reason::RouteInvalid),
        };
        Ok(Arc::new(Rule {
            name,
            auth: Guard::Open,
            limits: Vec::new(),
            request_headers: HeaderEdits::default(),
            response_headers: HeaderEdits::default(),
            action,
            timeouts: Timeouts::default(),
        }))
    });
    rules.collect()
}
