//! One thread: a runtime, listeners, and connections, none of which is shared with another. What is
//! (the table, limits, counts of backends) is in atomics, or behind locks that nobody holds while he waits.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    ops::Deref,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Poll, Waker},
    thread,
    time::{Duration, SystemTime},
};

use http::HeaderValue;
use hyper::server::conn::http1;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, LocalOptions},
    sync::{Notify, mpsc::UnboundedReceiver, oneshot},
    task::{coop::unconstrained, spawn_local},
};

use super::{Doors, Shared, Stage, connection, spread::Accepted};
use crate::{
    Settings, clock,
    metrics::work_as,
    record::Recorder,
    request::{RequestIds, Scheme},
    session::Seals,
    table::Table,
    upstream::Pools,
};

/// What one worker's thread owns.
pub struct Worker {
    number: usize,
    pub settings: Settings,
    /// Its connections to backends.
    pub pools: Pools,
    /// Its counters and its end of the access log.
    pub recorder: Rc<Recorder>,
    pub(super) shared: Arc<Shared>,
    pub(super) http1: http1::Builder,
    table: RefCell<Rc<Held>>,
    ids: RequestIds,
    date: Cell<(u64, Date)>,
    closing: Cell<bool>,
    bell: Bell,
    /// Connections and tunnels.
    open: Cell<usize>,
    emptied: Notify,
}

/// In the form of RFC 9110, 5.6.7.
pub(super) type Date = [u8; 29];

fn date_of(second: u64) -> Date {
    let time = i64::try_from(second).ok().and_then(|second| chrono::DateTime::from_timestamp(second, 0));
    let text = time.unwrap_or_default().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    // Invariant: it has that length from year 0 to 9999.
    text.as_bytes().try_into().unwrap_or(*b"Thu, 01 Jan 1970 00:00:00 GMT")
}

/// A table as one worker holds it.
pub struct Held(Arc<Table>);

impl Deref for Held {
    type Target = Table;

    fn deref(&self) -> &Table {
        &self.0
    }
}

impl Worker {
    pub(crate) fn new(number: usize, shared: Arc<Shared>) -> Rc<Self> {
        Rc::new(Self {
            number,
            settings: shared.settings.clone(),
            pools: Pools::default(),
            recorder: Recorder::new(&shared.metrics, shared.log.as_ref(), shared.audit.as_ref()),
            http1: connection::http1::builder(&shared.settings.bounds),
            table: RefCell::new(Rc::new(Held(shared.table()))),
            ids: RequestIds::new(),
            date: Cell::new((u64::MAX, [0; 29])),
            closing: Cell::new(false),
            bell: Bell::default(),
            open: Cell::new(0),
            emptied: Notify::new(),
            shared,
        })
    }

    /// The table for one request: loaded once, held to its end. The count of references is this worker's own.
    pub fn table(&self) -> Rc<Held> {
        let current = self.shared.table.load();
        let mut mine = self.table.borrow_mut();
        if !Arc::ptr_eq(&current, &mine.0) {
            *mine = Rc::new(Held(Arc::clone(&current)));
        }
        Rc::clone(&mine)
    }

    /// A fresh `x-request-id`.
    pub fn request_id(&self) -> HeaderValue {
        self.ids.next()
    }

    /// Of values that keep clients on their endpoints.
    pub(crate) fn seals(&self) -> Arc<Seals> {
        self.shared.seals.load_full()
    }

    /// `Date`, as it is now.
    pub(super) fn date(&self) -> Date {
        let now = clock::seconds(SystemTime::now());
        let (second, date) = self.date.get();
        if second == now {
            return date;
        }
        let date = date_of(now);
        self.date.set((now, date));
        date
    }

    /// And as a header.
    pub(super) fn date_value(&self) -> HeaderValue {
        // Invariant: it is visible ASCII.
        HeaderValue::from_bytes(&self.date()).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// Answers tell clients to come again over another connection.
    pub fn closing(&self) -> bool {
        self.closing.get()
    }

    /// Runs something that outlives a connection, as a tunnel does; a drain waits for it, and ends it when its time is over.
    /// It counts with the connections of the listener that it came by.
    pub fn spawn(self: &Rc<Self>, from: Scheme, future: impl Future<Output = ()> + 'static) {
        self.shared.spread.enter(self.number);
        let seat = Seat::take(self, usize::MAX, from == Scheme::Https);
        spawn_local(async move {
            future.await;
            drop(seat);
        });
    }

    /// Wakes the task now and when closing begins.
    pub(super) fn listen(self: &Rc<Self>, waker: &Waker) -> Listening {
        let number = self.bell.next.get();
        self.bell.next.set(number + 1);
        self.bell.wakers.borrow_mut().insert(number, waker.clone());
        Listening { worker: Rc::clone(self), number }
    }

    fn close(&self) {
        self.closing.set(true);
        self.bell.wakers.borrow().values().for_each(Waker::wake_by_ref);
    }
}

/// Those who want to know when closing begins. A channel of the runtime's would lock at every wake of every connection.
#[derive(Default)]
struct Bell {
    next: Cell<u64>,
    wakers: RefCell<HashMap<u64, Waker>>,
}

pub(super) struct Listening {
    worker: Rc<Worker>,
    number: u64,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.worker.bell.wakers.borrow_mut().remove(&self.number);
    }
}

/// A place among the open connections of the process and of the worker.
pub(super) struct Seat {
    worker: Rc<Worker>,
    secure: bool,
}

impl Seat {
    /// Whoever takes one has been counted at the worker already. `None`: there are `max` in the process.
    fn take(worker: &Rc<Worker>, max: usize, secure: bool) -> Option<Self> {
        if worker.shared.connections.fetch_add(1, Relaxed) >= max {
            worker.shared.connections.fetch_sub(1, Relaxed);
            worker.shared.spread.leave(worker.number);
            return None;
        }
        worker.open.set(worker.open.get() + 1);
        if secure {
            worker.shared.secure.fetch_add(1, Relaxed);
        }
        Some(Self { worker: Rc::clone(worker), secure })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.secure {
            self.worker.shared.secure.fetch_sub(1, Relaxed);
        }
        self.worker.shared.connections.fetch_sub(1, Relaxed);
        self.worker.shared.spread.leave(self.worker.number);
        self.worker.open.set(self.worker.open.get() - 1);
        if self.worker.open.get() == 0 {
            self.worker.emptied.notify_waiters();
        }
    }
}

/// A worker's thread, seen from outside.
pub(super) struct Handle {
    finished: Option<oneshot::Receiver<()>>,
}

impl Handle {
    /// The second of its doors is for what other workers hand to it.
    pub(super) async fn start(
        number: usize,
        (outer, inner): (Doors, UnboundedReceiver<Accepted>),
        shared: &Arc<Shared>,
    ) -> io::Result<Self> {
        let (done, finished) = oneshot::channel();
        let (begun, begins) = oneshot::channel();
        let shared = Arc::clone(shared);
        thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            work_as(number);
            match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                Ok(runtime) => {
                    drop(begun.send(Ok(())));
                    runtime.block_on(serve(Worker::new(number, shared), outer, inner));
                }
                Err(error) => drop(begun.send(Err(error))),
            }
            drop(done);
        })?;
        begins.await.unwrap_or_else(|_| Err(io::Error::other("its thread broke down")))?;
        Ok(Self { finished: Some(finished) })
    }

    /// Returns when the thread has let go of its last connection.
    pub(super) async fn finished(&mut self) {
        if let Some(finished) = &mut self.finished {
            // Nothing is ever sent: the end of the sender is the message.
            drop(finished.await);
            self.finished = None;
        }
    }
}

async fn serve(worker: Rc<Worker>, outer: Doors, mut inner: UnboundedReceiver<Accepted>) {
    let Some(listeners) = Listeners::open(outer) else { return };
    let mut stage = worker.shared.stage.subscribe();
    let mut progress = worker.shared.progress.subscribe();
    loop {
        tokio::select! {
            accepted = listeners.accept() => match accepted {
                Ok((tcp, peer, secure)) => place(&worker, tcp, peer, secure),
                Err(error) => pause(&error).await,
            },
            Some(accepted) = inner.recv() => take(&worker, accepted),
            // What has left the table is freed, even if no request comes.
            Ok(()) = progress.changed() => drop(worker.table()),
            _ = stage.wait_for(|stage| *stage >= Stage::Closing) => break,
        }
    }
    worker.close();
    // Who waits in the queue has been told by the kernel that he is connected: he is served. What comes after the last look
    // and before the listener is gone is lost; load balancers have had `drain_delay` to send it elsewhere.
    unconstrained(listeners.empty(|tcp, peer, secure| place(&worker, tcp, peer, secure))).await;
    drop(listeners);
    // Nobody hands anything over from now on; what was handed over before is here.
    inner.close();
    while let Ok(accepted) = inner.try_recv() {
        take(&worker, accepted);
    }
    let emptied = worker.emptied.notified();
    tokio::pin!(emptied);
    emptied.as_mut().enable();
    if worker.open.get() > 0 {
        tokio::select! {
            () = emptied => {}
            _ = stage.wait_for(|stage| *stage == Stage::Ended) => {}
        }
    }
    worker.recorder.end(); // the runtime goes, and all that is left on it
}

/// Here, or with the worker that has the fewest connections.
fn place(worker: &Rc<Worker>, tcp: TcpStream, peer: SocketAddr, secure: bool) {
    let spread = &worker.shared.spread;
    let chosen = spread.choose(worker.number);
    if chosen == worker.number {
        return admit(worker, tcp, peer, secure);
    }
    let handed = match tcp.into_std() {
        Ok(tcp) => spread.hand_to(chosen, Accepted { tcp, peer, secure }),
        // It cannot be taken from the runtime: there is nothing left that could be served.
        Err(error) => return lose(worker, chosen, &error),
    };
    if let Err(back) = handed {
        spread.leave(chosen);
        spread.enter(worker.number);
        take(worker, back);
    }
}

/// What was counted here already.
fn take(worker: &Rc<Worker>, Accepted { tcp, peer, secure }: Accepted) {
    match TcpStream::from_std(tcp) {
        Ok(tcp) => admit(worker, tcp, peer, secure),
        Err(error) => lose(worker, worker.number, &error),
    }
}

fn lose(worker: &Rc<Worker>, at: usize, error: &io::Error) {
    tracing::error!(%error, "a connection is lost on its way to a worker");
    worker.shared.spread.leave(at);
}

/// It has been counted at this worker.
fn admit(worker: &Rc<Worker>, tcp: TcpStream, peer: SocketAddr, secure: bool) {
    // Beyond the bound the socket is dropped, which closes it.
    let Some(seat) = Seat::take(worker, worker.settings.bounds.max_connections, secure) else { return };
    // An answer's last bytes do not wait for an acknowledgement. It fails only if the client has gone, which reading will tell.
    drop(tcp.set_nodelay(true));
    let worker = Rc::clone(worker);
    spawn_local(async move {
        connection::serve(worker, tcp, peer, secure).await;
        drop(seat);
    });
}

/// A failed accept is one connection's fault, or there are no file descriptors left: then a pause, for the queue stays.
async fn pause(error: &io::Error) {
    let one = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    );
    if !one {
        tracing::error!(%error, "cannot accept connections");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

struct Listeners {
    http: Option<TcpListener>,
    https: Option<TcpListener>,
    /// Which is asked first, in turns.
    turn: Cell<bool>,
}

impl Listeners {
    fn open(doors: Doors) -> Option<Self> {
        let open = |door: Option<std::net::TcpListener>| door.map(TcpListener::from_std).transpose();
        match (open(doors.http), open(doors.https)) {
            (Ok(http), Ok(https)) => Some(Self { http, https, turn: Cell::new(false) }),
            (Err(error), _) | (_, Err(error)) => {
                tracing::error!(%error, "a worker cannot accept connections");
                None
            }
        }
    }

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr, bool)> {
        poll_fn(|cx| {
            self.turn.set(!self.turn.get());
            for secure in [self.turn.get(), !self.turn.get()] {
                if let Some(listener) = if secure { &self.https } else { &self.http }
                    && let Poll::Ready(accepted) = listener.poll_accept(cx)
                {
                    return Poll::Ready(accepted.map(|(tcp, peer)| (tcp, peer, secure)));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Accepts what waits, and does not wait itself.
    async fn empty(&self, mut admit: impl FnMut(TcpStream, SocketAddr, bool)) {
        poll_fn(|cx| {
            for (secure, listener) in [(false, &self.http), (true, &self.https)] {
                let Some(listener) = listener else { continue };
                while let Poll::Ready(Ok((tcp, peer))) = listener.poll_accept(cx) {
                    admit(tcp, peer, secure);
                }
            }
            Poll::Ready(())
        })
        .await;
    }
}
