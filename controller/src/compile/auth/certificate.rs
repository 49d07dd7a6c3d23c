//! Certificates of clients: whose authorities count, and what of a certificate names its holder.

use ravelin_crds::{CertificateIdentity as Said, ClientCertificateAuthentication};
use ravelin_snapshot::auth::{CertificateIdentity, CertificateMethod};

use super::held;
use crate::compile::{
    notes::{Field, Notes},
    work::{Reads, Work},
};

/// `authentication.clientCertificate` of a policy in `namespace`; `None` and a note if its authorities are not there.
pub(super) fn method(
    work: &Work<'_>,
    reads: &mut Reads,
    notes: &mut Notes,
    namespace: &str,
    said: &ClientCertificateAuthentication,
    field: Field<'_>,
) -> Option<CertificateMethod> {
    let ClientCertificateAuthentication { ca_certificate_refs, identity } = said;
    let field = field.member("caCertificateRefs");
    if ca_certificate_refs.is_empty() {
        notes.invalid(field, "no authority is named", "Refer to a ConfigMap that has its certificate in `ca.crt`.");
    }
    let authorities = held::authorities(work, reads, notes, namespace, ca_certificate_refs, field)?;
    let identity = match identity.unwrap_or_default() {
        Said::SubjectCommonName => CertificateIdentity::SubjectCommonName,
        Said::Uri => CertificateIdentity::Uri,
        Said::Dns => CertificateIdentity::Dns,
        Said::Email => CertificateIdentity::Email,
    };
    Some(CertificateMethod { authorities: authorities?, identity })
}
