//! Where a data plane stands: with its snapshots, and between its start and its end.

use std::time::{Duration, Instant};

use ravelin_snapshot::{Revision, channel::Refusal};

/// Longer than this a snapshot that has come may not wait for being served.
const MAX_LAG: Duration = Duration::from_secs(10);

/// From start to end, in this order; it never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Serving,
    /// Not ready any more; otherwise as before, for as long as load balancers take to notice.
    Announced,
    /// Nothing new is accepted, connections are closed after their open requests.
    Closing,
    /// Everything is dropped.
    Ended,
}

/// Where the snapshot comes from that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The state folder: no controller has said anything since the start.
    Disk,
    Controller,
}

/// What has come of snapshots until now.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// `None`: nothing is served yet.
    pub origin: Option<Origin>,
    /// When the table was swapped in, and of which revision it is.
    pub swapped: Option<(Instant, Revision)>,
    /// Since when a newer snapshot is being worked on.
    pub behind: Option<Instant>,
    /// A later revision than the one that is served, which was refused.
    pub refused: Option<(Revision, Refusal)>,
    pub connected: bool,
}

/// Why this replica should not be sent requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    #[error("no complete snapshot has come yet")]
    NoSnapshot,
    #[error("a newer snapshot has been waiting for more than {} s", MAX_LAG.as_secs())]
    Behind,
    #[error("draining")]
    Draining,
}

impl Progress {
    pub(super) fn judge(&self, stage: Stage, now: Instant) -> Result<(), NotReady> {
        if stage != Stage::Serving {
            return Err(NotReady::Draining);
        }
        if self.origin.is_none() {
            return Err(NotReady::NoSnapshot);
        }
        let late = self.behind.is_some_and(|since| now.saturating_duration_since(since) > MAX_LAG);
        if self.connected && late { Err(NotReady::Behind) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_who_serves_something_keeps_up_and_does_not_drain() {
        let start = Instant::now();
        let later = start + MAX_LAG + Duration::from_millis(1);
        let nothing = Progress::default();
        assert_eq!(nothing.judge(Stage::Serving, start), Err(NotReady::NoSnapshot));
        let serving = Progress { origin: Some(Origin::Disk), ..nothing };
        assert_eq!(serving.judge(Stage::Serving, start), Ok(()));
        assert_eq!(serving.judge(Stage::Announced, start), Err(NotReady::Draining));
        let behind = Progress { behind: Some(start), connected: true, ..serving };
        assert_eq!(behind.judge(Stage::Serving, start + MAX_LAG), Ok(()));
        assert_eq!(behind.judge(Stage::Serving, later), Err(NotReady::Behind));
        let alone = Progress { connected: false, ..behind };
        assert_eq!(alone.judge(Stage::Serving, later), Ok(()), "without a controller the last snapshot is good enough");
    }
}
