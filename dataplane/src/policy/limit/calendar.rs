//! Terms of quotas: hours, days, weeks and months of a time zone, daylight saving included.

use chrono::{DateTime, Datelike, Days, MappedLocalTime, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use ravelin_snapshot::rate_limit::Period;

/// Divides time into terms.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calendar {
    per: Period,
    zone: Tz,
}

/// From its begin to before its end, in seconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) begins: i64,
    pub(super) ends: i64,
}

impl Calendar {
    pub(super) fn new(per: Period, zone: Tz) -> Self {
        Self { per, zone }
    }

    /// The term that `at` is in.
    pub(super) fn term(&self, at: i64) -> Term {
        // Beyond some 260,000 years there is one term.
        let Some(time) = DateTime::<Utc>::from_timestamp(at, 0) else { return Term { begins: at, ends: i64::MAX } };
        let local = time.with_timezone(&self.zone);
        let today = local.date_naive();
        let (first, next) = match self.per {
            Period::Hour => {
                // An hour of the clock; one that is there twice is two, and a change within one begins another.
                let begins = at - i64::from(local.minute() * 60 + local.second());
                return Term { begins, ends: begins + 3600 };
            }
            Period::Day => (Some(today), today.checked_add_days(Days::new(1))),
            Period::Week => {
                let monday = today.checked_sub_days(Days::new(today.weekday().num_days_from_monday().into()));
                (monday, monday.and_then(|monday| monday.checked_add_days(Days::new(7))))
            }
            Period::Month => {
                let (year, month) = (today.year(), today.month());
                let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                (NaiveDate::from_ymd_opt(year, month, 1), NaiveDate::from_ymd_opt(next.0, next.1, 1))
            }
        };
        let begins = first.and_then(|date| self.midnight(date)).unwrap_or(at);
        Term { begins, ends: next.and_then(|date| self.midnight(date)).unwrap_or(i64::MAX) }
    }

    /// The first moment of a date, or what comes next after it if the clock skips it.
    fn midnight(&self, date: NaiveDate) -> Option<i64> {
        let midnight = date.and_hms_opt(0, 0, 0)?;
        // Clocks skip an hour; some have skipped a day, in quarters of an hour.
        (0..=2 * 24 * 4).find_map(|quarters| self.instant(midnight + TimeDelta::minutes(15 * quarters)))
    }

    fn instant(&self, local: NaiveDateTime) -> Option<i64> {
        match self.zone.from_local_datetime(&local) {
            MappedLocalTime::Single(time) | MappedLocalTime::Ambiguous(time, _) => Some(time.timestamp()),
            MappedLocalTime::None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp()
    }

    fn shown(per: Period, zone: Tz, time: &str) -> [String; 2] {
        let Term { begins, ends } = Calendar::new(per, zone).term(at(time));
        [begins, ends].map(|at| DateTime::<Utc>::from_timestamp(at, 0).unwrap().with_timezone(&zone).to_rfc3339())
    }

    #[test]
    fn terms_begin_by_the_clock_of_the_zone_also_when_it_is_changed() {
        let paris = Tz::Europe__Paris;
        let cases = [
            // 23 hours, 25 hours.
            (Period::Day, paris, "2026-03-29T10:00:00Z", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"),
            (Period::Day, paris, "2026-10-25T00:30:00Z", "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00"),
            // 2 o'clock twice.
            (Period::Hour, paris, "2026-10-25T00:10:00Z", "2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"),
            (Period::Hour, paris, "2026-10-25T01:10:00Z", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"),
            (Period::Week, paris, "2026-03-29T21:59:59Z", "2026-03-23T00:00:00+01:00", "2026-03-30T00:00:00+02:00"),
            (Period::Week, paris, "2026-03-29T22:00:00Z", "2026-03-30T00:00:00+02:00", "2026-04-06T00:00:00+02:00"),
            (Period::Month, paris, "2026-12-31T23:30:00Z", "2027-01-01T00:00:00+01:00", "2027-02-01T00:00:00+01:00"),
            (Period::Month, Tz::UTC, "2028-02-29T12:00:00Z", "2028-02-01T00:00:00+00:00", "2028-03-01T00:00:00+00:00"),
            // Half an hour beside all others.
            (
                Period::Hour,
                Tz::Asia__Kolkata,
                "2026-01-01T00:10:00Z",
                "2026-01-01T05:00:00+05:30",
                "2026-01-01T06:00:00+05:30",
            ),
            // There is no midnight: at 24 o'clock it is 1 o'clock.
            (
                Period::Day,
                Tz::Asia__Beirut,
                "2026-03-29T10:00:00Z",
                "2026-03-29T01:00:00+03:00",
                "2026-03-30T00:00:00+03:00",
            ),
            // There was no 30 December at all.
            (
                Period::Day,
                Tz::Pacific__Apia,
                "2011-12-30T09:00:00Z",
                "2011-12-29T00:00:00-10:00",
                "2011-12-31T00:00:00+14:00",
            ),
        ];
        for (per, zone, time, begins, ends) in cases {
            assert_eq!(shown(per, zone, time), [begins, ends], "{per:?} of {time}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// From 1970 to 2100, in all zones.
        #[test]
        fn each_moment_is_in_one_term_and_the_next_begins_where_it_ends(
            zone in proptest::sample::select(&chrono_tz::TZ_VARIANTS[..]),
            per in proptest::sample::select(vec![Period::Day, Period::Week, Period::Month]),
            at in 0..4_102_444_800_i64,
        ) {
            let calendar = Calendar::new(per, zone);
            let term = calendar.term(at);
            prop_assert!(term.begins <= at && at < term.ends);
            prop_assert_eq!(calendar.term(term.begins), term);
            prop_assert_eq!(calendar.term(term.ends - 1), term);
            prop_assert_eq!(calendar.term(term.ends).begins, term.ends);
        }

        #[test]
        fn each_moment_is_in_the_hour_that_it_is_by_the_clock(
            zone in proptest::sample::select(&chrono_tz::TZ_VARIANTS[..]), at in 0..4_102_444_800_i64,
        ) {
            let Term { begins, ends } = Calendar::new(Period::Hour, zone).term(at);
            prop_assert!(begins <= at && at < ends && ends - begins == 3600);
            let local = DateTime::<Utc>::from_timestamp(at, 0).unwrap().with_timezone(&zone);
            prop_assert_eq!(at - begins, i64::from(local.minute() * 60 + local.second()));
        }
    }
}
