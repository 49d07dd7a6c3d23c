//! One rule of an ApiRoute.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api_route::filter::RouteFilter;
use crate::bounded::{Group, HeaderName, Kind, NamespaceName, ObjectName, SectionName};
use crate::direct_response::DirectResponse;
use crate::duration::Duration;
use crate::load_balancing::LoadBalancing;
use crate::matches::{Method, RouteMatch};
use crate::reference::BackendObjectReference;
use crate::rules;

/// What happens to the requests that match.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(rules::answers_alone())
        .message("requestRedirect and directResponse answer by themselves: no backendRefs, no fallback and no urlRewrite beside them, and only one of the two")
)]
#[x_kube(
    validation = Rule::new(rules::prefix_is_matched())
        .message("path.type ReplacePrefixMatch: every match of the rule must be of the type PathPrefix")
)]
#[x_kube(
    validation = Rule::new(rules::regular_expressions("headers", 8, 4))
        .message("the value of a header match is no valid regular expression (RE2)")
)]
#[x_kube(
    validation = Rule::new(rules::regular_expressions("queryParams", 16, 8))
        .message("the value of a query parameter match is no valid regular expression (RE2)")
)]
pub struct ApiRouteRule {
    /// Name of the rule, unique in the route. Policies attach to it, and logs and `ravelin explain` show it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<SectionName>")]
    pub name: Option<String>,
    /// Which requests the rule is for; one of them must match, at most 64. Default: every path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub matches: Vec<RouteMatch>,
    /// What is done to requests and answers, in this order; at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-validations" = rules::filters_once()))]
    pub filters: Vec<RouteFilter>,
    /// How long things may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Box<Timeouts>>,
    /// When a request is sent again. Default: only when nothing of it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Box<Retry>>,
    /// Keeps a client on one endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<Box<SessionPersistence>>,
    /// How requests of this rule are spread over endpoints. Default: what the backend's BackendPolicy says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancing: Option<Box<LoadBalancing>>,
    /// Backends that the requests go to, in proportion to their weights; at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub backend_refs: Vec<BackendRef>,
    /// Who answers when no backend can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Box<Fallback>>,
}

/// A backend and its share of the requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(rules::SERVICE_HAS_PORT).message("port must be set for a Service"))]
pub struct BackendRef {
    /// API group of the backend. Default: the group of its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Group>")]
    pub group: Option<String>,
    /// Kind of the backend: Service (default) or Backend.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Kind>")]
    pub kind: Option<String>,
    /// Name of the backend.
    #[schemars(with = "ObjectName")]
    pub name: String,
    /// Namespace of the backend. Default: the route's own. Another one needs a ReferenceGrant there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<NamespaceName>")]
    pub namespace: Option<String>,
    /// Port of the Service. A Backend needs none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Share of the requests, in proportion to the sum of all weights; 0 is none. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub weight: Option<u32>,
    /// What is done only to requests for this backend and to its answers; at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-validations" = rules::filters_once()))]
    pub filters: Vec<RouteFilter>,
}

impl BackendRef {
    /// Gateway API: 1 unless said otherwise; 0 is none of the requests.
    pub fn weight(&self) -> u32 {
        self.weight.unwrap_or(1)
    }
}

/// How long things may take; 0s is for ever.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.request) || !has(self.backendRequest) || duration(self.request) == duration('0s') || duration(self.backendRequest) <= duration(self.request)")
        .message("backendRequest must not be longer than request")
)]
pub struct Timeouts {
    /// From the request's first byte to the answer's last, attempts included, such as 10s; 0s: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Duration>,
    /// One attempt at a backend, until its answer's head, such as 2s; not longer than request. 0s: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_request: Option<Duration>,
    /// How long a stream may be silent in both directions, such as 5m; 0s: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_idle: Option<Duration>,
    /// Request header in which the client says how many milliseconds are left, such as x-deadline-ms. It can only shorten
    /// the timeouts above.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<HeaderName>")]
    pub deadline_header: Option<String>,
}

/// When a request is sent again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rules::on_or_true)]
#[x_kube(validation = Rule::new("!has(self.on) || !has(self.__true__)").message("on is there twice, once as true"))]
pub struct Retry {
    /// Attempts beyond the first, at most 100. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub attempts: Option<u32>,
    /// Time between attempts, such as 25ms. It grows with each attempt and is jittered. Default: 25ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Duration>,
    /// Status codes of a backend after which the request is sent again, from 400 to 599.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200), inner(range(min = 400, max = 599)))]
    pub codes: Option<Vec<u16>>,
    /// Failures after which the request is sent again: ConnectFailure, Reset, Timeout. Default: ConnectFailure.
    // kubectl reads an `on` without quotes as YAML 1.1 does: as `true`.
    #[serde(alias = "true", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 3))]
    pub on: Option<Vec<RetryOn>>,
    /// Methods that may be sent again after something was written. Default: GET, HEAD, OPTIONS, PUT, DELETE.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 9))]
    pub methods: Option<Vec<Method>>,
}

impl Retry {
    /// The methods that are sent again when `methods` is absent: those that are idempotent (RFC 9110, section 9.2.2).
    pub const DEFAULT_METHODS: [Method; 5] = [Method::Get, Method::Head, Method::Options, Method::Put, Method::Delete];

    pub fn methods(&self) -> &[Method] {
        self.methods.as_deref().unwrap_or(&Self::DEFAULT_METHODS)
    }
}

/// A failure after which a request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RetryOn {
    ConnectFailure,
    Reset,
    Timeout,
}

/// Keeps a client on one endpoint (GEP-1619).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.cookieConfig) || !has(self.type) || self.type == 'Cookie'")
        .message("cookieConfig goes with the type Cookie")
)]
#[x_kube(
    validation = Rule::new("!has(self.cookieConfig) || !has(self.cookieConfig.lifetimeType) || self.cookieConfig.lifetimeType != 'Permanent' || has(self.absoluteTimeout)")
        .message("cookieConfig.lifetimeType Permanent needs absoluteTimeout")
)]
pub struct SessionPersistence {
    /// Name of the cookie or the header. Default: chosen by the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub session_name: Option<String>,
    /// How long a session lasts at most, such as 1h. Default: as long as the client keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absolute_timeout: Option<Duration>,
    /// How long a session lasts without a request, such as 10m. Default: as long as the client keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Duration>,
    /// What carries the session: Cookie (default) or Header.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<SessionPersistenceType>,
    /// About the cookie; for the type Cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie_config: Option<CookieConfig>,
}

/// What carries a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SessionPersistenceType {
    #[default]
    Cookie,
    Header,
}

/// About the cookie of a session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CookieConfig {
    /// Session (default): until the browser ends its session. Permanent: until absoluteTimeout, which is then needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime_type: Option<CookieLifetime>,
}

/// How long a cookie lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum CookieLifetime {
    Permanent,
    #[default]
    Session,
}

/// Who answers when nothing else can; exactly one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.backendRef) != has(self.directResponse)")
        .message("exactly one of backendRef and directResponse must be set")
)]
pub struct Fallback {
    /// A backend that is called instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_ref: Option<BackendObjectReference>,
    /// An answer of the gateway itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direct_response: Option<DirectResponse>,
}
