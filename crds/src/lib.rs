//! The user-facing API of Ravelin: what users write, as Rust types, and the CRDs that are generated from them.
//!
//! Every type here is what the user *said*: a field that was left out is absent. What follows from it (defaults,
//! references resolved, units) is the compiler's. Where a field exists in Gateway API, its name, shape and meaning are
//! Gateway API's, so that the `spec.rules` of an `HTTPRoute` is the `spec.rules` of an [`ApiRoute`].
//!
//! One file a kind; the words that several kinds share have files of their own ([`duration`], [`quantity`],
//! [`reference`], [`matches`], [`limit`], [`status`]). [`bounded`] gives strings their limits and patterns, `rules` has the CEL
//! rules that several types share or that need explaining, and [`generate`] makes CRDs of it all.

#![allow(clippy::duplicated_attributes, reason = "printer columns share their `type_`")]
#![allow(unreachable_pub, reason = "KubeSchema copies each struct into a function body")]

pub mod api_route;
pub mod auth_policy;
pub mod backend;
pub mod backend_policy;
mod bounded;
pub mod direct_response;
pub mod duration;
pub mod generate;
pub mod limit;
pub mod load_balancing;
pub mod matches;
pub mod plan;
pub mod quantity;
pub mod rate_limit_policy;
pub mod reference;
pub mod reference_grant;
mod rules;
pub mod status;
pub mod structural;

pub use api_route::filter::{
    Coalesce, Compression, CompressionAlgorithm, Cors, CorsMethod, ExternalAuthFilter, FilterType, Fraction,
    HeaderModifier, HttpHeader, PathModifier, PathModifierType, RedirectScheme, RequestMirror, RequestRedirect,
    RouteFilter, UrlRewrite,
};
pub use api_route::rule::{
    ApiRouteRule, BackendRef, CookieConfig, CookieLifetime, Fallback, Retry, RetryOn, SessionPersistence,
    SessionPersistenceType, Timeouts,
};
pub use api_route::{ApiRoute, ApiRouteSpec, ApiRouteStatus, RouteParentStatus, RouteTls};
pub use auth_policy::authentication::{
    ApiKeyAuthentication, Authentication, BasicAuthentication, CertificateIdentity, ClientCertificateAuthentication,
    CredentialSource, HmacAuthentication, Introspection, Oidc, SessionCookie,
};
pub use auth_policy::authorization::{
    Authorization, AuthorizationRule, ExternalAuthProtocol, ExternalAuthorization, OnAuthFailure,
};
pub use auth_policy::jwt::{JwkSet, JwtAlgorithm, JwtAuthentication, JwtClaims, JwtProvider};
pub use auth_policy::{AuthPolicy, AuthPolicySpec, Exclusion, ForwardedHeader, Network};
pub use backend::{AppProtocol, Backend, BackendEndpoint, BackendSpec};
pub use backend_policy::connections::{CircuitBreaker, Connections, ProxyProtocol, RetryBudget};
pub use backend_policy::health_check::{
    ActiveHealthCheck, GrpcProbe, HealthCheck, HttpProbe, PassiveHealthCheck, TcpProbe,
};
pub use backend_policy::tls::{BackendTls, SubjectAltName, SubjectAltNameType, WellKnownCaCertificates};
pub use backend_policy::{BackendPolicy, BackendPolicySpec};
pub use direct_response::DirectResponse;
pub use duration::Duration;
pub use limit::{Adaptive, Approximate, Ban, CalendarPeriod, Limit, LimitAlgorithm, LimitPhase, Quota, Rate};
pub use load_balancing::{BalancingAlgorithm, ConsistentHash, ConsistentHashCookie, LoadBalancing, SourceAddress};
pub use matches::{HeaderMatch, HeaderMatchType, Method, PathMatch, PathMatchType, QueryParamMatch, RouteMatch};
pub use plan::{Plan, PlanSpec};
pub use quantity::Quantity;
pub use rate_limit_policy::{OnStoreFailure, PlanSelection, RateLimitPolicy, RateLimitPolicySpec, RateLimitScope};
pub use reference::{
    BackendObjectReference, CaCertificateReference, ConfigMapKeyReference, LabelSelector, LabelSelectorOperator,
    LabelSelectorRequirement, LocalObjectReference, LocalSecretReference, ParentReference, PolicyMode, PolicyTargetRef,
    SecretKeyReference, SecretReference,
};
pub use reference_grant::{
    ReferenceGrant, ReferenceGrantFrom, ReferenceGrantSpec, ReferenceGrantTo, ReferenceGrantVersion,
};
pub use status::ObjectStatus;

/// The API group of every kind of ours.
pub const GROUP: &str = "ravelin.dev";

/// What the controller writes into `status.parents[].controllerName`.
pub const CONTROLLER_NAME: &str = "ravelin.dev/controller";
