//! A map that is cheap to copy and cheap to compare: as the snapshot's `Parts`, without digests.

use std::{hash::Hash, sync::Arc};

use ravelin_snapshot::{Difference, SharedMap};

/// A copy shares everything; a change and a comparison cost what differs.
#[derive(Debug)]
pub struct Shelf<K, V>(SharedMap<K, Arc<V>>);

/// A key whose value differs between two shelves.
pub type ShelfChange<'a, K, V> = Difference<'a, K, Arc<V>>;

impl<K: Clone + Ord + Hash, V: PartialEq> Shelf<K, V> {
    pub fn get(&self, key: &K) -> Option<&Arc<V>> {
        self.0.get(key)
    }

    /// A value that equals the one there leaves it there.
    pub fn set(&mut self, key: K, value: V) {
        if self.get(&key).is_none_or(|old| **old != value) {
            self.0.insert(key, Arc::new(value));
        }
    }

    pub fn remove(&mut self, key: &K) {
        self.0.remove(key);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In no promised order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &Arc<V>)> {
        self.0.iter()
    }

    /// What is new, changed or gone since `before`: work in proportion to that.
    pub fn changes<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = ShelfChange<'a, K, V>> {
        self.0.differences(&before.0, |one, other| Arc::ptr_eq(one, other) || **one == **other).into_iter()
    }
}

impl<K, V> Default for Shelf<K, V> {
    fn default() -> Self {
        Self(SharedMap::default())
    }
}

impl<K, V> Clone for Shelf<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
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
