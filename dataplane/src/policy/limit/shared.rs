//! Limits that replicas share: counts are in Redis or Valkey, and one script decides for all limits of a request.
//!
//! A request asks the store at most once a phase. Most do not ask: a replica leases requests of a busy key in advance
//! ([`cell`]) and remembers until when a key is refused. A lease is counted so that the limit holds whenever in its life
//! its requests begin (`admit.lua`), so leases never admit too many; what is unused of one is given back.

mod account;
mod address;
mod bans;
mod cell;
mod question;
mod rule;
mod seats;
mod store;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use aws_lc_rs::digest::{SHA256, digest};
use ravelin_snapshot::{PolicyKey, rate_limit};
use tokio::sync::Notify;

pub use self::{
    address::{Address, AddressError},
    store::{Settings, Standing, Store},
};
use self::{
    cell::{Cell, Said, Wish},
    rule::{Leases, Rule},
    store::Keys as Pair,
};
use super::{
    count::{Count, Level, Moment, Patience, Refused, Taken, Turn},
    gate::{Entry, Gates},
    keys::{self, Key, Keys},
    ledger::Ledger,
};
pub(super) use account::Accounts;
pub(super) use bans::keep_told;
pub(super) use question::{Asked, ask};
pub(super) use rate_limit::OnStoreFailure;
pub(super) use seats::Seat;

/// One limit that replicas share, and what this one knows of it.
pub(super) struct Shared {
    rule: Rule,
    leases: Leases,
    policy: PolicyKey,
    said: rate_limit::Limit,
    /// Of all keys of this limit in the store.
    name: Name,
    /// `None`: no store is configured, and nobody passes.
    pub(super) store: Option<Arc<Store>>,
    pub(super) on_failure: OnStoreFailure,
    cells: Keys<Cell>,
    /// What counts while the store is away, and for how many replicas it was made.
    local: Mutex<Option<(u32, Count)>>,
    /// Requests that did not have to ask.
    leased: AtomicU64,
    /// Who waits for a seat: of each key one asks for it, and the others wait for their turn to ask.
    line: Arc<Gates>,
    /// A seat of this replica has become free.
    freed: Notify,
}

/// What the names of a limit's keys begin with.
#[derive(Clone, Debug)]
struct Name {
    /// `{PREFIX:NAMESPACE}`: what a request meets is of one namespace, and so in one slot of a cluster.
    tag: String,
    rest: String,
}

/// Whose limits are shared, and what happens while the store is away.
#[derive(Clone, Copy)]
pub(super) struct Sharing<'a> {
    pub(super) store: Option<&'a Arc<Store>>,
    pub(super) on_failure: OnStoreFailure,
}

/// A question that a request has for the store.
pub(super) struct Question {
    shared: Arc<Shared>,
    key: Key,
    text: String,
    cost: u64,
    patience: Patience,
}

/// It was taken of a lease.
const LEASED: u64 = 1;

/// For how long it is believed that all seats are taken.
const FULL: Duration = Duration::from_millis(10);

/// How often who waits for a seat asks for it, at least.
const POLL: Duration = Duration::from_millis(25);

impl Shared {
    /// The error is for a refusal of the snapshot.
    pub(super) fn new(
        policy: &PolicyKey,
        said: &rate_limit::Limit,
        of_plan: bool,
        sharing: Sharing<'_>,
        start: Instant,
    ) -> Result<Self, String> {
        let rule = Rule::new(&said.count)?;
        let store = sharing.store.cloned();
        let prefix = store.as_ref().map_or("", |store| store.prefix());
        Ok(Self {
            leases: if said.max_delay_ms.is_some() { rule.leases().none() } else { rule.leases() },
            name: Name::new(prefix, policy, said, of_plan, &rule),
            rule,
            policy: policy.clone(),
            said: said.clone(),
            store,
            on_failure: sharing.on_failure,
            cells: Keys::new(start),
            local: Mutex::new(None),
            leased: AtomicU64::new(0),
            line: Arc::new(Gates::new()),
            freed: Notify::new(),
        })
    }

    pub(super) fn key(&self, text: &str) -> Key {
        self.cells.key(text)
    }

    /// Takes `cost` of what is leased, or says that the store is to be asked.
    pub(super) fn take(
        self: &Arc<Self>,
        (key, text): (Key, &str),
        cost: u64,
        at: Moment,
        patience: Patience,
    ) -> Result<Taken, Refused> {
        if self.is_of_seats() && (cost == 0 || cost > self.rule.requests()) {
            let level = self.level(key, at);
            return if cost == 0 { Ok(Taken::at_once(key, level)) } else { Err(Refused { level, retry_in: None }) };
        }
        let now = self.cells.nanos(at.now);
        let said = self.cell(key, now, |cell| cell.take(cost, self.leases, now));
        match said {
            Said::Leased { level, refill } => {
                self.leased.fetch_add(1, Relaxed);
                if refill {
                    self.refill(key, text, at);
                }
                let level = self.with_term(level, at.clock);
                Ok(Taken { mark: LEASED, ..Taken::at_once(key, level) })
            }
            // Who may wait for a seat asks when it is his turn.
            Said::Refused(_) if self.is_of_seats() && !patience.time.is_zero() => {
                Ok(self.ask((key, text), cost, patience))
            }
            Said::Refused(refused) => Err(Refused { level: self.with_term(refused.level, at.clock), ..refused }),
            Said::Ask => Ok(self.ask((key, text), cost, patience)),
        }
    }

    fn ask(self: &Arc<Self>, (key, text): (Key, &str), cost: u64, patience: Patience) -> Taken {
        let question = Question { shared: Arc::clone(self), key, text: text.to_owned(), cost, patience };
        let level = Level { remaining: self.rule.requests(), more_in: None, term: None };
        Taken { turn: Turn::Asks(Box::new(question)), ..Taken::at_once(key, level) }
    }

    /// What came of a question stays taken: who goes away after it was answered was there.
    pub(super) fn give_back(&self, taken: &Taken, cost: u64, at: Moment) {
        if taken.mark == LEASED {
            let now = self.cells.nanos(at.now);
            self.cell(taken.key, now, |cell| cell.give_back(cost));
        }
    }

    /// What is known here.
    pub(super) fn level(&self, key: Key, at: Moment) -> Level {
        let now = self.cells.nanos(at.now);
        let fresh = Level { remaining: self.rule.requests(), more_in: None, term: None };
        self.with_term(self.cells.read(key, |cell| cell.map_or(fresh, |cell| cell.level(now))), at.clock)
    }

    /// Keys that are remembered, and those that were forgotten because there were too many.
    pub(super) fn keys(&self) -> (usize, u64) {
        (self.cells.count(), self.cells.evicted.get())
    }

    /// That they take.
    pub(super) fn bytes(&self) -> usize {
        self.cells.bytes()
    }

    /// `None`: it is no quota, or there is no store.
    pub(super) fn accounts(shared: &Arc<Self>) -> Option<Accounts<'_>> {
        Accounts::of(shared)
    }

    /// Requests that a lease admitted.
    pub(super) fn leased(&self) -> u64 {
        self.leased.load(Relaxed)
    }

    /// What counts here while the store is away: this replica's share of the limit.
    fn local(&self, now: Instant) -> Result<Count, String> {
        let replicas = self.store.as_ref().map_or(1, |store| store.replicas());
        let mut local = keys::lock(&self.local);
        match &*local {
            Some((of, count)) if *of == replicas => Ok(count.clone()),
            _ => {
                let said = rate_limit::Limit { count: rule::share(&self.said.count, replicas), ..self.said.clone() };
                // Of its own: what is used here meanwhile is not what was used.
                let count = Count::alone(&said, &self.policy, &Arc::<Ledger>::default(), now)?;
                *local = Some((replicas, count.clone()));
                Ok(count)
            }
        }
    }

    fn cell<R>(&self, key: Key, now: u64, change: impl FnOnce(&mut Cell) -> R) -> R {
        self.cells.update(key, now, |cell| change(cell.get_or_insert_default()))
    }

    /// Whether it is of requests at once.
    pub(super) fn is_of_seats(&self) -> bool {
        matches!(self.rule, Rule::Seats { .. })
    }

    /// The store says that they are: for a moment nobody asks again, unless a seat of this replica becomes free.
    fn seats_are_taken(&self, key: Key, cost: u64, level: Level) {
        let now = self.cells.nanos(Instant::now());
        self.cell(key, now, |cell| cell.refuse(cost, level.remaining, now.saturating_add(cell::nanos(FULL))));
    }

    fn seat_is_free(&self, key: Key) {
        self.cells.update(key, 0, |cell| {
            if let Some(cell) = cell {
                cell.ask_again();
            }
        });
        self.freed.notify_waiters();
    }

    fn with_term(&self, level: Level, clock: SystemTime) -> Level {
        Level { term: self.rule.term(clock), ..level }
    }

    fn wish(&self, key: Key, now: Instant) -> Wish {
        let patience = self.store.as_ref().map_or(Duration::ZERO, |store| store.patience());
        let now = self.cells.nanos(now);
        self.cell(key, now, |cell| cell.wish(self.leases, now, patience))
    }

    /// Asks for a new lease before the old one is used up, and keeps no request waiting for it.
    fn refill(self: &Arc<Self>, key: Key, text: &str, at: Moment) {
        let Some(store) = &self.store else { return };
        let patience = Patience::NONE;
        let question = Question { shared: Arc::clone(self), key, text: text.to_owned(), cost: 0, patience };
        store.spawn(async move {
            question::refill(question, at).await;
        });
    }

    fn pair(&self, text: &str) -> Pair {
        Pair { count: self.name.count(text), index: self.name.index() }
    }
}

impl Question {
    /// Who waits for a seat: `first` is his place to ask, and he returns when it is time to. False: he has waited long enough.
    pub(super) async fn waits(&self, first: &mut Option<super::gate::Seat>, until: Instant) -> bool {
        if first.is_none() {
            match self.shared.line.enter(self.key, 1, 1, Some(self.patience.weight.unwrap_or(1))) {
                Some(Entry::Seated(place)) => *first = Some(place),
                Some(Entry::Queued(mut queued)) => {
                    *first = tokio::time::timeout_at(until.into(), queued.seat()).await.ok().flatten();
                    return first.is_some();
                }
                None => return false,
            }
        }
        let pause = tokio::time::sleep_until((Instant::now() + POLL).min(until).into());
        tokio::select! {
            () = self.shared.freed.notified() => {}
            () = pause => {}
        }
        Instant::now() < until
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Others wait for this already.
    pub(super) fn is_late(&self) -> bool {
        self.shared.is_of_seats() && self.shared.line.used(self.key) > 0
    }

    /// Until when it may wait for a seat.
    pub(super) fn patience(&self, at: Moment) -> Option<Instant> {
        let waits = self.shared.is_of_seats() && !self.patience.time.is_zero();
        waits.then(|| at.now + self.patience.time)
    }
}

impl Name {
    fn new(prefix: &str, policy: &PolicyKey, said: &rate_limit::Limit, of_plan: bool, rule: &Rule) -> Self {
        // Another key expression has other keys; the texts of two may be the same.
        let key = said.key.as_ref().map_or("", |key| &*key.source);
        let (of, key) = (if of_plan { "plan" } else { "limit" }, short(key.as_bytes(), 6));
        let rest = format!("{}:{of}:{}:{}:{key}", policy.name, said.name, rule.kind());
        Self { tag: format!("{{{prefix}:{}}}", policy.namespace), rest }
    }

    /// Of bounded length, and nothing of a client in it.
    fn count(&self, text: &str) -> String {
        format!("{}:{}:{}", self.tag, self.rest, short(text.as_bytes(), 16))
    }

    fn bans(&self) -> String {
        format!("{}:{}:bans", self.tag, self.rest)
    }

    fn refusals(&self, text: &str) -> String {
        format!("{}:{}:refused:{}", self.tag, self.rest, short(text.as_bytes(), 16))
    }

    /// Of the accounts of one term, whose end follows.
    fn index(&self) -> String {
        format!("{}:{}:in:", self.tag, self.rest)
    }
}

/// So many bytes of the digest, in hex.
fn short(text: &[u8], bytes: usize) -> String {
    digest(&SHA256, text).as_ref().iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
