//! The same key goes to the same place, and few keys move when a place comes or goes (Maglev, NSDI 2016, 3.4).

use super::mixed;

/// A prime, well above a hundred times the places that there usually are: shares are exact to about a hundredth.
const ENTRIES: u64 = 65_537;

/// Which of some named places a key belongs to. It depends on names and weights alone: all replicas agree.
#[derive(Debug)]
pub(in crate::upstream) struct Maglev(Box<[u32]>);

struct Candidate {
    place: u32,
    weight: f64,
    /// The next entry that it would like, and how far it goes from there.
    next: u64,
    skip: u64,
    /// Round from which on it may take another.
    due: f64,
}

impl Maglev {
    /// `None`: nobody has a share. At most [`ENTRIES`] places can have one.
    pub(in crate::upstream) fn new<N: AsRef<str>>(places: impl Iterator<Item = (N, u32)>) -> Option<Self> {
        let mut candidates: Vec<(String, Candidate)> = places
            .enumerate()
            .filter(|(_, (_, weight))| *weight > 0)
            .map(|(place, (name, weight))| {
                let hash = hash(name.as_ref().as_bytes());
                let (next, skip) = (hash % ENTRIES, mixed(hash) % (ENTRIES - 1) + 1);
                let candidate = Candidate { place: place as u32, weight: f64::from(weight), next, skip, due: 0.0 };
                (name.as_ref().to_owned(), candidate)
            })
            .collect();
        // In the order of their names, for that is the same everywhere.
        candidates.sort_by(|(a, _), (b, _)| a.cmp(b));
        candidates.truncate(ENTRIES as usize);
        let heaviest = candidates.iter().map(|(_, one)| one.weight).fold(0.0, f64::max);
        let mut entries = vec![u32::MAX; ENTRIES as usize];
        let mut left = ENTRIES;
        for round in 0_u64.. {
            for (_, candidate) in &mut candidates {
                if candidate.due > round as f64 {
                    continue;
                }
                candidate.due += heaviest / candidate.weight;
                while entries[candidate.next as usize] != u32::MAX {
                    candidate.next = (candidate.next + candidate.skip) % ENTRIES;
                }
                entries[candidate.next as usize] = candidate.place;
                left -= 1;
                if left == 0 {
                    return Some(Self(entries.into()));
                }
            }
            if candidates.is_empty() {
                return None;
            }
        }
        None
    }

    /// The place of a key that has this hash.
    pub(in crate::upstream) fn place(&self, hash: u64) -> usize {
        self.0[(hash % ENTRIES) as usize] as usize
    }
}

/// FNV-1a, finished so that every bit counts: the same in every process.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    mixed(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(count: usize) -> Vec<(String, u32)> {
        (0..count).map(|at| (format!("10.0.0.{at}:80"), 1)).collect()
    }

    fn table(places: &[(String, u32)]) -> Maglev {
        Maglev::new(places.iter().map(|(name, weight)| (name, *weight))).unwrap()
    }

    #[test]
    fn shares_are_the_weights_to_a_hundredth() {
        let mut said = places(5);
        for (at, weight) in [(0, 1), (1, 2), (2, 3), (3, 10), (4, 0)] {
            said[at].1 = weight;
        }
        let table = table(&said);
        for (place, weight) in [(0, 1), (1, 2), (2, 3), (3, 10), (4, 0)] {
            let share = table.0.iter().filter(|at| **at == place).count() as f64 / ENTRIES as f64;
            assert!((share - f64::from(weight) / 16.0).abs() < 0.01, "{place}: {share}");
        }
    }

    #[test]
    fn keys_spread_evenly() {
        let table = table(&places(10));
        let mut counts = [0_u32; 10];
        for user in 0..100_000 {
            counts[table.place(hash(format!("user-{user}").as_bytes()))] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_place_that_goes_takes_its_own_keys_with_it_and_few_others() {
        let said = places(10);
        let (all, fewer) = (table(&said), table(&said[..9]));
        let moved = |key: &u64| all.place(*key) != 9 && all.place(*key) != fewer.place(*key);
        let keys: Vec<u64> = (0..20_000_u64).map(|key| hash(&key.to_le_bytes())).collect();
        let others = keys.iter().filter(|key| moved(key)).count();
        assert!(others < keys.len() * 5 / 100, "{others} of {}", keys.len());
    }

    #[test]
    fn the_order_of_the_places_does_not_matter() {
        let said = places(7);
        let turned: Vec<_> = said.iter().rev().cloned().collect();
        let (one, other) = (table(&said), table(&turned));
        assert!((0..ENTRIES).all(|key| said[one.place(key)] == turned[other.place(key)]));
    }

    #[test]
    fn nobody_has_keys_when_there_is_nobody() {
        assert!(Maglev::new([("a", 0)].into_iter()).is_none());
    }
}
