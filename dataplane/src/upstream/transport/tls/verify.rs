//! A backend whose certificate must have one of several names (Gateway API, `subjectAltNames`).

use std::sync::Arc;

use ravelin_snapshot::backend::AltName;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms},
    server::ParsedCertificate,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::extensions::GeneralName;

#[derive(Debug)]
pub(super) struct Named {
    hosts: Vec<ServerName<'static>>,
    uris: Vec<String>,
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
    /// For signatures.
    inner: Arc<WebPkiServerVerifier>,
}

impl Named {
    pub(super) fn new(
        names: &[AltName],
        roots: Arc<RootCertStore>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let (mut hosts, mut uris) = (Vec::new(), Vec::new());
        for name in names {
            match name {
                AltName::Dns(name) => {
                    hosts.push(ServerName::try_from(name.clone()).map_err(|error| error.to_string())?);
                }
                AltName::Uri(uri) => uris.push(uri.clone()),
            }
        }
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider)).build();
        let inner = inner.map_err(|error| error.to_string())?;
        Ok(Self { hosts, uris, roots, algorithms: provider.signature_verification_algorithms, inner })
    }

    fn has_uri(&self, certificate: &CertificateDer<'_>) -> bool {
        let Ok((_, read)) = x509_parser::parse_x509_certificate(certificate) else { return false };
        let names = read.subject_alternative_name().ok().flatten();
        let mut names = names.into_iter().flat_map(|names| &names.value.general_names);
        names.any(|name| matches!(name, GeneralName::URI(uri) if self.uris.iter().any(|known| known == uri)))
    }
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        let is_host = self.hosts.iter().any(|host| verify_server_name(&certificate, host).is_ok());
        if is_host || self.has_uri(end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::NotValidForName.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
