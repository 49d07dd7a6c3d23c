//! How callers show who they are.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::auth_policy::authorization::OnAuthFailure;
use crate::auth_policy::jwt::JwtAuthentication;
use crate::bounded::{
    AbsolutePath, CookieName, HeaderName, HttpUrl, PositiveDuration, QueryParamName, SignatureComponent, Text, Token,
};
use crate::duration::Duration;
use crate::reference::{CaCertificateReference, LabelSelector, LocalSecretReference};

/// How callers show who they are. One method that accepts is enough; a credential that is there and bad is refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.jwt) || has(self.apiKey) || has(self.basic) || has(self.clientCertificate) || has(self.hmac) || has(self.introspection) || has(self.oidc)")
        .message("at least one of jwt, apiKey, basic, clientCertificate, hmac, introspection and oidc must be set")
)]
pub struct Authentication {
    /// Whether the credential goes on to the backend. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_credentials: Option<bool>,
    /// Whether a request without a credential passes, as an anonymous caller (caller.id is empty). Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
    /// JSON Web Tokens (RFC 7519).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt: Option<JwtAuthentication>,
    /// API keys, which are Secrets of type ravelin.dev/api-key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<ApiKeyAuthentication>,
    /// User and password (RFC 7617).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicAuthentication>,
    /// TLS client certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificateAuthentication>,
    /// HTTP message signatures with shared keys (RFC 9421).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hmac: Option<HmacAuthentication>,
    /// Opaque tokens, about which their issuer is asked (RFC 7662).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub introspection: Option<Introspection>,
    /// Log-in of browsers (OpenID Connect).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oidc: Option<Oidc>,
}

/// Where a credential is in a request; exactly one of `header`, `cookie`, `queryParam`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.header), has(self.cookie), has(self.queryParam)].exists_one(x, x)")
        .message("exactly one of header, cookie and queryParam must be set")
)]
#[x_kube(validation = Rule::new("!has(self.prefix) || has(self.header)").message("prefix goes with header"))]
pub struct CredentialSource {
    /// Name of a request header.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<HeaderName>")]
    pub header: Option<String>,
    /// What stands before the credential in the header, such as "Bearer ". Default: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub prefix: Option<String>,
    /// Name of a cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<CookieName>")]
    pub cookie: Option<String>,
    /// Name of a query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<QueryParamName>")]
    pub query_param: Option<String>,
}

/// API keys, which are Secrets of type `ravelin.dev/api-key` in the policy's namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyAuthentication {
    /// Where the key is in a request; at most 8, in this order. Default: the header x-api-key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8))]
    pub from: Option<Vec<CredentialSource>>,
    /// Labels of the Secrets of type ravelin.dev/api-key that count.
    pub selector: LabelSelector,
}

/// User and password.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuthentication {
    /// What browsers show when they ask. Default: the policy's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Text>")]
    pub realm: Option<String>,
    /// Secret with htpasswd lines in the key auth; bcrypt or argon2 only.
    pub secret_ref: LocalSecretReference,
}

/// TLS client certificates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientCertificateAuthentication {
    /// Authorities of the clients: ConfigMaps or Secrets with PEM in the key ca.crt; at most 8.
    #[schemars(length(min = 1, max = 8))]
    pub ca_certificate_refs: Vec<CaCertificateReference>,
    /// What of the certificate is caller.id: SubjectCommonName (default), Uri, Dns or Email.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<CertificateIdentity>,
}

/// What of a certificate names the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum CertificateIdentity {
    #[default]
    SubjectCommonName,
    Uri,
    Dns,
    Email,
}

/// HTTP message signatures with shared keys (RFC 9421).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HmacAuthentication {
    /// Labels of the Secrets of type ravelin.dev/hmac-key that count.
    pub secret_selector: LabelSelector,
    /// What a signature must cover at least, such as @method or the name of a header; at most 16. Default: @method and @target-uri.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<SignatureComponent>>", length(min = 1, max = 16), extend("x-kubernetes-list-type" = "set"))]
    pub components: Option<Vec<String>>,
    /// Whether the body must be covered by a digest (RFC 9530). Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_digest: Option<bool>,
    /// Whether each signature needs a nonce and passes only once. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_nonce: Option<bool>,
    /// How far the clocks may differ, such as 5m; at most 1h. Default: 5m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_skew: Option<Duration>,
}

/// Opaque tokens, about which their issuer is asked (RFC 7662).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Introspection {
    /// URL that is asked.
    #[schemars(with = "HttpUrl")]
    pub endpoint: String,
    /// Authorities to trust for the URL, instead of the system's; at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub ca_certificate_refs: Vec<CaCertificateReference>,
    /// Secret with the gateway's own secret in the key clientSecret.
    pub client_secret_ref: LocalSecretReference,
    /// How long an answer is remembered, such as 30s; never beyond the token's end. Default: 30s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_for: Option<Duration>,
    /// How long an answer may take, such as 1s. Default: 1s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PositiveDuration>")]
    pub timeout: Option<Duration>,
    /// What happens without an answer: Deny (default) or Allow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnAuthFailure>,
}

/// Log-in of browsers (OpenID Connect, authorization code with PKCE).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Oidc {
    /// URL of the issuer; its discovery document is below it.
    #[schemars(with = "HttpUrl")]
    pub issuer: String,
    /// Authorities to trust for the issuer, instead of the system's; at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub ca_certificate_refs: Vec<CaCertificateReference>,
    /// The gateway's name at the issuer.
    #[serde(rename = "clientID")]
    #[schemars(with = "Token")]
    pub client_id: String,
    /// Secret with the gateway's own secret in the key clientSecret.
    pub client_secret_ref: LocalSecretReference,
    /// Scopes that are asked for; at most 16. Default: openid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<Token>>", length(min = 1, max = 16), extend("x-kubernetes-list-type" = "set"))]
    pub scopes: Option<Vec<String>>,
    /// Path that the issuer sends browsers back to. Default: /oauth2/callback.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<AbsolutePath>")]
    pub redirect_path: Option<String>,
    /// Path that ends the session. Default: /logout.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<AbsolutePath>")]
    pub logout_path: Option<String>,
    /// The cookie that holds the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie: Option<SessionCookie>,
}

/// The cookie of a log-in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionCookie {
    /// Name of the cookie. Default: sid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<CookieName>")]
    pub name: Option<String>,
    /// How long a session lasts, such as 8h. Default: 8h.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PositiveDuration>")]
    pub ttl: Option<Duration>,
}
