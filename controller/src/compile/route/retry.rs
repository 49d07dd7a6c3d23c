//! When a request of a rule is sent again.

use ravelin_crds::{Retry, RetryOn};
use ravelin_snapshot::route;

use crate::compile::{
    grammar::millis,
    notes::{Field, Notes},
};

const MAX_ATTEMPTS: u32 = 100;

const BACKOFF_MS: u64 = 25;

/// `None`: never.
pub(super) fn compile(said: &Retry, field: Field<'_>, notes: &mut Notes) -> Option<route::Retry> {
    let Retry { attempts, backoff, codes, on, methods: _ } = said;
    let attempts = attempts.unwrap_or(1);
    if attempts > MAX_ATTEMPTS {
        let message = format!("{attempts} attempts are more than {MAX_ATTEMPTS}");
        notes.invalid(field.member("attempts"), message, "Use less: a retry is for a passing fault.");
    }
    let mut codes = codes.clone().unwrap_or_default();
    if let Some(at) = codes.iter().position(|code| !(400..=599).contains(code)) {
        let message = format!("{} is no code of a failure", codes[at]);
        notes.invalid(field.member("codes").item(at), message, "Use 400 to 599.");
    }
    codes.sort_unstable();
    codes.dedup();
    let on = on.as_deref().unwrap_or(&[RetryOn::ConnectFailure]);
    let mut on: Vec<route::RetryOn> = on.iter().map(|on| self::on(*on)).collect();
    on.sort_unstable();
    on.dedup();
    let methods = said.methods().iter().map(|method| method.as_str().to_owned());
    let backoff_ms = backoff.map_or(BACKOFF_MS, millis);
    (attempts > 0).then(|| route::Retry { attempts, backoff_ms, codes, on, methods: methods.collect() })
}

fn on(said: RetryOn) -> route::RetryOn {
    match said {
        RetryOn::ConnectFailure => route::RetryOn::ConnectFailure,
        RetryOn::Reset => route::RetryOn::Reset,
        RetryOn::Timeout => route::RetryOn::Timeout,
    }
}
