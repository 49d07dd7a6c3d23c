//! Routes: which request goes where, and what happens to it on the way.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Empty, ObjectKey, PolicyKey, Rare,
    backend::{BackendKey, Balancing},
    expression::Expression,
    filter::Filters,
    host::HostPattern,
};

/// One route object, compiled. The unit in which routes travel and in which the data plane's table is rebuilt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    /// Seconds since the epoch; absent sorts as newest. With the key it breaks ties between equal matches: the oldest
    /// wins, then namespace and name (Gateway API).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<i64>,
    /// The hostnames that this route owns; never empty ([`HostPattern::Any`] stands for "every host").
    pub hosts: Vec<HostPattern>,
    /// Certificates that this route brings for its hosts, served by SNI; keys of [`crate::Snapshot::certificates`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<ObjectKey>,
    /// In the order of the object. A broken rule keeps its place with [`Action::Reject`].
    pub rules: Vec<Rule>,
}

impl Route {
    /// Gives back the room that reading left: lists begin with that of four, and mostly have one.
    pub(crate) fn shrink(&mut self) {
        self.hosts.shrink_to_fit();
        self.rules.shrink_to_fit();
        for rule in &mut self.rules {
            rule.matches.shrink_to_fit();
            if let Action::Forward(forward) = &mut rule.action {
                forward.backends.shrink_to_fit();
            }
        }
    }
}

/// One rule: its matches, what protects it, what it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// The user's name for it, else its index in the object: the `rule` of logs and expressions.
    pub name: String,
    /// Any of them; never empty (no `matches` in the object is one match of the prefix `/`).
    pub matches: Vec<Match>,
    /// Who may call it.
    pub auth: Guard,
    /// How much may be called: every policy must admit, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Guard>,
    /// On the way to the backend, in the object's order within each kind.
    #[serde(default, skip_serializing_if = "Rare::is_empty")]
    pub request_headers: Rare<HeaderChanges>,
    /// On every answer of this rule that comes from a backend or a direct response.
    #[serde(default, skip_serializing_if = "Rare::is_empty")]
    pub response_headers: Rare<HeaderChanges>,
    /// What few rules have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filters: Option<Box<Filters>>,
    pub action: Action,
    pub timeouts: Rare<Timeouts>,
}

/// Whether a policy stands before a rule, and which. There is no "absent because broken": that is [`Guard::Closed`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Guard {
    /// No policy of this kind applies.
    Open,
    /// The policy of that key: in [`crate::Snapshot::auth`] for `auth`, in [`crate::Snapshot::limits`] for `limits`.
    Policy(PolicyKey),
    /// A policy applies and cannot be enforced: every request is refused with `policy_invalid`. The key names it.
    Closed(PolicyKey),
}

/// A conjunction: all that is set must hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Match {
    pub path: PathMatch,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<FieldMatch>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<FieldMatch>,
    /// A boolean expression, tried after all else; an error is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Box<Expression>>,
}

/// Paths are in the one normal form of the gateway (see [`crate::path`]).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PathMatch {
    Exact(String),
    /// Segment-wise (Gateway API): no final slash, but for `/` itself; `/a` matches `/a` and `/a/b`, not `/ab`.
    Prefix(String),
    /// Matches the whole path; the compiler has tried it with the data plane's engine and limits.
    Regex(String),
}

/// A condition on a header (`name` in lower case) or on a query parameter (`name` as it is).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FieldMatch {
    pub name: String,
    pub value: ValueMatch,
}

/// How a value is compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ValueMatch {
    Exact(String),
    Regex(String),
    Present,
}

/// What a rule does with a request that its guards have admitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    Forward(Forward),
    Redirect(Redirect),
    Respond(DirectResponse),
    /// The rule is broken: every request of it gets this reason.
    Reject(Broken),
}

/// Why a rule or a backend reference cannot serve; each is a stable reason (docs/src/run/reasons.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Broken {
    /// 500 `route_invalid`.
    RouteInvalid,
    /// 500 `backend_invalid`.
    BackendInvalid,
    /// 503 `policy_invalid`: a policy names a rule that this route does not have, or cannot be attached safely.
    PolicyInvalid,
}

/// On to backends: by share, with what is done on the way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Forward {
    /// By weight, exact over time. Empty, or all of weight 0: 503 `no_endpoints` (then the fallback).
    pub backends: Vec<WeightedBackend>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<Box<Rewrite>>,
    /// Instead of the backend's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balancing: Option<Box<Balancing>>,
    /// When a request is sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Box<Retry>>,
    /// Keeps a client on one endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Box<Session>>,
    /// Who gets copies of requests; their answers go nowhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<Mirror>,
    /// When nothing else can answer: no endpoint, connect failure, time-out, overload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Box<Fallback>>,
}

impl Forward {
    /// The rule's, and then those of its backends.
    pub fn all_mirrors(&self) -> impl Iterator<Item = &Mirror> {
        self.mirrors.iter().chain(self.backends.iter().flat_map(|backend| &backend.mirrors))
    }
}

/// When a request is sent again, within the budgets of its backends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retry {
    /// Beyond the first; never 0.
    pub attempts: u32,
    /// Before the first of them; doubled with each, and jittered.
    pub backoff_ms: u64,
    /// Sorted: what a backend answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<u16>,
    /// Sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<RetryOn>,
    /// Of requests that may be sent again after something was written.
    pub methods: Vec<String>,
}

/// A failure before the first byte of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RetryOn {
    /// There was no connection: nothing was written.
    ConnectFailure,
    Reset,
    /// Of the attempt, not of the request.
    Timeout,
}

/// Keeps a client on one endpoint, by a value that the gateway gives it (GEP-1619).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Session {
    pub carrier: Carrier,
    /// How long it lasts at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absolute_ms: Option<u64>,
    /// How long it lasts without a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_ms: Option<u64>,
}

/// Where a session's value is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Carrier {
    /// `path`: of the URLs that it is for. It outlives the browser's session if it is `permanent`.
    #[serde(rename_all = "camelCase")]
    Cookie {
        name: String,
        path: String,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        permanent: bool,
    },
    /// Of the request and of the answer, in lower case.
    Header(String),
}

/// A copy of some requests for another backend: `numerator` of `denominator` of them, and never more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mirror {
    /// A key of [`crate::Snapshot::backends`].
    pub backend: BackendKey,
    pub numerator: u32,
    /// Never 0.
    pub denominator: u32,
}

/// A backend with its share of the requests, and what is changed for it alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WeightedBackend {
    pub weight: u32,
    pub target: Target,
    /// Filters of this reference; applied after the rule's.
    #[serde(default, skip_serializing_if = "Rare::is_empty")]
    pub request_headers: Rare<HeaderChanges>,
    #[serde(default, skip_serializing_if = "Rare::is_empty")]
    pub response_headers: Rare<HeaderChanges>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<Box<Rewrite>>,
    /// Who gets copies of the requests to this backend, besides those of the rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<Mirror>,
}

/// Where a reference leads, also one that leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// A key of [`crate::Snapshot::backends`].
    Backend(BackendKey),
    /// Missing, not granted or of a wrong kind: its share of the requests gets this.
    Reject(Broken),
}

/// What answers when no backend does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fallback {
    Backend(Target),
    Respond(DirectResponse),
}

/// Header names are in lower case. Applied as Gateway API says: `set`, then `add`, then `remove`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderChanges {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

impl Empty for HeaderChanges {
    const EMPTY: &'static Self = &Self { set: Vec::new(), add: Vec::new(), remove: Vec::new() };
}

/// What the backend gets in place of the request's host and path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rewrite {
    /// The `Host` that the backend sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathRewrite>,
}

/// What becomes of the path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PathRewrite {
    /// The whole path; the query stays.
    Full(String),
    /// In place of the prefix that matched (only with [`PathMatch::Prefix`]; the compiler sees to it).
    Prefix(String),
}

/// Absent parts are the request's own (Gateway API's HTTPRequestRedirectFilter).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redirect {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathRewrite>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// An answer of the rule's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DirectResponse {
    pub status: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
}

/// Milliseconds; absent is no limit of the route's (the gateway's own bounds stay).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Timeouts {
    /// From the request's head to the end of the answer's: 504 `request_timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_ms: Option<u64>,
    /// Of one attempt, until the answer's head: 504 `backend_timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_request_ms: Option<u64>,
    /// Between two frames of a streamed body or tunnel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_idle_ms: Option<u64>,
    /// A request header, in lower case, with the milliseconds that the client has left; it may only shorten `request_ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_header: Option<String>,
}

impl Empty for Timeouts {
    const EMPTY: &'static Self =
        &Self { request_ms: None, backend_request_ms: None, stream_idle_ms: None, deadline_header: None };
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RouteInvalid => "route_invalid",
            Self::BackendInvalid => "backend_invalid",
            Self::PolicyInvalid => "policy_invalid",
        })
    }
}
