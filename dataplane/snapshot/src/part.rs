//! Content-addressed parts, in a map that is cheap to copy and cheap to compare: a snapshot of 100,000 routes differs from
//! the one before by a route or two.

use std::{fmt, hash::Hash, ops::Deref, sync::Arc};

use aws_lc_rs::digest;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, Error},
};
use serde_json::error::Category;

use crate::{Difference, SharedMap, secret::reveal};

/// A part and the digest of its content. Two parts with equal digests are equal.
#[derive(Debug)]
pub struct Part<T> {
    digest: Digest,
    value: Arc<T>,
}

impl<T: Serialize> Part<T> {
    /// Serializes `value` once, for its digest.
    pub fn new(value: T) -> Self {
        Self::of(Arc::new(value))
    }

    pub fn of(value: Arc<T>) -> Self {
        Self { digest: Digest::of(&encode(&*value)), value }
    }
}

impl<T> Part<T> {
    /// A part whose bytes have been found to have this digest.
    pub(crate) fn received(digest: Digest, value: T) -> Self {
        Self { digest, value: Arc::new(value) }
    }

    pub fn digest(&self) -> Digest {
        self.digest
    }

    pub fn value(&self) -> &Arc<T> {
        &self.value
    }
}

impl<T> Deref for Part<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Clone for Part<T> {
    fn clone(&self) -> Self {
        Self { digest: self.digest, value: Arc::clone(&self.value) }
    }
}

impl<T> PartialEq for Part<T> {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl<T> Eq for Part<T> {}

/// The canonical bytes of a part, with its secrets: for the channel, the sealed file and digests only.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // Invariant: our types have string keys or are lists, and no serializer of ours fails.
    reveal(|| serde_json::to_vec(value)).expect("plain data serializes (invariant)")
}

/// What [`encode`] has written. Expressions nest deeper than serde_json would let them; the depth is bounded here instead.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Malformed> {
    if depth(bytes) > MAX_DEPTH {
        return Err(Malformed(format!("it is nested deeper than {MAX_DEPTH}")));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    deserializer.disable_recursion_limit();
    let value = T::deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Of lists and maps in JSON: three levels for a call or a map in an expression, two for all else, and a dozen around them.
const MAX_DEPTH: usize = 3 * crate::expression::MAX_DEPTH + 64;

/// How deep brackets nest outside strings. JSON that is not well-formed has some depth too, and fails later.
fn depth(json: &[u8]) -> usize {
    let (mut now, mut most, mut string, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if string => escaped = true,
            b'"' => string = !string,
            b'[' | b'{' if !string => {
                now += 1;
                most = most.max(now);
            }
            b']' | b'}' if !string => now = now.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// Why bytes are not what they should be: in words that repeat no value, which may be secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

impl From<serde_json::Error> for Malformed {
    fn from(error: serde_json::Error) -> Self {
        let (text, column) = (error.to_string(), error.column());
        // Names of fields are ours; all else that serde tells may come from a value.
        let field = ["unknown field", "missing field"].iter().any(|known| text.starts_with(known));
        let what = text.split(',').next().filter(|_| field).unwrap_or(match error.classify() {
            Category::Syntax => "it is not JSON",
            Category::Eof => "it ends too early",
            Category::Data | Category::Io => "it is not of the form that this version knows",
        });
        let what = what.split(" at line").next().unwrap_or(what);
        Self(format!("{what} (at byte {column})"))
    }
}

/// 256 bits: SHA-256 of a part, or the sum of such over a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        // Invariant: SHA-256 is 32 bytes.
        Self(digest::digest(&digest::SHA256, bytes).as_ref().try_into().expect("32 bytes (invariant)"))
    }

    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Adds `other` to a sum, lane by lane and wrapping: the digest of a set, whatever the order, kept up to date in
    /// proportion to what changes. It guards against mistakes between two halves that trust each other, not forgers.
    pub fn add(&mut self, other: Self) {
        self.lanes(other, u64::wrapping_add);
    }

    pub fn subtract(&mut self, other: Self) {
        self.lanes(other, u64::wrapping_sub);
    }

    fn lanes(&mut self, other: Self, op: fn(u64, u64) -> u64) {
        for (mine, theirs) in self.0.chunks_exact_mut(8).zip(other.0.chunks_exact(8)) {
            // Invariant: chunks_exact(8) gives 8 bytes.
            let sum = op(
                u64::from_le_bytes((&*mine).try_into().expect("8 bytes (invariant)")),
                u64::from_le_bytes(theirs.try_into().expect("8 bytes (invariant)")),
            );
            mine.copy_from_slice(&sum.to_le_bytes());
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        crate::hex::sha256(&text).map(Self).ok_or_else(|| D::Error::custom("a digest is 64 hex digits"))
    }
}

/// A map from keys to parts. [`Parts::sorted`] is deterministic.
pub struct Parts<K, T> {
    parts: SharedMap<K, Part<T>>,
    digest: Digest,
}

/// A key whose part differs between two maps.
pub type Change<'a, K, T> = Difference<'a, K, Part<T>>;

impl<K: Clone + Ord + Hash + Serialize, T> Parts<K, T> {
    pub fn get(&self, key: &K) -> Option<&Part<T>> {
        self.parts.get(key)
    }

    pub fn insert(&mut self, key: K, part: Part<T>) {
        self.digest.add(entry_digest(&key, part.digest));
        if let Some(old) = self.get(&key) {
            self.digest.subtract(entry_digest(&key, old.digest));
        }
        self.parts.insert(key, part);
    }

    pub fn remove(&mut self, key: &K) -> Option<Part<T>> {
        let old = self.parts.remove(key)?;
        self.digest.subtract(entry_digest(key, old.digest));
        Some(old)
    }

    pub fn len(&self) -> usize {
        self.parts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Of all keys and parts, whatever the order of insertion.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// In no promised order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &Part<T>)> {
        self.parts.iter()
    }

    /// All entries in the order of their keys.
    pub fn sorted(&self) -> Vec<(&K, &Part<T>)> {
        let mut all: Vec<_> = self.iter().collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all
    }

    /// What is new, changed or gone since `before`: work in proportion to that.
    pub fn changes<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = Change<'a, K, T>> {
        self.parts.differences(&before.parts, Part::eq).into_iter()
    }
}

fn entry_digest<K: Serialize>(key: &K, part: Digest) -> Digest {
    Digest::of(&encode(&(key, part)))
}

impl<K, T> Default for Parts<K, T> {
    fn default() -> Self {
        Self { parts: SharedMap::default(), digest: Digest::default() }
    }
}

impl<K, T> Clone for Parts<K, T> {
    fn clone(&self) -> Self {
        Self { parts: self.parts.clone(), digest: self.digest }
    }
}

impl<K: Clone + Ord + Hash, T> PartialEq for Parts<K, T> {
    fn eq(&self, other: &Self) -> bool {
        self.parts.len() == other.parts.len() && self.digest == other.digest
    }
}

impl<K: Clone + Ord + Hash + Serialize, T> FromIterator<(K, Part<T>)> for Parts<K, T> {
    fn from_iter<I: IntoIterator<Item = (K, Part<T>)>>(entries: I) -> Self {
        let mut parts = Self::default();
        entries.into_iter().for_each(|(key, part)| parts.insert(key, part));
        parts
    }
}

/// As a list of pairs in the order of the keys.
impl<K: Clone + Ord + Hash + Serialize, T: Serialize> Serialize for Parts<K, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.sorted().into_iter().map(|(key, part)| (key, &**part)))
    }
}

impl<'de, K, T> Deserialize<'de> for Parts<K, T>
where
    K: Clone + Ord + Hash + Serialize + Deserialize<'de>,
    T: Serialize + Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = <Vec<(K, T)>>::deserialize(deserializer)?;
        let count = entries.len();
        let parts: Self = entries.into_iter().map(|(key, value)| (key, Part::new(value))).collect();
        if parts.len() == count { Ok(parts) } else { Err(D::Error::custom("a key stands twice")) }
    }
}

impl<K: Clone + Ord + Hash + fmt::Debug, T: fmt::Debug> fmt::Debug for Parts<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.parts.iter().map(|(key, part)| (key, &part.value))).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn parts(map: &BTreeMap<u8, u8>) -> Parts<u8, u8> {
        map.iter().map(|(key, value)| (*key, Part::new(*value))).collect()
    }

    proptest! {
        #[test]
        fn changes_are_those_of_a_plain_map(before: BTreeMap<u8, u8>, edits: Vec<(u8, Option<u8>)>) {
            let old = parts(&before);
            let (mut after, mut new) = (before.clone(), old.clone());
            for (key, value) in edits {
                match value {
                    Some(value) => { after.insert(key, value); new.insert(key, Part::new(value)); }
                    None => { after.remove(&key); new.remove(&key); }
                }
            }
            let mut found: Vec<_> = new.changes(&old).map(|c| (*c.key, c.before.map(|p| **p), c.after.map(|p| **p))).collect();
            found.sort_unstable();
            let mut keys: Vec<u8> = before.keys().chain(after.keys()).copied().collect();
            keys.sort_unstable();
            keys.dedup();
            let expected: Vec<_> = keys.into_iter().map(|k| (k, before.get(&k).copied(), after.get(&k).copied())).filter(|(_, b, a)| b != a).collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(new.digest(), parts(&after).digest(), "the digest does not depend on the way");
            prop_assert_eq!(new.len(), after.len());
            prop_assert_eq!(old.digest(), parts(&before).digest(), "the old map is untouched");
        }
    }

    #[test]
    fn a_part_round_trips_with_its_digest_and_a_key_never_stands_twice() {
        let all = parts(&BTreeMap::from([(1, 10), (2, 20)]));
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(text, "[[1,10],[2,20]]");
        assert_eq!(serde_json::from_str::<Parts<u8, u8>>(&text).unwrap(), all);
        assert!(serde_json::from_str::<Parts<u8, u8>>("[[1,10],[1,20]]").is_err());
        let digest = serde_json::to_string(&all.digest()).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&digest).unwrap(), all.digest());
    }
}
