//! The data plane's side of the channel, whatever carries it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
};

use crate::{Revision, Snapshot};

use super::{
    Refusal,
    checker::Checker,
    delivery::{Desk, Greeting, Name, Session},
};

/// Receives snapshots. There is one to a channel; dropping it disconnects.
pub struct Subscriber {
    offers: watch::Receiver<Option<Arc<Snapshot>>>,
    checker: Checker,
    holdings: Arc<Mutex<Holdings>>,
    connected: watch::Receiver<bool>,
    link: Link,
}

/// The way back.
pub(super) enum Link {
    /// The flag is held so that whoever watches it waits, for a change that never comes.
    Memory {
        desk: Weak<Desk>,
        session: Session,
        _connected: watch::Sender<bool>,
    },
    Unix {
        answers: mpsc::UnboundedSender<Answer>,
        task: AbortHandle,
    },
}

/// What became of a snapshot.
pub(super) struct Answer {
    pub name: Name,
    pub verdict: Result<(), Refusal>,
}

/// What the data plane has.
#[derive(Default)]
pub(super) struct Holdings {
    pub serving: Option<Arc<Snapshot>>,
    seen: Option<Name>,
    /// Handed out and not answered yet.
    open: BTreeMap<Revision, Arc<Snapshot>>,
}

/// More than this are not worked on at once; the oldest is forgotten, and its answer goes nowhere.
const MAX_OPEN: usize = 16;

/// Of a refusal, in characters.
const MAX_REASON: usize = 4096;

impl Holdings {
    pub(super) fn greeting(&self) -> Greeting {
        Greeting { serving: self.serving.as_deref().map(Name::of), seen: self.seen }
    }

    /// A snapshot has come. It is noted before it can be handed out, so that its revision never comes to mean another.
    pub(super) fn seen(&mut self, snapshot: &Snapshot) {
        self.seen = Some(Name::of(snapshot));
    }

    fn hand_out(&mut self, snapshot: &Arc<Snapshot>) {
        self.open.insert(snapshot.revision, Arc::clone(snapshot));
        if self.open.len() > MAX_OPEN {
            self.open.pop_first();
        }
    }
}

impl Subscriber {
    pub(super) fn new(
        offers: watch::Receiver<Option<Arc<Snapshot>>>,
        holdings: Arc<Mutex<Holdings>>,
        connected: watch::Receiver<bool>,
        link: Link,
    ) -> Self {
        Self { offers, checker: Checker::default(), holdings, connected, link }
    }

    /// The latest snapshot, once it is another than the last one that was returned. `None`: there will be no more.
    /// Each is to be answered with [`Self::accept`] or [`Self::refuse`]. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Arc<Snapshot>> {
        loop {
            self.offers.changed().await.ok()?;
            let Some(snapshot) = self.offers.borrow_and_update().clone() else { continue };
            if lock(&self.holdings).serving.as_deref().map(Name::of) == Some(Name::of(&snapshot)) {
                self.answer(Name::of(&snapshot), Ok(()));
                continue;
            }
            lock(&self.holdings).hand_out(&snapshot);
            match self.checker.check(&snapshot) {
                Ok(()) => return Some(snapshot),
                Err(dangling) => {
                    let refusal = Refusal { part: dangling.part.clone(), reason: dangling.to_string() };
                    self.refuse(snapshot.revision, refusal);
                }
            }
        }
    }

    /// The snapshot of that revision is served from now on, by every worker.
    pub fn accept(&self, revision: Revision) {
        let mut holdings = lock(&self.holdings);
        let Some(snapshot) = holdings.open.remove(&revision) else { return };
        let name = Name::of(&snapshot);
        holdings.open.retain(|open, _| *open > revision);
        holdings.serving = Some(snapshot);
        drop(holdings);
        self.answer(name, Ok(()));
    }

    /// The snapshot of that revision is not served; what was served before still is.
    pub fn refuse(&self, revision: Revision, refusal: Refusal) {
        let Some(snapshot) = lock(&self.holdings).open.remove(&revision) else { return };
        let refusal = Refusal { reason: refusal.reason.chars().take(MAX_REASON).collect(), ..refusal };
        self.answer(Name::of(&snapshot), Err(refusal));
    }

    /// Whether a controller is there now.
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.connected.clone()
    }

    fn answer(&self, name: Name, verdict: Result<(), Refusal>) {
        match &self.link {
            Link::Memory { desk, session, .. } => {
                if let Some(desk) = desk.upgrade() {
                    desk.answer(*session, name, verdict);
                }
            }
            // The task ends only with this subscriber.
            Link::Unix { answers, .. } => drop(answers.send(Answer { name, verdict })),
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        match &self.link {
            Link::Memory { desk, session, .. } => {
                if let Some(desk) = desk.upgrade() {
                    desk.leave(*session);
                }
            }
            Link::Unix { task, .. } => task.abort(),
        }
    }
}

/// Of a data plane that starts with what it kept.
pub(super) fn holdings(serving: Option<Arc<Snapshot>>) -> Holdings {
    Holdings { seen: serving.as_deref().map(Name::of), serving, open: BTreeMap::new() }
}

pub(super) fn lock(holdings: &Mutex<Holdings>) -> MutexGuard<'_, Holdings> {
    // A panic elsewhere leaves them whole: no change of them panics half-way.
    holdings.lock().unwrap_or_else(PoisonError::into_inner)
}
