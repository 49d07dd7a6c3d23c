//! TLS to a backend: a BackendPolicy's `tls`.

use ravelin_crds::{BackendTls, SecretReference, SubjectAltName, SubjectAltNameType};
use ravelin_snapshot::backend::{AltName, ClientCertificate, Tls};

use crate::{
    compile::{
        certificate, grammar,
        graph::Fact,
        held,
        notes::{Field, Notes},
        reference, text,
        work::{Reads, Work},
    },
    verdict::Reason,
};

/// Names besides the hostname, at most.
const MAX_NAMES: usize = 5;

/// `None` and a note if anything of it cannot be used: a connection that is less sure than was said is none.
pub(super) fn compile(
    work: &Work<'_>,
    reads: &mut Reads,
    notes: &mut Notes,
    namespace: &str,
    said: &BackendTls,
    field: Field<'_>,
) -> Option<Tls> {
    let BackendTls {
        hostname,
        well_known_ca_certificates,
        ca_certificate_refs,
        subject_alt_names,
        client_certificate_ref,
    } = said;
    let before = notes.errors();
    let system = well_known_ca_certificates.is_some();
    if !system && ca_certificate_refs.is_empty() {
        let message = "nothing says whom to trust";
        notes.invalid(
            field,
            message,
            "Set wellKnownCACertificates to System, or name authorities in caCertificateRefs.",
        );
    }
    let hostname = name(hostname, field.member("hostname"), notes);
    let names = self::names(subject_alt_names, field.member("subjectAltNames"), notes);
    let refs = field.member("caCertificateRefs");
    let authorities = held::authorities(work, reads, notes, namespace, ca_certificate_refs, refs);
    let own = field.member("clientCertificateRef");
    let certificate =
        client_certificate_ref.as_ref().and_then(|said| own_certificate(work, reads, notes, namespace, said, own));
    let tls = Tls { hostname: hostname?, names, system, authorities: authorities?, certificate };
    (notes.errors() == before).then_some(tls)
}

fn names(said: &[SubjectAltName], field: Field<'_>, notes: &mut Notes) -> Vec<AltName> {
    notes.at_most((said.len(), MAX_NAMES), "names", field, "Leave some out.");
    let mut names = Vec::with_capacity(said.len());
    for (index, SubjectAltName { type_, hostname, uri }) in said.iter().enumerate().take(MAX_NAMES) {
        let field = field.item(index);
        match (type_, hostname, uri) {
            (SubjectAltNameType::Hostname, Some(hostname), None) => {
                names.extend(name(hostname, field.member("hostname"), notes).map(AltName::Dns));
            }
            (SubjectAltNameType::Uri, None, Some(uri)) if uri.contains(':') => names.push(AltName::Uri(uri.clone())),
            _ => {
                let message = "the type asks for the field of its name, and no other";
                notes.invalid(field, message, "Set hostname or uri, as the type says.");
            }
        }
    }
    names
}

fn name(said: &str, field: Field<'_>, notes: &mut Notes) -> Option<String> {
    let lower = said.to_ascii_lowercase();
    if grammar::is_hostname(&lower) && !lower.starts_with('*') {
        return Some(lower);
    }
    notes.invalid(field, format!("{} is no hostname", text::shown(said)), "Write a DNS name, such as orders.internal.");
    None
}

fn own_certificate(
    work: &Work<'_>,
    reads: &mut Reads,
    notes: &mut Notes,
    namespace: &str,
    said: &SecretReference,
    field: Field<'_>,
) -> Option<ClientCertificate> {
    let key = match reference::certificate_key(namespace, said) {
        Ok(key) => key,
        Err(refused) => {
            refused.note(field, notes);
            return None;
        }
    };
    if key.namespace != namespace {
        let message = "the Secret is in another namespace than the policy";
        notes.error(field.member("namespace"), Reason::RefNotPermitted, message, "Keep it beside the policy.");
        return None;
    }
    reads.insert(Fact::Secret(key.clone()));
    match certificate::compile(&key, work.model.secrets.get(&key)) {
        Ok((certificate, usable)) => {
            usable.validity.note(work, reads, notes, field, (&format!("Secret {key}"), ": backends refuse it"));
            Some(ClientCertificate { chain: certificate.chain, key: certificate.key })
        }
        Err(refused) => {
            refused.note(field, notes);
            None
        }
    }
}
