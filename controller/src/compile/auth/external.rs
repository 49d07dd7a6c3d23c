//! Another service that is asked whether a request may pass.

use ravelin_crds::{BackendObjectReference, ExternalAuthProtocol, ExternalAuthorization};
use ravelin_snapshot::{
    auth::{External, ExternalProtocol, ForwardedHeader},
    backend::{BackendKey, Protocol},
    expression::Expression,
    route::Target,
};

use super::{bound, introspection::fails_open};
use crate::{
    compile::{
        grammar,
        notes::{Field, Notes},
        reference, text,
        text::Type,
        work::{Reads, Work},
    },
    verdict::Reason,
};

/// Headers of one list, at most.
const MAX_HEADERS: usize = 64;
/// Bytes of a body that the data plane keeps while the service is asked.
const MAX_BODY: u64 = 64 << 10;

/// `authorization.external` of a policy in `namespace`; `None` and a note if its backend cannot be asked.
pub(super) fn compile(
    work: &mut Work<'_>,
    reads: &mut Reads,
    notes: &mut Notes,
    namespace: &str,
    said: &ExternalAuthorization,
    field: Field<'_>,
) -> Option<External> {
    let ExternalAuthorization {
        protocol,
        backend_ref,
        path,
        timeout,
        on_failure,
        forward_headers,
        copy_headers,
        body_limit,
        cache_for,
        cache_key,
    } = said;
    let protocol = self::protocol(*protocol, path.as_deref(), field, notes);
    let body_limit = self::body_limit(*body_limit, field.member("bodyLimit"), notes);
    let cache_for_ms = cache_for.as_ref().map_or(0, millis);
    let cache_key = self::cache_key(cache_key.as_deref(), cache_for_ms, body_limit, field.member("cacheKey"), notes);
    let allow_on_failure = fails_open(*on_failure, field, notes);
    let mut forward = headers(forward_headers, field.member("forwardHeaders"), notes);
    if forward_headers.is_empty() {
        forward.push("authorization".to_owned());
    }
    let copy_headers = headers(copy_headers, field.member("copyHeaders"), notes);
    let backend = backend(work, reads, notes, namespace, (&protocol, backend_ref), field.member("backendRef"))?;
    Some(External {
        protocol,
        backend,
        timeout_ms: timeout.as_ref().map_or(200, millis),
        allow_on_failure,
        forward_headers: forward,
        copy_headers,
        body_limit,
        cache_for_ms,
        cache_key,
    })
}

fn millis(said: &ravelin_crds::Duration) -> u64 {
    u64::try_from(said.get().as_millis()).unwrap_or(u64::MAX)
}

fn protocol(
    said: Option<ExternalAuthProtocol>,
    path: Option<&str>,
    field: Field<'_>,
    notes: &mut Notes,
) -> ExternalProtocol {
    match said.unwrap_or_default() {
        ExternalAuthProtocol::Http => {
            let path = path.unwrap_or("/");
            if !path.starts_with('/') || !path.bytes().all(|byte| matches!(byte, b'!'..=b'~') && byte != b'#') {
                notes.invalid(field.member("path"), "this is no path", "Write it as /check.");
            }
            ExternalProtocol::Http { path: path.to_owned() }
        }
        // The schema refuses a path here.
        ExternalAuthProtocol::Grpc => ExternalProtocol::Grpc,
    }
}

fn body_limit(said: Option<ravelin_crds::Quantity>, field: Field<'_>, notes: &mut Notes) -> u64 {
    let limit = said.map_or(0, ravelin_crds::Quantity::bytes);
    if limit > MAX_BODY {
        notes.invalid(field, "this is more than can be kept of a body", "Use 64Ki or less.");
    }
    limit
}

fn cache_key(
    said: Option<&str>,
    cache_for_ms: u64,
    body_limit: u64,
    field: Field<'_>,
    notes: &mut Notes,
) -> Option<Expression> {
    let said = said?;
    if cache_for_ms == 0 {
        notes.invalid(field, "no answer is remembered", "Set cacheFor, or leave it out.");
    }
    if body_limit > 0 {
        let message = "an answer about one body is taken for all that have the same key";
        notes.warning(field, Reason::Suspicious, message, "Leave out cacheKey or bodyLimit.");
    }
    text::expression(said, Type::String, field, notes)
}

/// `None` and a note if it is not there, or cannot be asked in this way.
fn backend(
    work: &mut Work<'_>,
    reads: &mut Reads,
    notes: &mut Notes,
    namespace: &str,
    (protocol, said): (&ExternalProtocol, &BackendObjectReference),
    field: Field<'_>,
) -> Option<BackendKey> {
    if said.namespace.as_deref().is_some_and(|other| other != namespace) {
        let message = "a policy asks a service of its own namespace";
        notes.error(field.member("namespace"), Reason::RefNotPermitted, message, "Leave it out.");
        return None;
    }
    let Target::Backend(key) = reference::backend(work, reads, notes, field, namespace, said.into()) else {
        return None;
    };
    if *protocol == ExternalProtocol::Grpc && work.backend(reads, &key) == Ok(Protocol::Http1) {
        let message = format!("{key} speaks HTTP/1.1, and gRPC needs HTTP/2");
        let remedy = "Set its appProtocol to kubernetes.io/h2c or https.";
        notes.error(field, Reason::UnsupportedProtocol, message, remedy);
        return None;
    }
    Some(key)
}

/// In lower case, each once.
fn headers(said: &[String], field: Field<'_>, notes: &mut Notes) -> Vec<String> {
    bound(said.len(), MAX_HEADERS, field, notes);
    let mut headers: Vec<String> = Vec::with_capacity(said.len());
    for (index, name) in said.iter().enumerate() {
        let field = field.item(index);
        let Some(name) = grammar::header(name, field, notes) else { continue };
        if !headers.contains(&name) {
            headers.push(name);
        }
    }
    headers
}

/// Notes a header that both the service and `forward` tell the backend.
pub(super) fn told_once(external: Option<&External>, forward: &[ForwardedHeader], notes: &mut Notes) {
    let copied = external.map(|external| external.copy_headers.as_slice()).unwrap_or_default();
    if let Some(twice) = forward.iter().find(|said| copied.contains(&said.header)) {
        let field = Field::SPEC.member("forward");
        let message = format!("`{}` is among copyHeaders too", twice.header);
        notes.invalid(field, message, "Leave it out of one of them.");
    }
}
