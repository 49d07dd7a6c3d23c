//! The loop between a source and the channel: at once when idle, the latest when busy.

use std::sync::Arc;

use ravelin_snapshot::{Revision, channel::Publisher};
use tokio::sync::watch;

use crate::{
    compile::{Compiled, Options, compile},
    files::FileFinding,
    model::Model,
    watch::Observed,
};

/// What a source sends: the world at one instant, complete.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub model: Model,
    /// What is wrong in the files that this comes from.
    pub findings: Vec<FileFinding>,
    /// What an API server said beside the objects.
    pub observed: Observed,
}

/// What was last compiled and handed to the channel.
#[derive(Clone, Debug)]
pub struct Published {
    pub world: Arc<World>,
    pub compiled: Arc<Compiled>,
    pub revision: Revision,
}

/// Runs until the source ends. `worlds` holds `None` until the source is complete.
pub async fn run(
    mut worlds: watch::Receiver<Option<Arc<World>>>,
    options: Options,
    publisher: Publisher,
    board: watch::Sender<Option<Arc<Published>>>,
) {
    worlds.mark_changed();
    let mut previous: Option<Arc<Compiled>> = None;
    while worlds.changed().await.is_ok() {
        let Some(world) = worlds.borrow_and_update().clone() else { continue };
        let compiled = Arc::new(compile(&world.model, options, previous.as_deref()));
        let revision = publisher.publish(compiled.snapshot.clone());
        previous = Some(Arc::clone(&compiled));
        board.send_replace(Some(Arc::new(Published { world, compiled, revision })));
    }
}
