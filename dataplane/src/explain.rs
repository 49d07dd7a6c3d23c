//! What would become of a request, and why: for `ravelin explain` and the admin's `/explain`. Nothing is counted, nothing
//! is taken, nobody is called.

mod request;
#[cfg(test)]
mod tests;
mod text;

use std::{sync::Arc, time::Instant, time::SystemTime};

use http::StatusCode;
use ravelin_snapshot::{
    auth::Mode,
    route::{Match, PathMatch},
};
use serde::Serialize;

use crate::{
    expression::Scope,
    filter::Redirected,
    policy::limit::{Phase, Preview},
    reject::{Reason, Reject},
    request::{Caller, Known, RequestView},
    table::{
        Found, Rule, Table, Tried,
        rule::{Action, Destination, Fallback, Forward, Guard},
    },
};
pub use request::{ExplainRequest, InvalidRequest};

/// Matches that did not win and are named; the nearest first.
const MAX_OTHERS: usize = 20;

/// What would become of a request.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    pub revision: u64,
    pub request: Asked,
    /// The rule that it comes to; absent: 404 `no_route`.
    pub rule: Option<Place>,
    /// Other matches of the host, with what keeps the request from them.
    pub others: Vec<Other>,
    /// What stands before the rule, in the order in which it is asked.
    pub policies: Vec<Policy>,
    pub action: Option<Does>,
    /// The first refusal on the way; absent: the action's own answer.
    pub refusal: Option<Refusal>,
}

/// The request as Ravelin reads it.
#[derive(Clone, Debug, Serialize)]
pub struct Asked {
    pub method: String,
    pub host: String,
    /// In normal form.
    pub path: String,
    pub source: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    pub route: String,
    pub rule: String,
    /// The host pattern.
    pub host: String,
    /// Its other conditions.
    pub matches: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct Other {
    #[serde(flatten)]
    pub place: Place,
    /// What does not hold; or that all of it does, and a match before it wins.
    pub why: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct Policy {
    pub kind: &'static str,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    pub shadow: bool,
    pub decision: Decision,
    /// The caller, the level of a limit, the rule that refuses.
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Decision {
    Allow,
    Deny,
    /// It is broken, and closes what it protects.
    Closed,
    /// A limit that is not for this request.
    DoesNotApply,
    /// Something before it refuses.
    NotReached,
}

/// What the rule does with a request that it gets.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Does {
    #[serde(rename_all = "camelCase")]
    Forward {
        backends: Vec<Share>,
        fallback: Option<String>,
    },
    Redirect {
        status: u16,
        location: String,
    },
    Respond {
        status: u16,
    },
    Reject {
        reason: &'static str,
    },
}

#[derive(Clone, Debug, Serialize)]
pub struct Share {
    pub backend: String,
    pub weight: u32,
    pub endpoints: usize,
    /// Path and host as the backend gets them.
    pub path: String,
    pub host: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    pub status: u16,
    pub reason: &'static str,
}

/// Judges `request` by `table` at this moment.
pub fn explain(table: &Table, request: &ExplainRequest, now: Instant, clock: SystemTime) -> Explanation {
    let view = request.view();
    let tried = table.trace(&view, clock);
    let found = table.find(&view, clock);
    let winner = tried.iter().position(|tried| tried.why.is_none());
    let mut explanation = Explanation {
        revision: table.revision.0,
        request: request.asked(),
        rule: winner.map(|at| Place::of(&tried[at])),
        others: others(&tried, winner),
        policies: Vec::new(),
        action: None,
        refusal: None,
    };
    match found {
        Some(found) => {
            explanation.judge(&Guards { table, rule: found.rule, view: &view, now, clock });
            explanation.act(table, &found, request);
        }
        None => explanation.refuse(Reason::NoRoute),
    }
    explanation
}

fn others(tried: &[Tried<'_>], winner: Option<usize>) -> Vec<Other> {
    let rest = tried.iter().enumerate().filter(|(at, _)| Some(*at) != winner);
    let mut others: Vec<(bool, Other)> = rest
        .map(|(_, tried)| {
            let path = tried.why == Some(crate::table::Why::Path);
            let why = tried.why.as_ref().map_or("a match before it wins".to_owned(), |why| format!("not {why}"));
            (path, Other { place: Place::of(tried), why })
        })
        .collect();
    // Those of another path say least.
    others.sort_by_key(|(path, _)| *path);
    others.truncate(MAX_OTHERS);
    others.into_iter().map(|(_, other)| other).collect()
}

impl Place {
    fn of(tried: &Tried<'_>) -> Self {
        let name = &tried.rule.name;
        Self {
            route: format!("{}/{}", name.namespace, name.route),
            rule: name.rule.clone(),
            host: tried.pattern.to_string(),
            matches: conditions(tried.said),
        }
    }
}

fn conditions(said: &Match) -> String {
    let mut text = match &said.path {
        PathMatch::Exact(path) => format!("Exact {path}"),
        PathMatch::Prefix(path) => format!("PathPrefix {path}"),
        PathMatch::Regex(pattern) => format!("RegularExpression {pattern}"),
    };
    if let Some(method) = &said.method {
        text += &format!(", method {method}");
    }
    for header in &said.headers {
        text += &format!(", header {}", header.name);
    }
    for parameter in &said.query {
        text += &format!(", query parameter {}", parameter.name);
    }
    if let Some(when) = &said.when {
        text += &format!(", when {}", when.source);
    }
    text
}

/// What the policies before a rule are asked with.
struct Guards<'a> {
    table: &'a Table,
    rule: &'a Rule,
    view: &'a RequestView<'a>,
    now: Instant,
    clock: SystemTime,
}

impl Explanation {
    fn refuse(&mut self, reason: Reason) {
        let status: StatusCode = reason.status();
        self.refusal.get_or_insert(Refusal { status: status.as_u16(), reason: reason.as_str() });
    }

    /// In the pipeline's order.
    fn judge(&mut self, guards: &Guards<'_>) {
        let stays_out = match &guards.rule.auth {
            Guard::Open => false,
            Guard::Closed(_) => true,
            Guard::Policy(slot) => guards.table.auth(*slot).is_outside(guards.view),
        };
        // Who does not come so far meets no limit; a policy is told of once.
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
                let (caller, refused) = policy.preview(guards.view, &guards.rule.name, guards.clock);
                let shadow = policy.mode == Mode::Shadow;
                let decision = if refused.is_some() { Decision::Deny } else { Decision::Allow };
                let detail = refused.as_ref().map_or_else(|| who(&caller), why);
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
        let scope = Scope { request: guards.view, caller, route: &guards.rule.name, now: guards.clock };
        for guard in &guards.rule.limits {
            let slot = match guard {
                Guard::Policy(slot) => slot,
                Guard::Open => continue,
                Guard::Closed(key) if phase == Phase::PreAuthentication => {
                    self.limit(key.to_string(), None, false, Decision::Closed, String::new());
                    self.refuse(Reason::PolicyInvalid);
                    continue;
                }
                Guard::Closed(_) => continue,
            };
            let policy = guards.table.limit(*slot);
            let shadow = policy.mode == Mode::Shadow;
            let told = match policy.preview(phase, &scope, guards.now) {
                Ok(told) => told,
                Err(reason) => {
                    let detail = "the caller's plan cannot be enforced".to_owned();
                    self.limit(policy.key.to_string(), None, shadow, Decision::Closed, detail);
                    if !shadow {
                        self.refuse(reason);
                    }
                    continue;
                }
            };
            for (name, preview) in told {
                let (decision, detail) = preview.as_ref().map_or((Decision::DoesNotApply, String::new()), foresee);
                self.limit(policy.key.to_string(), Some(name.to_owned()), shadow, decision, detail);
                if decision == Decision::Deny && !shadow {
                    self.refuse(Reason::RateLimited);
                }
            }
        }
    }

    fn limit(&mut self, name: String, limit: Option<String>, shadow: bool, decision: Decision, detail: String) {
        let decision = self.reached(decision);
        self.policies.push(Policy { kind: "RateLimitPolicy", name, limit, shadow, decision, detail });
    }

    fn reached(&self, decision: Decision) -> Decision {
        if self.refusal.is_some() { Decision::NotReached } else { decision }
    }

    fn act(&mut self, table: &Table, found: &Found<'_>, request: &ExplainRequest) {
        let does = match &found.rule.action {
            Action::Forward(forward) => Does::Forward {
                backends: shares(table, forward, found, request),
                fallback: forward.fallback.as_ref().map(|fallback| match fallback {
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
    let share = |target: &crate::table::rule::Target| {
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
            (backend.key.to_string(), Arc::clone(backend).said.endpoints.len())
        }
        Destination::Reject(reason) => (format!("none: {} {}", reason.status().as_u16(), reason.as_str()), 0),
    }
}

fn foresee(preview: &Preview) -> (Decision, String) {
    let Preview { key, cost, remaining, patience, banned } = preview;
    let key = key.replace('\u{1f}', " / ");
    if let Some(left) = banned {
        return (Decision::Deny, format!("key `{key}`: banned for {} s more", left.as_secs() + 1));
    }
    let detail = format!("key `{key}`: {remaining} left, {cost} needed");
    match (cost > remaining, patience.is_zero()) {
        (false, _) => (Decision::Allow, detail),
        (true, true) => (Decision::Deny, detail),
        (true, false) => (Decision::Allow, format!("{detail}: waits up to {} ms", patience.as_millis())),
    }
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
