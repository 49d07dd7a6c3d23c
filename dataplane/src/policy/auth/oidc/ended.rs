//! Log-ins that are over before their time: by a log-out here, or by one that the issuer tells of. What a browser holds cannot
//! be taken back, so it is remembered which of them count no more, for as long as they could.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Release},
        },
    },
};

/// Marks that are kept, at most. Beyond, all sessions that have begun so far are over: none that is over comes back to life.
const MOST: usize = 100_000;

/// Of one process.
#[derive(Default)]
pub(in crate::policy::auth) struct Ended {
    /// Goes up with every change: who has looked since has nothing to look for.
    changes: AtomicU64,
    marks: Mutex<Marks>,
}

#[derive(Default)]
struct Marks {
    until: HashMap<Mark, Over>,
    /// What has begun before this time of an issuer is over.
    floor: f64,
}

/// Which sessions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mark {
    /// Of whom: one issuer's are not another's.
    pub(super) issuer: String,
    pub(super) client: String,
    pub(super) of: Whose,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Whose {
    /// One log-in here.
    Session(String),
    /// One session at the issuer: the claim `sid`.
    Issuers(String),
    /// All of a user.
    Subject(String),
}

struct Over {
    /// Those that have begun until then, by the issuer's clock, in seconds since the epoch.
    begun: f64,
    /// When none of them would be alive any longer.
    forget: f64,
}

impl Ended {
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Acquire)
    }

    /// `begun` until when, by the issuer's clock; `forget`: when none of them would be alive any longer. Seconds.
    pub(super) fn end(&self, mark: Mark, begun: f64, now: f64, forget: f64) {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if marks.until.len() >= MOST {
            marks.until.retain(|_, over| over.forget > now);
        }
        if marks.until.len() >= MOST {
            tracing::warn!("too many log-ins have ended before their time: all that have begun so far end");
            marks.until.clear();
            marks.floor = marks.floor.max(now);
        }
        let over = marks.until.entry(mark).or_insert(Over { begun, forget });
        over.begun = over.begun.max(begun);
        over.forget = over.forget.max(forget);
        self.changes.fetch_add(1, Release);
    }

    /// Whether one that has begun at `begun`, by the issuer's clock, is marked by one of these.
    pub(super) fn holds(&self, marks: impl Iterator<Item = Mark>, begun: f64) -> bool {
        let known = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut marks = marks;
        begun <= known.floor || marks.any(|mark| known.until.get(&mark).is_some_and(|over| begun <= over.begun))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(issuer: &str, of: Whose) -> Mark {
        Mark { issuer: issuer.into(), client: "web".into(), of }
    }

    #[test]
    fn what_has_begun_until_then_is_over_and_what_begins_later_or_elsewhere_is_not() {
        let ended = Ended::default();
        let ada = || mark("a", Whose::Subject("ada".into()));
        assert_eq!(ended.changes(), 0);
        ended.end(ada(), 100.0, 100.0, 200.0);
        ended.end(ada(), 90.0, 100.0, 150.0);
        assert_eq!(ended.changes(), 2);
        for (of, begun, over) in [
            (ada(), 100.0, true),
            (ada(), 101.0, false),
            (mark("b", Whose::Subject("ada".into())), 100.0, false),
            (mark("a", Whose::Issuers("ada".into())), 100.0, false),
        ] {
            assert_eq!(ended.holds([of.clone()].into_iter(), begun), over, "{of:?} {begun}");
        }
    }

    #[test]
    fn the_marks_are_bounded_and_none_that_is_over_comes_back_to_life() {
        let ended = Ended::default();
        let session = |turn: usize| mark("a", Whose::Session(turn.to_string()));
        for turn in 0..=MOST {
            ended.end(session(turn), 100.0, 100.0, 200.0);
        }
        assert!(ended.marks.lock().unwrap().until.len() <= MOST);
        for turn in [0, 1, MOST / 2, MOST] {
            assert!(ended.holds([session(turn)].into_iter(), 100.0), "{turn}");
        }
        assert!(!ended.holds([session(0)].into_iter(), 101.0));
        for turn in 0..=MOST {
            ended.end(session(turn), 300.0, 300.0, 301.0 + turn as f64);
        }
        assert!(ended.holds([session(MOST)].into_iter(), 300.0));
    }
}
