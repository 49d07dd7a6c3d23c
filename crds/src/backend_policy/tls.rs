//! TLS to a backend, in the shape of Gateway API's BackendTLSPolicy.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bounded::{AbsoluteUri, PreciseHostname};
use crate::reference::{CaCertificateReference, SecretReference};

/// TLS to a backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.wellKnownCACertificates) || (has(self.caCertificateRefs) && self.caCertificateRefs.size() > 0)")
        .message("wellKnownCACertificates or caCertificateRefs must say whom to trust")
)]
pub struct BackendTls {
    /// Name that is asked for (SNI) and that the certificate must be for, unless subjectAltNames says otherwise.
    #[schemars(with = "PreciseHostname")]
    pub hostname: String,
    /// Trusts the authorities of the system: System.
    #[serde(rename = "wellKnownCACertificates", skip_serializing_if = "Option::is_none")]
    pub well_known_ca_certificates: Option<WellKnownCaCertificates>,
    /// Authorities to trust: ConfigMaps or Secrets with PEM in the key ca.crt; at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub ca_certificate_refs: Vec<CaCertificateReference>,
    /// Names of which the certificate must have one, instead of hostname; at most 5.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub subject_alt_names: Vec<SubjectAltName>,
    /// The gateway's own certificate towards the backend: a Secret of type kubernetes.io/tls. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<SecretReference>,
}

/// Authorities that are known without being named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum WellKnownCaCertificates {
    System,
}

/// A name in a certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.type == 'Hostname' ? has(self.hostname) && !has(self.uri) : has(self.uri) && !has(self.hostname)")
        .message("type Hostname needs hostname and no uri; type URI needs uri and no hostname")
)]
pub struct SubjectAltName {
    /// What kind of name it is: Hostname or URI.
    #[serde(rename = "type")]
    pub type_: SubjectAltNameType,
    /// A DNS name; for the type Hostname.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<crate::bounded::Hostname>")]
    pub hostname: Option<String>,
    /// A URI, such as spiffe://cluster.local/ns/shop/sa/orders; for the type URI.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<AbsoluteUri>")]
    pub uri: Option<String>,
}

/// What kind of name it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SubjectAltNameType {
    Hostname,
    #[serde(rename = "URI")]
    Uri,
}
