//! Places that stay where they are: a key keeps its number from table to table, whatever its value becomes.

use std::{collections::HashMap, hash::Hash, sync::Arc};

/// A place in [`Slots`]. Only the slots that gave it know what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot(u32);

/// Values by key and by number.
#[derive(Debug)]
pub struct Slots<K, V> {
    numbers: HashMap<K, Slot>,
    values: Vec<Arc<V>>,
}

impl<K: Clone + Eq + Hash, V> Slots<K, V> {
    pub fn set(&mut self, key: &K, value: Arc<V>) {
        if let Some(slot) = self.numbers.get(key) {
            self.values[slot.0 as usize] = value;
        } else {
            // Invariant: the channel carries at most 2^20 parts.
            let slot = Slot(u32::try_from(self.values.len()).expect("fewer than 2^32 parts (invariant)"));
            self.numbers.insert(key.clone(), slot);
            self.values.push(value);
        }
    }

    pub fn slot(&self, key: &K) -> Option<Slot> {
        self.numbers.get(key).copied()
    }

    pub fn by_key(&self, key: &K) -> Option<&Arc<V>> {
        self.slot(key).map(|slot| self.get(slot))
    }

    pub fn get(&self, slot: Slot) -> &Arc<V> {
        &self.values[slot.0 as usize]
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<V>> {
        self.values.iter()
    }
}

impl<K, V> Default for Slots<K, V> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), values: Vec::new() }
    }
}
