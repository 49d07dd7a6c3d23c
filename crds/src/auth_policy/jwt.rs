//! JSON Web Tokens (RFC 7519) and the keys that verify them (RFC 7517).

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::auth_policy::authentication::CredentialSource;
use crate::bounded::{ClaimPath, EntryName, HttpUrl, InlineKeySet, Issuer, PositiveDuration, Token};
use crate::duration::Duration;
use crate::reference::{CaCertificateReference, ConfigMapKeyReference, SecretKeyReference};

/// JSON Web Tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JwtAuthentication {
    /// Whose tokens count; at most 16.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub providers: Vec<JwtProvider>,
}

/// One issuer of tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JwtProvider {
    /// Name of the provider, for logs and messages.
    #[schemars(with = "EntryName")]
    pub name: String,
    /// The claim iss of its tokens, exactly.
    #[schemars(with = "Issuer")]
    pub issuer: String,
    /// Values of which the claim aud must hold one; at most 16. Default: aud is not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<Token>>", length(min = 1, max = 16), extend("x-kubernetes-list-type" = "set"))]
    pub audiences: Option<Vec<String>>,
    /// Algorithms that are accepted. Default: RS256 to PS512, ES256, ES384 and EdDSA. HS256 to HS512 only when named here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 12), extend("x-kubernetes-list-type" = "set"))]
    pub algorithms: Option<Vec<JwtAlgorithm>>,
    /// The keys of the issuer.
    pub jwks: JwkSet,
    /// Where the token is in a request; at most 8, in this order. Default: the header authorization after "Bearer ".
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8))]
    pub from: Option<Vec<CredentialSource>>,
    /// How far the clocks may differ, such as 30s. Default: 30s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_skew: Option<Duration>,
    /// Which claims the fields of `caller` come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claims: Option<JwtClaims>,
}

/// An algorithm of signatures (RFC 7518, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum JwtAlgorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
    HS256,
    HS384,
    HS512,
}

/// Where the keys of an issuer are; exactly one of `uri`, `configMapRef`, `secretRef`, `inline`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.uri), has(self.configMapRef), has(self.secretRef), has(self.inline)].exists_one(x, x)")
        .message("exactly one of uri, configMapRef, secretRef and inline must be set")
)]
#[x_kube(
    validation = Rule::new("has(self.uri) || !(has(self.refresh) || has(self.keepFor) || has(self.caCertificateRefs))")
        .message("refresh, keepFor and caCertificateRefs go with uri")
)]
pub struct JwkSet {
    /// URL of the key set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<HttpUrl>")]
    pub uri: Option<String>,
    /// How often it is fetched, such as 5m; an unknown key asks at once, every 10s at most. Default: 5m.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PositiveDuration>")]
    pub refresh: Option<Duration>,
    /// How long the last keys are used while the URL does not answer, such as 24h. Default: 24h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_for: Option<Duration>,
    /// Authorities to trust for the URL, instead of the system's; at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub ca_certificate_refs: Vec<CaCertificateReference>,
    /// A key of a ConfigMap that holds the key set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ConfigMapKeyReference>,
    /// A key of a Secret that holds the key set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyReference>,
    /// The key set itself, as JSON; at most 65536 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<InlineKeySet>")]
    pub inline: Option<String>,
}

/// Which claims the fields of `caller` come from; dots descend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JwtClaims {
    /// Claim of caller.id. Default: sub.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<ClaimPath>")]
    pub id: Option<String>,
    /// Claim of caller.scopes: a list, or a text with spaces between. Default: scope.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<ClaimPath>")]
    pub scopes: Option<String>,
    /// Claim of caller.groups: a list. Default: groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<ClaimPath>")]
    pub groups: Option<String>,
}
