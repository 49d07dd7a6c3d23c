//! The loop between a source and the channel: at once when idle, the latest when busy.

mod kept;

use std::{
    future::pending,
    sync::Arc,
    time::{Duration, SystemTime},
};

use ravelin_snapshot::{Revision, channel::Publisher};
use tokio::{sync::watch, time::sleep};

use crate::{
    compile::{Compiled, Options, compile},
    files::FileFinding,
    model::Model,
    object::{Kind, ObjectRef},
    verdict::{Reason, State, Verdict},
    watch::Observed,
};
use kept::{Kept, time_until};

/// Clocks are set, so that no sleep is longer.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// What a source sends: the world at one instant, complete.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub model: Model,
    /// What is wrong in the files that this comes from.
    pub findings: Vec<FileFinding>,
    /// What an API server said beside the objects.
    pub observed: Observed,
}

/// What was last compiled.
#[derive(Clone, Debug)]
pub struct Published {
    pub world: Arc<World>,
    pub compiled: Arc<Compiled>,
    /// What was last handed to the channel: `compiled`, but while the installed CRDs are outdated.
    pub handed_on: Arc<Compiled>,
    /// Of `handed_on`.
    pub revision: Revision,
}

impl Published {
    /// Whether a data plane that has acknowledged this revision serves the object as it is here.
    pub fn is_served(&self, object: &ObjectRef, acknowledged: Revision) -> bool {
        let handed_on = self.handed_on.verdicts.get(object);
        acknowledged >= self.revision && handed_on.is_some() && handed_on == self.compiled.verdicts.get(object)
    }
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
    let (mut handed_on, mut revision) = (Arc::<Compiled>::default(), Revision::default());
    let mut kept = Kept::default();
    loop {
        let now = SystemTime::now();
        let moment = previous.as_ref().and_then(|previous| previous.next_moment).map(|moment| time_until(moment, now));
        let next = kept.expiry(now).into_iter().chain(moment).min();
        let passes =
            async { if let Some(after) = next { sleep(after.min(LONGEST_SLEEP)).await } else { pending().await } };
        tokio::select! {
            changed = worlds.changed() => if changed.is_err() { return },
            () = passes => {}
        }
        let Some(world) = worlds.borrow_and_update().clone() else { continue };
        let (served, now) = (previous.as_ref().map(|previous| &previous.snapshot), SystemTime::now());
        let model = kept.fill(world.model.clone(), served, now).at(now);
        let mut compiled = Arc::new(compile(&model, options, previous.as_deref()));
        previous = Some(Arc::clone(&compiled));
        if world.observed.lacking.is_empty() {
            revision = publisher.publish(compiled.snapshot.clone());
            handed_on = Arc::clone(&compiled);
        } else {
            compiled = Arc::new(outdated(&compiled, &world.observed.lacking));
        }
        let handed_on = Arc::clone(&handed_on);
        board.send_replace(Some(Arc::new(Published { world, compiled, handed_on, revision })));
    }
}

/// The API server drops what its CRDs do not know, so a policy may say less than its user did: what was served before
/// stays, a new replica serves nothing, and every policy says why.
fn outdated(compiled: &Compiled, lacking: &[String]) -> Compiled {
    let message =
        format!("The installed CRDs are older than the controller: {}. Apply those of its chart.", lacking.join("; "));
    let mut compiled = compiled.clone();
    let policies = |kind| matches!(kind, Kind::AuthPolicy | Kind::RateLimitPolicy | Kind::BackendPolicy);
    let judged: Vec<_> = compiled.verdicts.iter().filter(|(object, _)| policies(object.kind)).collect();
    let judged: Vec<_> = judged.into_iter().map(|(object, verdict)| (object.clone(), (**verdict).clone())).collect();
    for (object, verdict) in judged {
        let accepted = State { status: false, reason: Reason::SchemaOutdated, message: message.clone().into() };
        compiled.verdicts.set(object, Verdict { accepted, ..verdict });
    }
    compiled
}
