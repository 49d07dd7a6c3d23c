//! The controller's end: accepts data planes and offers each what it lacks.

use std::{
    collections::HashMap,
    fs,
    io::{self, ErrorKind},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{Revision, Snapshot};

use super::{Ended, HANDSHAKE};
use crate::channel::{
    Publisher, Refusal,
    delivery::{Desk, Greeting, Name, Session},
    frame::{FrameError, FrameReader, FrameWriter, TO_CONTROLLER, TO_DATA_PLANE},
    wire::{Held, PREFACE, Preface, ToController, ToDataPlane, Value},
};

/// Connections at once, those included that have not said who they are.
const MAX_CONNECTIONS: usize = 16;
/// Parts that a data plane may say it holds.
const MAX_PARTS: u64 = 1 << 20;
/// Numbers beyond are no revisions: JSON's readers disagree on them, and the next must not overflow.
const MAX_REVISION: Revision = Revision(1 << 53);

pub(super) fn listen(path: &Path) -> io::Result<Publisher> {
    let listener = bind(path)?;
    let desk = Arc::<Desk>::default();
    let task = tokio::spawn(accept(listener, Arc::clone(&desk)));
    Ok(Publisher::new(desk, Some(task.abort_handle())))
}

/// Under another name first: whoever finds the socket at `path` finds it listening and with its mode.
fn bind(path: &Path) -> io::Result<UnixListener> {
    // Short, and no longer than most names: the path of a socket has 107 bytes at most.
    let temporary = path.with_file_name(format!(".{:x}", std::process::id()));
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&temporary)?;
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o600))?;
    fs::rename(&temporary, path)?;
    Ok(listener)
}

async fn accept(listener: UnixListener, desk: Arc<Desk>) {
    // Dropped with this task, and the connections with it.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok(_) if connections.len() >= MAX_CONNECTIONS => {
                tracing::warn!("too many connections to the snapshot socket");
            }
            Ok((stream, _)) => drop(connections.spawn(serve(stream, Arc::clone(&desk)))),
            Err(error) => {
                tracing::warn!(%error, "the snapshot socket accepts nothing");
                sleep(Duration::from_millis(100)).await; // out of descriptors: there is nothing to wait for
            }
        }
    }
}

async fn serve(stream: UnixStream, desk: Arc<Desk>) {
    let (reader, writer) = stream.into_split();
    let mut reader = FrameReader::new(reader, TO_CONTROLLER);
    let mut writer = FrameWriter::new(writer, TO_DATA_PLANE);
    let (greeting, held) = match timeout(HANDSHAKE, handshake(&mut reader, &mut writer)).await {
        Ok(Ok(done)) => done,
        Ok(Err(ended)) => return tracing::warn!(%ended, "a data plane could not connect"),
        Err(elapsed) => return tracing::warn!(ended = %Ended::from(elapsed), "a data plane could not connect"),
    };
    let session = desk.greet(greeting);
    tracing::info!(serving = greeting.serving.map(|name| name.revision.0), "a data plane is connected");
    let mut offering =
        Offering { reader, writer, seat: Seat { desk, session }, held, sent: greeting.serving, waiting: None };
    match offering.run().await {
        Err(Ended::Frame(FrameError::Closed) | Ended::Superseded) => tracing::info!("the data plane has gone"),
        Err(ended) => tracing::warn!(%ended, "the connection to the data plane has ended"),
        Ok(()) => {}
    }
}

type Reader = FrameReader<OwnedReadHalf>;
type Writer = FrameWriter<OwnedWriteHalf>;

async fn handshake(reader: &mut Reader, writer: &mut Writer) -> Result<(Greeting, Held), Ended> {
    writer.put(&PREFACE).await?;
    writer.flush().await?;
    let Preface { ravelin_snapshot: theirs } = reader.next().await?;
    if theirs != crate::FORM {
        return Err(Ended::Version { theirs, ours: crate::FORM });
    }
    let ToController::Hello { serving, seen, parts } = reader.next().await? else {
        return Err(Ended::Protocol("it does not begin with Hello"));
    };
    if [serving, seen].into_iter().flatten().any(|name| name.revision > MAX_REVISION) {
        return Err(Ended::Protocol("a revision out of range"));
    }
    if parts > MAX_PARTS {
        return Err(Ended::Protocol("it holds too many parts"));
    }
    let mut held = HashMap::new();
    while (held.len() as u64) < parts {
        let ToController::Holds(more) = reader.next().await? else {
            return Err(Ended::Protocol("it does not say what it holds"));
        };
        let before = held.len();
        held.extend(more);
        if held.len() == before {
            return Err(Ended::Protocol("it holds less than it says"));
        }
    }
    let held = serving.map_or(Held::Nothing, |serving| Held::Digests(serving.digest, held));
    Ok((Greeting { serving, seen }, held))
}

/// Gives the place up at the end, however it comes.
struct Seat {
    desk: Arc<Desk>,
    session: Session,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.desk.leave(self.session);
    }
}

struct Offering {
    reader: Reader,
    writer: Writer,
    seat: Seat,
    held: Held,
    /// The latest that the data plane has or was offered.
    sent: Option<Name>,
    /// The offer without an answer. The next one waits for it: this is where the channel conflates.
    waiting: Option<Name>,
}

impl Offering {
    async fn run(&mut self) -> Result<(), Ended> {
        let session = self.seat.session;
        let mut sessions = self.seat.desk.session.subscribe();
        let mut latest = self.seat.desk.latest.subscribe();
        latest.mark_changed();
        loop {
            tokio::select! {
                () = async { drop(sessions.wait_for(|current| *current != session).await) } => return Err(Ended::Superseded),
                told = self.reader.next() => self.hear(told?).await?,
                changed = latest.changed(), if self.waiting.is_none() => {
                    // Invariant: this task holds the desk, and the desk the sender.
                    changed.expect("the desk is here (invariant)");
                    let snapshot = latest.borrow_and_update().clone();
                    if let Some(snapshot) = snapshot.filter(|snapshot| Some(Name::of(snapshot)) != self.sent) {
                        self.offer(snapshot).await?;
                    }
                }
            }
        }
    }

    async fn hear(&mut self, told: ToController) -> Result<(), Ended> {
        let (name, verdict) = match told {
            ToController::Accept(name) => (name, Ok(())),
            ToController::Refuse { name, refusal } => (name, Err(refusal)),
            ToController::Resync(revision) => {
                let offered = match std::mem::replace(&mut self.held, Held::Nothing) {
                    Held::Offered(snapshot) if self.waiting.is_some_and(|name| name.revision == revision) => snapshot,
                    _ => return Err(Ended::Protocol("it asks for what it was not offered")),
                };
                tracing::warn!(revision = revision.0, "the data plane asks for the whole snapshot");
                return self.offer(offered).await;
            }
            ToController::Hello { .. } | ToController::Holds(_) => {
                return Err(Ended::Protocol("it says twice what it holds"));
            }
        };
        // An answer to an offer of an earlier connection says nothing about this one's.
        if self.waiting.take_if(|waiting| *waiting == name).is_some() {
            self.seat.desk.answer(self.seat.session, name, verdict);
        }
        Ok(())
    }

    async fn offer(&mut self, snapshot: Arc<Snapshot>) -> Result<(), Ended> {
        let name = Name::of(&snapshot);
        self.sent = Some(name);
        self.writer.put(&ToDataPlane::<Value<'_>>::Begin { name, base: self.held.digest() }).await?;
        for change in self.held.changes(&snapshot) {
            match self.writer.put(&change).await {
                Err(FrameError::Oversized { cap, .. }) => {
                    let part = match change {
                        ToDataPlane::Put { key, .. } => key.to_string(),
                        _ => String::new(),
                    };
                    let refusal = Refusal { part, reason: format!("it is larger than {cap} bytes") };
                    self.writer.put(&ToDataPlane::<Value<'_>>::Abort(name.revision)).await?;
                    self.writer.flush().await?;
                    self.seat.desk.answer(self.seat.session, name, Err(refusal));
                    return Ok(());
                }
                put => put?,
            }
        }
        self.writer.put(&ToDataPlane::<Value<'_>>::Commit(name.revision)).await?;
        self.writer.flush().await?;
        self.waiting = Some(name);
        self.held = Held::Offered(snapshot);
        Ok(())
    }
}
