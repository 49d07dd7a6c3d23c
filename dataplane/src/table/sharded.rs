//! A hash map that the next table shares with this one but for what changed.

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::{BuildHasher, Hash},
    sync::Arc,
};

use foldhash::quality::RandomState;

/// Entries of a shard, on average, at most: what a change of one entry copies, beside a chunk.
const SHARD: usize = 32;
/// Shards of a chunk.
const CHUNK: usize = 64;

type Shard<K, V> = HashMap<K, V, RandomState>;
/// [`CHUNK`] of them, or all if there are fewer.
type Chunk<K, V> = [Arc<Shard<K, V>>];

/// A copy shares all of it; a change copies one shard and one chunk. Keys come from configuration, look-ups from clients.
#[derive(Debug)]
pub(super) struct Sharded<K, V> {
    chunks: Arc<[Arc<Chunk<K, V>>]>,
    /// How many shards there are: a power of two.
    shards: usize,
    len: usize,
    state: RandomState,
}

impl<K: Clone + Eq + Hash, V: Clone> Sharded<K, V> {
    pub(super) fn get<Q: ?Sized + Eq + Hash>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let shard = self.shard_of(key);
        self.chunks[shard / CHUNK][shard % CHUNK].get(key)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.len >= SHARD * self.shards {
            self.grow();
        }
        let shard = self.shard_of(&key);
        if self.shard_mut(shard).insert(key, value).is_none() {
            self.len += 1;
        }
    }

    pub(super) fn remove<Q: ?Sized + Eq + Hash>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.get(key)?; // no copy of a shard for nothing
        let shard = self.shard_of(key);
        self.len -= 1;
        self.shard_mut(shard).remove(key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// In no promised order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).flat_map(|shard| shard.iter())
    }

    fn shard_of<Q: ?Sized + Hash>(&self, key: &Q) -> usize {
        match self.shards {
            1 => 0,
            // The high bits: the maps below use the low ones. Truncation is what is wanted.
            count => (self.state.hash_one(key) >> 40) as usize & (count - 1),
        }
    }

    fn shard_mut(&mut self, shard: usize) -> &mut Shard<K, V> {
        let chunk = Arc::make_mut(&mut Arc::make_mut(&mut self.chunks)[shard / CHUNK]);
        Arc::make_mut(&mut chunk[shard % CHUNK])
    }

    fn grow(&mut self) {
        let mut larger = Self::empty(self.shards * 2, self.state.clone());
        for (key, value) in self.iter() {
            let shard = larger.shard_of(key);
            larger.shard_mut(shard).insert(key.clone(), value.clone());
        }
        *self = Self { len: self.len, ..larger };
    }
}

impl<K, V> Sharded<K, V> {
    fn empty(shards: usize, state: RandomState) -> Self {
        let shard = Arc::new(Shard::with_hasher(state.clone()));
        let chunk: Arc<Chunk<K, V>> = std::iter::repeat_n(shard, shards.min(CHUNK)).collect();
        Self { chunks: std::iter::repeat_n(chunk, shards.div_ceil(CHUNK)).collect(), shards, len: 0, state }
    }
}

impl<K, V> Default for Sharded<K, V> {
    fn default() -> Self {
        Self::empty(1, RandomState::default())
    }
}

impl<K, V> Clone for Sharded<K, V> {
    fn clone(&self) -> Self {
        Self { chunks: Arc::clone(&self.chunks), shards: self.shards, len: self.len, state: self.state.clone() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map_and_its_copies_do_not_see_later_changes(edits: Vec<(u16, Option<u8>)>, more: Vec<(u16, Option<u8>)>) {
            let (mut map, mut plain) = (Sharded::default(), HashMap::new());
            let run = |map: &mut Sharded<u16, u8>, plain: &mut HashMap<u16, u8>, edits: Vec<(u16, Option<u8>)>| {
                for (key, value) in edits {
                    let key = key % 1024;
                    match value {
                        Some(value) => { map.insert(key, value); plain.insert(key, value); }
                        None => assert_eq!(map.remove(&key), plain.remove(&key)),
                    }
                }
            };
            run(&mut map, &mut plain, edits);
            let (copy, then) = (map.clone(), plain.clone());
            run(&mut map, &mut plain, more);
            let all = |map: &Sharded<u16, u8>| map.iter().map(|(k, v)| (*k, *v)).collect::<HashMap<_, _>>();
            prop_assert_eq!(all(&copy), then);
            prop_assert_eq!(map.len, plain.len());
            prop_assert_eq!(all(&map), plain);
        }
    }

    #[test]
    fn a_large_map_still_finds_everything() {
        let mut map = Sharded::default();
        for n in 0..20_000_u32 {
            map.insert(n.to_string(), n);
        }
        assert!((0..20_000_u32).all(|n| map.get(n.to_string().as_str()) == Some(&n)));
        assert_eq!(map.get("20000"), None);
    }
}
