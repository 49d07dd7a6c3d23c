//! A map that is cheap to copy, cheap to change and cheap to compare with the one before, however large it is.
//!
//! It is a tree by hash, [`FANOUT`] ways at each node, with small sorted leaves, all behind `Arc`s: a copy shares all of
//! it, a change copies one leaf and the nodes above it, and a comparison passes over what is shared.

use std::{
    borrow::Borrow,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash},
    sync::Arc,
};

/// Children of a node: a power of two.
const FANOUT: usize = 16;
/// Bits of a hash that a node decides by.
const BITS: u32 = FANOUT.trailing_zeros();
/// Entries of a leaf, at most, unless their hashes are the same in all bits.
const LEAF: usize = 32;

/// Keys of equal hash and unequal order are no trouble; keys of equal order must have equal hashes.
#[derive(Debug)]
pub struct SharedMap<K, V> {
    root: Arc<Node<K, V>>,
    len: usize,
}

#[derive(Clone, Debug)]
enum Node<K, V> {
    Branch([Arc<Self>; FANOUT]),
    /// In the order of the keys.
    Leaf(Vec<(K, V)>),
}

/// A key whose value differs between two maps.
#[derive(Debug, PartialEq)]
pub struct Difference<'a, K, V> {
    pub key: &'a K,
    /// Absent: it is new.
    pub before: Option<&'a V>,
    /// Absent: it is gone.
    pub after: Option<&'a V>,
}

impl<K: Clone + Ord + Hash, V: Clone> SharedMap<K, V> {
    pub fn get<Q: Ord + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.root.get(Path::to(key), key)
    }

    /// Returns what was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let before = Node::insert(&mut self.root, Path::to(&key), key, value);
        self.len += usize::from(before.is_none());
        before
    }

    /// Copies nothing if there is nothing to remove.
    pub fn remove<Q: Ord + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.get(key)?;
        self.len -= 1;
        Node::remove(&mut self.root, Path::to(key), key)
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// In no promised order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let mut leaves = Vec::new();
        self.root.leaves(&mut leaves);
        leaves.into_iter().flatten().map(|(key, value)| (key, value))
    }

    /// Keys with other values here than in `before`, and those that `same` cannot tell to be equal: work in proportion to
    /// what the two do not share.
    pub fn differences<'a>(&'a self, before: &'a Self, same: fn(&V, &V) -> bool) -> Vec<Difference<'a, K, V>> {
        let mut found = Vec::new();
        Node::compare(&self.root, &before.root, Path::default(), same, &mut found);
        found
    }
}

impl<K: Clone + Ord + Hash, V: Clone> Node<K, V> {
    fn get<Q: Ord + ?Sized>(&self, path: Path, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        match self {
            Self::Branch(children) => children[path.here()].get(path.below(), key),
            Self::Leaf(entries) => find(entries, key).ok().map(|at| &entries[at].1),
        }
    }

    fn insert(this: &mut Arc<Self>, path: Path, key: K, value: V) -> Option<V> {
        match Arc::make_mut(this) {
            Self::Branch(children) => Self::insert(&mut children[path.here()], path.below(), key, value),
            Self::Leaf(entries) => match find(entries, &key) {
                Ok(at) => Some(std::mem::replace(&mut entries[at].1, value)),
                Err(at) if entries.len() < LEAF || path.is_at_end() => {
                    entries.insert(at, (key, value));
                    None
                }
                Err(_) => {
                    let entries = std::mem::take(entries);
                    *this = Self::split(entries, path);
                    Self::insert(this, path, key, value)
                }
            },
        }
    }

    fn split(entries: Vec<(K, V)>, path: Path) -> Arc<Self> {
        let mut children: [Vec<(K, V)>; FANOUT] = Default::default();
        for entry in entries {
            children[path.again(&entry.0).here()].push(entry);
        }
        Arc::new(Self::Branch(children.map(|entries| Arc::new(Self::Leaf(entries)))))
    }

    /// A leaf that is empty stays: there are few of them, and the next key fills it.
    fn remove<Q: Ord + ?Sized>(this: &mut Arc<Self>, path: Path, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        match Arc::make_mut(this) {
            Self::Branch(children) => Self::remove(&mut children[path.here()], path.below(), key),
            Self::Leaf(entries) => find(entries, key).ok().map(|at| entries.remove(at).1),
        }
    }

    fn leaves<'a>(&'a self, into: &mut Vec<&'a [(K, V)]>) {
        match self {
            Self::Branch(children) => children.iter().for_each(|child| child.leaves(into)),
            Self::Leaf(entries) => into.push(entries),
        }
    }

    fn compare<'a>(
        new: &'a Arc<Self>,
        old: &'a Arc<Self>,
        path: Path,
        same: fn(&V, &V) -> bool,
        found: &mut Vec<Difference<'a, K, V>>,
    ) {
        if Arc::ptr_eq(new, old) {
            return;
        }
        if let (Self::Branch(new), Self::Branch(old)) = (&**new, &**old) {
            new.iter().zip(old).for_each(|(new, old)| Self::compare(new, old, path.below(), same, found));
            return;
        }
        let (mut here, mut there) = (Vec::new(), Vec::new());
        new.leaves(&mut here);
        old.leaves(&mut there);
        for (key, value) in here.into_iter().flatten() {
            let before = old.get(path.again(key), key);
            if !before.is_some_and(|before| same(before, value)) {
                found.push(Difference { key, before, after: Some(value) });
            }
        }
        let gone = there.into_iter().flatten().filter(|(key, _)| new.get(path.again(key), key).is_none());
        found.extend(gone.map(|(key, value)| Difference { key, before: Some(value), after: None }));
    }
}

fn find<K: Borrow<Q>, V, Q: Ord + ?Sized>(entries: &[(K, V)], key: &Q) -> Result<usize, usize> {
    entries.binary_search_by(|(known, _)| known.borrow().cmp(key))
}

/// The way from a node to where a key belongs.
#[derive(Clone, Copy, Default)]
struct Path {
    hash: u64,
    depth: u32,
}

impl Path {
    /// From the root. The same in every map of this process, so that maps can be compared.
    fn to<Q: Hash + ?Sized>(key: &Q) -> Self {
        Self { hash: BuildHasherDefault::<DefaultHasher>::default().hash_one(key), depth: 0 }
    }

    /// The way of another key from the same node.
    fn again<Q: Hash + ?Sized>(self, key: &Q) -> Self {
        Self { depth: self.depth, ..Self::to(key) }
    }

    fn here(self) -> usize {
        // Truncation is what is wanted.
        (self.hash >> (self.depth * BITS)) as usize % FANOUT
    }

    fn below(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }

    /// No bits are left to decide by.
    fn is_at_end(self) -> bool {
        self.depth >= u64::BITS / BITS
    }
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self { root: Arc::new(Node::Leaf(Vec::new())), len: 0 }
    }
}

impl<K, V> Clone for SharedMap<K, V> {
    fn clone(&self) -> Self {
        Self { root: Arc::clone(&self.root), len: self.len }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Half of the keys share a hash.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct Key(u16);

    impl Hash for Key {
        fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
            if self.0.is_multiple_of(2) { self.0 } else { 1 }.hash(state);
        }
    }

    fn run(map: &mut SharedMap<Key, u8>, plain: &mut BTreeMap<Key, u8>, edits: Vec<(u16, Option<u8>)>) {
        for (key, value) in edits {
            let key = Key(key % 400);
            match value {
                Some(value) => assert_eq!(map.insert(key, value), plain.insert(key, value)),
                None => assert_eq!(map.remove(&key), plain.remove(&key)),
            }
        }
    }

    type Edits = Vec<(u16, Option<u8>)>;

    fn edits() -> impl Strategy<Value = Edits> {
        prop_oneof![any::<Edits>(), proptest::collection::vec(any::<(u16, Option<u8>)>(), 600..1200)]
    }

    proptest! {
        #[test]
        fn it_is_a_map_whose_copies_stay_and_whose_differences_are_those_of_plain_maps(first in edits(), then in edits()) {
            let (mut map, mut plain) = (SharedMap::default(), BTreeMap::new());
            run(&mut map, &mut plain, first);
            let (before, plain_before) = (map.clone(), plain.clone());
            run(&mut map, &mut plain, then);
            for (map, plain) in [(&map, &plain), (&before, &plain_before)] {
                prop_assert_eq!(&map.iter().map(|(k, v)| (*k, *v)).collect::<BTreeMap<_, _>>(), plain);
                prop_assert_eq!((map.len(), map.is_empty()), (plain.len(), plain.is_empty()));
                prop_assert!((0..400).map(Key).all(|key| map.get(&key) == plain.get(&key)));
            }
            for (new, old, plain, was) in [(&map, &before, &plain, &plain_before), (&before, &map, &plain_before, &plain)] {
                let mut found: Vec<_> =
                    new.differences(old, u8::eq).iter().map(|one| (*one.key, one.before.copied(), one.after.copied())).collect();
                found.sort_unstable();
                let keys = (0..400).map(|key| (Key(key), was.get(&Key(key)).copied(), plain.get(&Key(key)).copied()));
                prop_assert_eq!(found, keys.filter(|(_, before, after)| before != after).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_change_of_a_large_map_touches_a_handful_of_its_entries() {
        let mut map: SharedMap<u32, u32> = SharedMap::default();
        for n in 0..100_000 {
            map.insert(n, n);
        }
        let before = map.clone();
        map.insert(7, 70);
        // Whatever is not shared is shown if nothing counts as equal.
        let touched = map.differences(&before, |_, _| false);
        assert!(touched.len() <= LEAF, "{} entries", touched.len());
        assert!((0..100_000).all(|n| before.get(&n) == Some(&n)));
    }
}
