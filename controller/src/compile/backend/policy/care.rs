//! What keeps a backend from harm: budgets, breakers, health.

use ravelin_snapshot::backend::{Breaker, RetryBudget};

use crate::compile::{
    grammar::millis,
    notes::{Field, Notes},
};

/// Of counts.
const MOST: u32 = 1_000_000;

/// A count within its bounds; out of them it is noted.
pub(super) fn within(said: Option<u32>, bounds: (u32, u32), default: u32, field: Field<'_>, notes: &mut Notes) -> u32 {
    let (least, most) = bounds;
    match said {
        Some(count) if !(least..=most).contains(&count) => {
            notes.invalid(field, format!("{count} is out of range"), format!("Use {least} to {most}."));
            default
        }
        Some(count) => count,
        None => default,
    }
}

pub(super) fn percent(said: Option<u8>, least: u8, default: u8, field: Field<'_>, notes: &mut Notes) -> u8 {
    let count = within(said.map(u32::from), (least.into(), 100), default.into(), field, notes);
    u8::try_from(count).unwrap_or(default)
}

/// A time that is not nothing.
pub(super) fn span(said: Option<ravelin_crds::Duration>, default: u64, field: Field<'_>, notes: &mut Notes) -> u64 {
    let millis = said.map_or(default, millis);
    if millis == 0 {
        notes.invalid(field, "nothing happens in no time", "Write it as 10s.");
    }
    millis
}

pub(super) fn breaker(said: &ravelin_crds::CircuitBreaker, field: Field<'_>, notes: &mut Notes) -> Breaker {
    let ravelin_crds::CircuitBreaker {
        window,
        min_requests,
        failure_percent,
        consecutive_failures,
        open_for,
        half_open_requests,
        success_threshold,
    } = said;
    if failure_percent.is_none() && consecutive_failures.is_none() {
        let remedy = "Set failurePercent, consecutiveFailures or both.";
        notes.invalid(field, "nothing says what opens the breaker", remedy);
    }
    let mut count = |said: Option<u32>, default, member| within(said, (1, MOST), default, field.member(member), notes);
    let min_requests = count(*min_requests, 20, "minRequests");
    let consecutive_failures = consecutive_failures.map(|said| count(Some(said), 1, "consecutiveFailures"));
    let half_open_requests = count(*half_open_requests, 3, "halfOpenRequests");
    let success_threshold = count(*success_threshold, 2, "successThreshold");
    Breaker {
        window_ms: span(*window, 10_000, field.member("window"), notes),
        min_requests,
        failure_percent: failure_percent.map(|said| percent(Some(said), 1, 1, field.member("failurePercent"), notes)),
        consecutive_failures,
        open_for_ms: span(*open_for, 10_000, field.member("openFor"), notes),
        half_open_requests,
        success_threshold,
    }
}

pub(super) fn retry_budget(said: &ravelin_crds::RetryBudget, field: Field<'_>, notes: &mut Notes) -> RetryBudget {
    let ravelin_crds::RetryBudget { percent, min_per_second } = said;
    let default = RetryBudget::default();
    RetryBudget {
        percent: self::percent(*percent, 0, default.percent, field.member("percent"), notes),
        min_per_second: within(*min_per_second, (0, MOST), default.min_per_second, field.member("minPerSecond"), notes),
    }
}
