//! The controller's side of the channel, whatever carries it: what is published, and what became of it.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use tokio::{sync::watch, task::AbortHandle};

use crate::{Digest, Revision, Snapshot};

/// Publishes snapshots. Copies publish into the same channel; it closes with the last of them.
#[derive(Clone)]
pub struct Publisher {
    pub(super) desk: Arc<Desk>,
    /// Ends the carrier's task with the last copy of the publisher.
    _carrier: Option<Arc<Carrier>>,
}

/// What is known about the data plane and the snapshots that were published to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    pub connected: bool,
    /// The latest. A snapshot may get a higher revision than `publish` returned when a data plane connects that has
    /// seen that one already; revisions never fall, so `acknowledged >= returned` is the question to ask.
    pub published: Option<Revision>,
    /// What the data plane serves, or served when it was last heard of. `None` while it serves something that this
    /// publisher has not published.
    pub acknowledged: Option<Revision>,
    /// The last refusal; gone when a later revision is acknowledged or another data plane connects.
    pub refused: Option<(Revision, Refusal)>,
}

/// Why a data plane did not take a snapshot: a fault of the compiler, or damage on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// As `route shop/orders`; empty if it is the whole.
    pub part: String,
    pub reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part.as_str() {
            "" => f.write_str(&self.reason),
            part => write!(f, "{part}: {}", self.reason),
        }
    }
}

impl Publisher {
    pub(super) fn new(desk: Arc<Desk>, task: Option<AbortHandle>) -> Self {
        Self { desk, _carrier: task.map(|task| Arc::new(Carrier(task))) }
    }

    /// Makes `snapshot` the one to be served and returns its revision; whatever its `revision` said. A snapshot that
    /// equals the latest is the latest, and gets no revision of its own.
    pub fn publish(&self, snapshot: Snapshot) -> Revision {
        self.desk.publish(snapshot)
    }

    pub fn delivery(&self) -> watch::Receiver<Delivery> {
        self.desk.delivery.subscribe()
    }
}

struct Carrier(AbortHandle);

impl Drop for Carrier {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A snapshot by its number and its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Name {
    pub revision: Revision,
    pub digest: Digest,
}

impl Name {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        Self { revision: snapshot.revision, digest: snapshot.digest() }
    }
}

/// What a data plane says when it connects.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Greeting {
    pub serving: Option<Name>,
    /// The newest that ever reached it, served or not: numbers up to this one mean something to it already.
    pub seen: Option<Name>,
}

/// Tells one connection of a data plane from those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Session(u64);

/// Where publishers, carriers and data planes meet.
#[derive(Default)]
pub(super) struct Desk {
    book: Mutex<Book>,
    pub(super) latest: watch::Sender<Option<Arc<Snapshot>>>,
    /// The connection that counts: a later one puts an earlier one out.
    pub(super) session: watch::Sender<Session>,
    delivery: watch::Sender<Delivery>,
}

/// Changed only under the lock, together with the watches above.
#[derive(Default)]
struct Book {
    /// The highest that was given, or that a data plane named.
    last: Revision,
    acknowledged: Option<Name>,
}

impl Desk {
    fn book(&self) -> MutexGuard<'_, Book> {
        // A panic elsewhere leaves the book whole: each change of it is one assignment.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, snapshot: Snapshot) -> Revision {
        let mut book = self.book();
        if let Some(latest) = self.latest.borrow().as_ref().filter(|latest| latest.digest() == snapshot.digest()) {
            return latest.revision;
        }
        let revision = book.last.next();
        self.number(&mut book, snapshot, revision)
    }

    fn number(&self, book: &mut Book, snapshot: Snapshot, revision: Revision) -> Revision {
        book.last = book.last.max(revision);
        self.latest.send_replace(Some(Arc::new(Snapshot { revision, ..snapshot })));
        self.delivery.send_modify(|delivery| delivery.published = Some(revision));
        revision
    }

    /// A data plane has connected. Afterwards the latest snapshot has a number that cannot be mistaken for another.
    pub(super) fn greet(&self, greeting: Greeting) -> Session {
        let mut book = self.book();
        let Greeting { serving, seen } = greeting;
        book.last = [serving, seen].into_iter().flatten().map(|name| name.revision).fold(book.last, Revision::max);
        let latest = self.latest.borrow().clone();
        if let (Some(latest), Some(seen)) = (latest, seen.or(serving)) {
            let name = Name::of(&latest);
            if name.digest == seen.digest && name.revision < seen.revision {
                self.number(&mut book, (*latest).clone(), seen.revision);
            } else if name.digest != seen.digest && name.revision <= seen.revision {
                let next = book.last.next();
                self.number(&mut book, (*latest).clone(), next);
            }
        }
        let ours = |name: &Name| {
            Some(*name) == book.acknowledged || self.latest.borrow().as_deref().map(Name::of) == Some(*name)
        };
        book.acknowledged = serving.filter(ours);
        let acknowledged = book.acknowledged.map(|name| name.revision);
        self.delivery.send_modify(|delivery| {
            *delivery = Delivery { connected: true, published: delivery.published, acknowledged, refused: None };
        });
        let session = Session(self.session.borrow().0 + 1);
        self.session.send_replace(session);
        session
    }

    /// What the data plane made of `name`. The word of a connection that is put out counts no more.
    pub(super) fn answer(&self, session: Session, name: Name, answer: Result<(), Refusal>) {
        let mut book = self.book();
        if *self.session.borrow() != session {
            return;
        }
        match answer {
            Ok(()) => {
                book.acknowledged = Some(name);
                self.delivery.send_modify(|delivery| {
                    delivery.acknowledged = Some(name.revision);
                    delivery.refused.take_if(|(refused, _)| *refused <= name.revision);
                });
            }
            Err(refusal) => {
                tracing::error!(
                    revision = name.revision.0,
                    part = refusal.part,
                    reason = refusal.reason,
                    "the data plane refused a snapshot and serves the one before it"
                );
                self.delivery.send_modify(|delivery| delivery.refused = Some((name.revision, refusal)));
            }
        }
    }

    pub(super) fn leave(&self, session: Session) {
        let _book = self.book();
        if *self.session.borrow() == session {
            self.delivery.send_modify(|delivery| delivery.connected = false);
        }
    }
}
