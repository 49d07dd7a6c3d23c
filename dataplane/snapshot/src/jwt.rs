//! JSON Web Tokens (RFC 7519): whose count, where their keys are, what is made of their claims.

use serde::{Deserialize, Serialize};

use crate::{ObjectKey, auth::CredentialSource, jwk::Jwk};

/// Signed tokens (RFC 7519), of any of these issuers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JwtMethod {
    /// Never empty.
    pub providers: Vec<JwtProvider>,
}

/// One issuer of tokens, as one policy takes them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JwtProvider {
    pub name: String,
    /// The claim `iss`, exactly.
    pub issuer: String,
    /// The claim `aud` must hold one of them; empty: it is not looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
    /// Sorted; never empty.
    pub algorithms: Vec<JwtAlgorithm>,
    pub keys: KeySource,
    /// Where a token is looked for; never empty.
    pub from: Vec<CredentialSource>,
    /// How far the clocks may differ.
    pub clock_skew_ms: u64,
    pub claims: ClaimNames,
}

/// Where an issuer's keys are from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KeySource {
    /// Keys that the controller has read.
    Fixed {
        /// The Secret that they are from, if they are from one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        secret: Option<ObjectKey>,
        keys: Vec<Jwk>,
    },
    /// The data plane fetches them.
    Uri(JwksUri),
}

/// A key set that is fetched again and again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JwksUri {
    /// `http` or `https`.
    pub uri: String,
    pub refresh_ms: u64,
    /// How long the last keys count while there are no newer ones.
    pub keep_for_ms: u64,
    /// PEM of the authorities to trust; absent: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<String>,
}

/// Which claims the fields of `caller` come from; dots descend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimNames {
    pub id: String,
    pub scopes: String,
    pub groups: String,
}

/// An algorithm of signatures (RFC 7518, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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

impl JwtAlgorithm {
    pub const ALL: [Self; 12] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
        Self::HS256,
        Self::HS384,
        Self::HS512,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
        }
    }

    /// By its exact name: `none` in any case is no algorithm.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    /// Whoever can verify can sign.
    pub fn is_symmetric(self) -> bool {
        matches!(self, Self::HS256 | Self::HS384 | Self::HS512)
    }
}
