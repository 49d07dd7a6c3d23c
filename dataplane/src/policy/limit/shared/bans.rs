//! Bans that replicas share: refusals are counted here, and together in the store, which is told of them and asked for bans
//! once a second. No request waits for it.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use redis::Value;
use tokio::time::sleep;

use super::{
    Shared,
    store::{Failure, Script, Store},
};
use crate::policy::limit::ban::{Bans, Terms};

/// Between two questions.
const EVERY: Duration = Duration::from_secs(1);

/// Keys of one call.
const MANY: usize = 256;

/// Tells the store of refusals, and these bans of those that others have found, as long as both are there.
pub(in super::super) fn keep_told(shared: &Arc<Shared>, bans: &Arc<Bans>) {
    let Some(store) = &shared.store else { return };
    let (shared, bans): (Weak<Shared>, Weak<Bans>) = (Arc::downgrade(shared), Arc::downgrade(bans));
    store.spawn(async move {
        let mut since = 0;
        loop {
            sleep(EVERY).await;
            let (Some(shared), Some(bans)) = (shared.upgrade(), bans.upgrade()) else { return };
            let Some(store) = &shared.store else { return };
            // What cannot be told is counted here alone.
            let told = bans.take_untold();
            let mut parts = told.chunks(MANY).collect::<Vec<_>>();
            if parts.is_empty() {
                parts.push(&[]);
            }
            for part in parts {
                match tell(store, &shared, &bans, part, since).await {
                    Ok(clock) => since = clock,
                    Err(_) => break,
                }
            }
        }
    });
}

async fn tell(store: &Store, shared: &Shared, bans: &Bans, told: &[(String, u64)], since: i64) -> Result<i64, Failure> {
    let mut command = Script::Bans.command(1 + told.len());
    command.arg(shared.name.bans());
    for (text, _) in told {
        command.arg(shared.name.refusals(text));
    }
    let Terms { after, within, length } = bans.terms;
    command.arg(after).arg(within.as_micros() as u64).arg(length.as_micros() as u64).arg(since);
    for (text, count) in told {
        command.arg(count).arg(text);
    }
    let answer = store.call(Script::Bans, command).await?;
    let (clock, begun) = read(&answer).ok_or_else(|| store.misunderstood())?;
    let now = Instant::now();
    for (text, left) in begun {
        bans.learn(shared.key(&text), left, now);
    }
    Ok(clock)
}

pub(super) fn read(answer: &Value) -> Option<(i64, Vec<(String, Duration)>)> {
    let Value::Array(answer) = answer else { return None };
    let (Value::Int(clock), begun) = answer.split_first()? else { return None };
    let begun = begun.chunks(2).map(|ban| match ban {
        [Value::BulkString(text), Value::Int(left)] => {
            let left = Duration::from_micros(u64::try_from(*left).unwrap_or(0));
            Some((String::from_utf8_lossy(text).into_owned(), left))
        }
        _ => None,
    });
    Some((*clock, begun.collect::<Option<_>>()?))
}
