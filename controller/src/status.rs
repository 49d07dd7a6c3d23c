//! Statuses of our objects: what the compiler made of each, and who serves it. Only the leader writes them.
//!
//! What an object's status says comes with the watches, so a write follows from a difference and from nothing else: a
//! new leader writes nothing that is there already, and the echo of a write ends it.

mod conditions;
mod ledger;
mod programmed;
mod writer;

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use kube::Client;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{publish::Published, replica::Roster};
pub use conditions::Written;
use ledger::{Ledger, Step};
use writer::Writer;

/// Writes that are under way at once, at most.
const WRITES: usize = 16;
/// How often reports that have gone silent are looked for.
const TICK: Duration = Duration::from_secs(1);

/// Writes statuses while `leads` is true, until nothing is published any longer.
pub async fn run(
    client: Client,
    mut board: watch::Receiver<Option<Arc<Published>>>,
    mut roster: watch::Receiver<Arc<Roster>>,
    mut leads: watch::Receiver<bool>,
) {
    let writer = Writer::new(client);
    while leads.wait_for(|leads| *leads).await.is_ok() {
        tokio::select! {
            () = session(&writer, &mut board, &mut roster) => return,
            _ = leads.wait_for(|leads| !*leads) => {}
        }
    }
}

/// One term as the leader. It returns when nothing is published any longer.
async fn session(
    writer: &Writer,
    board: &mut watch::Receiver<Option<Arc<Published>>>,
    roster: &mut watch::Receiver<Arc<Roster>>,
) {
    let mut ledger = Ledger::default();
    let mut writes = FuturesUnordered::new();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    board.mark_changed();
    loop {
        tokio::select! {
            changed = board.changed() => {
                let published = board.borrow_and_update().clone();
                match (changed, published) {
                    (Err(_), _) => return,
                    (Ok(()), Some(published)) => ledger.published(published, Instant::now()),
                    (Ok(()), None) => {}
                }
            }
            changed = roster.changed() => {
                if changed.is_err() {
                    return;
                }
                roster.mark_unchanged();
                ledger.look_at_all();
            }
            Some((object, written)) = writes.next() => ledger.done(&object, written),
            _ = tick.tick() => ledger.look_at_all(),
        }
        while writes.len() < WRITES {
            let step = ledger.next(&roster.borrow(), Instant::now());
            let Some(Step { object, wanted, written, parents }) = step else { break };
            writes.push(async move {
                let done = writer.write(&object, &wanted, &written, &parents).await;
                (object, done)
            });
        }
    }
}
