//! Certificates for the TLS listener.

use serde::{Deserialize, Serialize};

use crate::Secret;

/// A chain and its key; the compiler has parsed both and found that they belong together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Certificate {
    /// PEM, leaf first.
    pub chain: String,
    /// PEM: PKCS#8, PKCS#1 or SEC1.
    pub key: Secret,
    /// Seconds since the epoch: when the leaf ends. For metrics and findings; the data plane serves it until told otherwise.
    pub not_after: i64,
    /// What the authority says of the leaf (OCSP, RFC 6960), in base64; it goes with the handshake as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ocsp: Option<String>,
}
