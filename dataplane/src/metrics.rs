//! Counters of each worker, summed when they are scraped.
