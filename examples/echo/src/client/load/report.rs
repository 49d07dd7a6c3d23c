//! What has become of a load.

use std::{collections::BTreeMap, fmt, time::Duration};

/// The outcome of every request, counted.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Requests that were due.
    pub sent: u64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without an answer, by what happened.
    pub errors: BTreeMap<String, u64>,
    /// Answers that the judge found wrong, by what it said.
    pub wrong: BTreeMap<String, u64>,
    /// Connections that were opened.
    pub opened: u64,
    /// Connections that the peer ended, announced or not.
    pub ended_by_peer: u64,
    /// Requests that were sent a second time, see [`Load::resending`](super::Load::resending).
    pub resent: u64,
    /// From when a request was due to its outcome, in the order of the outcomes.
    pub(super) latencies: Vec<Duration>,
}

impl Report {
    /// Requests with an answer, right or wrong.
    pub fn answered(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// The share `of` (0.99) of all outcomes took that long at most, from when the request was due. Zero without any.
    pub fn latency(&self, of: f64) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        // The nearest rank: a float's cast saturates.
        let rank = (sorted.len() as f64 * of).ceil() as usize;
        sorted.get(rank.saturating_sub(1).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    /// Panics with the whole report unless there was a request, and each had an answer that is right.
    #[track_caller]
    pub fn assert_no_request_lost(&self) {
        let right = self.errors.is_empty() && self.wrong.is_empty();
        assert!(right && self.sent > 0 && self.answered() == self.sent, "requests were lost: {self}");
    }

    /// Panics with the whole report if the peer ended a connection.
    #[track_caller]
    pub fn assert_no_connection_lost(&self) {
        assert!(self.ended_by_peer == 0, "connections were lost: {self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} sent, {} answered", self.sent, self.answered())?;
        for (status, count) in &self.statuses {
            write!(formatter, ", {count} x {status}")?;
        }
        for (error, count) in &self.errors {
            write!(formatter, ", {count} x no answer ({error})")?;
        }
        for (wrong, count) in &self.wrong {
            write!(formatter, ", {count} x wrong ({wrong})")?;
        }
        write!(
            formatter,
            "; {} connections, {} ended by the peer, {} requests sent again; half within {:?}, 99 % within {:?}, all within {:?}",
            self.opened,
            self.ended_by_peer,
            self.resent,
            self.latency(0.5),
            self.latency(0.99),
            self.latency(1.0),
        )
    }
}
