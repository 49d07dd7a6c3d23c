//! What is known of one endpoint. Time is an argument: since the backend's health was first followed.

use std::time::Duration;

use ravelin_snapshot::backend::{ActiveCheck, Passive};

use super::Standing;

/// An ejection is longer each time, up to so many times the first.
const LONGEST: u32 = 10;

#[derive(Debug, Default)]
pub(super) struct Condition {
    /// Failures of requests in a row.
    errors: u32,
    ejected_until: Option<Duration>,
    /// Ejections, until it has been good for as long as the last one was.
    times: u32,
    returned: Duration,
    ill: bool,
    /// Checks in a row that speak against what it is held to be.
    contrary: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Ejected(Duration),
    Returned,
    FellIll,
    Recovered,
}

impl Condition {
    pub(super) fn standing(&self) -> Standing {
        Standing { ill: self.ill, ejected: self.ejected_until.is_some() }
    }

    /// When it comes back.
    pub(super) fn due(&self) -> Option<Duration> {
        self.ejected_until
    }

    /// Whether its time is over.
    pub(super) fn look(&mut self, now: Duration) -> Option<Change> {
        self.ejected_until.filter(|until| now >= *until)?;
        (self.ejected_until, self.errors, self.returned) = (None, 0, now);
        Some(Change::Returned)
    }

    pub(super) fn answered(&mut self, said: &Passive, failed: bool, may_eject: bool, now: Duration) -> Option<Change> {
        if self.ejected_until.is_some() {
            return None; // what comes late, or in a panic
        }
        if !failed {
            self.errors = 0;
            if self.times > 0 && now.saturating_sub(self.returned) >= self.span(said) {
                self.times = 0;
            }
            return None;
        }
        self.errors = self.errors.saturating_add(1);
        if self.errors < said.consecutive_errors || !may_eject {
            return None;
        }
        self.times = (self.times + 1).min(LONGEST);
        let span = self.span(said);
        self.ejected_until = Some(now.saturating_add(span));
        Some(Change::Ejected(span))
    }

    pub(super) fn checked(&mut self, said: &ActiveCheck, passed: bool) -> Option<Change> {
        if passed != self.ill {
            self.contrary = 0;
            return None;
        }
        self.contrary += 1;
        let (enough, change) = match self.ill {
            true => (said.healthy_threshold, Change::Recovered),
            false => (said.unhealthy_threshold, Change::FellIll),
        };
        if self.contrary < enough {
            return None;
        }
        (self.ill, self.contrary) = (!self.ill, 0);
        Some(change)
    }

    fn span(&self, said: &Passive) -> Duration {
        Duration::from_millis(said.eject_for_ms).saturating_mul(self.times)
    }
}

#[cfg(test)]
mod tests {
    use ravelin_snapshot::backend::Probe;

    use super::*;

    const SAID: Passive = Passive { consecutive_errors: 3, eject_for_ms: 1_000, max_ejected_percent: 50 };

    fn fail(condition: &mut Condition, now: u64) -> Option<Change> {
        condition.answered(&SAID, true, true, Duration::from_millis(now))
    }

    #[test]
    fn failures_in_a_row_eject_it_for_longer_each_time_until_it_has_been_good_for_long() {
        let second = Duration::from_secs(1);
        let mut condition = Condition::default();
        assert_eq!((fail(&mut condition, 0), fail(&mut condition, 0)), (None, None));
        condition.answered(&SAID, false, true, Duration::ZERO);
        assert_eq!((fail(&mut condition, 0), fail(&mut condition, 0)), (None, None), "a success in between");
        assert_eq!(fail(&mut condition, 0), Some(Change::Ejected(second)));
        assert_eq!(condition.look(Duration::from_millis(999)), None);
        assert_eq!(condition.look(second), Some(Change::Returned));
        assert_eq!((fail(&mut condition, 1_000), fail(&mut condition, 1_000)), (None, None));
        assert_eq!(fail(&mut condition, 1_000), Some(Change::Ejected(2 * second)));
        assert_eq!(condition.look(3 * second), Some(Change::Returned));
        condition.answered(&SAID, false, true, 5 * second);
        for _ in 0..2 {
            fail(&mut condition, 5_000);
        }
        assert_eq!(fail(&mut condition, 5_000), Some(Change::Ejected(second)));
    }

    #[test]
    fn none_is_ejected_beyond_the_percentage() {
        let mut condition = Condition::default();
        for _ in 0..9 {
            assert_eq!(condition.answered(&SAID, true, false, Duration::ZERO), None);
        }
        assert_eq!(fail(&mut condition, 0), Some(Change::Ejected(Duration::from_secs(1))));
    }

    #[test]
    fn checks_in_a_row_make_it_ill_and_well() {
        let said = ActiveCheck {
            interval_ms: 1,
            timeout_ms: 1,
            unhealthy_threshold: 3,
            healthy_threshold: 2,
            probe: Probe::Tcp,
        };
        let mut condition = Condition::default();
        let changes: Vec<_> = [false, false, true, false, false, false, true, false, true, true]
            .map(|passed| condition.checked(&said, passed))
            .to_vec();
        assert_eq!(changes[5], Some(Change::FellIll));
        assert_eq!(changes[9], Some(Change::Recovered));
        assert_eq!(changes.iter().flatten().count(), 2);
    }
}
