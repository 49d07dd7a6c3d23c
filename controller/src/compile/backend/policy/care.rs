//! What keeps a backend from harm: budgets, breakers, health.

use ravelin_snapshot::backend::RetryBudget;

use crate::compile::notes::{Field, Notes};

/// A count within its bounds; out of them it is noted.
fn within(said: Option<u32>, bounds: (u32, u32), default: u32, field: Field<'_>, notes: &mut Notes) -> u32 {
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

fn percent(said: Option<u8>, least: u8, default: u8, field: Field<'_>, notes: &mut Notes) -> u8 {
    let count = within(said.map(u32::from), (least.into(), 100), default.into(), field, notes);
    u8::try_from(count).unwrap_or(default)
}

pub(super) fn retry_budget(said: &ravelin_crds::RetryBudget, field: Field<'_>, notes: &mut Notes) -> RetryBudget {
    let ravelin_crds::RetryBudget { percent, min_per_second } = said;
    let default = RetryBudget::default();
    let least = (0, 1_000_000);
    RetryBudget {
        percent: self::percent(*percent, 0, default.percent, field.member("percent"), notes),
        min_per_second: within(*min_per_second, least, default.min_per_second, field.member("minPerSecond"), notes),
    }
}
