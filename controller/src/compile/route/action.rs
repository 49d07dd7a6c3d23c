//! What a rule does with its requests.

use ravelin_crds::{BackendRef, Fallback, LoadBalancing, RequestMirror, Retry};
use ravelin_snapshot::route::{
    self, Action, DirectResponse, Forward, Redirect, Rewrite, Session, Target, WeightedBackend,
};

use super::{filter, mirror, retry};
use crate::{
    compile::{
        balancing, grammar,
        notes::{Field, Notes},
        reference::{self, BackendReference},
        work::{Reads, Work},
    },
    verdict::Reason,
};

/// Backend references of one rule, at most.
const MAX_BACKENDS: usize = 16;

/// The members of a rule that forward.
pub(super) struct Said<'a> {
    pub(super) namespace: &'a str,
    pub(super) load_balancing: Option<&'a LoadBalancing>,
    pub(super) retry: Option<&'a Retry>,
    /// Each with its place among the filters.
    pub(super) mirrors: &'a [(usize, &'a RequestMirror)],
    pub(super) backend_refs: &'a [BackendRef],
    pub(super) fallback: Option<&'a Fallback>,
    /// Every match of the rule is a prefix.
    pub(super) prefixed: bool,
}

/// What has been decided of the rule already.
pub(super) struct Decided {
    pub(super) rewrite: Option<Rewrite>,
    pub(super) redirect: Option<Redirect>,
    pub(super) respond: Option<DirectResponse>,
    pub(super) session: Option<Box<Session>>,
}

pub(super) fn compile(
    work: &mut Work<'_>,
    reads: &mut Reads,
    notes: &mut Notes,
    field: Field<'_>,
    said: &Said<'_>,
    decided: Decided,
) -> Action {
    let Decided { rewrite, redirect, respond, session } = decided;
    let answers = redirect.is_some() || respond.is_some();
    if answers && (!said.backend_refs.is_empty() || said.fallback.is_some()) {
        let message = "a rule that redirects or answers itself calls no backend";
        let member = if said.backend_refs.is_empty() { "fallback" } else { "backendRefs" };
        notes.invalid(field.member(member), message, "Leave out the filter, or the backends.");
    }
    let balancing = said.load_balancing.map(|said| balancing::compile(said, field.member("loadBalancing"), notes));
    let retry = said.retry.and_then(|said| retry::compile(said, field.member("retry"), notes)).map(Box::new);
    let backends = backends(work, reads, notes, field.member("backendRefs"), said);
    let fallback = said.fallback.and_then(|fallback| {
        let field = field.member("fallback");
        self::fallback(work, reads, notes, field, said.namespace, fallback)
    });
    let mirrors = mirror::compile(work, reads, notes, field.member("filters"), said.namespace, said.mirrors);
    if answers && !mirrors.is_empty() {
        let message = "a rule that redirects or answers itself sends no copies";
        notes.warning(field.member("filters"), Reason::Suspicious, message, "Leave requestMirror out.");
    }
    match (redirect, respond) {
        (Some(redirect), _) => Action::Redirect(redirect),
        (None, Some(respond)) => Action::Respond(respond),
        (None, None) => {
            if backends.iter().all(|backend| backend.weight == 0) && said.fallback.is_none() {
                let message = "no backend gets a request: the rule answers 503 `no_endpoints`";
                let field = field.member("backendRefs");
                notes.warning(field, Reason::Suspicious, message, "Name a backend with a weight.");
            }
            let (rewrite, balancing, fallback) =
                (rewrite.map(Box::new), balancing.map(Box::new), fallback.map(Box::new));
            Action::Forward(Forward { backends, rewrite, balancing, retry, session, mirrors, fallback })
        }
    }
}

fn backends(
    work: &mut Work<'_>,
    reads: &mut Reads,
    notes: &mut Notes,
    field: Field<'_>,
    said: &Said<'_>,
) -> Vec<WeightedBackend> {
    notes.at_most((said.backend_refs.len(), MAX_BACKENDS), "backends", field, "Leave some out.");
    let mut backends = Vec::with_capacity(said.backend_refs.len());
    for (index, reference) in said.backend_refs.iter().enumerate().take(MAX_BACKENDS) {
        let field = field.item(index);
        let target = reference::backend(work, reads, notes, field, said.namespace, BackendReference::from(reference));
        let filters_field = field.member("filters");
        let copied = mirror::said(&reference.filters);
        let mut mirrors = mirror::compile(work, reads, notes, filters_field, said.namespace, &copied);
        if matches!(target, Target::Reject(_)) {
            mirrors.clear(); // no request goes there
        }
        let filters = filter::compile(&reference.filters, said.prefixed, filters_field, notes);
        let filter::Filters { request_headers, response_headers, rewrite, redirect, respond, others } = filters;
        if !others.is_empty() {
            let message = "a backend's filters change headers, host and path, and send copies, alone";
            notes.invalid(filters_field, message, "Move the filter to the rule.");
        }
        if redirect.is_some() || respond.is_some() {
            let message = "a backend's filters cannot answer in its place";
            notes.invalid(filters_field, message, "Move the filter to the rule.");
        }
        let weight = reference.weight();
        if weight > grammar::MAX_WEIGHT {
            notes.invalid(field.member("weight"), "the weight is too large", "Use 0 to 1000000.");
        }
        let (request_headers, response_headers) = (request_headers.into(), response_headers.into());
        let rewrite = rewrite.map(Box::new);
        backends.push(WeightedBackend { weight, target, request_headers, response_headers, rewrite, mirrors });
    }
    backends
}

fn fallback(
    work: &mut Work<'_>,
    reads: &mut Reads,
    notes: &mut Notes,
    field: Field<'_>,
    namespace: &str,
    said: &Fallback,
) -> Option<route::Fallback> {
    let Fallback { backend_ref, direct_response } = said;
    match (backend_ref, direct_response) {
        (Some(reference), None) => {
            let field = field.member("backendRef");
            let target = reference::backend(work, reads, notes, field, namespace, BackendReference::from(reference));
            Some(route::Fallback::Backend(target))
        }
        (None, Some(said)) => {
            Some(route::Fallback::Respond(filter::respond(said, field.member("directResponse"), notes)))
        }
        (None, None) | (Some(_), Some(_)) => {
            notes.invalid(field, "a fallback is one thing", "Set exactly one of backendRef and directResponse.");
            None
        }
    }
}
