//! Whose turn it is: shares that are exact over time, the better of two, the place of a key.

mod latency;
mod maglev;
mod rate;

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

pub(super) use latency::Latency;
pub(super) use maglev::Maglev;
pub(crate) use maglev::hash;
pub(super) use rate::{Rates, Service};

/// The longest period that is laid out in advance; one with coprime weights beyond it is worked out turn by turn.
const LAID_OUT: u64 = 16_384;

/// Smooth weighted round robin over numbered places, shared by all workers: among any `w1 + w2 + ...` turns in a row
/// (weights reduced by their common divisor) place `i` has exactly `wi`, and they are spread, not in a bunch.
///
/// A turn is one atomic addition. Only weights whose reduced sum is beyond [`LAID_OUT`] take a lock for some nanoseconds.
#[derive(Debug)]
pub struct Rotation {
    turns: AtomicU64,
    order: Order,
}

#[derive(Debug)]
enum Order {
    /// Nobody has a share.
    Nobody,
    /// All of these many have the same.
    Even(u64),
    /// One period, turn by turn.
    Period(Box<[u32]>),
    Long(Mutex<Smooth>),
}

impl Rotation {
    /// `weights` by place; one of weight 0 never has a turn.
    pub fn new(weights: impl IntoIterator<Item = u32>) -> Self {
        let mut smooth = Smooth::new(weights.into_iter());
        let period = smooth.total;
        let order = match smooth.places.len() {
            0 => Order::Nobody,
            count if smooth.places.iter().enumerate().all(|(at, place)| place.weight == 1 && place.index == at) => {
                Order::Even(count as u64)
            }
            _ if period <= LAID_OUT => Order::Period((0..period).map(|_| smooth.turn()).collect()),
            _ => Order::Long(Mutex::new(smooth)),
        };
        Self { turns: AtomicU64::new(0), order }
    }

    /// Goes on as if there had been so many turns: a rotation that follows another should not favour who comes first.
    pub(super) fn after(self, turns: u64) -> Self {
        Self { turns: AtomicU64::new(turns), ..self }
    }

    pub(super) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// The place whose turn it is; `None` if no place has a share.
    pub fn turn(&self) -> Option<usize> {
        match &self.order {
            Order::Nobody => None,
            Order::Even(1) => Some(0),
            Order::Even(count) => Some((self.turns.fetch_add(1, Ordering::Relaxed) % count) as usize),
            Order::Period(period) => {
                let turn = self.turns.fetch_add(1, Ordering::Relaxed) % period.len() as u64;
                Some(period[turn as usize] as usize)
            }
            Order::Long(smooth) => Some(smooth.lock().unwrap_or_else(PoisonError::into_inner).turn() as usize),
        }
    }

    /// A place by chance, in proportion to the weights; the same `random` draws the same place.
    pub fn draw(&self, random: u64) -> Option<usize> {
        match &self.order {
            Order::Nobody => None,
            Order::Even(count) => Some((random % count) as usize),
            Order::Period(period) => Some(period[(random % period.len() as u64) as usize] as usize),
            Order::Long(smooth) => smooth.lock().unwrap_or_else(PoisonError::into_inner).draw(random),
        }
    }
}

/// The state of smooth weighted round robin: every turn each place gains its weight, the richest has the turn and pays
/// for all.
#[derive(Debug)]
struct Smooth {
    places: Vec<Place>,
    total: u64,
}

#[derive(Debug)]
struct Place {
    index: usize,
    weight: u64,
    credit: i64,
}

impl Smooth {
    fn new(weights: impl Iterator<Item = u32>) -> Self {
        let places = weights.enumerate().filter(|(_, weight)| *weight > 0);
        let places = places.map(|(index, weight)| Place { index, weight: u64::from(weight), credit: 0 });
        let mut places: Vec<Place> = places.collect();
        let divisor = places.iter().fold(0, |divisor, place| greatest_common_divisor(divisor, place.weight));
        for place in &mut places {
            place.weight /= divisor;
        }
        let total = places.iter().map(|place| place.weight).sum();
        Self { places, total }
    }

    fn turn(&mut self) -> u32 {
        let mut best = 0;
        for at in 0..self.places.len() {
            let place = &mut self.places[at];
            place.credit += place.weight as i64;
            if place.credit > self.places[best].credit {
                best = at;
            }
        }
        self.places[best].credit -= self.total as i64;
        self.places[best].index as u32
    }

    fn draw(&self, random: u64) -> Option<usize> {
        let mut left = random % self.total;
        for place in &self.places {
            if left < place.weight {
                return Some(place.index);
            }
            left -= place.weight;
        }
        None
    }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// The finalizer of splitmix64.
pub(super) fn mixed(word: u64) -> u64 {
    let mixed = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The better of two draws: the lower cost for its weight; if neither is, the first. So shares are as the weights say
/// while all are equally busy. `draws` are random numbers; `load` tells the cost and the weight of a place.
pub(super) fn better_of_two(rotation: &Rotation, draws: [u64; 2], load: impl Fn(usize) -> (f64, u32)) -> Option<usize> {
    let [first, second] = [rotation.draw(draws[0])?, rotation.draw(draws[1])?];
    let (cost, weight) = load(first);
    let (other_cost, other_weight) = load(second);
    let other_is_better = other_cost * f64::from(weight.max(1)) < cost * f64::from(other_weight.max(1));
    Some(if other_is_better { second } else { first })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(rotation: &Rotation, turns: u64, places: usize) -> Vec<u64> {
        let mut counts = vec![0; places];
        for _ in 0..turns {
            counts[rotation.turn().unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn nobody_has_a_turn_when_all_weights_are_zero_or_there_are_none() {
        assert_eq!(Rotation::new([]).turn(), None);
        assert_eq!(Rotation::new([0, 0]).turn(), None);
        assert_eq!(Rotation::new([0, 0]).draw(7), None);
    }

    #[test]
    fn turns_are_spread_and_not_in_a_bunch() {
        let rotation = Rotation::new([5, 1, 1]);
        let turns: Vec<_> = (0..7).map(|_| rotation.turn().unwrap()).collect();
        assert_eq!(turns, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn a_place_of_weight_zero_never_has_a_turn_and_the_others_keep_their_numbers() {
        assert_eq!(counts(&Rotation::new([0, 90, 0, 10]), 100, 4), [0, 90, 0, 10]);
    }

    #[test]
    fn a_period_too_long_to_lay_out_is_exact_too() {
        let rotation = Rotation::new([1_000_000, 1, 3]);
        assert!(matches!(rotation.order, Order::Long(_)));
        assert_eq!(counts(&rotation, 1_000_004, 3), [1_000_000, 1, 3]);
        assert_eq!(rotation.draw(1_000_000), Some(1));
    }

    #[test]
    fn turns_of_many_threads_add_up_exactly() {
        let rotation = Rotation::new([3, 2]);
        let sums = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| counts(&rotation, 5_000, 2))).collect();
            threads.into_iter().fold([0, 0], |sums, thread| {
                let counts = thread.join().unwrap();
                [sums[0] + counts[0], sums[1] + counts[1]]
            })
        });
        assert_eq!(sums, [12_000, 8_000]);
    }

    #[test]
    fn the_less_busy_for_its_weight_is_better_and_a_tie_goes_to_the_first_draw() {
        let rotation = Rotation::new([1, 1]);
        let pick = |flying: [u32; 2], weights: [u32; 2]| {
            better_of_two(&rotation, [0, 1], |place| (f64::from(flying[place]), weights[place])).unwrap()
        };
        assert_eq!(pick([3, 2], [1, 1]), 1);
        assert_eq!(pick([2, 3], [1, 1]), 0);
        assert_eq!(pick([0, 0], [1, 9]), 0);
        assert_eq!(pick([2, 3], [1, 9]), 1);
        assert_eq!(pick([1, 9], [1, 9]), 0);
    }

    proptest! {
        #[test]
        fn every_window_of_a_period_holds_exactly_the_weights(weights in prop::collection::vec(0u32..40, 1..8), skip in 0u64..50) {
            let rotation = Rotation::new(weights.clone());
            let divisor = weights.iter().fold(0, |d, w| greatest_common_divisor(d, u64::from(*w)));
            prop_assume!(divisor > 0);
            let reduced: Vec<u64> = weights.iter().map(|w| u64::from(*w) / divisor).collect();
            counts(&rotation, skip, weights.len());
            prop_assert_eq!(counts(&rotation, reduced.iter().sum(), weights.len()), reduced);
        }
    }
}
