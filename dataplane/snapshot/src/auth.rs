//! Who may: an AuthPolicy, compiled.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{ObjectKey, Secret, expression::Expression, jwt::JwtMethod, route::PathMatch};

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

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BasicUser {
    /// `caller.id`.
    pub name: String,
    /// As [`crate::password::PasswordHash::parse`] reads it.
    pub hash: Secret,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApiKeyMethod {
    /// Where a key is looked for; never empty.
    pub from: Vec<CredentialSource>,
    /// Sorted by digest; no digest twice.
    pub keys: Vec<ApiKey>,
}

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

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthorizationRule {
    /// The `rule` that a 403 names.
    pub name: String,
    pub effect: Effect,
    /// A boolean.
    pub when: Expression,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    Allow,
    Deny,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ForwardedHeader {
    /// In lower case.
    pub header: String,
    /// A string; an error leaves the header out.
    pub value: Expression,
}
