//! A count that many threads add to without sharing a cache line.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// Threads with a cell of their own; further ones share.
const CELLS: usize = 8;

thread_local! {
    static CELL: Cell<usize> = const { Cell::new(0) };
}

/// Says which worker this thread is: the first of them have cells of their own.
pub fn work_as(worker: usize) {
    CELL.set(worker % CELLS);
}

#[repr(align(64))]
#[derive(Debug, Default)]
struct Padded(AtomicU64);

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Counter([Padded; CELLS]);

impl Counter {
    pub fn add(&self, more: u64) {
        self.0[CELL.get()].0.fetch_add(more, Relaxed);
    }

    /// The sum; what is added meanwhile may or may not be in it.
    pub fn get(&self) -> u64 {
        self.0.iter().map(|cell| cell.0.load(Relaxed)).sum()
    }
}
