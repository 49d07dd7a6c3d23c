//! Which nonces have passed, for as long as their signatures would be good: for all workers of this replica, and bounded.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use foldhash::fast::RandomState;

use crate::policy::auth::{
    keyed::{Hash, Scratch},
    memory,
};

/// Nonces that are remembered, at most; and such of one key.
const MAX_NONCES: usize = 1 << 20;
const MAX_OF_ONE: usize = 1 << 18;

/// What became of a nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Used {
    Now,
    Before,
    /// There is no room to remember it: nobody could tell the next time.
    Full,
}

pub(super) struct Nonces {
    owner: u64,
    bounds: (usize, usize),
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    scratch: Scratch,
    of_key: HashMap<Arc<str>, OfKey, RandomState>,
    count: usize,
    /// All that is over was forgotten in this second.
    swept: u64,
}

#[derive(Default)]
struct OfKey {
    /// Until when, in seconds since the epoch.
    until: HashMap<Hash, u64, RandomState>,
    swept: u64,
}

impl Default for Nonces {
    fn default() -> Self {
        Self::bounded(MAX_NONCES, MAX_OF_ONE)
    }
}

impl Nonces {
    pub(super) fn bounded(most: usize, most_of_one: usize) -> Self {
        Self { owner: memory::new_owner(), bounds: (most, most_of_one), state: Mutex::default() }
    }

    /// Takes a nonce of a key, once. `until` and `now` are seconds since the epoch; after `until` its signature is too old.
    pub(super) fn take(&self, key: &Arc<str>, nonce: &str, until: u64, now: u64) -> Used {
        let (most, most_of_one) = self.bounds;
        // Invariant: whoever panicked here held nothing that is half done.
        let state = &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = state.scratch.hash(self.owner, nonce.as_bytes());
        if state.count >= most && state.swept < now {
            state.swept = now;
            state.of_key.retain(|_, known| {
                state.count -= known.sweep(now);
                !known.until.is_empty()
            });
        }
        let known = state.of_key.entry(Arc::clone(key)).or_default();
        if known.until.get(&hash).is_some_and(|until| *until >= now) {
            return Used::Before;
        }
        // Rarely, so that it costs each nonce little.
        if known.until.len() >= most_of_one || known.until.len() == known.until.capacity() {
            state.count -= known.sweep(now);
        }
        if known.until.len() >= most_of_one || state.count >= most {
            return Used::Full;
        }
        if known.until.insert(hash, until).is_none() {
            state.count += 1;
        }
        Used::Now
    }
}

impl OfKey {
    /// Forgets what is over, and says how many that were.
    fn sweep(&mut self, now: u64) -> usize {
        if self.swept == now {
            return 0;
        }
        self.swept = now;
        let before = self.until.len();
        self.until.retain(|_, until| *until >= now);
        before - self.until.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_passes_once_for_as_long_as_its_signature_is_good_and_for_each_key() {
        let nonces = Nonces::bounded(100, 100);
        let (one, other): (Arc<str>, Arc<str>) = ("one".into(), "other".into());
        assert_eq!(nonces.take(&one, "a", 10, 5), Used::Now);
        assert_eq!(nonces.take(&one, "a", 10, 10), Used::Before);
        assert_eq!(nonces.take(&other, "a", 10, 10), Used::Now);
        assert_eq!(nonces.take(&one, "a", 20, 11), Used::Now);
        assert_eq!(nonces.take(&one, "a", 30, 12), Used::Before);
    }

    #[test]
    fn no_key_takes_all_the_room_and_what_is_over_makes_room_again() {
        let nonces = Nonces::bounded(6, 4);
        let (one, other): (Arc<str>, Arc<str>) = ("one".into(), "other".into());
        let take = |key, number: u32, now| nonces.take(key, &number.to_string(), 10, now);
        for number in 0..4 {
            assert_eq!(take(&one, number, 1), Used::Now);
        }
        assert_eq!(take(&one, 4, 2), Used::Full);
        assert_eq!((take(&other, 0, 2), take(&other, 1, 2)), (Used::Now, Used::Now));
        assert_eq!(take(&other, 2, 3), Used::Full, "of both together");
        assert_eq!(take(&one, 0, 3), Used::Before);
        assert_eq!((take(&other, 0, 11), nonces.take(&one, "0", 20, 11)), (Used::Now, Used::Now));
        let state = nonces.state.lock().unwrap();
        assert_eq!(state.count, state.of_key.values().map(|known| known.until.len()).sum::<usize>());
    }
}
