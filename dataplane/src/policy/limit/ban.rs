//! Bans: who is refused too often is refused altogether for a while, at once.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use ravelin_snapshot::rate_limit::{self, SlidingWindow};

use super::{
    keys::{Entry, Key, Keys, lock},
    window::{Span, Window},
};

/// Who was refused by a limit, and who is banned.
pub(super) struct Bans {
    /// Refusals that are too many.
    span: Span,
    pub(super) terms: Terms,
    keys: Keys<Offender>,
    /// Refusals that other replicas do not know of yet, by the texts of keys.
    untold: Mutex<HashMap<String, u64>>,
}

/// What a ban says.
pub(super) struct Terms {
    pub(super) after: u32,
    pub(super) within: Duration,
    pub(super) length: Duration,
}

/// Keys of which others are told at once. Those beyond are counted here alone.
const MAX_UNTOLD: usize = 10_000;

#[derive(Default)]
struct Offender {
    refusals: Option<Window>,
    banned_until: u64,
}

impl Entry for Offender {
    fn until(&self) -> u64 {
        self.refusals.as_ref().map_or(0, Entry::until).max(self.banned_until)
    }

    fn heap(&self) -> usize {
        self.refusals.as_ref().map_or(0, Entry::heap)
    }
}

impl Bans {
    pub(super) fn new(said: &rate_limit::Ban, start: Instant) -> Self {
        let span = Span::new(&SlidingWindow { requests: said.after, per_ms: said.within_ms });
        let (within, length) = (Duration::from_millis(said.within_ms), Duration::from_millis(said.for_ms));
        let terms = Terms { after: said.after, within, length };
        Self { span, terms, keys: Keys::new(start), untold: Mutex::default() }
    }

    /// How long the key is banned yet.
    pub(super) fn left(&self, key: Key, now: Instant) -> Option<Duration> {
        let now = self.keys.nanos(now);
        let until = self.keys.read(key, |offender| offender.map_or(0, |offender| offender.banned_until));
        (until > now).then(|| Duration::from_nanos(until - now))
    }

    /// The limit has refused the key. During a ban nothing is noted, so that refusals do not prolong it. With the text of the
    /// key others are told.
    pub(super) fn note(&self, key: Key, text: Option<&str>, now: Instant) {
        if let Some(text) = text
            && self.left(key, now).is_none()
        {
            self.tell(text);
        }
        let now = self.keys.nanos(now);
        self.keys.update(key, now, |offender| {
            let offender = offender.get_or_insert_default();
            if offender.banned_until > now {
                return;
            }
            let noted = self.span.note(&mut offender.refusals, 1, now, Duration::ZERO);
            if noted.is_ok_and(|noted| noted.level.remaining == 0) {
                *offender = self.banned(now, self.terms.length);
            }
        });
    }

    /// Somebody else has found it to be banned, for so long.
    pub(super) fn learn(&self, key: Key, left: Duration, now: Instant) {
        let now = self.keys.nanos(now);
        self.keys.update(key, now, |offender| {
            let offender = offender.get_or_insert_default();
            if offender.banned_until <= now {
                *offender = self.banned(now, left);
            }
        });
    }

    /// What others are to be told.
    pub(super) fn take_untold(&self) -> Vec<(String, u64)> {
        std::mem::take(&mut *lock(&self.untold)).into_iter().collect()
    }

    fn tell(&self, text: &str) {
        let mut untold = lock(&self.untold);
        if let Some(count) = untold.get_mut(text) {
            *count += 1;
        } else if untold.len() < MAX_UNTOLD {
            untold.insert(text.to_owned(), 1);
        }
    }

    fn banned(&self, now: u64, length: Duration) -> Offender {
        let length = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
        Offender { refusals: None, banned_until: now.saturating_add(length) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bans(after: u32, within_ms: u64, for_ms: u64) -> (Bans, Instant) {
        let start = Instant::now();
        (Bans::new(&rate_limit::Ban { after, within_ms, for_ms }, start), start)
    }

    #[test]
    fn refusals_during_a_ban_do_not_prolong_it_and_those_before_it_are_settled() {
        let (bans, start) = bans(3, 1_000, 10_000);
        let key = bans.keys.key("a");
        let at = |ms| start + Duration::from_millis(ms);
        bans.note(key, None, at(0));
        bans.note(key, None, at(1));
        assert_eq!(bans.left(key, at(1)), None);
        bans.note(key, None, at(2));
        assert_eq!(bans.left(key, at(2)), Some(Duration::from_secs(10)));
        (3..10_002).step_by(100).for_each(|ms| bans.note(key, None, at(ms)));
        assert_eq!(bans.left(key, at(10_001)), Some(Duration::from_millis(1)));
        assert_eq!(bans.left(key, at(10_002)), None);
        bans.note(key, None, at(10_002));
        bans.note(key, None, at(10_003));
        assert_eq!(bans.left(key, at(10_003)), None, "it begins anew");
        assert_eq!(bans.left(bans.keys.key("b"), at(5)), None, "another key");
    }

    proptest! {
        /// The oracle is the list of all refusals.
        #[test]
        fn a_ban_begins_with_the_last_of_so_many_refusals_within_the_time(
            after in 1..8_u32, within in 1..2_000_u64, length in 1..3_000_u64,
            gaps in proptest::collection::vec(0..700_u64, 1..100),
        ) {
            let (bans, start) = bans(after, within, length);
            let key = bans.keys.key("a");
            let (mut now, mut refusals, mut until) = (0, Vec::new(), 0);
            for gap in gaps {
                now += gap;
                let at = start + Duration::from_millis(now);
                prop_assert_eq!(bans.left(key, at), (until > now).then(|| Duration::from_millis(until - now)));
                bans.note(key, None, at);
                if until <= now {
                    refusals.push(now);
                    if refusals.iter().filter(|then| **then + within > now).count() >= after as usize {
                        until = now + length;
                        refusals.clear();
                    }
                }
            }
        }
    }
}
