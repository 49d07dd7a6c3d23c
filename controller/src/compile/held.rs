//! What a policy refers to in a Secret or a ConfigMap of its namespace. One that is missing closes what the policy protects.

use ravelin_crds::CaCertificateReference;
use ravelin_snapshot::{ObjectKey, Secret as Hidden};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, pem::PemObject};

use crate::{
    compile::{
        certificate::Validity,
        graph::Fact,
        notes::{Field, Notes},
        text,
        work::{Reads, Work},
    },
    object::Kind,
    verdict::Reason,
};

/// Where certificates of authorities are.
const CA: &str = "ca.crt";
/// References to such, at most.
const MAX_AUTHORITIES: usize = 8;

/// A value of a Secret; `None` and a note if it is not there.
pub(super) fn in_secret<'w>(
    work: &Work<'w>,
    reads: &mut Reads,
    notes: &mut Notes,
    object: &ObjectKey,
    key: &str,
    field: Field<'_>,
) -> Option<&'w Hidden> {
    reads.insert(Fact::Secret(object.clone()));
    let secret = work.model.secrets.get(object).filter(|secret| secret.faults.is_empty());
    let value = secret.map(|secret| secret.spec.data.get(key));
    found(value, Kind::Secret, object, key, field, notes)
}

/// A value of a ConfigMap; `None` and a note if it is not there.
pub(super) fn in_config_map<'w>(
    work: &Work<'w>,
    reads: &mut Reads,
    notes: &mut Notes,
    object: &ObjectKey,
    key: &str,
    field: Field<'_>,
) -> Option<&'w str> {
    reads.insert(Fact::ConfigMap(object.clone()));
    let map = work.model.config_maps.get(object).filter(|map| map.faults.is_empty());
    let value = map.map(|map| map.spec.data.get(key).map(String::as_str));
    found(value, Kind::ConfigMap, object, key, field, notes)
}

/// The certificates of authorities, as PEM: in the key `ca.crt` of each. `Some(None)`: none is referred to, so the system's
/// count; `None` and a note if one is not there or holds none.
pub(super) fn authorities(
    work: &Work<'_>,
    reads: &mut Reads,
    notes: &mut Notes,
    namespace: &str,
    said: &[CaCertificateReference],
    field: Field<'_>,
) -> Option<Option<String>> {
    notes.at_most((said.len(), MAX_AUTHORITIES), "entries", field, "Leave some out, or write another policy.");
    let mut all = String::new();
    let mut whole = true;
    for (index, CaCertificateReference { group, kind, name }) in said.iter().enumerate() {
        let field = field.item(index);
        let object = ObjectKey::new(namespace, name);
        let pem = match (kind.as_str(), group.as_deref()) {
            ("ConfigMap", None | Some("")) => in_config_map(work, reads, notes, &object, CA, field),
            ("Secret", None | Some("")) => in_secret(work, reads, notes, &object, CA, field).map(Hidden::expose),
            (kind, _) => {
                let message = format!("{} holds no certificates", text::shown(kind));
                notes.error(field.member("kind"), Reason::InvalidKind, message, "Refer to a ConfigMap or a Secret.");
                None
            }
        };
        match pem {
            Some(pem) if are_certificates(pem) => {
                let holder = format!("{kind} {object}");
                // A list of authorities may be long; one that is past is enough to look at it again.
                let mut told = false;
                for validity in Validity::of_all(pem) {
                    told = told || validity.note(work, reads, notes, field, (&holder, ""));
                }
                all.push_str(pem);
                all.push('\n');
            }
            Some(_) => {
                let message = format!("what {object} has under `{CA}` are no certificates in PEM");
                let remedy = "Put the certificates of the authorities there, and nothing else.";
                notes.error(field, Reason::InvalidReference, message, remedy);
                whole = false;
            }
            None => whole = false,
        }
    }
    whole.then(|| Some(all).filter(|all| !all.is_empty()))
}

/// Whether the data plane can trust them.
fn are_certificates(pem: &str) -> bool {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes());
    let mut good = certificates.map(|certificate| certificate.is_ok_and(|certificate| roots.add(certificate).is_ok()));
    good.all(|good| good) && !roots.is_empty()
}

fn found<T>(
    value: Option<Option<T>>,
    kind: Kind,
    object: &ObjectKey,
    key: &str,
    field: Field<'_>,
    notes: &mut Notes,
) -> Option<T> {
    match value {
        Some(Some(value)) => return Some(value),
        Some(None) => {
            let message = format!("{kind} {object} has no text under the key `{key}`");
            notes.error(field.member("key"), Reason::ReferenceNotFound, message, "Add it, or correct the key.");
        }
        None => {
            let message = format!("there is no {kind} {object} that can be read");
            notes.error(field.member("name"), Reason::ReferenceNotFound, message, "Create it, or correct the name.");
        }
    }
    None
}
