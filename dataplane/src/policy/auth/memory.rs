//! Credentials that were found good, one memory a thread: no lock, no line that two workers write.
//!
//! A credential is known by a keyed hash: what is remembered is none, and nobody can make two of them meet. An entry counts
//! for as long as the one who asks says so, by its end, its keys and the provider it is from.

use std::{
    cell::RefCell,
    collections::HashMap,
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use foldhash::fast::RandomState;

use super::keyed::{Hash, Scratch};
use crate::request::Caller;

/// Bytes of tokens that a thread remembers, at most. A caller takes a few times the bytes of its token.
const MAX_BYTES: usize = 4 << 20;
/// What an entry takes beside its caller, about.
const ENTRY: usize = 256;

/// Who remembers: unique in this process, so that what is remembered is remembered for one configuration alone.
pub(super) fn new_owner() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Relaxed)
}

/// Whose a credential is.
pub(super) struct Entry {
    /// Index of the provider that accepted it; of other methods, 0.
    pub(super) provider: usize,
    /// The set of keys that it was verified with; of other methods, 0.
    pub(super) keys: u64,
    /// Seconds since the epoch.
    pub(super) until: f64,
    pub(super) caller: Arc<Caller>,
}

type Entries<E> = HashMap<Hash, (E, usize), RandomState>;

/// Two generations: when the younger is full, the older is forgotten; what is asked for becomes young again.
pub(super) struct Memory<E> {
    scratch: Scratch,
    young: Entries<E>,
    old: Entries<E>,
    /// Of the young, bytes.
    weight: usize,
}

thread_local! {
    static MEMORY: RefCell<Memory<Entry>> = RefCell::new(Memory::new());
}

/// What `good` makes of the entry of a token; one that it makes nothing of is forgotten. `method`: whose memory it is.
pub(super) fn get<T>(method: u64, token: &[u8], good: impl FnOnce(&Entry) -> Option<T>) -> Option<T> {
    MEMORY.with_borrow_mut(|memory| memory.get(method, token, good))
}

pub(super) fn put(method: u64, token: &[u8], entry: Entry) {
    MEMORY.with_borrow_mut(|memory| memory.put(method, token, entry, token.len()));
}

impl<E> Memory<E> {
    pub(super) fn new() -> Self {
        Self { scratch: Scratch::default(), young: HashMap::default(), old: HashMap::default(), weight: 0 }
    }

    pub(super) fn get<T>(&mut self, method: u64, token: &[u8], good: impl FnOnce(&E) -> Option<T>) -> Option<T> {
        if self.young.is_empty() && self.old.is_empty() {
            return None;
        }
        let hash = self.scratch.hash(method, token);
        if let Some((entry, weight)) = self.old.remove(&hash) {
            self.insert(hash, entry, weight);
        }
        let found = good(&self.young.get(&hash)?.0);
        if found.is_none()
            && let Some((_, weight)) = self.young.remove(&hash)
        {
            self.weight -= weight;
        }
        found
    }

    /// `weight`: the bytes that are remembered, about.
    pub(super) fn put(&mut self, method: u64, token: &[u8], entry: E, weight: usize) {
        let hash = self.scratch.hash(method, token);
        self.insert(hash, entry, weight + ENTRY);
    }

    fn insert(&mut self, hash: Hash, entry: E, weight: usize) {
        if self.weight + weight > MAX_BYTES / 2 {
            self.old = mem::take(&mut self.young);
            self.weight = 0;
        }
        self.weight += weight;
        if let Some((_, before)) = self.young.insert(hash, (entry, weight)) {
            self.weight -= before;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(until: f64) -> Entry {
        Entry { provider: 0, keys: 0, until, caller: Arc::default() }
    }

    fn until(memory: &mut Memory<Entry>, method: u64, token: &[u8]) -> Option<f64> {
        memory.get(method, token, |entry| (entry.until > 0.0).then_some(entry.until))
    }

    #[test]
    fn what_is_remembered_is_of_one_method_and_is_forgotten_once_it_is_no_good() {
        let mut memory = Memory::new();
        memory.put(1, b"a", entry(5.0), 1);
        memory.put(1, b"b", entry(0.0), 1);
        assert_eq!(until(&mut memory, 1, b"a"), Some(5.0));
        assert_eq!(until(&mut memory, 2, b"a"), None);
        assert_eq!((until(&mut memory, 1, b"b"), memory.young.len()), (None, 1));
        assert_eq!(memory.weight, 1 + ENTRY);
    }

    #[test]
    fn the_memory_is_bounded_and_keeps_what_is_asked_for() {
        let mut memory = Memory::new();
        memory.put(0, b"asked for", entry(7.0), 9);
        let mut token = vec![0; 1 << 10];
        for turn in 0..20_000_u32 {
            token[..4].copy_from_slice(&turn.to_ne_bytes());
            memory.put(0, &token, entry(1.0), token.len());
            if turn % 1000 == 0 {
                assert_eq!(until(&mut memory, 0, b"asked for"), Some(7.0));
            }
            let held: usize = memory.young.values().chain(memory.old.values()).map(|(_, weight)| weight).sum();
            assert!(turn % 100 != 0 || (held <= MAX_BYTES && memory.weight <= MAX_BYTES / 2), "{held}");
        }
        assert_eq!(until(&mut memory, 0, &token), Some(1.0));
        token[..4].copy_from_slice(&0_u32.to_ne_bytes());
        assert_eq!(until(&mut memory, 0, &token), None);
    }
}
