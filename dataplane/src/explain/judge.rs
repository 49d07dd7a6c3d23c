//! What the policies and the action of a rule do with a request, in the pipeline's order.

use std::time::{Instant, SystemTime};

use ravelin_snapshot::auth::Mode;

use super::{Decision, Does, ExplainRequest, Explanation, Policy, Refusal, Share};
use crate::{
    expression::Scope,
    filter::Redirected,
    policy::{
        auth,
        limit::{Phase, Preview},
    },
    reject::{Reason, Reject},
    request::{Caller, Known, RequestView},
    table::{
        Found, Rule, Table,
        rule::{Action, Destination, Fallback, Forward, Guard, Target},
    },
};

/// What the policies before a rule are asked with.
pub(super) struct Guards<'a> {
    pub(super) table: &'a Table,
    pub(super) rule: &'a Rule,
    pub(super) view: &'a RequestView<'a>,
    pub(super) now: Instant,
    pub(super) clock: SystemTime,
}

impl Explanation {
    /// The first one counts; behind what nobody can tell, none does.
    pub(super) fn refuse(&mut self, reason: Reason) {
        if self.unknown.is_none() {
            self.refusal
                .get_or_insert_with(|| Refusal { status: Some(reason.status().as_u16()), reason: reason.as_str() });
        }
    }

    pub(super) fn judge(&mut self, guards: &Guards<'_>) {
        let stays_out = match &guards.rule.auth {
            Guard::Open => false,
            Guard::Closed(_) => true,
            Guard::Policy(slot) => guards.table.auth(*slot).is_outside(guards.view),
        };
        // The policy's network comes before the early limits, the rest of it behind them. Whom the network refuses meets no limit,
        // so for him the policy is told of first; for all others in between, and for nobody twice.
        let known = stays_out.then(|| self.auth(guards));
        self.limits(guards, Phase::PreAuthentication, &Caller::default());
        let caller = known.unwrap_or_else(|| self.auth(guards));
        self.limits(guards, Phase::Main, &caller);
    }

    fn auth(&mut self, guards: &Guards<'_>) -> Known {
        let say = |name: String, shadow, decision, detail| Policy {
            kind: "AuthPolicy",
            name,
            limit: None,
            shadow,
            decision,
            detail,
        };
        match &guards.rule.auth {
            Guard::Open => Known::default(),
            Guard::Closed(key) => {
                let said = say(key.to_string(), false, self.reached(Decision::Closed), String::new());
                self.policies.push(said);
                self.refuse(Reason::PolicyInvalid);
                Known::default()
            }
            Guard::Policy(slot) => {
                let policy = guards.table.auth(*slot);
                let auth::Preview { caller, refused, unasked } =
                    policy.preview(guards.view, &guards.rule.name, guards.clock);
                let shadow = policy.mode == Mode::Shadow;
                let (decision, detail) = match (&unasked, &refused) {
                    (Some(what), _) => (Decision::Unknown, what.clone()),
                    (None, Some(refused)) => (Decision::Deny, why(refused)),
                    (None, None) => (Decision::Allow, who(&caller)),
                };
                if decision == Decision::Unknown && self.refusal.is_none() {
                    self.unknown.get_or_insert_with(|| detail.clone());
                }
                let said = say(policy.key.to_string(), shadow, self.reached(decision), detail);
                self.policies.push(said);
                if let Some(reject) = refused.filter(|_| !shadow) {
                    self.refuse(reject.reason);
                }
                caller
            }
        }
    }

    fn limits(&mut self, guards: &Guards<'_>, phase: Phase, caller: &Caller) {
        if phase == Phase::PreAuthentication {
            self.closed_limits(guards);
        }
        let scope = Scope { request: guards.view, caller, route: &guards.rule.name, now: guards.clock };
        for guard in &guards.rule.limits {
            let Guard::Policy(slot) = guard else { continue };
            let policy = guards.table.limit(*slot);
            let (name, shadow) = (policy.key.to_string(), policy.mode == Mode::Shadow);
            let foreseen = policy.preview(phase, &scope, guards.now);
            for (limit, preview) in foreseen.limits {
                let (decision, detail) = preview.as_ref().map_or((Decision::DoesNotApply, String::new()), foresee);
                self.limit(name.clone(), Some(limit.to_owned()), shadow, decision, detail);
                if let Some(reason) = preview.and_then(|preview| preview.refusal).filter(|_| !shadow) {
                    self.refuse(reason);
                }
            }
            if foreseen.broken_plan {
                let detail = "the caller's plan cannot be enforced".to_owned();
                self.limit(name, None, shadow, Decision::Closed, detail);
                if !shadow {
                    self.refuse(Reason::PolicyInvalid);
                }
            }
        }
    }

    /// One of them closes the rule before any other limit is asked.
    fn closed_limits(&mut self, guards: &Guards<'_>) {
        for guard in &guards.rule.limits {
            if let Guard::Closed(key) = guard {
                self.limit(key.to_string(), None, false, Decision::Closed, String::new());
            }
        }
        if guards.rule.limits.iter().any(|guard| matches!(guard, Guard::Closed(_))) {
            self.refuse(Reason::PolicyInvalid);
        }
    }

    fn limit(&mut self, name: String, limit: Option<String>, shadow: bool, decision: Decision, detail: String) {
        let decision = self.reached(decision);
        self.policies.push(Policy { kind: "RateLimitPolicy", name, limit, shadow, decision, detail });
    }

    fn reached(&self, decision: Decision) -> Decision {
        match (&self.refusal, &self.unknown) {
            (Some(_), _) => Decision::NotReached,
            (None, Some(_)) => Decision::Unknown,
            (None, None) => decision,
        }
    }

    pub(super) fn act(&mut self, table: &Table, found: &Found<'_>, request: &ExplainRequest) {
        let does = match &found.rule.action {
            Action::Forward(forward) => Does::Forward {
                backends: shares(table, forward, found, request),
                fallback: forward.fallback.as_deref().map(|fallback| match fallback {
                    Fallback::Backend(to) => name(table, *to).0,
                    Fallback::Respond(response) => format!("a direct response, {}", response.status.as_u16()),
                }),
            },
            Action::Redirect(redirect) => Does::Redirect {
                status: redirect.status.as_u16(),
                location: redirect.location(Redirected {
                    scheme: request.scheme.as_str(),
                    host: &request.host,
                    port: request.port,
                    path: &request.path,
                    query: &request.query,
                    prefix: found.prefix,
                }),
            },
            Action::Respond(response) => Does::Respond { status: response.status.as_u16() },
            Action::Reject(reason) => {
                self.refuse(*reason);
                Does::Reject { reason: reason.as_str() }
            }
        };
        if let Does::Forward { backends, fallback: None } = &does
            && backends.is_empty()
        {
            self.refuse(Reason::NoEndpoints);
        }
        self.action = Some(does);
    }
}

fn shares(table: &Table, forward: &Forward, found: &Found<'_>, request: &ExplainRequest) -> Vec<Share> {
    let share = |target: &Target| {
        let (backend, endpoints) = name(table, target.to);
        let (mut path, mut host) = (request.path.clone(), request.authority());
        // The reference's after the rule's.
        for rewrite in [forward.rewrite.as_ref(), target.rewrite.as_ref()].into_iter().flatten() {
            if let Some(new) = &rewrite.path {
                path = new.apply(&request.path, found.prefix);
            }
            if let Some(new) = &rewrite.host {
                host = String::from_utf8_lossy(new.as_bytes()).into_owned();
            }
        }
        Share { backend, weight: target.weight, endpoints, path, host }
    };
    forward.backends.iter().map(share).collect()
}

/// The backend's name, and how many endpoints it has.
fn name(table: &Table, to: Destination) -> (String, usize) {
    match to {
        Destination::Backend(slot) => {
            let backend = table.backend(slot);
            (backend.key.to_string(), backend.said.endpoints.len())
        }
        Destination::Reject(reason) => (format!("none: {} {}", reason.status().as_u16(), reason.as_str()), 0),
    }
}

fn foresee(preview: &Preview) -> (Decision, String) {
    let Preview { key, cost, remaining, patience, banned, refusal } = preview;
    let key = key.replace('\u{1f}', " / ");
    let detail = match banned {
        Some(left) => format!("key `{key}`: banned for {} s more", left.as_secs() + 1),
        None if cost > remaining && !patience.is_zero() => {
            format!("key `{key}`: {remaining} left, {cost} needed: waits up to {} ms", patience.as_millis())
        }
        None => format!("key `{key}`: {remaining} left, {cost} needed"),
    };
    (if refusal.is_some() { Decision::Deny } else { Decision::Allow }, detail)
}

fn who(caller: &Caller) -> String {
    match caller.id.as_str() {
        "" => "anonymous".to_owned(),
        id => format!("caller `{id}` by {}", caller.method),
    }
}

fn why(reject: &Reject) -> String {
    let rule = reject.detail.as_ref().and_then(|detail| detail.rule.as_deref()).filter(|rule| !rule.is_empty());
    match rule {
        Some(rule) => format!("{}, rule `{rule}`", reject.reason.as_str()),
        None => match described(reject) {
            Some(why) => format!("{}: {why}", reject.reason.as_str()),
            None => reject.reason.as_str().to_owned(),
        },
    }
}

/// What a challenge says of the credential (RFC 6750, 3).
fn described(reject: &Reject) -> Option<&str> {
    let mut challenges = reject.detail.iter().flat_map(|detail| &detail.headers);
    challenges.find_map(|(_, value)| value.split_once("error_description=\"")?.1.split('"').next())
}
