//! Takes snapshots from the channel, builds tables of them, and says whether it serves them.

use std::sync::Arc;

use ravelin_snapshot::{channel::Subscriber, store::Store};
use tokio::task::spawn_blocking;

use crate::{server::Shared, table::Table};

/// Runs until the channel ends. A table is swapped in before the snapshot is acknowledged and kept after, so that what
/// is acknowledged is served, and what is on disk was served.
pub async fn run(shared: Arc<Shared>, mut subscriber: Subscriber, store: Option<Store>) {
    while let Some(snapshot) = subscriber.next().await {
        let revision = snapshot.revision;
        let before = shared.table();
        let kept = Arc::clone(&snapshot);
        let built = spawn_blocking(move || Table::build(snapshot, Some(&before))).await;
        match built {
            Ok(Ok(table)) => {
                shared.swap(Arc::new(table));
                subscriber.accept(revision);
                if let Some(store) = store.clone() {
                    let saved = spawn_blocking(move || store.save(&kept)).await;
                    if let Ok(Err(error)) = saved {
                        tracing::error!(%error, "a restart would serve an older snapshot");
                    }
                }
            }
            Ok(Err(refusal)) => subscriber.refuse(revision, refusal),
            Err(panic) => {
                let reason = format!("building the table failed: {panic}");
                subscriber.refuse(revision, ravelin_snapshot::channel::Refusal { part: String::new(), reason });
            }
        }
    }
}
