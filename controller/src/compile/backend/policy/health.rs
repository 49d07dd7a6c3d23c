//! How endpoints that are ill are found and left out.

use ravelin_crds::{ActiveHealthCheck, GrpcProbe, HealthCheck, HttpProbe, PassiveHealthCheck, TcpProbe};
use ravelin_snapshot::backend::{ActiveCheck, Health, Passive, Probe};

use super::care::{percent, span, within};
use crate::compile::notes::{Field, Notes};

const MOST: u32 = 1_000_000;

const MOST_CHECKS: u32 = 1_000;

/// `None`: nothing is to be found out.
pub(super) fn compile(said: &HealthCheck, field: Field<'_>, notes: &mut Notes) -> Option<Health> {
    let HealthCheck { active, passive, panic_threshold } = said;
    let active = active.as_ref().and_then(|said| self::active(said, field.member("active"), notes));
    let passive = passive.as_ref().map(|said| self::passive(said, field.member("passive"), notes));
    let panic_percent = percent(*panic_threshold, 0, 50, field.member("panicThreshold"), notes);
    (active.is_some() || passive.is_some()).then_some(Health { active, passive, panic_percent })
}

fn passive(said: &PassiveHealthCheck, field: Field<'_>, notes: &mut Notes) -> Passive {
    let PassiveHealthCheck { consecutive_errors, eject_for, max_ejected_percent } = said;
    Passive {
        consecutive_errors: within(*consecutive_errors, (1, MOST), 5, field.member("consecutiveErrors"), notes),
        eject_for_ms: span(*eject_for, 30_000, field.member("ejectFor"), notes),
        max_ejected_percent: percent(*max_ejected_percent, 0, 50, field.member("maxEjectedPercent"), notes),
    }
}

fn active(said: &ActiveHealthCheck, field: Field<'_>, notes: &mut Notes) -> Option<ActiveCheck> {
    let ActiveHealthCheck { interval, timeout, unhealthy_threshold, healthy_threshold, http, tcp, grpc } = said;
    let interval_ms = span(*interval, 5_000, field.member("interval"), notes);
    let timeout_ms = span(*timeout, 1_000, field.member("timeout"), notes);
    let most = (1, MOST_CHECKS);
    let unhealthy_threshold = within(*unhealthy_threshold, most, 3, field.member("unhealthyThreshold"), notes);
    let healthy_threshold = within(*healthy_threshold, most, 2, field.member("healthyThreshold"), notes);
    let probe = match (http, tcp, grpc) {
        (Some(said), None, None) => self::http(said, field.member("http"), notes),
        (None, Some(TcpProbe {}), None) => Probe::Tcp,
        (None, None, Some(GrpcProbe { service })) => Probe::Grpc { service: service.clone().unwrap_or_default() },
        _ => {
            notes.invalid(field, "an endpoint is asked in one way", "Set exactly one of http, tcp and grpc.");
            return None;
        }
    };
    Some(ActiveCheck { interval_ms, timeout_ms, unhealthy_threshold, healthy_threshold, probe })
}

fn http(said: &HttpProbe, field: Field<'_>, notes: &mut Notes) -> Probe {
    let HttpProbe { path, statuses, body_contains } = said;
    let plain = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()) && !path.contains('#');
    if !plain {
        notes.invalid(field.member("path"), "this is no path of a request", "Write it as /healthz.");
    }
    let mut statuses = statuses.clone().unwrap_or_else(|| vec![200]);
    if statuses.is_empty() || statuses.iter().any(|status| !(100..=599).contains(status)) {
        notes.invalid(field.member("statuses"), "these are no statuses", "Name codes from 100 to 599.");
    }
    statuses.sort_unstable();
    statuses.dedup();
    Probe::Http { path: path.clone(), statuses, body_contains: body_contains.clone() }
}
