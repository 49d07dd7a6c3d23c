//! The data plane's end: connects for ever, says what it holds, puts offers together.

use std::{
    hash::{BuildHasher, RandomState},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::value::RawValue;
use tokio::{
    net::{UnixStream, unix::OwnedReadHalf, unix::OwnedWriteHalf},
    sync::{mpsc, watch},
    time::{sleep, timeout},
};

use crate::{Digest, Snapshot};

use super::{Ended, HANDSHAKE};
use crate::channel::{
    Refusal, Subscriber,
    delivery::Name,
    frame::{FrameReader, FrameWriter, TO_CONTROLLER, TO_DATA_PLANE},
    subscriber::{Answer, Holdings, Link, holdings, lock},
    wire::{self, PREFACE, Preface, ToController, ToDataPlane, Unfit},
};

/// Parts to a frame of `Holds`: below the cap, names being 253 bytes at most.
const PARTS_PER_FRAME: usize = 500;

/// Between attempts to connect: doubled each time, with jitter, and short at most, for a local socket costs little.
#[derive(Clone, Copy, Debug)]
pub(in crate::channel) struct Backoff {
    pub first: Duration,
    pub most: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(20), most: Duration::from_secs(1) }
    }
}

impl Backoff {
    fn after(self, failures: u32) -> Duration {
        let full = self.first.saturating_mul(1 << failures.min(16)).min(self.most);
        // From a half to the whole: a fresh hasher's keys are random.
        full.mul_f64(0.5 + (RandomState::new().hash_one(failures) % 1024) as f64 / 2048.0)
    }
}

pub(in crate::channel) fn connect(path: PathBuf, serving: Option<Arc<Snapshot>>, backoff: Backoff) -> Subscriber {
    let (offer, offers) = watch::channel(None);
    let (flag, connected) = watch::channel(false);
    let (answers, heard) = mpsc::unbounded_channel();
    let holdings = Arc::new(Mutex::new(holdings(serving)));
    let carrier = Carrier { holdings: Arc::clone(&holdings), offer, connected: flag, answers: heard };
    let task = tokio::spawn(carrier.run(path, backoff));
    Subscriber::new(offers, holdings, connected, Link::Unix { answers, task: task.abort_handle() })
}

struct Carrier {
    holdings: Arc<Mutex<Holdings>>,
    offer: watch::Sender<Option<Arc<Snapshot>>>,
    connected: watch::Sender<bool>,
    answers: mpsc::UnboundedReceiver<Answer>,
}

impl Carrier {
    async fn run(mut self, path: PathBuf, backoff: Backoff) {
        let (mut failures, mut told) = (0, String::new());
        loop {
            let Err(ended) = self.converse(&path).await;
            if self.connected.send_replace(false) {
                failures = 0;
            }
            let ended = ended.to_string();
            if told != ended {
                tracing::warn!(path = %path.display(), ended, "no controller; what is served stays, and it is called again and again");
                told = ended;
            }
            sleep(backoff.after(failures)).await;
            failures += 1;
        }
    }

    /// One connection, to its end.
    async fn converse(&mut self, path: &PathBuf) -> Result<std::convert::Infallible, Ended> {
        let (reader, writer) = UnixStream::connect(path).await?.into_split();
        let mut reader = FrameReader::new(reader, TO_DATA_PLANE);
        let mut writer = FrameWriter::new(writer, TO_CONTROLLER);
        // What was not said in time is in the greeting, or is said of a snapshot that will be offered again.
        while self.answers.try_recv().is_ok() {}
        let serving = timeout(HANDSHAKE, self.greet(&mut reader, &mut writer)).await??;
        self.connected.send_replace(true);
        tracing::info!(path = %path.display(), "connected to the controller");
        let mut assembly = Assembly::new(serving.as_ref());
        loop {
            let reply = tokio::select! {
                told = reader.next() => match assembly.take(told?)? {
                    Some(Taken::Whole(snapshot)) => {
                        lock(&self.holdings).seen(&snapshot);
                        self.offer.send_replace(Some(snapshot));
                        None
                    }
                    Some(Taken::Reply(reply)) => Some(reply),
                    None => None,
                },
                Some(Answer { name, verdict }) = self.answers.recv() => Some(match verdict {
                    Ok(()) => ToController::Accept(name),
                    Err(refusal) => ToController::Refuse { name, refusal },
                }),
            };
            if let Some(reply) = reply {
                writer.put(&reply).await?;
                writer.flush().await?;
            }
        }
    }

    /// Returns what the controller knows to be held.
    async fn greet(
        &self,
        reader: &mut FrameReader<OwnedReadHalf>,
        writer: &mut FrameWriter<OwnedWriteHalf>,
    ) -> Result<Option<Arc<Snapshot>>, Ended> {
        writer.put(&PREFACE).await?;
        writer.flush().await?;
        let Preface { ravelin_snapshot: theirs } = reader.next().await?;
        if theirs != crate::FORM {
            return Err(Ended::Version { theirs, ours: crate::FORM });
        }
        let (serving, greeting) = {
            let holdings = lock(&self.holdings);
            (holdings.serving.clone(), holdings.greeting())
        };
        let parts = serving.as_deref().map(wire::digests).unwrap_or_default();
        let count = parts.len() as u64;
        writer.put(&ToController::Hello { serving: greeting.serving, seen: greeting.seen, parts: count }).await?;
        for some in parts.chunks(PARTS_PER_FRAME) {
            writer.put(&ToController::Holds(some.to_vec())).await?;
        }
        writer.flush().await?;
        Ok(serving)
    }
}

/// Puts offers together. What is held changes only when an offer is complete and sound.
struct Assembly {
    held: Snapshot,
    /// `None`: nothing is held, which is not the same as holding a snapshot of nothing.
    base: Option<Digest>,
    offer: Offer,
    /// The offer that was asked for again; a second fault of it is final.
    again: Option<Name>,
}

enum Offer {
    None,
    Open {
        name: Name,
        staged: Snapshot,
    },
    /// It is of no use; the rest of it is passed over.
    Spoilt {
        name: Name,
        reply: ToController,
    },
}

enum Taken {
    Whole(Arc<Snapshot>),
    Reply(ToController),
}

impl Assembly {
    fn new(serving: Option<&Arc<Snapshot>>) -> Self {
        let base = serving.map(|snapshot| snapshot.digest());
        Self {
            held: serving.map(|snapshot| Snapshot::clone(snapshot)).unwrap_or_default(),
            base,
            offer: Offer::None,
            again: None,
        }
    }

    fn take(&mut self, told: ToDataPlane<Box<RawValue>>) -> Result<Option<Taken>, Ended> {
        match told {
            ToDataPlane::Begin { name, base } => self.begin(name, base),
            ToDataPlane::Put { key, digest, value } => match &mut self.offer {
                Offer::Open { name, staged } => {
                    let name = *name;
                    match wire::put(staged, &key, digest, &value) {
                        Ok(()) => {}
                        Err(Unfit::Damaged) => self.spoil(name, "a part is not of its digest"),
                        Err(Unfit::Malformed(refusal)) => {
                            self.offer = Offer::Spoilt { name, reply: ToController::Refuse { name, refusal } };
                        }
                    }
                }
                Offer::Spoilt { .. } => {}
                Offer::None => return Err(Ended::Protocol("a part of no offer")),
            },
            ToDataPlane::Remove(key) => match &mut self.offer {
                Offer::Open { staged, .. } => wire::remove(staged, &key),
                Offer::Spoilt { .. } => {}
                Offer::None => return Err(Ended::Protocol("a part of no offer")),
            },
            ToDataPlane::Abort(_) => self.offer = Offer::None,
            ToDataPlane::Commit(revision) => {
                if let Offer::Open { name, staged } = &self.offer
                    && staged.digest() != name.digest
                {
                    self.spoil(*name, "the whole is not of its digest");
                }
                return match std::mem::replace(&mut self.offer, Offer::None) {
                    Offer::Open { name, staged } if name.revision == revision => {
                        self.held = Snapshot { revision, ..staged };
                        self.base = Some(name.digest);
                        Ok(Some(Taken::Whole(Arc::new(self.held.clone()))))
                    }
                    Offer::Spoilt { name, reply } if name.revision == revision => Ok(Some(Taken::Reply(reply))),
                    _ => Err(Ended::Protocol("the end of another offer")),
                };
            }
        }
        Ok(None)
    }

    fn begin(&mut self, name: Name, base: Option<Digest>) {
        match base {
            None => self.offer = Offer::Open { name, staged: Snapshot::default() },
            base if base == self.base => self.offer = Offer::Open { name, staged: self.held.clone() },
            Some(_) => self.spoil(name, "it builds on a snapshot that is not held"),
        }
    }

    /// Asks for the whole offer, once; then refuses it.
    fn spoil(&mut self, name: Name, reason: &str) {
        let reply = if self.again == Some(name) {
            let refusal = Refusal { part: String::new(), reason: format!("it was damaged on the way twice: {reason}") };
            ToController::Refuse { name, refusal }
        } else {
            self.again = Some(name);
            ToController::Resync(name.revision)
        };
        self.offer = Offer::Spoilt { name, reply };
    }
}
