//! Which worker serves a connection. The kernel spreads them over the listeners by chance, and long-lived ones stay where they
//! fell; so whoever has accepted one, and has clearly more than another, hands it to the one with the fewest. This is looked
//! at when a connection comes, never on a request's way.

use std::{
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// All workers, by number.
pub(super) struct Spread(Box<[Place]>);

/// On a cache line of its own: workers write to their own mostly.
#[repr(align(64))]
struct Place {
    /// Connections and tunnels, those on their way to it included.
    open: AtomicUsize,
    door: UnboundedSender<Accepted>,
}

/// What another worker has accepted. No more wait here than the process may have connections.
pub(super) struct Accepted {
    pub(super) tcp: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) secure: bool,
}

impl Spread {
    /// And what each worker gets from the others.
    pub(super) fn over(workers: usize) -> (Self, Vec<UnboundedReceiver<Accepted>>) {
        let doors = (0..workers).map(|_| unbounded_channel());
        let both = doors.map(|(door, from)| (Place { open: AtomicUsize::new(0), door }, from));
        let (places, doors): (Vec<_>, _) = both.unzip();
        (Self(places.into()), doors)
    }

    /// Who is to serve what `worker` has accepted. It is counted there from now on.
    pub(super) fn choose(&self, worker: usize) -> usize {
        let open = |at: &usize| self.0[*at].open.load(Relaxed);
        let own = open(&worker);
        let least = (0..self.0.len()).min_by_key(open).unwrap_or(worker);
        // Among many, a few more are no matter, and a hand-over costs two system calls.
        let chosen = if own.saturating_sub(open(&least)) > own / 8 { least } else { worker };
        self.enter(chosen);
        chosen
    }

    /// The connection comes back if that worker takes no more.
    pub(super) fn hand_to(&self, worker: usize, accepted: Accepted) -> Result<(), Accepted> {
        self.0[worker].door.send(accepted).map_err(|refused| refused.0)
    }

    pub(super) fn enter(&self, worker: usize) {
        self.0[worker].open.fetch_add(1, Relaxed);
    }

    pub(super) fn leave(&self, worker: usize) {
        self.0[worker].open.fetch_sub(1, Relaxed);
    }

    pub(super) fn open(&self) -> Vec<usize> {
        self.0.iter().map(|place| place.open.load(Relaxed)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_the_fewest_is_chosen_and_among_many_a_few_more_are_no_matter() {
        let (spread, _doors) = Spread::over(3);
        for _ in 0..9 {
            spread.choose(0);
        }
        assert_eq!(spread.open(), [3, 3, 3], "all came by one door");
        spread.leave(1);
        assert_eq!(spread.choose(2), 1);
        (0..100).for_each(|_| spread.enter(2));
        (0..90).for_each(|_| spread.enter(0));
        (0..92).for_each(|_| spread.enter(1));
        assert_eq!(spread.choose(2), 2, "{:?}", spread.open());
        (0..20).for_each(|_| spread.enter(2));
        assert_eq!(spread.choose(2), 0, "{:?}", spread.open());
    }
}
