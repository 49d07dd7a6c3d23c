//! An ApiRoute becomes a route.

pub(super) mod action;
mod filter;
pub(super) mod host;
pub(super) mod matches;
mod mirror;
pub(super) mod place;
mod retry;
mod session;

use std::collections::BTreeSet;

use ravelin_crds::{ApiRouteRule, ApiRouteSpec, RouteTls, Timeouts};
use ravelin_snapshot::{
    HostPattern, ObjectKey, Rare,
    route::{self, Action, Broken, Guard, PathMatch, Route, Rule},
};

use super::{
    attach::OnRoute,
    certificate, grammar,
    notes::{Field, Notes, touches},
    reference,
    work::{Reads, Work},
};
use crate::{
    object::{Fault, Kind, Object},
    verdict::Reason,
};

/// Rules of one route, at most.
const MAX_RULES: usize = 64;

/// The route, unless it serves nothing, and what there is to say about it alone.
pub(super) fn compile(work: &mut Work<'_>, reads: &mut Reads, object: &Object<ApiRouteSpec>) -> (Option<Route>, Notes) {
    let ApiRouteSpec { parent_refs, hostnames: _, tls, rules } = &object.spec;
    let mut notes = Notes::of_faults(&object.faults);
    let parents = Field::SPEC.member("parentRefs");
    for index in 0..parent_refs.len() {
        let message = "Gateways are not implemented yet";
        let remedy = "Leave parentRefs out: the route is then served by the default listeners.";
        notes.error(parents.item(index), Reason::NoMatchingParent, message, remedy);
    }
    let elsewhere = !parent_refs.is_empty() || touches(&object.faults, parents);
    let hosts = if elsewhere { Vec::new() } else { host::owned(work, reads, &mut notes, object) };
    let certificates =
        tls.as_ref().map(|tls| certificates(work, reads, &mut notes, object, tls, &hosts)).unwrap_or_default();
    let mut rules = self::rules(work, reads, &mut notes, object, rules);
    guard(work, reads, &mut notes, object, &mut rules);
    let route = Route { created: object.meta.created, hosts, certificates, rules };
    let served = !route.hosts.is_empty();
    (served.then_some(route), notes)
}

/// The certificates that can be served. A host that none of them is for is worth a warning.
fn certificates(
    work: &mut Work<'_>,
    reads: &mut Reads,
    notes: &mut Notes,
    object: &Object<ApiRouteSpec>,
    tls: &RouteTls,
    hosts: &[HostPattern],
) -> Vec<ObjectKey> {
    let RouteTls { certificate_refs } = tls;
    let tls = Field::SPEC.member("tls");
    let field = tls.member("certificateRefs");
    let (mut keys, mut names) = (Vec::new(), Vec::new());
    for (index, said) in certificate_refs.iter().enumerate() {
        let namespace = &object.meta.key.namespace;
        let Some((key, its)) = reference::certificate(work, reads, notes, field.item(index), namespace, said) else {
            continue;
        };
        names.extend(its);
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    for host in hosts.iter().filter(|host| !keys.is_empty() && !certificate::is_for(&names, host)) {
        let message = format!("none of the certificates is for {host}: browsers will refuse it");
        notes.warning(field, Reason::Suspicious, message, "Add the name to a certificate.");
    }
    keys
}

fn rules(
    work: &mut Work<'_>,
    reads: &mut Reads,
    notes: &mut Notes,
    object: &Object<ApiRouteSpec>,
    said: &[ApiRouteRule],
) -> Vec<Rule> {
    let field = Field::SPEC.member("rules");
    notes.at_most((said.len(), MAX_RULES), "rules", field, "Split the route.");
    if said.is_empty() {
        if !touches(&object.faults, field) {
            notes.invalid(field, "a route needs a rule", "Say what is to happen to its requests.");
        }
        // Its hosts are its own all the same.
        return vec![broken(String::from("0"), matches::compile(&[], field, notes))];
    }
    let misread = is_misread(&object.faults);
    let mut rules: Vec<Rule> = Vec::with_capacity(said.len());
    for (index, said) in said.iter().enumerate().take(MAX_RULES) {
        let field = field.item(index);
        let before = notes.breaks();
        if let Some(name) = &said.name
            && rules.iter().any(|rule| rule.name == *name)
        {
            let message = format!("there is another rule with the name `{name}`");
            notes.invalid(field.member("name"), message, "Give each rule a name of its own.");
        }
        let rule = rule(work, reads, notes, object, (index, said), field);
        let sound = !misread && notes.breaks() == before && !touches(&object.faults, field);
        rules.push(if sound {
            rule
        } else {
            Rule { auth: rule.auth, limits: rule.limits, ..broken(rule.name, rule.matches) }
        });
    }
    rules
}

/// Puts the policies that bind the route's rules before them.
fn guard(work: &Work<'_>, reads: &mut Reads, notes: &mut Notes, object: &Object<ApiRouteSpec>, rules: &mut [Rule]) {
    let key = &object.meta.key;
    let said = &object.spec.rules;
    let names = said.iter().filter_map(|rule| rule.name.as_deref()).collect();
    reads.extend(OnRoute::facts(key));
    let auth = OnRoute::new(&work.index.auth, key, &names);
    let limits = OnRoute::new(&work.index.limits, key, &names);
    let field = Field::SPEC.member("rules");
    let mut closed = BTreeSet::new();
    for (index, rule) in rules.iter_mut().enumerate() {
        let name = said.get(index).and_then(|said| said.name.as_deref());
        rule.auth = auth.auth(name);
        rule.limits = limits.limits(name);
        let guards = [(Kind::AuthPolicy, &rule.auth)].into_iter();
        for (kind, guard) in guards.chain(rule.limits.iter().map(|guard| (Kind::RateLimitPolicy, guard))) {
            if let Guard::Closed(policy) = guard
                && closed.insert((kind, policy.clone()))
            {
                let message = format!("{kind} {policy} cannot be enforced and closes this rule: 503 `policy_invalid`");
                let remedy = "See what the policy's own status says; all policies of a rule have at most 1000 limits.";
                notes.warning(field.item(index), Reason::Suspicious, message, remedy);
            }
        }
    }
}

/// Whether there is something beside the members of the spec that may have been meant for any of them, such as `hostname`.
fn is_misread(faults: &[Fault]) -> bool {
    faults.iter().any(|fault| {
        let member = fault.field.strip_prefix("spec.").and_then(|inner| inner.split(['.', '[']).next());
        member.is_some_and(|member| !["parentRefs", "hostnames", "tls", "rules"].contains(&member))
    })
}

/// A rule that keeps its place.
fn broken(name: String, matches: Vec<route::Match>) -> Rule {
    Rule {
        name,
        matches,
        auth: Guard::Open,
        limits: Vec::new(),
        request_headers: Rare::default(),
        response_headers: Rare::default(),
        filters: None,
        action: Action::Reject(Broken::RouteInvalid),
        timeouts: Rare::default(),
    }
}

fn rule(
    work: &mut Work<'_>,
    reads: &mut Reads,
    notes: &mut Notes,
    object: &Object<ApiRouteSpec>,
    (index, said): (usize, &ApiRouteRule),
    field: Field<'_>,
) -> Rule {
    let ApiRouteRule {
        name,
        matches,
        filters,
        timeouts,
        retry,
        session_persistence,
        load_balancing,
        backend_refs,
        fallback,
    } = said;
    let matches = matches::compile(matches, field.member("matches"), notes);
    let prefixed = matches.iter().all(|one| matches!(one.path, PathMatch::Prefix(_)));
    let mirrors = mirror::said(filters);
    let filters = filter::compile(filters, prefixed, field.member("filters"), notes);
    let timeouts = timeouts.as_deref().map(|said| self::timeouts(said, field.member("timeouts"), notes));
    let name = name.clone().unwrap_or_else(|| index.to_string());
    let session = session_persistence.as_deref().and_then(|said| {
        let of = session::Of { route: &object.meta.key, rule: &name, matches: &matches };
        session::compile(said, &of, field.member("sessionPersistence"), notes)
    });
    if session.is_some() && filters.others.coalesce.is_some() {
        let message = "requests that share a call have no endpoint of their own";
        notes.invalid(field.member("sessionPersistence"), message, "Leave it out, or the filter coalesce.");
    }
    let filter::Filters { request_headers, response_headers, rewrite, redirect, respond, others } = filters;
    let said = action::Said {
        namespace: &object.meta.key.namespace,
        load_balancing: load_balancing.as_deref(),
        retry: retry.as_deref(),
        mirrors: &mirrors,
        backend_refs,
        fallback: fallback.as_deref(),
        prefixed,
    };
    let action =
        action::compile(work, reads, notes, field, &said, action::Decided { rewrite, redirect, respond, session });
    Rule {
        name,
        matches,
        auth: Guard::Open,
        limits: Vec::new(),
        request_headers: request_headers.into(),
        response_headers: response_headers.into(),
        filters: (!others.is_empty()).then(|| Box::new(others)),
        action,
        timeouts: timeouts.unwrap_or_default().into(),
    }
}

/// Gateway API: 0s is for ever.
fn timeouts(said: &Timeouts, field: Field<'_>, notes: &mut Notes) -> route::Timeouts {
    let Timeouts { request, backend_request, stream_idle, deadline_header } = said;
    let header = field.member("deadlineHeader");
    let deadline_header = deadline_header.as_ref().and_then(|said| grammar::header(said, header, notes));
    let millis = |duration: &Option<ravelin_crds::Duration>| duration.map(grammar::millis).filter(|millis| *millis > 0);
    let timeouts = route::Timeouts {
        request_ms: millis(request),
        backend_request_ms: millis(backend_request),
        stream_idle_ms: millis(stream_idle),
        deadline_header,
    };
    if let (Some(whole), Some(attempt)) = (timeouts.request_ms, timeouts.backend_request_ms)
        && attempt > whole
    {
        let message = "an attempt may take longer than the whole request";
        notes.invalid(field.member("backendRequest"), message, "Make it at most timeouts.request.");
    }
    timeouts
}
