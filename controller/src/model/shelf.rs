//! A map that is cheap to copy and cheap to compare: shards behind `Arc`s, as the snapshot's `Parts`, without digests.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, Hash},
    sync::Arc,
};

const SHARDS: usize = 256;

/// A copy shares everything; a change copies one shard; a comparison passes over shards that are shared.
#[derive(Debug)]
pub struct Shelf<K, V> {
    shards: Arc<[Arc<Shard<K, V>>]>,
    len: usize,
}

type Shard<K, V> = BTreeMap<K, Arc<V>>;

/// A key whose value differs between two shelves.
#[derive(Debug)]
pub struct ShelfChange<'a, K, V> {
    pub key: &'a K,
    /// Absent: it is new.
    pub before: Option<&'a Arc<V>>,
    /// Absent: it is gone.
    pub after: Option<&'a Arc<V>>,
}

impl<K: Clone + Ord + Hash, V: PartialEq> Shelf<K, V> {
    pub fn get(&self, key: &K) -> Option<&Arc<V>> {
        self.shards[shard_of(key)].get(key)
    }

    /// A value that equals the one there leaves it there.
    pub fn set(&mut self, key: K, value: V) {
        match self.get(&key) {
            Some(old) if **old == value => return,
            Some(_) => {}
            None => self.len += 1,
        }
        self.shard_mut(&key).insert(key, Arc::new(value));
    }

    pub fn remove(&mut self, key: &K) {
        if self.get(key).is_some() {
            self.shard_mut(key).remove(key);
            self.len -= 1;
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// In no promised order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &Arc<V>)> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    /// What is new, changed or gone since `before`: work in proportion to the shards that changed.
    pub fn changes<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = ShelfChange<'a, K, V>> {
        let changed = self.shards.iter().zip(before.shards.iter()).filter(|(new, old)| !Arc::ptr_eq(new, old));
        changed.flat_map(|(new, old)| {
            let here = new.iter().filter_map(|(key, value)| {
                let was = old.get(key);
                let same = was.is_some_and(|was| Arc::ptr_eq(was, value) || **was == **value);
                (!same).then_some(ShelfChange { key, before: was, after: Some(value) })
            });
            let gone = old.iter().filter(|(key, _)| !new.contains_key(*key));
            here.chain(gone.map(|(key, value)| ShelfChange { key, before: Some(value), after: None }))
        })
    }

    fn shard_mut(&mut self, key: &K) -> &mut Shard<K, V> {
        Arc::make_mut(&mut Arc::make_mut(&mut self.shards)[shard_of(key)])
    }
}

/// Stable for the life of the process and the same for every shelf, so that shards can be compared.
fn shard_of<K: Hash>(key: &K) -> usize {
    let hash = std::hash::BuildHasherDefault::<std::hash::DefaultHasher>::default().hash_one(key);
    // Truncation is what is wanted: any eight bits do.
    hash as usize % SHARDS
}

impl<K, V> Default for Shelf<K, V> {
    fn default() -> Self {
        let empty = Arc::new(BTreeMap::new());
        Self { shards: std::iter::repeat_n(empty, SHARDS).collect(), len: 0 }
    }
}

impl<K, V> Clone for Shelf<K, V> {
    fn clone(&self) -> Self {
        Self { shards: Arc::clone(&self.shards), len: self.len }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_what_differs_and_an_equal_value_is_no_change() {
        let mut before = Shelf::default();
        for n in 0..1000_u32 {
            before.set(n, n);
        }
        let mut after = before.clone();
        after.set(1, 1);
        after.set(2, 20);
        after.set(2000, 0);
        after.remove(&3);
        after.remove(&3);
        let mut found: Vec<_> =
            after.changes(&before).map(|c| (*c.key, c.before.map(|v| **v), c.after.map(|v| **v))).collect();
        found.sort_unstable();
        assert_eq!(found, [(2, Some(2), Some(20)), (3, Some(3), None), (2000, None, Some(0))]);
        assert_eq!((before.len(), after.len()), (1000, 1000));
    }
}
