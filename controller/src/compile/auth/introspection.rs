//! Opaque tokens: whom to ask about them, and as whom.

use ravelin_crds::{Introspection, OnAuthFailure};
use ravelin_snapshot::{ObjectKey, auth::IntrospectionMethod};

use super::{held, jwt};
use crate::{
    compile::{
        notes::{Field, Notes},
        work::{Reads, Work},
    },
    verdict::Reason,
};

/// Where the gateway's own secret is, and beside it perhaps its name.
const SECRET: &str = "clientSecret";
const NAME: &str = "clientID";

/// `authentication.introspection` of a policy in `namespace`; `None` and a note if something that it needs is not there.
pub(super) fn method(
    work: &Work<'_>,
    reads: &mut Reads,
    notes: &mut Notes,
    namespace: &str,
    said: &Introspection,
    field: Field<'_>,
) -> Option<IntrospectionMethod> {
    let Introspection { endpoint, ca_certificate_refs, client_secret_ref, cache_for, timeout, on_failure } = said;
    let url = field.member("endpoint");
    jwt::url(endpoint, "whoever is on the way sees the tokens and the client secret, and can be anybody", url, notes);
    let allow_on_failure = fails_open(*on_failure, field, notes);
    let refs = field.member("caCertificateRefs");
    let authorities = held::authorities(work, reads, notes, namespace, ca_certificate_refs, refs);
    let field = field.member("clientSecretRef");
    let object = ObjectKey::new(namespace, &client_secret_ref.name);
    let secret = held::in_secret(work, reads, notes, &object, SECRET, field)?;
    let named = work.model.secrets.get(&object).and_then(|secret| secret.spec.data.get(NAME));
    let usable = |text: &str| !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'!'..=b'~'));
    if !usable(secret.expose().trim()) || named.is_some_and(|name| !usable(name.expose().trim())) {
        let message = format!("`{SECRET}` or `{NAME}` is not of printable characters alone");
        notes.error(field, Reason::InvalidReference, message, "Write what the issuer gave you.");
    }
    let millis = |said: &ravelin_crds::Duration| u64::try_from(said.get().as_millis()).unwrap_or(u64::MAX);
    Some(IntrospectionMethod {
        endpoint: endpoint.clone(),
        authorities: authorities?,
        client_id: named.map(|name| name.expose().trim().to_owned()),
        client_secret: ravelin_snapshot::Secret::new(secret.expose().trim()),
        cache_for_ms: cache_for.as_ref().map_or(30_000, millis),
        timeout_ms: timeout.as_ref().map_or(1_000, millis),
        allow_on_failure,
    })
}

/// Whether a request passes when nobody answers, which is worth a warning.
pub(super) fn fails_open(said: Option<OnAuthFailure>, field: Field<'_>, notes: &mut Notes) -> bool {
    match said.unwrap_or_default() {
        OnAuthFailure::Deny => false,
        OnAuthFailure::Allow => {
            let message = "whoever can keep the service from answering gets in";
            notes.warning(field.member("onFailure"), Reason::Suspicious, message, "Leave it out: Deny is the default.");
            true
        }
    }
}
