//! API keys: which of them count, and where they are in a request.

use ravelin_crds::ApiKeyAuthentication;
use ravelin_snapshot::auth::{ApiKey, ApiKeyMethod, CredentialSource};

use super::{
    keys::{self, Holder, KeyKind, Proof},
    source,
};
use crate::{
    compile::{
        notes::{Field, Notes},
        work::{Reads, Work},
    },
    verdict::Reason,
};

/// `authentication.apiKey` of a policy in `namespace`.
pub(super) fn method(
    work: &Work<'_>,
    reads: &mut Reads,
    notes: &mut Notes,
    namespace: &str,
    said: &ApiKeyAuthentication,
    field: Field<'_>,
) -> ApiKeyMethod {
    let ApiKeyAuthentication { from, selector } = said;
    let from = from.as_ref().map(|said| source::all(said, field.member("from"), notes));
    let selector_field = field.member("selector");
    let selected = keys::selected(work, reads, notes, namespace, (KeyKind::Api, selector), selector_field);
    let keys: Vec<_> = selected.into_iter().filter_map(|(name, key)| api_key(name, key)).collect();
    if keys.is_empty() {
        let message = "no API key is selected: nobody passes with one";
        notes.warning(selector_field, Reason::Suspicious, message, "Make a key with `ravelin key new`.");
    }
    let default = || vec![CredentialSource::Header { name: "x-api-key".to_owned(), prefix: String::new() }];
    ApiKeyMethod { from: from.unwrap_or_else(default), keys }
}

fn api_key(name: &str, key: &keys::Key) -> Option<ApiKey> {
    let Holder { id, scopes, groups, plan, expires } = key.holder.clone();
    let Proof::Digest(sha256) = &key.proof else { return None };
    Some(ApiKey { name: name.to_owned(), sha256: sha256.clone(), id, scopes, groups, plan, expires })
}
