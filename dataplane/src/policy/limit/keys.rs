//! What is remembered of each key of a limit: bounded, sharded, and forgotten when it says nothing any more.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, Hash, Hasher},
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use foldhash::quality::RandomState;

use crate::metrics::Counter;

/// What is remembered of one key.
pub(super) trait Entry: Default {
    /// From when on it says nothing, in nanoseconds since the start of its [`Keys`].
    fn until(&self) -> u64;

    /// Bytes that it has besides its place in the table.
    fn heap(&self) -> usize {
        0
    }
}

/// What a limit remembers, by key. Shared by all workers; time is the caller's.
pub(super) struct Keys<V> {
    start: Instant,
    hashes: Hashes,
    shards: Box<[Mutex<Shard<V>>]>,
    /// Entries that went before their time, because there were too many.
    pub(super) evicted: Counter,
}

pub(super) const SHARDS: usize = 64;

/// Keys of a shard at most. Beyond, those go that would have gone first by themselves: of equal demand, the longest idle.
const MAX_KEYS: usize = (1 << 20) / SHARDS;

/// Bytes that entries of a shard have besides their places, at most; beyond, the same go.
const MAX_HEAP: usize = (128 << 20) / SHARDS;

/// 96 bits of two seeded hashes: no text of a client is kept, whatever its length, and none can be found that shares a
/// count with another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key([u32; 3]);

/// Makes keys of texts.
#[derive(Default)]
pub(super) struct Hashes([RandomState; 2]);

impl Hashes {
    pub(super) fn key(&self, text: &str) -> Key {
        let [first, second] = self.0.each_ref().map(|state| state.hash_one(text));
        Key([(first >> 32) as u32, first as u32, second as u32]) // truncation is what is wanted
    }
}

/// A table by keys.
pub(super) type ByKey<V> = HashMap<Key, V, BuildHasherDefault<Hashed>>;

struct Shard<V> {
    entries: ByKey<V>,
    /// Of all entries.
    heap: usize,
    /// Entries at which those are looked for that say nothing.
    sweep_at: usize,
}

impl<V: Entry> Keys<V> {
    pub(super) fn new(start: Instant) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(Shard { entries: HashMap::default(), heap: 0, sweep_at: 64 }));
        Self { start, hashes: Hashes::default(), shards: shards.collect(), evicted: Counter::default() }
    }

    pub(super) fn key(&self, text: &str) -> Key {
        self.hashes.key(text)
    }

    /// Nanoseconds since the start; 64 bits of them are 584 years.
    pub(super) fn nanos(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Reads and changes what is remembered of `key`. Nobody else does meanwhile, so `change` is to be short.
    pub(super) fn update<R>(&self, key: Key, now: u64, change: impl FnOnce(&mut Option<V>) -> R) -> R {
        let mut shard = self.shard(key);
        match shard.entries.get_mut(&key) {
            Some(place) => {
                let mut entry = Some(mem::take(place));
                let before = entry.as_ref().map_or(0, Entry::heap);
                let result = change(&mut entry);
                let after = entry.as_ref().map_or(0, Entry::heap);
                match entry {
                    Some(entry) => *place = entry,
                    None => drop(shard.entries.remove(&key)),
                }
                shard.heap = shard.heap + after - before;
                if after > before && shard.heap > MAX_HEAP {
                    self.evicted.add(shard.sweep(now));
                }
                result
            }
            None => {
                let mut entry = None;
                let result = change(&mut entry);
                if let Some(entry) = entry {
                    if shard.entries.len() >= shard.sweep_at || shard.heap > MAX_HEAP {
                        self.evicted.add(shard.sweep(now));
                    }
                    shard.heap += entry.heap();
                    shard.entries.insert(key, entry);
                }
                result
            }
        }
    }

    pub(super) fn read<R>(&self, key: Key, read: impl FnOnce(Option<&V>) -> R) -> R {
        read(self.shard(key).entries.get(&key))
    }

    /// Hands each entry to `visit`, a shard at a time.
    pub(super) fn for_each(&self, mut visit: impl FnMut(&mut V)) {
        for shard in &self.shards {
            lock(shard).entries.values_mut().for_each(&mut visit);
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).entries.len()).sum()
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, Shard<V>> {
        lock(&self.shards[key.shard()])
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        // A table of 2^n places is at most 7/8 full, and has one byte besides each place.
        let place = size_of::<(Key, V)>() + 1;
        let places = |capacity: usize| if capacity == 0 { 0 } else { (capacity * 8 / 7).next_power_of_two() };
        let shards = self.shards.iter().map(lock);
        shards.map(|shard| places(shard.entries.capacity()) * place + shard.heap).sum()
    }
}

/// A panic elsewhere leaves a shard whole: each change is one insertion.
pub(super) fn lock<T>(shard: &Mutex<T>) -> MutexGuard<'_, T> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<V: Entry> Shard<V> {
    /// Returns how many it had to evict. Paid for by the insertions since the last one: it runs when as many keys have come
    /// as there were, and at the bound when an eighth has.
    fn sweep(&mut self, now: u64) -> u64 {
        self.entries.retain(|_, entry| entry.until() > now);
        self.heap = self.entries.values().map(Entry::heap).sum();
        let before = self.entries.len();
        if before >= MAX_KEYS || (before > 0 && self.heap > MAX_HEAP) {
            let mut times: Vec<u64> = self.entries.values().map(Entry::until).collect();
            let eighth = before / 8;
            let (_, last, _) = times.select_nth_unstable(eighth);
            let (last, mut surplus) = (*last, eighth.max(1));
            self.entries.retain(|_, entry| {
                let goes = surplus > 0 && entry.until() <= last;
                surplus -= usize::from(goes);
                !goes
            });
            self.heap = self.entries.values().map(Entry::heap).sum();
        }
        self.sweep_at = (self.entries.len() * 2).clamp(64, MAX_KEYS);
        self.entries.shrink_to(self.sweep_at);
        (before - self.entries.len()) as u64
    }
}

impl Key {
    /// One of `width` places; another for each row.
    pub(super) fn row(self, row: usize, width: usize) -> usize {
        let [a, b, c] = self.0.map(u64::from);
        // Multiples of a second hash on top of a first are as good as so many hashes (Kirsch and Mitzenmacher, 2006).
        let sum = (a << 32 | b).wrapping_add((row as u64).wrapping_mul(c << 32 | b | 1));
        let mixed = (sum ^ sum >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((u128::from(mixed) * width as u128) >> 64) as usize // less than `width`
    }

    /// By bits that a table does not look at.
    pub(super) fn shard(self) -> usize {
        self.0[2] as usize % SHARDS
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from(self.0[0]) << 32 | u64::from(self.0[1]));
    }
}

/// A key is a hash already.
#[derive(Default)]
pub(super) struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = MAX_KEYS * SHARDS;

    #[derive(Default)]
    struct Until(u64);

    impl Entry for Until {
        fn until(&self) -> u64 {
            self.0
        }
    }

    fn put(keys: &Keys<Until>, name: &str, now: u64, until: u64) {
        keys.update(keys.key(name), now, |entry| *entry = Some(Until(until)));
    }

    #[test]
    fn entries_that_say_nothing_are_forgotten_as_others_come() {
        let keys = Keys::new(Instant::now());
        for n in 0..50_000 {
            put(&keys, &n.to_string(), n, n + 10);
        }
        assert!(keys.count() <= 2 * 64 * SHARDS, "{} keys are kept", keys.count());
        assert_eq!(keys.evicted.get(), 0);
    }

    #[test]
    fn there_are_never_more_keys_than_the_bound_and_those_nearest_to_their_end_go_first() {
        let keys = Keys::new(Instant::now());
        put(&keys, "heavy", 0, u64::MAX);
        let many = MAX as u64 * 5 / 4;
        for n in 0..many {
            put(&keys, &n.to_string(), 0, n + 1);
        }
        assert!(keys.count() <= MAX);
        assert!(keys.evicted.get() >= many - MAX as u64);
        assert!(keys.read(keys.key("heavy"), |entry| entry.is_some()), "who is limited most is remembered longest");
        assert!(keys.read(keys.key(&(many - 1).to_string()), |entry| entry.is_some()));
        assert!(keys.read(keys.key("1"), |entry| entry.is_none()));
    }

    #[derive(Default)]
    struct Large(u64, usize);

    impl Entry for Large {
        fn until(&self) -> u64 {
            self.0
        }

        fn heap(&self) -> usize {
            self.1
        }
    }

    #[test]
    fn what_entries_list_is_bounded_in_bytes_too_whether_many_come_or_few_grow() {
        let keys = Keys::<Large>::new(Instant::now());
        let bound = MAX_HEAP * SHARDS;
        let put = |name: &str, until, bytes| {
            keys.update(keys.key(name), 0, |entry| *entry = Some(Large(until, bytes)));
        };
        let (kib, many) = (2048, bound as u64 / 2048 * 5 / 4);
        for n in 0..many {
            put(&n.to_string(), n + 1, kib);
        }
        let room = SHARDS * (kib + 64) + keys.count() * 4 * size_of::<(Key, Large)>();
        assert!(keys.bytes() <= bound + room, "{} bytes", keys.bytes());
        assert!(keys.evicted.get() > 0 && keys.count() as u64 > many / 2);
        assert!(keys.read(keys.key(&(many - 1).to_string()), |entry| entry.is_some()));
        for n in 0..many {
            put(&n.to_string(), n + 1, 2 * kib);
        }
        assert!(keys.bytes() <= bound + 2 * room, "{} bytes", keys.bytes());
        for n in 0..many {
            keys.update(keys.key(&n.to_string()), 0, |entry| *entry = None);
        }
        assert_eq!(keys.shards.iter().map(|shard| lock(shard).heap).sum::<usize>(), 0);
    }

    #[test]
    fn what_is_taken_away_is_gone() {
        let keys = Keys::new(Instant::now());
        put(&keys, "a", 0, 9);
        keys.update(keys.key("a"), 0, |entry| *entry = None);
        assert_eq!(keys.count(), 0);
    }
}
