//! HTTP/2 connections: one is opened for all who need it, and each of them has a stream.

use std::{
    cell::Cell,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};

use ravelin_snapshot::backend::Connections;
use tokio::sync::Notify;

use super::{Endpoint, Inner, Lease, Next, Patience, Place, Pools, Seat, Share, http2};
use crate::reject::Reason;

/// Room for one request on a connection. Leaving it gives the room to who waits.
pub(in crate::upstream) struct Stream {
    connection: Rc<http2::Connection>,
    pools: Pools,
}

/// A connection that is being opened.
#[derive(Default)]
pub(super) struct Opening {
    outcome: Cell<Option<Result<(), Reason>>>,
    over: Notify,
}

enum Found {
    Stream(Stream),
    Opening(Rc<Opening>),
    /// All are full, and there may be no more of them.
    Nothing(Share),
}

impl Stream {
    fn enter(connection: &Rc<http2::Connection>, pools: &Pools) -> Self {
        connection.enter();
        Self { connection: Rc::clone(connection), pools: pools.clone() }
    }

    pub(in crate::upstream) fn connection(&self) -> &Rc<http2::Connection> {
        &self.connection
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.leave(self.pools.now());
        self.pools.offer(&self.connection);
    }
}

impl Opening {
    async fn outcome(&self) -> Result<(), Reason> {
        loop {
            if let Some(outcome) = self.outcome.get() {
                return outcome;
            }
            self.over.notified().await;
        }
    }
}

impl Pools {
    /// Room on a connection that is open, or on one that is opened for this and for all who come meanwhile.
    pub(in crate::upstream) async fn stream(
        &self,
        endpoint: &Arc<Endpoint>,
        bounds: &Connections,
        patience: &mut Patience,
    ) -> Result<Stream, Reason> {
        loop {
            let opening = match self.find(endpoint, bounds) {
                Found::Stream(stream) => return Ok(stream),
                Found::Opening(opening) => opening,
                Found::Nothing(share) => match self.stand_in_line(endpoint, bounds, patience, share).await? {
                    Lease::Http2(stream) => return Ok(stream),
                    Lease::New(place) => self.open(endpoint, bounds, place),
                    // The backend changed its mind, or somebody had to have this one: it makes room.
                    Lease::Http1(connection) => self.open(endpoint, bounds, connection.into_place()),
                },
            };
            opening.outcome().await?;
        }
    }

    fn find(&self, endpoint: &Arc<Endpoint>, bounds: &Connections) -> Found {
        let place = {
            let mut stocks = self.0.stocks.borrow_mut();
            let stock = stocks.entry(endpoint.id).or_insert_with(|| self.stock(endpoint));
            stock.timeout = Duration::from_millis(bounds.idle_timeout_ms);
            if let Some(connection) = stock.shared.iter().find(|connection| connection.has_room()) {
                return Found::Stream(Stream::enter(connection, self));
            }
            if let Some(opening) = &stock.opening {
                return Found::Opening(Rc::clone(opening));
            }
            match Place::take(&endpoint.counts, bounds.max, &stock.share) {
                None => return Found::Nothing(Arc::clone(&stock.share)),
                Some(place) => place,
            }
        };
        Found::Opening(self.open(endpoint, bounds, place))
    }

    fn open(&self, endpoint: &Arc<Endpoint>, bounds: &Connections, place: Place) -> Rc<Opening> {
        let opening = Rc::<Opening>::default();
        if let Some(stock) = self.0.stocks.borrow_mut().get_mut(&endpoint.id) {
            stock.opening = Some(Rc::clone(&opening));
        }
        let limit = Duration::from_millis(bounds.connect_timeout_ms);
        tokio::task::spawn_local(run(Rc::downgrade(&self.0), Arc::clone(endpoint), place, limit, Rc::clone(&opening)));
        opening
    }

    /// Gives the room that a connection has to those who wait in line.
    pub(super) fn offer(&self, connection: &Rc<http2::Connection>) {
        while connection.has_room() {
            match connection.with_place(|place| place.next(connection.is_idle())) {
                None | Some(Next::Keep) => return,
                Some(Next::Hand { turn, give }) => {
                    let stream = Stream::enter(connection, self);
                    // Who is not there any more gives it up, which comes here again.
                    drop(self.hand(turn, give, Lease::Http2(stream)));
                }
                Some(Next::Close { to, give }) => {
                    self.forget(connection);
                    if let Some(place) = connection.close() {
                        drop(give.send(Seat::Place(place.move_to(to))));
                    }
                }
            }
        }
    }

    fn forget(&self, connection: &Rc<http2::Connection>) {
        if let Some(stock) = self.0.stocks.borrow_mut().get_mut(&connection.endpoint_id) {
            stock.shared.retain(|known| !Rc::ptr_eq(known, connection));
        }
    }
}

/// A connection's life, in a task of its own.
async fn run(pools: Weak<Inner>, endpoint: Arc<Endpoint>, place: Place, limit: Duration, opening: Rc<Opening>) {
    let established = tokio::time::timeout(limit, http2::establish(&endpoint)).await;
    let established = match established {
        Ok(Ok(established)) => Ok(established),
        Ok(Err(http2::Refused)) => Err(Reason::BackendRefused),
        Err(_) => Err(Reason::BackendTimeout),
    };
    let Some(here) = pools.upgrade().map(Pools) else { return };
    let opened = established.map(|(sender, driver)| {
        let connection = http2::Connection::new(sender, &endpoint, place, here.now());
        (Rc::new(connection), driver)
    });
    if let Some(stock) = here.0.stocks.borrow_mut().get_mut(&endpoint.id) {
        stock.opening = None;
        if let Ok((connection, _)) = &opened {
            stock.shared.push(Rc::clone(connection));
        }
    }
    drop(endpoint);
    opening.outcome.set(Some(opened.as_ref().map(|_| ()).map_err(|reason| *reason)));
    opening.over.notify_waiters();
    let Ok((connection, driver)) = opened else { return };
    here.offer(&connection);
    drop(here);
    connection.drive(driver).await;
    if let Some(here) = pools.upgrade().map(Pools) {
        here.forget(&connection);
    }
}
