//! Signed requests: with which keys, and what a signature has to cover.

use std::time::Duration;

use ravelin_crds::HmacAuthentication;
use ravelin_snapshot::auth::{HmacKey, HmacMethod, SignatureComponent};

use super::{
    bound,
    keys::{self, Holder, KeyKind, Proof},
};
use crate::{
    compile::{
        grammar,
        notes::{Field, Notes},
        text,
        work::{Reads, Work},
    },
    verdict::Reason,
};

/// Components, at most.
const MAX_COMPONENTS: usize = 16;
/// For so long, twice, the data plane has to remember each nonce.
const MAX_SKEW: Duration = Duration::from_secs(3600);

/// `authentication.hmac` of a policy in `namespace`.
pub(super) fn method(
    work: &Work<'_>,
    reads: &mut Reads,
    notes: &mut Notes,
    namespace: &str,
    said: &HmacAuthentication,
    field: Field<'_>,
) -> HmacMethod {
    let HmacAuthentication { secret_selector, components, require_digest, require_nonce, clock_skew } = said;
    let selector = field.member("secretSelector");
    let selected = keys::selected(work, reads, notes, namespace, (KeyKind::Hmac, secret_selector), selector);
    let keys: Vec<_> = selected.into_iter().filter_map(|(_, key)| hmac_key(key)).collect();
    if keys.is_empty() {
        let message = "no signing key is selected: nobody passes with a signature";
        notes.warning(selector, Reason::Suspicious, message, "Make a Secret of type ravelin.dev/hmac-key.");
    }
    let skew = clock_skew.as_ref().map_or(Duration::from_secs(300), |said| said.get());
    if skew.is_zero() || skew > MAX_SKEW {
        let message = "this is not from 1ms to 1h";
        notes.invalid(field.member("clockSkew"), message, "Signatures are good for so long: use 5m or less.");
    }
    HmacMethod {
        keys,
        components: self::components(components.as_deref(), field.member("components"), notes),
        require_digest: require_digest.unwrap_or(false),
        require_nonce: require_nonce.unwrap_or(false),
        clock_skew_ms: u64::try_from(skew.as_millis()).unwrap_or(u64::MAX),
    }
}

fn hmac_key(key: &keys::Key) -> Option<HmacKey> {
    let Holder { id, scopes, groups, plan, expires } = key.holder.clone();
    let Proof::Shared { key, key_id } = &key.proof else { return None };
    Some(HmacKey { key_id: key_id.clone(), key: key.clone(), id, scopes, groups, plan, expires })
}

fn components(said: Option<&[String]>, field: Field<'_>, notes: &mut Notes) -> Vec<SignatureComponent> {
    use SignatureComponent::{Method, Path, RequestTarget, TargetUri};
    let Some(said) = said else { return vec![Method, TargetUri] };
    bound(said.len(), MAX_COMPONENTS, field, notes);
    let mut components = Vec::with_capacity(said.len());
    for (index, text) in said.iter().enumerate() {
        match component(text) {
            // The schema refuses what is there twice, but for a header in another case.
            Some(component) if components.contains(&component) => {}
            Some(component) => components.push(component),
            None => {
                let message = format!("{} is no component of a request", text::shown(text));
                let remedy = "Use @method, @target-uri, @authority, @scheme, @request-target, @path, @query, \
                              @query-param;name=\"NAME\" or the name of a header.";
                notes.invalid(field.item(index), message, remedy);
            }
        }
    }
    let fixed = |known: &[SignatureComponent]| known.iter().any(|one| components.contains(one));
    if !(fixed(&[Method, RequestTarget]) && fixed(&[TargetUri, Path, RequestTarget])) {
        let message = "a signature for one request is good for others, of another method or path";
        notes.warning(field, Reason::Suspicious, message, "Name @method and @target-uri.");
    }
    components
}

/// `None`: it is none of a request's.
fn component(text: &str) -> Option<SignatureComponent> {
    Some(match text {
        "@method" => SignatureComponent::Method,
        "@target-uri" => SignatureComponent::TargetUri,
        "@authority" => SignatureComponent::Authority,
        "@scheme" => SignatureComponent::Scheme,
        "@request-target" => SignatureComponent::RequestTarget,
        "@path" => SignatureComponent::Path,
        "@query" => SignatureComponent::Query,
        _ if text.starts_with('@') => {
            let name = text.strip_prefix("@query-param;name=\"")?.strip_suffix('"')?;
            let plain = |byte| matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b'\\');
            (!name.is_empty() && name.bytes().all(plain)).then(|| SignatureComponent::QueryParam(name.to_owned()))?
        }
        // A signature does not cover itself.
        _ => {
            let name = text.to_ascii_lowercase();
            let fits = grammar::is_token(text) && !["signature", "signature-input"].contains(&name.as_str());
            fits.then_some(SignatureComponent::Header(name))?
        }
    })
}
