//! A hash map that the next table shares with this one but for what changed.

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::{BuildHasher, Hash},
    sync::Arc,
};

use foldhash::quality::RandomState;

/// Entries of a shard, on average, at most: what a change of one entry copies.
const SHARD: usize = 64;

type Shard<K, V> = HashMap<K, V, RandomState>;

/// A copy shares all shards; a change copies one. Keys come from configuration, look-ups from clients.
#[derive(Debug)]
pub(super) struct Sharded<K, V> {
    /// A power of two of them.
    shards: Arc<[Arc<Shard<K, V>>]>,
    len: usize,
    state: RandomState,
}

impl<K: Clone + Eq + Hash, V: Clone> Sharded<K, V> {
    pub(super) fn get<Q: ?Sized + Eq + Hash>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.shards[self.shard_of(key)].get(key)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.len >= SHARD * self.shards.len() {
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
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    fn shard_of<Q: ?Sized + Hash>(&self, key: &Q) -> usize {
        match self.shards.len() {
            1 => 0,
            // The high bits: the maps below use the low ones. Truncation is what is wanted.
            count => (self.state.hash_one(key) >> 40) as usize & (count - 1),
        }
    }

    fn shard_mut(&mut self, shard: usize) -> &mut Shard<K, V> {
        Arc::make_mut(&mut Arc::make_mut(&mut self.shards)[shard])
    }

    fn grow(&mut self) {
        let empty = Arc::new(Shard::with_hasher(self.state.clone()));
        let shards = std::iter::repeat_n(empty, self.shards.len() * 2).collect();
        let old = std::mem::replace(&mut self.shards, shards);
        for (key, value) in old.iter().flat_map(|shard| shard.iter()) {
            let shard = self.shard_of(key);
            self.shard_mut(shard).insert(key.clone(), value.clone());
        }
    }
}

impl<K, V> Default for Sharded<K, V> {
    fn default() -> Self {
        let state = RandomState::default();
        Self { shards: Arc::new([Arc::new(Shard::with_hasher(state.clone()))]), len: 0, state }
    }
}

impl<K, V> Clone for Sharded<K, V> {
    fn clone(&self) -> Self {
        Self { shards: Arc::clone(&self.shards), len: self.len, state: self.state.clone() }
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
