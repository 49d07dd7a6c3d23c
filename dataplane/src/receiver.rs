//! Takes snapshots from the channel, builds tables of them, and says whether it serves them.

use std::{sync::Arc, time::Instant};

use ravelin_snapshot::{
    Revision, Snapshot,
    channel::{Refusal, Subscriber},
    store::Store,
};
use tokio::{sync::watch, task::spawn_blocking, time::sleep};

use crate::{
    server::{Origin, Shared, Stage},
    table::Table,
};

/// Serves what is on the disk, if there is something: nobody has to answer for this data plane to do its work.
pub async fn restore(shared: &Shared, store: Store) -> Option<Arc<Snapshot>> {
    let loaded = spawn_blocking(move || store.load()).await;
    let snapshot = match loaded {
        Ok(Ok(Some(snapshot))) => Arc::new(snapshot),
        Ok(Ok(None)) => return None,
        Ok(Err(damaged)) => {
            tracing::error!(error = %damaged, "the kept snapshot is not served; waiting for a controller");
            return None;
        }
        Err(panic) => {
            tracing::error!(error = %panic, "the kept snapshot cannot be read; waiting for a controller");
            return None;
        }
    };
    match build(&snapshot, Some(shared.table())).await {
        Ok(table) => {
            serve(shared, table, Origin::Disk);
            let revision = snapshot.revision.0;
            tracing::warn!(revision, "serving the kept snapshot until a controller says something newer");
            Some(snapshot)
        }
        Err(refusal) => {
            tracing::error!(error = %refusal, "the kept snapshot is not served; waiting for a controller");
            None
        }
    }
}

/// Runs until the channel ends. A table is swapped in before the snapshot is acknowledged and kept after, so that what
/// is acknowledged is served, and what is on disk was served.
pub async fn run(shared: Arc<Shared>, subscriber: Subscriber, store: Option<Store>) {
    let (served, latest) = watch::channel(None);
    tokio::join!(follow(&shared, subscriber, served), keep(&shared, latest, store));
}

async fn follow(shared: &Shared, mut subscriber: Subscriber, served: watch::Sender<Option<Arc<Snapshot>>>) {
    let mut connected = subscriber.connected();
    loop {
        let now = *connected.borrow_and_update();
        shared.note(|progress| progress.connected = now);
        let snapshot = tokio::select! {
            snapshot = subscriber.next() => match snapshot {
                Some(snapshot) => snapshot,
                None => break,
            },
            Ok(()) = connected.changed() => continue,
        };
        let revision = snapshot.revision;
        shared.note(|progress| progress.behind = Some(Instant::now()));
        match build(&snapshot, Some(shared.table())).await {
            Ok(table) => {
                serve(shared, table, Origin::Controller);
                subscriber.accept(revision);
                tracing::info!(revision = revision.0, "serving");
                served.send_replace(Some(snapshot));
            }
            Err(refusal) => {
                tracing::error!(revision = revision.0, part = refusal.part, reason = refusal.reason, "refused");
                note_refusal(shared, revision, refusal.clone());
                subscriber.refuse(revision, refusal);
            }
        }
    }
    shared.note(|progress| progress.connected = false);
}

/// A panic is a fault of ours, and a refusal like any other: what is served stays.
async fn build(snapshot: &Arc<Snapshot>, before: Option<Arc<Table>>) -> Result<Table, Refusal> {
    let snapshot = Arc::clone(snapshot);
    let built = spawn_blocking(move || Table::build(snapshot, before.as_deref())).await;
    built.unwrap_or_else(|panic| {
        Err(Refusal { part: String::new(), reason: format!("building the table failed: {panic}") })
    })
}

fn serve(shared: &Shared, table: Table, origin: Origin) {
    let revision = table.revision;
    shared.swap(Arc::new(table));
    shared.note(|progress| {
        progress.origin = Some(origin);
        progress.swapped = Some((Instant::now(), revision));
        progress.behind = None;
        progress.refused = None;
    });
}

fn note_refusal(shared: &Shared, revision: Revision, refusal: Refusal) {
    shared.metrics.refused_snapshots.add(1);
    shared.note(|progress| {
        progress.behind = None;
        progress.refused = Some((revision, refusal));
    });
}

/// Of the time that keeping takes, as a multiple, for how long nothing is kept afterwards: a snapshot is written whole,
/// and one change after the other among many routes would do nothing else.
const REST: u32 = 9;

/// Keeps the latest that is served, without holding up the next one. Before the end there is no rest.
async fn keep(shared: &Shared, mut latest: watch::Receiver<Option<Arc<Snapshot>>>, store: Option<Store>) {
    let Some(store) = store else { return };
    while latest.changed().await.is_ok() {
        let Some(snapshot) = latest.borrow_and_update().clone() else { continue };
        let (store, begun) = (store.clone(), Instant::now());
        match spawn_blocking(move || store.save(&snapshot)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "a restart would serve an older snapshot"),
            Err(panic) => tracing::error!(error = %panic, "a restart would serve an older snapshot"),
        }
        let (mut stages, mut source) = (shared.stages(), latest.clone());
        tokio::select! {
            () = sleep(begun.elapsed() * REST) => {}
            _ = stages.wait_for(|stage| *stage != Stage::Serving) => {}
            // No more will come.
            _ = source.wait_for(|_| false) => {}
        }
    }
}
