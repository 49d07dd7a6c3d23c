//! A BackendPolicy: how a backend is treated, and which backends it is for.

mod care;
mod health;
mod tls;

use ravelin_crds::{BackendPolicySpec, PolicyTargetRef, ProxyProtocol};
use ravelin_snapshot::{
    ObjectKey,
    backend::{BackendKind, Balancing, Breaker, Connections, Health, RetryBudget, Tls},
};

use crate::{
    compile::{
        attach::Seniority,
        balancing,
        grammar::millis,
        index::seniority,
        notes::{Field, Notes},
        text,
        work::{Reads, Work},
    },
    object::Object,
};

/// A policy that has been read.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::compile) struct BackendPolicy {
    pub(in crate::compile) seniority: Seniority,
    pub(in crate::compile) targets: Vec<BackendTarget>,
    /// Absent: it is broken, and so is what it is for.
    pub(in crate::compile) treatment: Option<Treatment>,
    pub(in crate::compile) notes: Notes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::compile) struct BackendTarget {
    pub(in crate::compile) kind: BackendKind,
    pub(in crate::compile) key: ObjectKey,
    /// The name of a Service's port; absent: all of it.
    pub(in crate::compile) section: Option<String>,
    /// Its place in the list.
    pub(in crate::compile) index: usize,
}

/// How a backend is treated.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::compile) struct Treatment {
    pub(in crate::compile) balancing: Balancing,
    pub(in crate::compile) connections: Connections,
    pub(in crate::compile) retry_budget: RetryBudget,
    pub(in crate::compile) breaker: Option<Breaker>,
    pub(in crate::compile) health: Option<Health>,
    pub(in crate::compile) tls: Option<Tls>,
    pub(in crate::compile) proxy_protocol: bool,
}

pub(in crate::compile) fn compile(
    work: &Work<'_>,
    reads: &mut Reads,
    object: &Object<BackendPolicySpec>,
) -> BackendPolicy {
    let mut notes = Notes::of_faults(&object.faults);
    let BackendPolicySpec {
        target_refs,
        load_balancing,
        connections,
        health_check,
        circuit_breaker,
        proxy_protocol,
        retry_budget,
        tls,
    } = &object.spec;
    let targets = targets(target_refs, &object.meta.key.namespace, &mut notes);
    let field = Field::SPEC.member("loadBalancing");
    let balancing = load_balancing.as_ref().map(|said| balancing::compile(said, field, &mut notes));
    let bounds = Field::SPEC.member("connections");
    let connections = connections.as_ref().map(|said| self::connections(said, bounds, &mut notes));
    let field = Field::SPEC.member("healthCheck");
    let health = health_check.as_ref().and_then(|said| health::compile(said, field, &mut notes));
    let field = Field::SPEC.member("circuitBreaker");
    let breaker = circuit_breaker.as_ref().map(|said| care::breaker(said, field, &mut notes));
    let field = Field::SPEC.member("retryBudget");
    let retry_budget = retry_budget.as_ref().map(|said| care::retry_budget(said, field, &mut notes));
    let namespace = &object.meta.key.namespace;
    let tls =
        tls.as_ref().map(|said| tls::compile(work, reads, &mut notes, namespace, said, Field::SPEC.member("tls")));
    let whole = !matches!(tls, Some(None));
    let treatment = Treatment {
        balancing: balancing.unwrap_or_default(),
        connections: connections.unwrap_or_default(),
        retry_budget: retry_budget.unwrap_or_default(),
        breaker,
        health,
        tls: tls.flatten(),
        proxy_protocol: proxy_protocol.is_some_and(|ProxyProtocol::V2| true),
    };
    let treatment = (whole && notes.breaks() == 0).then_some(treatment);
    BackendPolicy { seniority: seniority(&object.meta), targets, treatment, notes }
}

fn targets(said: &[PolicyTargetRef], namespace: &str, notes: &mut Notes) -> Vec<BackendTarget> {
    let field = Field::SPEC.member("targetRefs");
    if said.is_empty() && notes.breaks() == 0 {
        notes.invalid(field, "the policy is for nothing", "Name a Service or a Backend.");
    }
    let mut targets = Vec::with_capacity(said.len());
    for (index, PolicyTargetRef { group, kind, name, section_name }) in said.iter().enumerate() {
        let field = field.item(index);
        let key = ObjectKey::new(namespace, name);
        let kind = match (kind.as_str(), group.as_deref()) {
            ("Service", None | Some("")) => BackendKind::Service,
            ("Backend", None | Some(ravelin_crds::GROUP)) if section_name.is_none() => BackendKind::Backend,
            ("Backend", None | Some(ravelin_crds::GROUP)) => {
                notes.invalid(field.member("sectionName"), "a Backend has no sections", "Leave it out.");
                BackendKind::Backend
            }
            (kind, _) => {
                let message = format!("the policy cannot be attached to {}", text::shown(kind));
                notes.invalid(field.member("kind"), message, "Use Service or Backend.");
                continue;
            }
        };
        targets.push(BackendTarget { kind, key, section: section_name.clone(), index });
    }
    targets
}

fn connections(said: &ravelin_crds::Connections, field: Field<'_>, notes: &mut Notes) -> Connections {
    let ravelin_crds::Connections { max, max_requests, max_pending, pending_timeout, connect_timeout, idle_timeout } =
        said;
    let default = Connections::default();
    let mut count = |said: &Option<u32>, least: u32, default: u32, member| match *said {
        Some(count) if (least..=1_000_000).contains(&count) => count,
        Some(count) => {
            notes.invalid(field.member(member), format!("{count} is out of range"), format!("Use {least} to 1000000."));
            default
        }
        None => default,
    };
    let max = count(max, 1, default.max, "max");
    let max_requests = count(max_requests, 1, default.max_requests, "maxRequests");
    let max_pending = count(max_pending, 0, default.max_pending, "maxPending");
    let millis = |said: &Option<ravelin_crds::Duration>, default: u64| said.map_or(default, millis);
    if connect_timeout.is_some_and(ravelin_crds::Duration::is_zero) {
        notes.invalid(field.member("connectTimeout"), "no connection is made in no time", "Write it as 1s.");
    }
    Connections {
        max,
        max_requests,
        max_pending,
        pending_timeout_ms: millis(pending_timeout, default.pending_timeout_ms),
        connect_timeout_ms: millis(connect_timeout, default.connect_timeout_ms),
        idle_timeout_ms: millis(idle_timeout, default.idle_timeout_ms),
    }
}
