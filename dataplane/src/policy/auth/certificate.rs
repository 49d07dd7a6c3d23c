//! Certificates of clients. The handshake proves that a client has the key of what it shows, and judges nothing else; here each
//! policy judges by its own authorities, so that a certificate that does not count is a 401 and not a broken handshake.

#[cfg(test)]
mod tests;

use std::{
    cell::RefCell,
    sync::Arc,
    time::{Duration, SystemTime},
};

use ravelin_snapshot::auth::{CertificateIdentity, CertificateMethod};
use rustls::{
    CertificateError, RootCertStore,
    crypto::aws_lc_rs,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, parse_x509_certificate};

use super::memory;
use crate::{
    clock,
    request::{Caller, RequestView, Scheme},
};

/// `caller.method`.
pub(super) const METHOD: &str = "clientCertificate";

/// Certificates that a client may show, at most: its own and those above it.
const MAX_CHAIN: usize = 8;

/// What a client showed in a handshake that asked for a certificate.
#[derive(Debug, Default)]
pub struct ClientChain {
    /// The name that the connection was opened for.
    server_name: Option<String>,
    /// Its own first; empty: it showed none.
    chain: Vec<CertificateDer<'static>>,
    judged: RefCell<Option<Judged>>,
}

/// What the last policy made of it.
#[derive(Debug)]
struct Judged {
    owner: u64,
    known: Result<Arc<Caller>, Refused>,
    /// In seconds since the epoch.
    until: u64,
}

impl ClientChain {
    pub fn new(server_name: Option<String>, chain: Vec<CertificateDer<'static>>) -> Self {
        Self { server_name, chain, judged: RefCell::new(None) }
    }
}

/// Whose certificates a policy takes.
pub(super) struct Certificates {
    said: CertificateMethod,
    owner: u64,
    verifier: Arc<dyn ClientCertVerifier>,
}

/// Why nobody is known by a certificate, in words for whoever showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("the connection did not ask for a certificate for this host")]
    Misdirected,
    #[error("there are too many certificates")]
    TooMany,
    #[error("the certificate has expired")]
    Expired,
    #[error("the certificate is not valid yet")]
    Early,
    #[error("the certificate is of no authority that counts here")]
    Issuer,
    #[error("the certificate is not for clients")]
    Purpose,
    #[error("the certificate cannot be verified")]
    Invalid,
    #[error("the certificate does not say whose it is")]
    Identity,
}

impl Certificates {
    /// `before` itself if it says the same.
    pub(super) fn compile(said: &CertificateMethod, before: Option<&Arc<Self>>) -> Result<Arc<Self>, String> {
        if let Some(before) = before.filter(|before| before.said == *said) {
            return Ok(Arc::clone(before));
        }
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(said.authorities.as_bytes()) {
            let certificate = certificate.map_err(|_| "an authority of clients is not PEM".to_owned())?;
            roots.add(certificate).map_err(|error| format!("an authority of clients: {error}"))?;
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let verifier = verifier.map_err(|error| format!("the authorities of clients: {error}"))?;
        Ok(Arc::new(Self { said: said.clone(), owner: memory::new_owner(), verifier }))
    }

    /// `None`: none was shown, over TLS or for want of it.
    pub(super) fn judge(&self, request: &RequestView<'_>, now: SystemTime) -> Option<Result<Arc<Caller>, Refused>> {
        let Some(shown) = request.chain else {
            return (request.scheme == Scheme::Https).then_some(Err(Refused::Misdirected));
        };
        // Another host has other policies: a client that asks for it opens a connection for it.
        if shown.server_name.as_deref().is_some_and(|name| name != request.host) {
            return Some(Err(Refused::Misdirected));
        }
        if shown.chain.is_empty() {
            return None;
        }
        let now = clock::seconds(now);
        let mut judged = shown.judged.borrow_mut();
        if let Some(Judged { owner, known, until }) = &*judged
            && *owner == self.owner
            && now < *until
        {
            return Some(known.clone());
        }
        let (known, until) = match self.verify(&shown.chain, now) {
            Ok((caller, until)) => (Ok(Arc::new(caller)), until),
            // A flood of requests costs one look a second.
            Err(refused) => (Err(refused), now + 1),
        };
        *judged = Some(Judged { owner: self.owner, known: known.clone(), until });
        Some(known)
    }

    /// Who it is, and until when that holds.
    fn verify(&self, chain: &[CertificateDer<'static>], now: u64) -> Result<(Caller, u64), Refused> {
        let Some((own, above)) = chain.split_first().filter(|_| chain.len() <= MAX_CHAIN) else {
            return Err(Refused::TooMany);
        };
        let at = UnixTime::since_unix_epoch(Duration::from_secs(now));
        self.verifier.verify_client_cert(own, above, at).map_err(|error| Refused::of(&error))?;
        let mut until = u64::MAX;
        for certificate in chain {
            let (_, certificate) = parse_x509_certificate(certificate).map_err(|_| Refused::Invalid)?;
            // It holds to the end of that second.
            let end = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or_default();
            until = until.min(end.saturating_add(1).max(now + 1));
        }
        let (_, own) = parse_x509_certificate(own).map_err(|_| Refused::Invalid)?;
        let id = identity(&own, self.said.identity).ok_or(Refused::Identity)?;
        let issuer = own.issuer().to_string();
        Ok((Caller { id, method: METHOD, issuer, ..Caller::default() }, until))
    }
}

impl Refused {
    fn of(error: &rustls::Error) -> Self {
        let rustls::Error::InvalidCertificate(error) = error else { return Self::Invalid };
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::Early,
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::Issuer,
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => Self::Purpose,
            _ => Self::Invalid,
        }
    }
}

/// Exactly one, or nobody can tell which of them it is.
fn identity(certificate: &X509Certificate<'_>, what: CertificateIdentity) -> Option<String> {
    let names = || certificate.subject_alternative_name().ok().flatten().map(|names| &names.value.general_names);
    let alternative = |of: fn(&GeneralName<'_>) -> Option<String>| -> Vec<String> {
        names().into_iter().flatten().filter_map(of).collect()
    };
    let found: Vec<String> = match what {
        CertificateIdentity::SubjectCommonName => {
            let names = certificate.subject().iter_common_name();
            names.map(|name| name.as_str().unwrap_or_default().to_owned()).collect()
        }
        CertificateIdentity::Uri => alternative(|name| match name {
            GeneralName::URI(uri) => Some((*uri).to_owned()),
            _ => None,
        }),
        CertificateIdentity::Dns => alternative(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_ascii_lowercase()),
            _ => None,
        }),
        CertificateIdentity::Email => alternative(|name| match name {
            GeneralName::RFC822Name(name) => Some((*name).to_owned()),
            _ => None,
        }),
    };
    let [only] = found.as_slice() else { return None };
    let good = !only.is_empty() && only.len() <= 2048 && !only.chars().any(char::is_control);
    good.then(|| only.clone())
}
