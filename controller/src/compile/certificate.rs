//! Certificates of routes, from Secrets of type `kubernetes.io/tls`.

mod validity;

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use ravelin_snapshot::{HostPattern, ObjectKey, Secret as Hidden, certificate::Certificate};
use rustls::{crypto::aws_lc_rs, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use x509_parser::{extensions::GeneralName, prelude::X509Certificate};

use super::reference::Refused;
use crate::{
    object::{OCSP_STAPLE, Object, Secret},
    verdict::Reason,
};
pub(super) use validity::Validity;

const TYPE: &str = "kubernetes.io/tls";

/// A chain and its key, as PEM, at most: each.
const MAX_PEM: usize = 256 * 1024;

/// A certificate that can be served.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Usable {
    /// That it is for.
    pub(super) names: Vec<HostPattern>,
    pub(super) validity: Validity,
    /// It comes with an OCSP staple that is none.
    pub(super) no_staple: bool,
    /// Its Secret is broken by now, and this is what it last held.
    pub(super) broken: Option<Refused>,
}

/// The certificate of a Secret; if it is broken, what it held before, as long as that is kept. Or what to tell those who refer
/// to it.
pub(super) fn usable(
    key: &ObjectKey,
    secret: Option<&Arc<Object<Secret>>>,
    kept: Option<&Arc<Certificate>>,
) -> Result<(Certificate, Usable), Refused> {
    match (compile(key, secret), kept) {
        (Ok(good), _) => Ok(good),
        (Err(refused), Some(kept)) => {
            let message = format!("{}; the certificate that it held is served until that expires", refused.message);
            let leaf = CertificateDer::pem_slice_iter(kept.chain.as_bytes()).next().and_then(Result::ok);
            let usable = leaf.and_then(|leaf| judge(&leaf)).unwrap_or_default();
            Ok((Certificate::clone(kept), Usable { broken: Some(Refused { message, ..refused }), ..usable }))
        }
        (Err(refused), None) => Err(refused),
    }
}

/// A chain with its key, and what is known of it; or what to tell those who refer to it.
pub(super) fn compile(key: &ObjectKey, secret: Option<&Arc<Object<Secret>>>) -> Result<(Certificate, Usable), Refused> {
    let secret = secret.ok_or_else(|| {
        let message = format!("there is no Secret {key}");
        Refused::new(Reason::ReferenceNotFound, "name", message, "Create it, or correct the name.")
    })?;
    if secret.spec.type_ != TYPE {
        let message = format!("Secret {key} is not of the type {TYPE}");
        return Err(Refused::new(
            Reason::InvalidReference,
            "name",
            message,
            "Create it with `kubectl create secret tls`.",
        ));
    }
    if !secret.faults.is_empty() {
        return Err(refused(key, "it could not be read whole"));
    }
    let entry = |name: &'static str| {
        let value = secret.spec.data.get(name).ok_or_else(|| refused(key, &format!("it has no {name}")))?;
        if value.expose().len() > MAX_PEM {
            return Err(refused(key, &format!("its {name} is longer than {MAX_PEM} bytes")));
        }
        Ok(value)
    };
    let (chain, private) = (entry("tls.crt")?, entry("tls.key")?);
    let leaf = check(chain, private).map_err(|why| refused(key, why))?;
    let usable = judge(&leaf).ok_or_else(|| refused(key, "its first certificate is malformed"))?;
    let not_after = usable.validity.until;
    let said = secret.spec.data.get(OCSP_STAPLE);
    let ocsp = said.and_then(|said| staple(said.expose()));
    let usable = Usable { no_staple: said.is_some() && ocsp.is_none(), ..usable };
    Ok((Certificate { chain: chain.expose().to_owned(), key: private.clone(), not_after, ocsp }, usable))
}

/// An answer of OCSP in DER that says something of a certificate (RFC 6960, 4.2.1: a sequence that begins with the status
/// `successful`), in base64.
fn staple(text: &str) -> Option<String> {
    let text: String = text.split_ascii_whitespace().collect();
    let der = STANDARD.decode(&text).ok()?;
    let length = usize::from(*der.get(1)?);
    let head = if length < 0x80 { 2 } else { 2 + (length & 0x7f) };
    let successful = der.first() == Some(&0x30) && der.get(head..head + 3) == Some(&[0x0a, 1, 0]);
    (successful && der.len() <= MAX_PEM).then_some(text)
}

fn refused(key: &ObjectKey, why: &str) -> Refused {
    let message = format!("Secret {key} holds no certificate with its key: {why}");
    Refused::new(
        Reason::InvalidReference,
        "name",
        message,
        "Put the chain into tls.crt and its key into tls.key, as PEM.",
    )
}

/// The leaf, if the key is its own. What is wrong is said without a word of the key.
fn check(chain: &Hidden, private: &Hidden) -> Result<CertificateDer<'static>, &'static str> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.expose().as_bytes()).collect();
    let chain = chain.map_err(|_| "its tls.crt is not PEM")?;
    let leaf = chain.first().cloned().ok_or("its tls.crt holds no certificate")?;
    let private = PrivateKeyDer::from_pem_slice(private.expose().as_bytes());
    let private = private.map_err(|_| "its tls.key holds no private key in PEM")?;
    let private =
        aws_lc_rs::sign::any_supported_type(&private).map_err(|_| "its key is of a kind that is not supported")?;
    // Not knowing whether they belong together is as bad as knowing that they do not.
    CertifiedKey::new(chain, private).keys_match().map_err(|_| "the key is not the certificate's")?;
    Ok(leaf)
}

/// When a certificate holds, and the DNS names that it is for.
fn judge(leaf: &CertificateDer<'_>) -> Option<Usable> {
    let (_, leaf) = x509_parser::parse_x509_certificate(leaf).ok()?;
    Some(Usable { names: names(&leaf), validity: Validity::of(&leaf), no_staple: false, broken: None })
}

fn names(leaf: &X509Certificate<'_>) -> Vec<HostPattern> {
    let alternatives = leaf.subject_alternative_name().ok().flatten();
    let all = alternatives.into_iter().flat_map(|names| &names.value.general_names);
    all.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(HostPattern::parse(name)),
        _ => None,
    })
    .collect()
}

/// Whether a certificate with these names is good for all of `host`. A wildcard there is one label (RFC 6125, 6.4.3).
pub(super) fn is_for(names: &[HostPattern], host: &HostPattern) -> bool {
    match host {
        HostPattern::Any => true,
        HostPattern::Wildcard(_) => names.contains(host),
        HostPattern::Exact(name) => {
            let above = name.split_once('.').map(|(_, above)| HostPattern::Wildcard(above.to_owned()));
            names.contains(host) || above.is_some_and(|above| names.contains(&above))
        }
    }
}

#[cfg(test)]
mod tests;
