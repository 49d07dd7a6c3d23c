//! What would become of a request, and why: for `ravelin explain` and the admin's `/explain`. Nothing is counted, nothing
//! is taken, nobody is called.

mod judge;
mod request;
#[cfg(test)]
mod tests;
mod text;

use std::time::{Instant, SystemTime};

use ravelin_snapshot::route::{Match, PathMatch};
use serde::Serialize;

use crate::{
    filter::cors,
    reject::Reason,
    request::RequestView,
    table::{Table, Tried, Why},
};
use judge::Guards;
pub use request::{ExplainRequest, InvalidRequest};
pub use text::Plain;

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
    /// The first refusal on the way; absent: the action's own answer, or nobody can tell.
    pub refusal: Option<Refusal>,
    /// Why nobody can tell here what a policy decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
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
    /// It, or something before it, depends on what is not known here.
    Unknown,
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
    /// It answers a browser that asks leave for this method; no policy is asked.
    Preflight {
        method: String,
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
    /// Absent: it is refused in the TLS handshake, before there is an answer.
    pub status: Option<u16>,
    pub reason: &'static str,
}

impl Refusal {
    /// The alert of the handshake.
    const UNRECOGNIZED_NAME: Self = Self { status: None, reason: "unrecognized_name" };
}

/// Judges `request` by `table` at this moment.
pub fn explain(table: &Table, request: &ExplainRequest, now: Instant, clock: SystemTime) -> Explanation {
    let view = request.view();
    let preflight = table.preflight(&view, clock);
    let requested = cors::requested(view.method, view.headers).filter(|_| preflight.is_some());
    let view = RequestView { method: requested.as_ref().unwrap_or(view.method), ..view };
    let tried = table.trace(&view, clock);
    let winner = tried.iter().position(|tried| tried.why.is_none());
    let mut explanation = Explanation {
        revision: table.revision.0,
        request: request.asked(),
        rule: winner.map(|at| Place::of(&tried[at])),
        others: others(&tried, winner),
        policies: Vec::new(),
        action: None,
        refusal: None,
        unknown: None,
    };
    if !request.is_connected(table) {
        explanation.refusal = Some(Refusal::UNRECOGNIZED_NAME);
        return explanation;
    }
    if let Err(reject) = table.told() {
        explanation.refuse(reject.reason);
        return explanation;
    }
    if !request.is_directed(table) {
        explanation.refuse(Reason::Misdirected);
        return explanation;
    }
    if preflight.is_some() {
        explanation.action = Some(Does::Preflight { method: view.method.to_string() });
        return explanation;
    }
    match table.find(&view, clock) {
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
            let path = tried.why == Some(Why::Path);
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
            route: name.route.to_string(),
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
