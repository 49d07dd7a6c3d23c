//! Who waits for a rate, by weight: of each key one watches what comes, and the others wait for their turn to do so.
//!
//! The line is a gate of one seat, and so it is weighted and fair. Without weights there is none: who comes is told his time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    count::{Count, Moment, Patience, Refused, Taken, Turn},
    gate::{Entry, Gates, Queued, Seat},
    keys::Key,
};

/// How long before its time a request takes what comes, and lets the next one watch: as many as come meanwhile do not have to
/// wait for one another's timers.
const AHEAD: Duration = Duration::from_millis(5);

/// A place in the line.
pub(super) struct Place(At);

enum At {
    First(Seat),
    Behind(Queued),
}

/// At once, if nobody waits and there is enough; else it waits in line.
pub(super) fn take(
    count: &Count,
    line: &Arc<Gates>,
    key: Key,
    cost: u64,
    at: Moment,
    patience: Patience,
) -> Result<Taken, Refused> {
    let level = if cost == 0 || line.used(key) == 0 {
        match count.take((key, None), cost, at, Patience::NONE) {
            Err(refused) if refused.retry_in.is_some_and(|wait| wait <= patience.time) => refused.level,
            known => return known,
        }
    } else {
        count.level(key, at)
    };
    // The seat is as large as it costs, so that nobody is beside him.
    let place = match line.enter(key, cost, cost, Some(patience.weight.unwrap_or(1))) {
        Some(Entry::Seated(seat)) => At::First(seat),
        Some(Entry::Queued(queued)) => At::Behind(queued),
        None => return Err(Refused { level, retry_in: None }),
    };
    Ok(Taken { turn: Turn::InLine(Place(place)), ..Taken::at_once(key, level) })
}

impl Place {
    /// Waits until it is its turn and `cost` is taken; the second is since when what is taken says how long to wait.
    pub(super) async fn wait(
        self,
        count: &Count,
        key: Key,
        cost: u64,
        at: Moment,
        patience: Duration,
    ) -> Result<(Taken, Instant), Refused> {
        let until = at.now + patience;
        let _first = match self.0 {
            At::First(seat) => seat,
            At::Behind(mut queued) => {
                let seat =
                    tokio::time::timeout_at(turn_by(at.now, patience).into(), queued.seat()).await.ok().flatten();
                seat.ok_or_else(|| Refused { level: count.level(key, at), retry_in: None })?
            }
        };
        loop {
            let now = tokio::time::Instant::now().into_std();
            match look(count, key, cost, Moment { now, ..at }, until) {
                Look::Taken(taken) => return Ok((taken, now)),
                Look::Refused(refused) => return Err(refused),
                Look::Later(then) => tokio::time::sleep_until(then.into()).await,
            }
        }
    }
}

/// Who has not had his turn by then would find all taken that comes in his time.
fn turn_by(came: Instant, patience: Duration) -> Instant {
    came + patience - AHEAD.min(patience / 2)
}

/// What the first in line finds.
enum Look {
    Taken(Taken),
    Refused(Refused),
    /// It is worth to look again then.
    Later(Instant),
}

fn look(count: &Count, key: Key, cost: u64, at: Moment, until: Instant) -> Look {
    let ahead = AHEAD.min(until.saturating_duration_since(at.now));
    match count.take((key, None), cost, at, Patience { time: ahead, weight: None }) {
        Ok(taken) => Look::Taken(taken),
        Err(refused) => match refused.retry_in.and_then(|wait| at.now.checked_add(wait)) {
            Some(then) if then <= until => Look::Later(then - ahead),
            Some(_) | None => Look::Refused(refused),
        },
    }
}

#[cfg(test)]
mod tests;
