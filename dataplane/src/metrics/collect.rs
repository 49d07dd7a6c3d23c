//! What a scrape gets: docs/src/run/operations.md, "Metrics".

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use prometheus::{Encoder, TextEncoder};
use ravelin_snapshot::auth::Mode;

use super::{
    Metrics, Totals,
    cells::Series,
    family::{Families, Row},
    label::MAX_LABELS,
    process,
};
use crate::{
    pipeline::{coalesce, mirror},
    policy::limit,
    table::Table,
    upstream::BreakerState,
};

/// How the data plane stands at the moment of a scrape.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Open client connections by listener.
    pub connections: Vec<(&'static str, u64)>,
    /// Since the table that is served was swapped in; `None`: nothing is served yet.
    pub config_age: Option<Duration>,
    /// What is served is the snapshot of the state folder: no controller has said anything yet.
    pub from_disk: bool,
    pub controller_connected: bool,
    pub ready: bool,
}

/// The answer to a scrape, in Prometheus' text format.
pub fn text(metrics: &Metrics, table: &Table, standing: &Standing) -> String {
    let mut families = Families::default();
    requests(&mut families, &metrics.totals());
    policies(&mut families, table);
    store(&mut families, table);
    state(&mut families, metrics, table, standing);
    backends(&mut families, table);
    certificates(&mut families, table);
    process_basics(&mut families);
    let mut text = Vec::new();
    // Invariant: writing to memory does not fail, and no family is without rows.
    TextEncoder::new().encode(&families.0, &mut text).expect("families that can be written (invariant)");
    String::from_utf8_lossy(&text).into_owned()
}

fn requests(families: &mut Families, totals: &Totals) {
    let rows = totals.requests.iter().map(|((route, series), count)| {
        let Series { method, code, reason } = series;
        let reason = reason.map_or("", |reason| reason.as_str());
        let labels = vec![
            ("route", route.clone()),
            ("method", method.as_str().to_owned()),
            ("code", code.label()),
            ("reason", reason.to_owned()),
        ];
        (labels, *count)
    });
    let help = "Requests that have ended, without a code if nothing was answered; the reason is empty if Ravelin did not refuse or fail them.";
    families.counter("ravelin_requests_total", help, rows);
    let help = "From the head of a request to the end of its answer.";
    let rows = totals.took.iter().map(|(route, took)| (vec![("route", route.clone())], took));
    families.histogram("ravelin_request_duration_seconds", help, rows);
    let help = "From the call of a backend to the head of its answer.";
    let rows = totals.backends.iter().map(|(backend, took)| (vec![("backend", backend.clone())], took));
    families.histogram("ravelin_backend_duration_seconds", help, rows);
    let help = "Requests that Ravelin refused or failed.";
    let errors = totals.errors().into_iter();
    let rows = errors.map(|(reason, count)| (vec![("reason", reason.as_str().to_owned())], count));
    families.counter("ravelin_errors_total", help, rows);
}

fn policies(families: &mut Families, table: &Table) {
    let rows = |value: fn(&limit::Standing<'_>) -> u64| {
        table.limits().flat_map(move |policy| {
            let mode = mode(policy.mode).to_owned();
            policy
                .standing()
                .map(move |limit| ([policy.key.to_string(), limit.name.to_owned(), mode.clone()], value(&limit)))
        })
    };
    let names = ["policy", "limit", "mode"];
    let help = "Requests that a limit refused, or would have refused in the mode shadow.";
    families.counter("ravelin_rate_limited_total", help, bounded(names, rows(|limit| limit.refused)));
    let help = "Keys that a limit remembers.";
    let keys = bounded(names, rows(|limit| limit.keys as u64)).map(|(labels, keys)| (labels, keys as f64));
    families.gauge("ravelin_rate_limit_keys", help, keys);
    let help = "Bytes that what a limit remembers of its keys takes.";
    let bytes = bounded(names, rows(|limit| limit.bytes as u64)).map(|(labels, bytes)| (labels, bytes as f64));
    families.gauge("ravelin_rate_limit_key_bytes", help, bytes);
    let help = "Keys that a limit forgot before their time, because there were too many.";
    families.counter("ravelin_rate_limit_keys_evicted_total", help, bounded(names, rows(|limit| limit.evicted)));
    let leased = table.limits().flat_map(|policy| {
        policy.standing().filter_map(|limit| Some(([policy.key.to_string(), limit.name.to_owned()], limit.leased?)))
    });
    let help = "Requests that a lease of a shared limit admitted: nobody had to ask the store.";
    families.counter("ravelin_rate_limit_leased_total", help, bounded(["policy", "limit"], leased));
    let unknown = table.limits().map(|policy| ([policy.key.to_string()], policy.unknown_plans()));
    let help = "Requests whose plan was not there; they had the default.";
    families.counter("ravelin_rate_limit_unknown_plans_total", help, bounded(["policy"], unknown));
    let decisions = table.auth_policies().flat_map(|policy| {
        let counts = &policy.decisions;
        let each = [
            ("allow", &counts.allow),
            ("deny", &counts.deny),
            ("shadow_deny", &counts.shadow_deny),
            ("error", &counts.error),
        ];
        each.map(|(decision, count)| ([policy.key.to_string(), decision.to_owned()], count.get()))
    });
    let help = "Decisions of AuthPolicies; an error is a deny or shadow_deny too.";
    families.counter("ravelin_auth_decisions_total", help, bounded(["policy", "decision"], decisions));
    let help = "When an API key was used last, in seconds since the epoch; keys that were not used are not in it.";
    families.gauge("ravelin_api_key_last_used_timestamp_seconds", help, key_uses(table));
}

/// As many keys as there may be routes; of those beyond, the last use of all.
fn key_uses(table: &Table) -> impl Iterator<Item = Row<f64>> {
    let uses = table.auth_policies().flat_map(|policy| {
        policy.keys().filter_map(|key| Some(([policy.key.to_string(), key.name.to_owned()], key.last?)))
    });
    let all: BTreeMap<[String; 2], u64> = uses.collect();
    let mut kept = BTreeMap::new();
    for (at, (labels, last)) in all.into_iter().enumerate() {
        let labels = if at < MAX_LABELS { labels } else { ["other".to_owned(), "other".to_owned()] };
        let known = kept.entry(labels).or_insert(last);
        *known = last.max(*known);
    }
    kept.into_iter().map(|([policy, key], last)| (vec![("policy", policy), ("key", key)], last as f64))
}

/// Of shared limits; nothing if there is none.
fn store(families: &mut Families, table: &Table) {
    let Some(limit::StoreStanding { connected, replicas, answered, failed, late, fell_back, took }) =
        table.store().map(|store| store.standing())
    else {
        return;
    };
    let help = "1 if the store of shared limits answers.";
    families.gauge("ravelin_limit_store_connected", help, [(vec![], f64::from(u8::from(connected)))]);
    let help = "Replicas that the store knew of when it answered last.";
    families.gauge("ravelin_limit_store_replicas", help, [(vec![], f64::from(replicas))]);
    let calls = [("ok", answered), ("error", failed), ("timeout", late)];
    let calls = calls.map(|(result, count)| (vec![("result", result.to_owned())], count));
    families.counter("ravelin_limit_store_calls_total", "Questions to the store of shared limits.", calls);
    let help = "Until the store's answer, or until it was given up.";
    families.histogram("ravelin_limit_store_duration_seconds", help, [(vec![], &took)]);
    let help = "Times that a limit was decided without the store, as its onStoreFailure says.";
    families.counter("ravelin_limit_store_fallbacks_total", help, [(vec![], fell_back)]);
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Shadow => "shadow",
    }
}

/// As many rows as there may be routes, by name; those beyond are one row a combination of the labels after the first.
fn bounded<const N: usize>(
    names: [&'static str; N],
    rows: impl Iterator<Item = ([String; N], u64)>,
) -> impl Iterator<Item = Row<u64>> {
    let all: BTreeMap<[String; N], u64> = rows.collect();
    let mut kept = BTreeMap::new();
    for (at, (mut labels, count)) in all.into_iter().enumerate() {
        if at >= MAX_LABELS {
            labels[..N - 1].fill("other".to_owned());
        }
        *kept.entry(labels).or_default() += count;
    }
    kept.into_iter().map(move |(labels, count)| (names.into_iter().zip(labels).collect(), count))
}

fn state(families: &mut Families, metrics: &Metrics, table: &Table, standing: &Standing) {
    let one = |value: f64| [(vec![], value)];
    let flag = |value: bool| one(f64::from(u8::from(value)));
    let open =
        standing.connections.iter().map(|(listener, open)| (vec![("listener", (*listener).to_owned())], *open as f64));
    families.gauge("ravelin_active_connections", "Open client connections, tunnels included.", open);
    families.gauge("ravelin_snapshot_revision", "The revision that is served.", one(table.revision.0 as f64));
    let age = standing.config_age.into_iter().flat_map(|age| one(age.as_secs_f64()));
    families.gauge("ravelin_config_age_seconds", "Since what is served was swapped in.", age);
    let help = "1 if what is served is the snapshot on disk, for no controller has said anything since the start.";
    families.gauge("ravelin_snapshot_from_disk", help, flag(standing.from_disk));
    families.gauge(
        "ravelin_controller_connected",
        "1 if the controller is connected.",
        flag(standing.controller_connected),
    );
    families.gauge("ravelin_ready", "1 if this replica may be sent requests.", flag(standing.ready));
    let once = |value: u64| [(vec![], value)];
    let help = "Snapshots that could not be served.";
    families.counter("ravelin_snapshots_refused_total", help, once(metrics.refused_snapshots.get()));
    let help = "Lines of the access log that were dropped because its sink was too slow.";
    families.counter("ravelin_access_log_dropped_total", help, once(metrics.dropped_lines.get()));
    let help = "Lines of the audit log that were dropped because its sink was too slow.";
    families.counter("ravelin_audit_log_dropped_total", help, once(metrics.dropped_audits.get()));
}

/// What goes on between the gateway and its backends.
fn backends(families: &mut Families, table: &Table) {
    let resent = table.backends().map(|backend| {
        let resent = backend.endpoints().map(|endpoint| endpoint.counts().resent()).sum();
        ([backend.key.to_string()], resent)
    });
    let help = "Requests that were sent again because a kept connection was found closed; endpoints that are gone are not in it.";
    families.counter("ravelin_backend_resent_total", help, bounded(["backend"], resent));
    let breakers = table.backends().filter_map(|backend| {
        let state = match backend.breaker.as_ref()?.state(Instant::now()) {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open => 2,
        };
        Some(([backend.key.to_string()], state))
    });
    let help = "0 closed, 1 half open, 2 open.";
    let breakers = bounded(["backend"], breakers).map(|(labels, state)| (labels, state as f64));
    families.gauge("ravelin_circuit_breaker_state", help, breakers);
    let endpoints = table.backends().flat_map(|backend| {
        let mut counts = [0_u64; 3];
        for endpoint in backend.endpoints() {
            match backend.standing(&endpoint) {
                None => {}
                Some(standing) if standing.is_well() => counts[0] += 1,
                Some(standing) if standing.ill => counts[1] += 1,
                Some(_) => counts[2] += 1,
            }
        }
        let name = |state: &str| [backend.key.to_string(), state.to_owned()];
        let states = [name("healthy"), name("unhealthy"), name("ejected")].into_iter().zip(counts);
        states.filter(|_| backend.said.health.is_some()).collect::<Vec<_>>()
    });
    let endpoints = bounded(["backend", "state"], endpoints).map(|(labels, count)| (labels, count as f64));
    families.gauge("ravelin_backend_endpoints", "Endpoints of backends with health checks, by state.", endpoints);
    let sent = table.backends().map(|backend| ([backend.key.to_string()], backend.retries.sent()));
    let help = "Requests that were sent again because a rule says so.";
    families.counter("ravelin_backend_retries_total", help, bounded(["backend"], sent));
    let named = table.rules().flat_map(|rule| mirror::slots(rule)).map(|slot| table.backend(slot));
    let copies = named.flat_map(|backend| {
        backend.mirrored.outcomes().map(|(name, count)| ([backend.key.to_string(), name.to_owned()], count))
    });
    let help = "Copies of requests, by the backend that gets them; one that was dropped was never sent.";
    families.counter("ravelin_mirrored_requests_total", help, bounded(["backend", "result"], copies));
    let mut shared = BTreeMap::<_, u64>::new();
    for (rule, flights) in table.rules().filter_map(|rule| Some((rule, coalesce::flights(rule)?))) {
        *shared.entry([rule.label.name().to_owned()]).or_default() += flights.joined();
    }
    let help = "Requests that waited for the call of another.";
    families.counter("ravelin_coalesced_requests_total", help, bounded(["route"], shared.into_iter()));
    let refused = table.backends().map(|backend| ([backend.key.to_string()], backend.retries.refused()));
    let help = "Requests that were not sent again because the retry budget was used up.";
    families.counter("ravelin_backend_retries_refused_total", help, bounded(["backend"], refused));
}

/// What has no row of its own is one row, of the one that ends first.
fn certificates(families: &mut Families, table: &Table) {
    let mut ends: BTreeMap<String, i64> = BTreeMap::new();
    for (key, certificate) in table.snapshot.certificates.iter() {
        let name = if ends.len() < MAX_LABELS { key.to_string() } else { "other".to_owned() };
        let end = ends.entry(name).or_insert(i64::MAX);
        *end = certificate.not_after.min(*end);
    }
    let rows = ends.into_iter().map(|(name, end)| (vec![("certificate", name)], end as f64));
    let help = "When the certificate of a Secret that is served ends, in seconds since the epoch.";
    families.gauge("ravelin_certificate_expiry_timestamp_seconds", help, rows);
}

fn process_basics(families: &mut Families) {
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    families.gauge("ravelin_build_info", "The version that runs.", [(version, 1.0)]);
    let row = |value: u64| (vec![], value as f64);
    let memory = process::resident_memory().map(row);
    families.gauge("process_resident_memory_bytes", "Resident memory.", memory);
    families.gauge("process_open_fds", "Open file descriptors.", process::open_files().map(row));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_beyond_the_bound_are_summed_and_none_is_lost() {
        let rows = (0..MAX_LABELS as u64 + 5).map(|at| ([format!("{at:06}"), "deny".to_owned()], at));
        let rows: Vec<_> = bounded(["policy", "decision"], rows).collect();
        assert_eq!(rows.len(), MAX_LABELS + 1);
        let other = rows.iter().find(|(labels, _)| labels[0].1 == "other").unwrap();
        assert_eq!((&other.0[1], other.1), (&("decision", "deny".to_owned()), 1000 + 1001 + 1002 + 1003 + 1004));
    }
}
