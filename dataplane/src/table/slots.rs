//! Places that stay where they are: a key keeps its number from table to table, whatever its value becomes.

use std::{hash::Hash, sync::Arc};

use super::sharded::Sharded;

/// A place in [`Slots`], for as long as its key is there. Only the slots that gave it know what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot(u32);

/// Values of a chunk: what a change of one copies.
const CHUNK: usize = 64;

type Chunk<V> = [Option<Arc<V>>; CHUNK];

/// Values by key and by number. A copy is cheap, and so is a change.
#[derive(Debug)]
pub struct Slots<K, V> {
    numbers: Sharded<K, Slot>,
    chunks: Arc<[Arc<Chunk<V>>]>,
    free: Arc<Vec<Slot>>,
}

impl<K: Clone + Eq + Hash, V> Slots<K, V> {
    pub fn set(&mut self, key: &K, value: Arc<V>) {
        let slot = self.slot(key).unwrap_or_else(|| {
            let slot = Arc::make_mut(&mut self.free).pop().unwrap_or_else(|| self.add_chunk());
            self.numbers.insert(key.clone(), slot);
            slot
        });
        *self.place(slot) = Some(value);
    }

    pub fn remove(&mut self, key: &K) {
        if let Some(slot) = self.numbers.remove(key) {
            *self.place(slot) = None;
            Arc::make_mut(&mut self.free).push(slot);
        }
    }

    pub fn slot(&self, key: &K) -> Option<Slot> {
        self.numbers.get(key).copied()
    }

    pub fn by_key(&self, key: &K) -> Option<&Arc<V>> {
        self.slot(key).map(|slot| self.get(slot))
    }

    pub fn get(&self, slot: Slot) -> &Arc<V> {
        let (chunk, at) = split(slot);
        // Invariant: a rule is compiled anew when what it names is gone, and a snapshot names nothing that is not there.
        self.chunks[chunk][at].as_ref().expect("a slot in use (invariant)")
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<V>> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().flatten())
    }

    fn place(&mut self, slot: Slot) -> &mut Option<Arc<V>> {
        let (chunk, at) = split(slot);
        &mut Arc::make_mut(&mut Arc::make_mut(&mut self.chunks)[chunk])[at]
    }

    /// Returns the first of the new places; the others are free.
    fn add_chunk(&mut self) -> Slot {
        // Invariant: the channel carries at most 2^20 parts.
        let first = u32::try_from(self.chunks.len() * CHUNK).expect("fewer than 2^32 parts (invariant)");
        let chunk = Arc::new([const { None }; CHUNK]);
        self.chunks = self.chunks.iter().cloned().chain([chunk]).collect();
        Arc::make_mut(&mut self.free).extend((1..CHUNK as u32).rev().map(|more| Slot(first + more)));
        Slot(first)
    }
}

fn split(slot: Slot) -> (usize, usize) {
    (slot.0 as usize / CHUNK, slot.0 as usize % CHUNK)
}

impl<K, V> Default for Slots<K, V> {
    fn default() -> Self {
        Self { numbers: Sharded::default(), chunks: Arc::default(), free: Arc::default() }
    }
}

impl<K, V> Clone for Slots<K, V> {
    fn clone(&self) -> Self {
        let Self { numbers, chunks, free } = self;
        Self { numbers: numbers.clone(), chunks: Arc::clone(chunks), free: Arc::clone(free) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_keeps_its_slot_while_values_come_and_go_and_copies_keep_theirs() {
        let mut slots = Slots::default();
        for n in 0..200_u32 {
            slots.set(&n, Arc::new(n));
        }
        let before = slots.clone();
        let slot = slots.slot(&7).unwrap();
        slots.set(&7, Arc::new(70));
        assert_eq!((slots.slot(&7), **slots.get(slot), **before.get(slot)), (Some(slot), 70, 7));
        slots.remove(&7);
        slots.set(&1000, Arc::new(1000));
        assert_eq!(slots.slot(&1000), Some(slot), "a free place is used again");
        assert_eq!((slots.by_key(&7), **before.get(slot)), (None, 7));
        assert_eq!(slots.iter().count(), 200);
    }
}
