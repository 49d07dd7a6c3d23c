//! Requests at once that replicas share: the seats that this replica has taken in the store.
//!
//! The store knows of each key who has how many seats, and until when: each replica says with every beat that it is still
//! there, so that the seats of one that has crashed are free after [`LIFE`]. Where a request comes or goes, the store is told
//! the difference; with a beat it is told the sum, so that an answer that was lost leaves nothing behind.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{
    super::keys::{Key, lock},
    Shared,
    rule::{SEATS, WHOLE},
    store::{Failure, Script, Store},
};

/// How long the store believes that a replica is there which says nothing.
pub(super) const LIFE: Duration = Duration::from_secs(10);

/// Keys of one call.
const MANY: usize = 256;

/// The seats of all shared limits, by the names of keys: a limit that is changed goes on with those that are taken.
#[derive(Default)]
pub(super) struct Seats(Mutex<HashMap<String, Held>>);

#[derive(Default)]
struct Held {
    /// By requests that are under way.
    used: u64,
    /// Free again, and not given back yet.
    back: u64,
    /// Questions so far, and those that are not answered.
    asked: u64,
    open: u32,
    /// Somebody is giving back.
    giving: bool,
    /// An answer was lost, so what the store thinks is not known.
    unsure: bool,
}

/// As many seats as a request costs, until it is dropped.
pub(in super::super) struct Seat {
    shared: Arc<Shared>,
    store: Arc<Store>,
    key: Key,
    name: String,
    cost: u64,
}

/// A question for seats that is not answered. Dropped, its answer is lost.
pub(super) struct Asking {
    store: Arc<Store>,
    name: String,
    /// What is given back with it, and which of the questions it is.
    pub(super) back: u64,
    pub(super) number: u64,
    answered: bool,
}

/// What a replica says of its seats.
#[derive(Clone, Copy)]
enum Saying {
    /// So many are free again.
    Less(u64),
    /// So many are taken.
    Sum(u64),
    /// It is there.
    Here,
}

impl Held {
    fn is_over(&self) -> bool {
        self.used == 0 && self.back == 0 && self.open == 0 && !self.giving && !self.unsure
    }
}

impl Asking {
    pub(super) fn new(store: &Arc<Store>, name: String) -> Self {
        let (back, number) = store.seats.change(&name, |held| {
            held.asked += 1;
            held.open += 1;
            (std::mem::take(&mut held.back), held.asked)
        });
        Self { store: Arc::clone(store), name, back, number, answered: false }
    }

    /// The store has answered.
    fn end(&mut self, taken: u64) {
        self.answered = true;
        self.store.seats.change(&self.name, |held| {
            held.open -= 1;
            held.used += taken;
        });
    }

    /// It has given `cost` seats.
    pub(super) fn seated(mut self, shared: &Arc<Shared>, key: Key, cost: u64) -> Seat {
        self.end(cost);
        let (store, name) = (Arc::clone(&self.store), std::mem::take(&mut self.name));
        Seat { shared: Arc::clone(shared), store, key, name, cost }
    }

    pub(super) fn refused(mut self) {
        self.end(0);
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if !self.answered {
            self.store.seats.change(&self.name, |held| {
                held.open -= 1;
                held.unsure = true;
            });
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let gives = self.store.seats.change(&self.name, |held| {
            held.used = held.used.saturating_sub(self.cost);
            held.back += self.cost;
            !std::mem::replace(&mut held.giving, true)
        });
        self.shared.seat_is_free(self.key);
        if gives {
            let (store, name) = (Arc::clone(&self.store), std::mem::take(&mut self.name));
            self.store.spawn(give_back(store, name));
        }
    }
}

/// What becomes free while the store is told goes with the next question.
async fn give_back(store: Arc<Store>, name: String) {
    loop {
        let over = store.seats.change(&name, |held| {
            held.giving = held.back > 0;
            !held.giving
        });
        if over {
            return;
        }
        let asking = Asking::new(&store, name.clone());
        // A request may have taken it along.
        let said = [(name.clone(), Saying::Less(asking.back), asking.number)];
        if asking.back == 0 || say(&store, &said).await.is_ok() {
            asking.refused();
        }
    }
}

/// Says how many seats this replica has of each key; where a question is open, that it is there.
pub(super) async fn confirm(store: &Arc<Store>) -> Result<(), Failure> {
    let mut slots: BTreeMap<String, Vec<(String, Saying, u64)>> = BTreeMap::new();
    for (name, held) in lock(&store.seats.0).iter_mut() {
        let saying = if held.open > 0 {
            Saying::Here
        } else {
            held.back = 0; // it is not in the sum
            Saying::Sum(held.used)
        };
        // What is in braces is the slot of a cluster.
        let slot = name.split_inclusive('}').next().unwrap_or_default().to_owned();
        slots.entry(slot).or_default().push((name.clone(), saying, held.asked));
    }
    for said in slots.values().flat_map(|said| said.chunks(MANY)) {
        let heard = say(store, said).await;
        for (name, saying, asked) in said {
            store.seats.change(name, |held| match saying {
                Saying::Sum(_) if heard.is_err() => held.unsure = true,
                Saying::Sum(_) if held.asked == *asked => held.unsure = false,
                Saying::Sum(_) | Saying::Here | Saying::Less(_) => {}
            });
        }
        heard?;
    }
    Ok(())
}

async fn say(store: &Store, said: &[(String, Saying, u64)]) -> Result<(), Failure> {
    let mut command = Script::Admit.command(said.len() * 2);
    for (name, ..) in said {
        command.arg(name).arg("");
    }
    for (group, (_, saying, number)) in said.iter().enumerate() {
        let (want, back) = match *saying {
            Saying::Less(seats) => (0, seats),
            Saying::Sum(seats) => (1, seats),
            Saying::Here => (2, 0),
        };
        command.arg(group).arg(SEATS).arg(0).arg(want).arg(back).arg(number);
        command.arg(WHOLE).arg(LIFE.as_micros() as u64).arg(0).arg(0).arg(0).arg(store.name());
    }
    store.call(Script::Admit, command).await.map(drop)
}

impl Seats {
    fn change<R>(&self, name: &str, change: impl FnOnce(&mut Held) -> R) -> R {
        let mut all = lock(&self.0);
        if !all.contains_key(name) {
            all.insert(name.to_owned(), Held::default());
        }
        let held = all.get_mut(name).expect("it was put there above (invariant)");
        let result = change(held);
        if held.is_over() {
            all.remove(name);
        }
        result
    }
}
