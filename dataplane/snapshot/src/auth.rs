//! Who may: an AuthPolicy, compiled.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{ObjectKey, Secret, backend::BackendKey, expression::Expression, jwt::JwtMethod, route::PathMatch};

/// Who may, in the order network, exclusions, authentication, rules, another service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthPolicy {
    pub mode: Mode,
    /// Requests that need no credential and no rule; `network` holds for them too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<Exclusion>,
    pub network: Network,
    /// Absent: every caller is anonymous (`caller.id == ""`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
    /// Any `deny` that holds refuses; if there is an `allow`, one must hold; an error refuses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<AuthorizationRule>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<External>,
    /// Set on the upstream request, always over what the client sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forward: Vec<ForwardedHeader>,
}

/// Whether a policy decides or only counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mode {
    Enforce,
    /// Judges and counts, denies nobody.
    Shadow,
}

/// Requests of this path and method; without a method, of every one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Exclusion {
    pub path: PathMatch,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
}

/// Of `source.address`: `deny` first; an empty `allow` allows all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Network {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<IpNet>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<IpNet>,
}

/// The ways to say who calls. A credential that one of them takes has to be good; which of several counts, the data plane knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Authentication {
    /// The credential goes on to the backend.
    pub keep_credentials: bool,
    /// Without a credential the caller is anonymous; a bad one is refused all the same.
    pub optional: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<JwtMethod>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<ApiKeyMethod>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicMethod>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<CertificateMethod>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hmac: Option<HmacMethod>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub introspection: Option<IntrospectionMethod>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oidc: Option<OidcMethod>,
}

/// Certificates that clients show in the TLS handshake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateMethod {
    /// PEM of the authorities whose certificates count.
    pub authorities: String,
    pub identity: CertificateIdentity,
}

/// What of a certificate is `caller.id`; there has to be exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CertificateIdentity {
    SubjectCommonName,
    Uri,
    Dns,
    Email,
}

/// Requests that are signed with a key that both sides have (RFC 9421, by HMAC with SHA-256).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HmacMethod {
    /// Sorted by their ids; no id twice.
    pub keys: Vec<HmacKey>,
    /// What a signature has to cover, at least.
    pub components: Vec<SignatureComponent>,
    /// A body has to be covered by its digest (RFC 9530).
    pub require_digest: bool,
    /// Each signature has a nonce and passes once.
    pub require_nonce: bool,
    pub clock_skew_ms: u64,
}

/// What a signature may cover (RFC 9421, 2).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SignatureComponent {
    Method,
    TargetUri,
    Authority,
    Scheme,
    RequestTarget,
    Path,
    Query,
    /// By its name, as it stands in the query, decoded and encoded anew.
    QueryParam(String),
    /// By its name, in lower case.
    Header(String),
}

/// A key that is live, as an [`ApiKey`] is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HmacKey {
    /// What signatures call it.
    pub key_id: String,
    /// In base64.
    pub key: Secret,
    /// `caller.id`.
    pub id: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub plan: String,
    /// Seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
}

/// Opaque tokens, about which their issuer is asked (RFC 7662).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IntrospectionMethod {
    /// `http` or `https`.
    pub endpoint: String,
    /// PEM of the authorities to trust; absent: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<String>,
    /// With it the gateway shows itself by `Basic`, without it by `Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    pub client_secret: Secret,
    pub cache_for_ms: u64,
    pub timeout_ms: u64,
    /// Without an answer the caller is anonymous, rather than refused.
    pub allow_on_failure: bool,
}

/// Log-in of browsers (OpenID Connect Core 1.0, authorization code with PKCE).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OidcMethod {
    /// `http` or `https`; the claim `iss`, exactly.
    pub issuer: String,
    /// PEM of the authorities to trust; absent: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<String>,
    pub client_id: String,
    pub client_secret: Secret,
    /// `openid` is one of them.
    pub scopes: Vec<String>,
    /// In normal form, and not `logout_path`.
    pub redirect_path: String,
    pub logout_path: String,
    /// A token; over TLS `__Host-` comes before it.
    pub cookie: String,
    pub ttl_ms: u64,
}

/// Another service that says whether a request may pass, asked after the rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct External {
    pub protocol: ExternalProtocol,
    pub backend: BackendKey,
    pub timeout_ms: u64,
    /// Without an answer the request passes, rather than being refused.
    pub allow_on_failure: bool,
    /// Request headers that the service sees, in lower case.
    pub forward_headers: Vec<String>,
    /// Headers of its answer that go on to the backend, in lower case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copy_headers: Vec<String>,
    /// Bytes of the request's body that go along, at most; 0: none does.
    pub body_limit: u64,
    /// 0: no answer is remembered.
    pub cache_for_ms: u64,
    /// A string. Absent: all that is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_key: Option<Expression>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ExternalProtocol {
    /// The path that is asked for.
    Http { path: String },
    /// Envoy's `ext_authz`, version 3.
    Grpc,
}

/// User and password (RFC 7617).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BasicMethod {
    /// Printable ASCII.
    pub realm: String,
    /// Where the users are from.
    pub secret: ObjectKey,
    /// Sorted by name; no name twice.
    pub users: Vec<BasicUser>,
}

/// One line of a password file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BasicUser {
    /// `caller.id`.
    pub name: String,
    /// As [`crate::password::PasswordHash::parse`] reads it.
    pub hash: Secret,
}

/// Keys that the policy's selector found, and where they are looked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApiKeyMethod {
    /// Where a key is looked for; never empty.
    pub from: Vec<CredentialSource>,
    /// Sorted by digest; no digest twice.
    pub keys: Vec<ApiKey>,
}

/// Where in a request a credential is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CredentialSource {
    /// `name` in lower case; `prefix` is cut off and must be there.
    Header {
        name: String,
        prefix: String,
    },
    Cookie(String),
    QueryParam(String),
}

/// A key that is live: disabled ones are left out by the compiler, expiry is judged per request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApiKey {
    /// Of its Secret.
    pub name: String,
    /// SHA-256 of the key, lower-case hex. The key itself is stored nowhere.
    pub sha256: Secret,
    /// `caller.id`.
    pub id: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub plan: String,
    /// Seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
}

/// A condition, and what it means that it holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthorizationRule {
    /// The `rule` that a 403 names.
    pub name: String,
    pub effect: Effect,
    /// A boolean.
    pub when: Expression,
}

/// What it means that a rule holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    Allow,
    Deny,
}

/// What the backend is told about the caller in a header.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ForwardedHeader {
    /// In lower case.
    pub header: String,
    /// A string; an error leaves the header out.
    pub value: Expression,
}
