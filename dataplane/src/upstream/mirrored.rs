//! What is known of the copies of requests that a backend gets, on all workers.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};

/// Copies under way to one backend, bodies included; beyond, they are dropped.
const MAX_FLYING: u32 = 128;

/// Kept from table to table.
#[derive(Debug, Default)]
pub struct Mirrored {
    flying: AtomicU32,
    /// Answered, whatever with.
    answered: AtomicU64,
    /// Not answered.
    failed: AtomicU64,
    /// Never sent: too many under way, too large, or broken off by their client.
    dropped: AtomicU64,
}

/// A copy under way. Dropping it before it came to an end counts it as dropped.
pub(crate) struct Copy {
    of: Arc<Mirrored>,
    ended: bool,
}

impl Mirrored {
    /// `None`: there are as many as may be; it is counted.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<Copy> {
        let more = |flying: u32| (flying < MAX_FLYING).then_some(flying + 1);
        if self.flying.fetch_update(Relaxed, Relaxed, more).is_err() {
            self.dropped.fetch_add(1, Relaxed);
            return None;
        }
        Some(Copy { of: Arc::clone(self), ended: false })
    }

    /// What came of copies, by name.
    pub fn outcomes(&self) -> [(&'static str, u64); 3] {
        let Self { flying: _, answered, failed, dropped } = self;
        [("answered", answered), ("failed", failed), ("dropped", dropped)]
            .map(|(name, count)| (name, count.load(Relaxed)))
    }
}

impl Copy {
    pub(crate) fn end(mut self, answered: bool) {
        self.ended = true;
        if answered { &self.of.answered } else { &self.of.failed }.fetch_add(1, Relaxed);
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.of.flying.fetch_sub(1, Relaxed);
        if !self.ended {
            self.of.dropped.fetch_add(1, Relaxed);
        }
    }
}
