//! TLS to a backend.

use serde::{Deserialize, Serialize};

use crate::Secret;

/// How a backend is known over TLS, and what is shown to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tls {
    /// In lower case: asked for (SNI), and what the certificate must be for unless `names` says otherwise.
    pub hostname: String,
    /// The certificate must have one of them instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<AltName>,
    /// The system's authorities are trusted.
    pub system: bool,
    /// Others that are, as PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<String>,
    /// The gateway's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<ClientCertificate>,
}

/// A name in a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AltName {
    /// In lower case.
    Dns(String),
    Uri(String),
}

/// Chain and key as PEM.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientCertificate {
    pub chain: String,
    pub key: Secret,
}
