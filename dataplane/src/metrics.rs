//! Counters of each worker, summed when they are scraped.

mod counter;

pub use counter::{Counter, work_as};
