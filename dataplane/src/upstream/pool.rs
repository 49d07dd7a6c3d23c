//! The idle connections of one worker.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    pin::Pin,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use ravelin_snapshot::backend::Connections;
use tokio::sync::{Notify, oneshot};

use super::{
    endpoint::Endpoint,
    http1::Connection,
    place::{Next, Overloaded, Patience, Place, Seat, Share, Turn},
    tunnel::Tunnels,
};

/// How often idle connections are looked through. Also how exact an idle time-out is.
const SWEEP: Duration = Duration::from_millis(250);

/// Idle connections that one worker keeps to one endpoint.
const KEPT: usize = 512;

/// What a worker's requests to backends share. Cheap to copy; nothing of it leaves the worker's thread.
#[derive(Clone, Default)]
pub struct Pools(Rc<Inner>);

#[derive(Default)]
struct Inner {
    /// By the endpoint's number.
    stocks: RefCell<HashMap<u64, Stock, foldhash::fast::RandomState>>,
    /// Connections for those of this worker who waited for one, until they come to fetch it.
    ready: RefCell<HashMap<u64, Box<Connection>>>,
    turns: Cell<u64>,
    tunnels: Tunnels,
    /// Somebody waits for a connection, here or on another worker.
    wanted: Arc<Notify>,
    /// The sweeper runs; it ends when there is nothing to sweep.
    swept: Cell<bool>,
    /// The time of the last sweep: exact enough for idle times, and free.
    now: Cell<Option<Instant>>,
    random: Cell<u64>,
}

/// The connections of this worker to one endpoint that are idle. The last one in is the first one out, so that those beyond
/// need grow old and are closed.
struct Stock {
    idle: Vec<(Box<Connection>, Instant)>,
    timeout: Duration,
    /// All of this worker's, idle or not.
    share: Share,
}

/// What a request has to send itself over.
pub(super) enum Lease {
    /// Most recently used; it may have been closed since.
    Kept(Box<Connection>),
    New(Place),
}

impl Pools {
    /// Returns when the last tunnel (WebSocket and the like) of this worker has ended: for a drain.
    pub async fn tunnels_ended(&self) {
        self.0.tunnels.all_ended().await;
    }

    pub(super) fn tunnels(&self) -> &Tunnels {
        &self.0.tunnels
    }

    /// An idle connection or the place of a new one. Waits for either as long as the policy says.
    pub(super) async fn lease(
        &self,
        endpoint: &Arc<Endpoint>,
        bounds: &Connections,
        patience: &mut Patience,
    ) -> Result<Lease, Overloaded> {
        let share = {
            let mut stocks = self.0.stocks.borrow_mut();
            let stock = stocks.entry(endpoint.id).or_insert_with(|| self.stock(endpoint));
            stock.timeout = Duration::from_millis(bounds.idle_timeout_ms);
            if let Some((connection, _)) = stock.idle.pop() {
                return Ok(Lease::Kept(connection));
            }
            match Place::take(&endpoint.counts, bounds.max, &stock.share) {
                Some(place) => return Ok(Lease::New(place)),
                None => Arc::clone(&stock.share),
            }
        };
        let number = self.0.turns.get();
        self.0.turns.set(number + 1);
        patience
            .wait(&endpoint.counts, bounds, async {
                let given = Place::join(&endpoint.counts, bounds.max, Turn { share, number });
                Fetch { pools: self, number, given }.await
            })
            .await
    }

    fn stock(&self, endpoint: &Arc<Endpoint>) -> Stock {
        endpoint.counts.enlist(&self.0.wanted);
        if !self.0.swept.replace(true) {
            self.0.now.set(Some(Instant::now()));
            tokio::task::spawn_local(sweep(Rc::downgrade(&self.0), Arc::clone(&self.0.wanted)));
        }
        Stock { idle: Vec::new(), timeout: Duration::ZERO, share: Share::default() }
    }

    /// An idle connection goes to who waits for it, or is kept for the next request.
    pub(super) fn put(&self, mut connection: Box<Connection>) {
        loop {
            match connection.place.next() {
                Next::Keep => return self.keep(connection),
                Next::Close { to, give } => {
                    let place = connection.into_place().move_to(to);
                    // If they have gone, the place is free.
                    return drop(give.send(Seat::Place(place)));
                }
                Next::Hand { turn, give } => {
                    self.0.ready.borrow_mut().insert(turn, connection);
                    if give.send(Seat::Ready).is_ok() {
                        return;
                    }
                    let Some(back) = self.0.ready.borrow_mut().remove(&turn) else { return };
                    connection = back;
                }
            }
        }
    }

    fn keep(&self, connection: Box<Connection>) {
        if connection.endpoint.strong_count() == 0 {
            return;
        }
        let now = self.0.now.get().unwrap_or_else(Instant::now);
        // The stock is there as long as it has a connection.
        if let Some(stock) = self.0.stocks.borrow_mut().get_mut(&connection.endpoint_id)
            && stock.idle.len() < KEPT
        {
            stock.idle.push((connection, now));
        }
    }

    /// A number that nobody can foresee well enough to matter.
    pub(super) fn random(&self) -> u64 {
        // Weyl sequence and the finalizer of splitmix64.
        let state = self.0.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Somebody's turn in the line for connections. Who leaves the line passes on what was given meanwhile.
struct Fetch<'a> {
    pools: &'a Pools,
    number: u64,
    given: oneshot::Receiver<Seat>,
}

impl Fetch<'_> {
    fn take(&self, seat: Seat) -> Option<Lease> {
        match seat {
            Seat::Place(place) => Some(Lease::New(place)),
            Seat::Ready => self.pools.0.ready.borrow_mut().remove(&self.number).map(Lease::Kept),
        }
    }
}

impl Future for Fetch<'_> {
    type Output = Lease;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Lease> {
        let given = ready!(Pin::new(&mut self.given).poll(cx));
        // Invariants: a line drops nobody who still waits, and what is said to lie ready does.
        let seat = given.expect("the line serves all (invariant)");
        Poll::Ready(self.take(seat).expect("it lies ready (invariant)"))
    }
}

impl Drop for Fetch<'_> {
    fn drop(&mut self) {
        self.given.close();
        if let Ok(seat) = self.given.try_recv()
            && let Some(Lease::Kept(connection)) = self.take(seat)
        {
            self.pools.put(connection);
        }
    }
}

/// Closes what has been idle for too long, what the backend has closed, and what belongs to endpoints that are gone; gives
/// away what is idle here and wanted elsewhere.
async fn sweep(pools: Weak<Inner>, wanted: Arc<Notify>) {
    let mut next = tokio::time::Instant::now() + SWEEP;
    loop {
        let due = tokio::time::timeout_at(next, wanted.notified()).await.is_err();
        let Some(pools) = pools.upgrade().map(Pools) else { return };
        while let Some(connection) = pools.wanted_elsewhere() {
            pools.put(connection);
        }
        if due {
            next = tokio::time::Instant::now() + SWEEP;
            if !pools.clean(Instant::now()) {
                return;
            }
        }
    }
}

impl Pools {
    /// The oldest idle connection of an endpoint that somebody waits at.
    fn wanted_elsewhere(&self) -> Option<Box<Connection>> {
        let mut stocks = self.0.stocks.borrow_mut();
        let wanted = |stock: &&mut Stock| stock.idle.first().is_some_and(|(oldest, _)| oldest.place.is_wanted());
        stocks.values_mut().find(wanted).map(|stock| stock.idle.remove(0).0)
    }

    /// False if nothing is left.
    fn clean(&self, now: Instant) -> bool {
        self.0.now.set(Some(now));
        let mut stocks = self.0.stocks.borrow_mut();
        for stock in stocks.values_mut() {
            let timeout = stock.timeout;
            stock.idle.retain_mut(|(connection, since)| {
                now.duration_since(*since) < timeout && connection.endpoint.strong_count() > 0 && connection.is_alive()
            });
        }
        stocks.retain(|_, stock| !stock.idle.is_empty() || Arc::strong_count(&stock.share) > 1);
        self.0.swept.set(!stocks.is_empty());
        self.0.swept.get()
    }
}
