//! Quotas: so many requests in an hour, a day, a week or a month of the calendar.
//!
//! They go by the clock of the wall, for that is what a calendar is. A clock that steps back begins no term anew: what
//! was counted in a later term goes on counting there.

use std::{
    borrow::Cow,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant, SystemTime},
};

use aws_lc_rs::digest::{SHA256, digest};
use ravelin_snapshot::rate_limit;

use super::{
    calendar::{Calendar, Term},
    count::{Level, Refused, Taken},
    keys::{Entry, Key, Keys},
};
use crate::clock;

/// A quota's rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quota {
    requests: u64,
    calendar: Calendar,
}

/// What is used of a quota, by key. It is kept by the [`Ledger`](super::ledger::Ledger).
pub(super) struct Book {
    pub(super) accounts: Keys<Account>,
    /// Something has changed since it was written down.
    pub(super) changed: AtomicBool,
}

/// What one key has used in one term.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    /// The key, or its digest if it is long.
    pub(super) key: Box<str>,
    pub(super) begins: i64,
    pub(super) ends: i64,
    pub(super) used: u64,
    /// Requests beyond the quota, in this term.
    pub(super) granted: u64,
    /// The quota when it was asked last.
    pub(super) requests: u64,
    /// It has changed since it was written down.
    pub(super) changed: bool,
}

impl Entry for Account {
    /// A scale of its own: seconds, and within a second by use, so that when there are too many keys those go first that
    /// have used least of a term.
    fn until(&self) -> u64 {
        scaled(self.ends) | self.used.min((1 << USE_BITS) - 1)
    }

    fn heap(&self) -> usize {
        self.key.len()
    }
}

const USE_BITS: u32 = 20;

fn scaled(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or(0).min(u64::MAX >> USE_BITS) << USE_BITS
}

/// Bytes of a key that are kept as they are.
const MAX_KEY_BYTES: usize = 256;

/// The key as it is shown and kept: as it is, or its digest.
pub(super) fn shown(key: &str) -> Cow<'_, str> {
    if key.len() <= MAX_KEY_BYTES {
        return Cow::Borrowed(key);
    }
    let digest = digest(&SHA256, key.as_bytes());
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Cow::Owned(format!("sha256:{hex}"))
}

/// Seconds since the epoch.
pub(super) fn seconds(at: SystemTime) -> i64 {
    i64::try_from(clock::seconds(at)).unwrap_or(i64::MAX)
}

impl Quota {
    pub(super) fn new(said: &rate_limit::Quota) -> Result<Self, String> {
        let zone = said.time_zone.parse().map_err(|_| format!("there is no time zone {}", said.time_zone))?;
        Ok(Self { requests: said.requests, calendar: Calendar::new(said.per, zone) })
    }

    /// Takes `cost` from the account of `key`, which `text` names.
    pub(super) fn take(
        &self,
        book: &Book,
        key: Key,
        text: &str,
        cost: u64,
        clock: SystemTime,
    ) -> Result<Taken, Refused> {
        book.account(key, text, self, clock, |account| {
            let level = self.level_of(account, clock);
            if cost > level.remaining {
                let ever = cost <= self.requests;
                return Err(Refused { level, retry_in: level.more_in.filter(|_| ever) });
            }
            account.used += cost;
            Ok(Taken { mark: account.begins.unsigned_abs(), ..Taken::at_once(key, self.level_of(account, clock)) })
        })
    }

    /// Gives back what was taken for a request that did not pass after all, if its term is not over.
    pub(super) fn give_back(book: &Book, key: Key, cost: u64, begun: u64, clock: SystemTime) {
        book.accounts.update(key, scaled(seconds(clock)), |account| {
            if let Some(account) = account.as_mut().filter(|account| account.begins.unsigned_abs() == begun) {
                account.used = account.used.saturating_sub(cost);
                book.mark(account);
            }
        });
    }

    /// Takes nothing.
    pub(super) fn level(&self, book: &Book, key: Key, clock: SystemTime) -> Level {
        let term = self.calendar.term(seconds(clock));
        book.accounts.read(key, |account| {
            let fresh = Account { begins: term.begins, ends: term.ends, ..Account::default() };
            self.level_of(account.filter(|account| account.ends > seconds(clock)).unwrap_or(&fresh), clock)
        })
    }

    fn level_of(&self, account: &Account, clock: SystemTime) -> Level {
        let until = account.ends.saturating_sub(seconds(clock)).unsigned_abs();
        let term = account.ends.saturating_sub(account.begins).unsigned_abs();
        Level {
            remaining: self.requests.saturating_add(account.granted).saturating_sub(account.used),
            more_in: Some(if account.used == 0 { Duration::ZERO } else { Duration::from_secs(until) }),
            term: Some(Duration::from_secs(term)),
        }
    }
}

impl Book {
    pub(super) fn new() -> Self {
        // Accounts go by the calendar: the start is of no use.
        Self { accounts: Keys::new(Instant::now()), changed: AtomicBool::new(false) }
    }

    /// Reads and changes the account in its present term.
    fn account<R>(
        &self,
        key: Key,
        text: &str,
        quota: &Quota,
        clock: SystemTime,
        change: impl FnOnce(&mut Account) -> R,
    ) -> R {
        let now = seconds(clock);
        self.accounts.update(key, scaled(now), |account| {
            let account = account.get_or_insert_with(|| Account { key: text.into(), ..Account::default() });
            if account.ends <= now {
                let Term { begins, ends } = quota.calendar.term(now);
                *account = Account { key: std::mem::take(&mut account.key), begins, ends, ..Account::default() };
            }
            account.requests = quota.requests;
            let result = change(account);
            self.mark(account);
            result
        })
    }

    fn mark(&self, account: &mut Account) {
        account.changed = true;
        self.changed.store(true, Relaxed);
    }

    /// An account as it was written down.
    pub(super) fn restore(&self, account: Account, clock: SystemTime) {
        let key = self.accounts.key(&account.key);
        self.accounts.update(key, scaled(seconds(clock)), |place| *place = Some(account));
    }

    /// What was used is forgotten; whether there was anything.
    pub(super) fn reset(&self, key: &str, clock: SystemTime) -> bool {
        self.accounts.update(self.accounts.key(key), scaled(seconds(clock)), |account| match account {
            Some(account) => {
                account.used = 0;
                self.mark(account);
                true
            }
            None => false,
        })
    }

    /// So many requests more, until the term ends.
    pub(super) fn grant(&self, key: &str, requests: u64, quota: &Quota, clock: SystemTime) {
        self.account(self.accounts.key(key), key, quota, clock, |account| {
            account.granted = account.granted.saturating_add(requests);
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(requests: u64) -> (Quota, Book) {
        let said = rate_limit::Quota { requests, per: rate_limit::Period::Day, time_zone: "Europe/Paris".to_owned() };
        (Quota::new(&said).unwrap(), Book::new())
    }

    fn at(seconds: u64) -> SystemTime {
        // A midnight of Paris.
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_774_738_800 + seconds)
    }

    fn take(quota: &Quota, book: &Book, cost: u64, clock: SystemTime) -> Result<u64, Option<u64>> {
        let taken = quota.take(book, book.accounts.key("a"), "a", cost, clock);
        taken.map(|taken| taken.level.remaining).map_err(|refused| refused.retry_in.map(|wait| wait.as_secs()))
    }

    const SHORT_DAY: u64 = 23 * 3600;

    #[test]
    fn a_quota_is_there_again_at_midnight_of_its_zone() {
        let (quota, book) = day(3);
        assert_eq!(take(&quota, &book, 2, at(10)), Ok(1));
        assert_eq!(take(&quota, &book, 2, at(20)), Err(Some(SHORT_DAY - 20)));
        assert_eq!(take(&quota, &book, 4, at(20)), Err(None), "it never passes");
        assert_eq!(take(&quota, &book, 1, at(SHORT_DAY - 1)), Ok(0));
        assert_eq!(take(&quota, &book, 3, at(SHORT_DAY)), Ok(0));
    }

    #[test]
    fn a_clock_that_steps_back_begins_no_term_anew() {
        let (quota, book) = day(3);
        assert_eq!(take(&quota, &book, 3, at(SHORT_DAY + 10)), Ok(0));
        assert_eq!(take(&quota, &book, 1, at(SHORT_DAY - 3_590)), Err(Some(24 * 3600 + 3_590)));
        assert_eq!(take(&quota, &book, 1, at(SHORT_DAY + 20)), Err(Some(24 * 3600 - 20)));
    }

    #[test]
    fn a_grant_is_for_the_term_and_a_reset_forgets_what_was_used() {
        let (quota, book) = day(1);
        assert_eq!(take(&quota, &book, 1, at(0)), Ok(0));
        book.grant("a", 2, &quota, at(1));
        assert_eq!(take(&quota, &book, 1, at(2)), Ok(1));
        assert!(book.reset("a", at(3)));
        assert_eq!(take(&quota, &book, 3, at(4)), Ok(0));
        assert_eq!(take(&quota, &book, 2, at(SHORT_DAY)), Err(None), "the grant is over");
        assert!(!book.reset("nobody", at(3)));
    }

    #[test]
    fn a_long_key_is_shown_by_its_digest() {
        let long = "x".repeat(257);
        assert_eq!(shown(&long).len(), "sha256:".len() + 64);
        assert_ne!(shown(&long), shown(&"x".repeat(258)));
        assert_eq!(shown(&long[..256]), long[..256]);
    }

    proptest! {
        /// The oracle sums up by the calendar's date.
        #[test]
        fn never_more_than_the_quota_passes_in_a_day(
            requests in 1..20_u64, asks in proptest::collection::vec((0..40_000_u64, 0..4_u64, any::<bool>()), 1..80),
        ) {
            let (quota, book) = day(requests);
            let (mut now, mut used) = (0, std::collections::BTreeMap::<_, u64>::new());
            for (gap, cost, undo) in asks {
                now += gap;
                let local = chrono::DateTime::<chrono::Utc>::from(at(now)).with_timezone(&chrono_tz::Europe::Paris);
                let used = used.entry(local.date_naive()).or_default();
                let taken = quota.take(&book, book.accounts.key("a"), "a", cost, at(now));
                prop_assert_eq!(taken.is_ok(), *used + cost <= requests);
                match taken {
                    Ok(taken) if undo => Quota::give_back(&book, taken.key, cost, taken.mark, at(now)),
                    Ok(taken) => { *used += cost; prop_assert_eq!(taken.level.remaining, requests - *used); }
                    Err(refused) => if let Some(wait) = refused.retry_in {
                        let then = at(now) + wait;
                        prop_assert!(quota.level(&book, book.accounts.key("a"), then).remaining >= cost);
                    }
                }
            }
        }
    }
}
