//! Places at an endpoint, of which there are as many as its policy says, and the lines of those who wait for one.
//!
//! There are two kinds: a [`Flight`] for every request under way (`maxRequests`), a [`Place`] for every connection (`max`).
//! Both are counted for the whole process. While nobody waits, a place is an atomic addition. Who finds none stands in line,
//! behind all who came before, on whatever worker; who frees one gives it to the head of the line.
//!
//! A connection cannot leave its worker, so the line for connections is by worker: a worker's freed connection goes to the
//! first of its own, unless one of another worker comes before and that worker has clearly fewer connections (or this one
//! has nobody waiting): then it is closed and its place moves. So no worker starves, however few connections there may be,
//! and once all have their part none is closed. Idle connections are asked for by waking their workers.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use ravelin_snapshot::backend::Connections;
use tokio::sync::oneshot;

use super::endpoint::Counts;

/// A request under way at an endpoint; dropping it ends it.
#[derive(Debug)]
pub(super) struct Flight(Arc<Counts>);

/// The place of one connection; dropping it frees it.
#[derive(Debug)]
pub(super) struct Place {
    counts: Arc<Counts>,
    share: Share,
}

/// How many connections to an endpoint one worker has; also who that worker is.
pub(super) type Share = Arc<AtomicU32>;

/// What somebody gets who waits for a connection.
#[derive(Debug)]
pub(super) enum Seat {
    /// A place to open one.
    Place(Place),
    /// One of its own worker, which lies ready under the number of its turn.
    Ready,
}

/// Those who wait, first come first served.
#[derive(Debug)]
pub(super) struct Line<T, Who = ()> {
    /// The length, to be read without the lock.
    length: AtomicU32,
    waiting: Mutex<VecDeque<Waiting<T, Who>>>,
}

#[derive(Debug)]
struct Waiting<T, Who> {
    /// What the waiting request's policy allows; it may differ from table to table.
    max: u32,
    who: Who,
    give: oneshot::Sender<T>,
}

/// Who waits for a connection: a turn of a worker.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) share: Share,
    pub(super) number: u64,
}

impl<T, Who> Default for Line<T, Who> {
    fn default() -> Self {
        Self { length: AtomicU32::new(0), waiting: Mutex::default() }
    }
}

// The length is written before the count of places is read, and the count before the length: each SeqCst, so that of one
// who comes and one who goes at least one sees the other.
impl<T, Who> Line<T, Who> {
    pub(super) fn is_empty(&self) -> bool {
        self.length.load(Ordering::SeqCst) == 0
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Waiting<T, Who>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&self, max: u32, who: Who) -> oneshot::Receiver<T> {
        let (give, given) = oneshot::channel();
        let mut waiting = self.lock();
        waiting.push_back(Waiting { max, who, give });
        self.set_length(&waiting);
        given
    }

    /// Gives to the head of the line as long as `take` says that there is something to give.
    fn serve(&self, mut take: impl FnMut(&Waiting<T, Who>) -> Option<T>) {
        let mut unwanted = Vec::new(); // dropped after the lock, for that comes here again
        let mut waiting = self.lock();
        while let Some(first) = waiting.front() {
            if !first.give.is_closed() {
                let Some(place) = take(first) else { break };
                if let Some(first) = waiting.pop_front()
                    && let Err(place) = first.give.send(place)
                {
                    unwanted.push(place);
                }
            } else {
                waiting.pop_front();
            }
        }
        self.set_length(&waiting);
        drop(waiting);
    }

    fn set_length(&self, waiting: &VecDeque<Waiting<T, Who>>) {
        // Invariant: at most `maxPending`, a u32.
        self.length.store(waiting.len() as u32, Ordering::SeqCst);
    }
}

/// One more, unless there are `max`.
fn add_below(count: &AtomicU32, max: u32) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| (count < max).then_some(count + 1)).is_ok()
}

impl Flight {
    /// `None`: as many are under way as may be, or others wait already.
    pub(super) fn begin(counts: &Arc<Counts>, max: u32) -> Option<Self> {
        (counts.flights.is_empty() && add_below(&counts.in_flight, max)).then(|| Self(Arc::clone(counts)))
    }

    pub(super) async fn wait(counts: &Arc<Counts>, max: u32) -> Self {
        let given = counts.flights.join(max, ());
        Self::serve(counts);
        // Invariant: a line drops nobody who still waits.
        given.await.expect("the line serves all (invariant)")
    }

    fn serve(counts: &Arc<Counts>) {
        let take =
            |first: &Waiting<Self, ()>| add_below(&counts.in_flight, first.max).then(|| Self(Arc::clone(counts)));
        counts.flights.serve(take);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
        if !self.0.flights.is_empty() {
            Self::serve(&self.0);
        }
    }
}

impl Place {
    /// `None`: there are as many connections as may be, or others wait for one already.
    pub(super) fn take(counts: &Arc<Counts>, max: u32, share: &Share) -> Option<Self> {
        (counts.seats.is_empty() && add_below(&counts.connections, max)).then(|| Self::of(counts, share))
    }

    fn of(counts: &Arc<Counts>, share: &Share) -> Self {
        share.fetch_add(1, Ordering::Relaxed);
        Self { counts: Arc::clone(counts), share: Arc::clone(share) }
    }

    /// Stands in line for a connection.
    pub(super) fn join(counts: &Arc<Counts>, max: u32, turn: Turn) -> oneshot::Receiver<Seat> {
        let given = counts.seats.join(max, turn);
        Self::serve(counts);
        if !counts.seats.is_empty() {
            counts.ask_for_idle_connections();
        }
        given
    }

    fn serve(counts: &Arc<Counts>) {
        counts.seats.serve(|first| {
            add_below(&counts.connections, first.max).then(|| Seat::Place(Self::of(counts, &first.who.share)))
        });
    }

    pub(super) fn is_wanted(&self) -> bool {
        !self.counts.seats.is_empty()
    }

    /// What to do with this place's connection, which has room for a request; `may_close` if it has none just now.
    pub(super) fn next(&self, may_close: bool) -> Next {
        if !self.is_wanted() {
            return Next::Keep;
        }
        let mut waiting = self.counts.seats.lock();
        waiting.retain(|one| !one.give.is_closed());
        let mine = self.share.load(Ordering::Relaxed);
        let chosen = waiting.iter().position(|one| {
            let theirs = one.who.share.load(Ordering::Relaxed);
            Arc::ptr_eq(&one.who.share, &self.share) || (may_close && (theirs == 0 || theirs + 2 <= mine))
        });
        let chosen = chosen.or(may_close.then_some(0));
        let next = match chosen.and_then(|chosen| waiting.remove(chosen)) {
            None => Next::Keep,
            Some(Waiting { who, give, .. }) if Arc::ptr_eq(&who.share, &self.share) => {
                Next::Hand { turn: who.number, give }
            }
            Some(Waiting { who, give, .. }) => Next::Close { to: who.share, give },
        };
        self.counts.seats.set_length(&waiting);
        next
    }

    /// The connection is closed, its place is another worker's.
    pub(super) fn move_to(mut self, share: Share) -> Self {
        share.fetch_add(1, Ordering::Relaxed);
        std::mem::replace(&mut self.share, share).fetch_sub(1, Ordering::Relaxed);
        self
    }
}

/// What becomes of an idle connection.
pub(super) enum Next {
    /// Nobody waits.
    Keep,
    /// The turn of its own worker gets it.
    Hand { turn: u64, give: oneshot::Sender<Seat> },
    /// It is closed, and its place goes to another worker.
    Close { to: Share, give: oneshot::Sender<Seat> },
}

impl Drop for Place {
    fn drop(&mut self) {
        self.share.fetch_sub(1, Ordering::Relaxed);
        self.counts.connections.fetch_sub(1, Ordering::SeqCst);
        if !self.counts.seats.is_empty() {
            Self::serve(&self.counts);
        }
    }
}

/// The right of one request to wait, for one span of time in all; taken when it first has to.
#[derive(Default)]
pub(super) struct Patience {
    begun: Option<(Pending, tokio::time::Instant)>,
}

struct Pending(Arc<Counts>);

/// Too many wait, or it took too long.
#[derive(Debug)]
pub(super) struct Overloaded;

impl Patience {
    /// Waits for `work`, as one of at most `maxPending` who wait, for `pendingTimeout` in all.
    pub(super) async fn wait<T>(
        &mut self,
        counts: &Arc<Counts>,
        bounds: &Connections,
        work: impl Future<Output = T>,
    ) -> Result<T, Overloaded> {
        let until = match &self.begun {
            Some((_, until)) => *until,
            None if add_below(&counts.pending, bounds.max_pending) => {
                let until = tokio::time::Instant::now() + Duration::from_millis(bounds.pending_timeout_ms);
                self.begun = Some((Pending(Arc::clone(counts)), until));
                until
            }
            None => return Err(Overloaded),
        };
        tokio::time::timeout_at(until, work).await.map_err(|_| Overloaded)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Ordering::SeqCst);
    }
}
