//! Moments as numbers.

use std::time::{SystemTime, UNIX_EPOCH};

/// Whole seconds since the epoch; 0 before it.
pub(crate) fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
