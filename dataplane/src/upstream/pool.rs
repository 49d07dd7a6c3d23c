//! The connections of one worker.

mod shared;
mod sweep;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use ravelin_snapshot::backend::Connections;
use tokio::sync::{Notify, oneshot};

use super::{
    balance::mixed,
    endpoint::Endpoint,
    http1, http2,
    place::{Next, Overloaded, Patience, Place, Seat, Share, Turn},
};
pub(super) use shared::Stream;

/// Idle HTTP/1.1 connections that one worker keeps to one endpoint.
const KEPT: usize = 512;

/// What a worker's requests to backends share. Cheap to copy; nothing of it leaves the worker's thread.
#[derive(Clone, Default)]
pub struct Pools(Rc<Inner>);

#[derive(Default)]
struct Inner {
    /// By the endpoint's number.
    stocks: RefCell<HashMap<u64, Stock, foldhash::fast::RandomState>>,
    /// For those of this worker who waited for a connection, until they come to fetch it.
    ready: RefCell<HashMap<u64, Lease>>,
    turns: Cell<u64>,
    /// Somebody waits for a connection, here or on another worker.
    wanted: Arc<Notify>,
    /// The sweeper runs; it ends when there is nothing to sweep.
    swept: Cell<bool>,
    /// The time of the last sweep: exact enough for idle times, and free.
    now: Cell<Option<Instant>>,
    random: Cell<u64>,
}

/// The connections of this worker to one endpoint.
struct Stock {
    /// HTTP/1.1, idle since. The last one in is the first one out, so that those beyond need grow old and are closed.
    idle: Vec<(Box<http1::Connection>, Instant)>,
    /// HTTP/2, idle or not.
    shared: Vec<Rc<http2::Connection>>,
    /// One of HTTP/2 that is being opened, and who waits for it.
    opening: Option<Rc<shared::Opening>>,
    /// How long an idle one is kept.
    timeout: Duration,
    /// All of this worker's, of any kind.
    share: Share,
}

/// What a request has to send itself over.
pub(super) enum Lease {
    /// Most recently used; it may have been closed since.
    Http1(Box<http1::Connection>),
    Http2(Stream),
    /// The place of a connection that is yet to be opened.
    New(Place),
}

impl Pools {
    /// An idle HTTP/1.1 connection or the place of a new one. Waits for either as long as the policy says.
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
                return Ok(Lease::Http1(connection));
            }
            match Place::take(&endpoint.counts, bounds.max, &stock.share) {
                Some(place) => return Ok(Lease::New(place)),
                None => Arc::clone(&stock.share),
            }
        };
        self.stand_in_line(endpoint, bounds, patience, share).await
    }

    async fn stand_in_line(
        &self,
        endpoint: &Arc<Endpoint>,
        bounds: &Connections,
        patience: &mut Patience,
        share: Share,
    ) -> Result<Lease, Overloaded> {
        let number = self.0.turns.get();
        self.0.turns.set(number + 1);
        let wait = async {
            let given = Place::join(&endpoint.counts, bounds.max, Turn { share, number });
            Fetch { pools: self, number, given }.await
        };
        patience.wait(&endpoint.counts, bounds, wait).await
    }

    fn stock(&self, endpoint: &Arc<Endpoint>) -> Stock {
        endpoint.counts.enlist(&self.0.wanted);
        if !self.0.swept.replace(true) {
            self.0.now.set(Some(Instant::now()));
            self.start_sweeper();
        }
        Stock { idle: Vec::new(), shared: Vec::new(), opening: None, timeout: Duration::ZERO, share: Share::default() }
    }

    /// An idle HTTP/1.1 connection goes to who waits for it, or is kept for the next request.
    pub(super) fn put(&self, mut connection: Box<http1::Connection>) {
        loop {
            match connection.place().next(true) {
                Next::Keep => return self.keep(connection),
                Next::Close { to, give } => {
                    let place = connection.into_place().move_to(to);
                    // If they have gone, the place is free.
                    return drop(give.send(Seat::Place(place)));
                }
                Next::Hand { turn, give } => match self.hand(turn, give, Lease::Http1(connection)) {
                    Some(Lease::Http1(back)) => connection = back,
                    _ => return,
                },
            }
        }
    }

    /// Gives it back if nobody is there to take it.
    fn hand(&self, turn: u64, give: oneshot::Sender<Seat>, lease: Lease) -> Option<Lease> {
        self.0.ready.borrow_mut().insert(turn, lease);
        match give.send(Seat::Ready) {
            Ok(()) => None,
            Err(_) => self.0.ready.borrow_mut().remove(&turn),
        }
    }

    fn keep(&self, mut connection: Box<http1::Connection>) {
        // It is not read here: that the backend has closed it, or has sent something unasked, is seen by the sweeper, or by the next
        // request that takes it. Without its endpoint nobody will.
        if connection.endpoint.strong_count() == 0 {
            return;
        }
        connection.shrink();
        // The stock is there as long as it has a connection.
        if let Some(stock) = self.0.stocks.borrow_mut().get_mut(&connection.endpoint_id)
            && stock.idle.len() < KEPT
        {
            stock.idle.push((connection, self.now()));
        }
    }

    fn now(&self) -> Instant {
        self.0.now.get().unwrap_or_else(Instant::now)
    }

    /// A number that nobody can foresee well enough to matter.
    pub(super) fn random(&self) -> u64 {
        // Weyl sequence and the finalizer of splitmix64.
        let state = self.0.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.random.set(state);
        mixed(state)
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
            Seat::Ready => self.pools.0.ready.borrow_mut().remove(&self.number),
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
            && let Some(Lease::Http1(connection)) = self.take(seat)
        {
            self.pools.put(connection);
        }
    }
}
