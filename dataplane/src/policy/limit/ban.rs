//! Bans: who is refused too often is refused altogether for a while, at once.

use std::time::{Duration, Instant};

use ravelin_snapshot::rate_limit::{self, SlidingWindow};

use super::{
    keys::{Entry, Key, Keys},
    window::{Span, Window},
};

/// Who was refused by a limit, and who is banned.
pub(super) struct Bans {
    /// Refusals that are too many.
    span: Span,
    length: u64,
    keys: Keys<Offender>,
}

#[derive(Default)]
struct Offender {
    refusals: Option<Window>,
    banned_until: u64,
}

impl Entry for Offender {
    fn until(&self) -> u64 {
        self.refusals.as_ref().map_or(0, Entry::until).max(self.banned_until)
    }
}

impl Bans {
    pub(super) fn new(said: &rate_limit::Ban, start: Instant) -> Self {
        let span = Span::new(&SlidingWindow { requests: said.after, per_ms: said.within_ms });
        Self { span, length: said.for_ms.saturating_mul(1_000_000), keys: Keys::new(start) }
    }

    /// How long the key is banned yet.
    pub(super) fn left(&self, key: Key, now: Instant) -> Option<Duration> {
        let now = self.keys.nanos(now);
        let until = self.keys.read(key, |offender| offender.map_or(0, |offender| offender.banned_until));
        (until > now).then(|| Duration::from_nanos(until - now))
    }

    /// The limit has refused the key. During a ban nothing is noted, so that refusals do not prolong it.
    pub(super) fn note(&self, key: Key, now: Instant) {
        let now = self.keys.nanos(now);
        self.keys.update(key, now, |offender| {
            let offender = offender.get_or_insert_default();
            if offender.banned_until > now {
                return;
            }
            let noted = self.span.note(&mut offender.refusals, 1, now, Duration::ZERO);
            if noted.is_ok_and(|noted| noted.level.remaining == 0) {
                *offender = Offender { refusals: None, banned_until: now.saturating_add(self.length) };
            }
        });
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
        bans.note(key, at(0));
        bans.note(key, at(1));
        assert_eq!(bans.left(key, at(1)), None);
        bans.note(key, at(2));
        assert_eq!(bans.left(key, at(2)), Some(Duration::from_secs(10)));
        (3..10_002).step_by(100).for_each(|ms| bans.note(key, at(ms)));
        assert_eq!(bans.left(key, at(10_001)), Some(Duration::from_millis(1)));
        assert_eq!(bans.left(key, at(10_002)), None);
        bans.note(key, at(10_002));
        bans.note(key, at(10_003));
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
                bans.note(key, at);
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
