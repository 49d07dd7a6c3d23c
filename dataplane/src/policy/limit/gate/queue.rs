//! A queue that is weighted and fair (start-time fair queueing, Goyal et al., 1996): those of one weight are a lane, in the
//! order of their coming, and the first of each lane has a turn: his cost divided by his weight after the turn of who went
//! before him. Only the first: who gives up, or is refused, has not used any of what is his lane's.

use std::{
    cmp::max,
    collections::{BTreeMap, btree_map},
};

/// The largest weight; beyond, it is this.
const MAX_WEIGHT: u64 = 1_000_000;

/// For each of a weight of 0 so many of a weight of 1: last, and never starved.
const LAST: u128 = 1000;

#[derive(Debug)]
pub(super) struct Queue<W> {
    /// By weight, and none is empty.
    lanes: BTreeMap<u64, Lane<W>>,
    /// The turn of who went last.
    turn: u128,
    comers: u64,
    waiting: usize,
}

#[derive(Debug)]
struct Lane<W> {
    /// The turn of who went last, or where the lane began.
    begins: u128,
    waiting: BTreeMap<u64, (u64, W)>,
    /// Of all costs.
    sum: u128,
}

/// Who waits: his weight, and his number.
pub(super) type Place = (u64, u64);

impl<W> Default for Queue<W> {
    fn default() -> Self {
        Self { lanes: BTreeMap::new(), turn: 0, comers: 0, waiting: 0 }
    }
}

fn share(weight: u64, cost: u128) -> u128 {
    let cost = cost.saturating_mul(MAX_WEIGHT.into());
    if weight == 0 { cost.saturating_mul(LAST) } else { cost / u128::from(weight) }
}

impl<W> Queue<W> {
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    pub(super) fn push(&mut self, weight: u64, cost: u64, waiter: W) -> Place {
        let weight = weight.min(MAX_WEIGHT);
        self.comers += 1;
        let begins = self.turn;
        let lane = self.lanes.entry(weight).or_insert_with(|| Lane { begins, waiting: BTreeMap::new(), sum: 0 });
        lane.waiting.insert(self.comers, (cost, waiter));
        lane.sum += u128::from(cost);
        self.waiting += 1;
        (weight, self.comers)
    }

    /// Whose turn it is.
    pub(super) fn first(&self) -> Option<&W> {
        let (_, place) = self.next()?;
        self.lanes.get(&place.0)?.waiting.get(&place.1).map(|(_, waiter)| waiter)
    }

    /// It was his turn.
    pub(super) fn pop(&mut self) -> Option<W> {
        let (turn, place) = self.next()?;
        self.turn = max(self.turn, turn);
        if let Some(lane) = self.lanes.get_mut(&place.0) {
            lane.begins = turn;
        }
        self.remove(place)
    }

    /// Of who would be the last to have a turn.
    pub(super) fn pop_last(&mut self) -> Option<Place> {
        let ends = |(weight, lane): (&u64, &Lane<W>)| {
            let last = *lane.waiting.last_key_value()?.0;
            Some((lane.begins.saturating_add(share(*weight, lane.sum)), last, *weight))
        };
        let (_, number, weight) = self.lanes.iter().filter_map(ends).max()?;
        self.remove((weight, number)).map(|_| (weight, number))
    }

    /// He waits no longer.
    pub(super) fn remove(&mut self, (weight, number): Place) -> Option<W> {
        let btree_map::Entry::Occupied(mut lane) = self.lanes.entry(weight) else { return None };
        let (cost, waiter) = lane.get_mut().waiting.remove(&number)?;
        lane.get_mut().sum -= u128::from(cost);
        if lane.get().waiting.is_empty() {
            // It begins where the queue is then, which is not before it ended.
            lane.remove();
        }
        self.waiting -= 1;
        Some(waiter)
    }

    /// And his turn. There are few weights.
    fn next(&self) -> Option<(u128, Place)> {
        let turns = self.lanes.iter().filter_map(|(weight, lane)| {
            let (number, (cost, _)) = lane.waiting.first_key_value()?;
            Some((lane.begins.saturating_add(share(*weight, (*cost).into())), *number, *weight))
        });
        turns.min().map(|(turn, number, weight)| (turn, (weight, number)))
    }
}
