//! Timestamps on the calendar and the clock of a time zone, daylight saving included.

use chrono::{DateTime, Datelike, NaiveDateTime, Timelike};
use ravelin_snapshot::expression::Function;
use ravelin_snapshot::expression::time::{NANOS, TIMESTAMP_SECONDS, Zone};

use super::EvalError;
use super::value::{Timestamp, Value};

impl Timestamp {
    /// `None` beyond the years 1 to 9999.
    pub(super) fn from_nanos(nanos: i128) -> Option<Self> {
        let seconds = i64::try_from(nanos.div_euclid(NANOS.into())).ok()?;
        let nanos = u32::try_from(nanos.rem_euclid(NANOS.into())).ok()?;
        TIMESTAMP_SECONDS.contains(&seconds).then_some(Self { seconds, nanos })
    }

    /// Since the epoch.
    pub(super) fn to_nanos(self) -> i128 {
        i128::from(self.seconds) * i128::from(NANOS) + i128::from(self.nanos)
    }

    fn local(self, zone: Zone) -> Option<NaiveDateTime> {
        let time = DateTime::from_timestamp(self.seconds, self.nanos)?;
        Some(match zone {
            Zone::Named(zone) => time.with_timezone(&zone).naive_local(),
            Zone::Offset(offset) => time.with_timezone(&offset).naive_local(),
        })
    }

    /// RFC 3339, in UTC, with as many digits as it needs.
    pub(super) fn to_rfc3339(self) -> String {
        let time = self.local(Zone::UTC).unwrap_or_default();
        let seconds = time.format("%Y-%m-%dT%H:%M:%S");
        format!("{seconds}{}Z", fraction(self.nanos))
    }
}

/// `.5` for half a second, nothing for a whole one.
pub(super) fn fraction(nanos: u32) -> String {
    match nanos {
        0 => String::new(),
        nanos => format!(".{nanos:09}").trim_end_matches('0').to_owned(),
    }
}

/// `value.getHours()` and its kin: of a timestamp, a part; of a duration, the whole of it in that unit.
pub(super) fn part<'a>(part: Function, value: &Value<'a>, zone: Zone) -> Result<Value<'a>, EvalError> {
    match value {
        Value::Timestamp(time) => time.local(zone).and_then(|time| of_time(part, &time)).ok_or(EvalError::Type),
        Value::Duration(nanos) => of_duration(part, *nanos).ok_or(EvalError::Type),
        _ => Err(EvalError::Type),
    }
    .map(Value::Int)
}

fn of_time(part: Function, time: &NaiveDateTime) -> Option<i64> {
    Some(match part {
        Function::GetFullYear => time.year().into(),
        Function::GetMonth => time.month0().into(),
        Function::GetDayOfMonth => time.day0().into(),
        Function::GetDate => time.day().into(),
        Function::GetDayOfWeek => time.weekday().num_days_from_sunday().into(),
        Function::GetDayOfYear => time.ordinal0().into(),
        Function::GetHours => time.hour().into(),
        Function::GetMinutes => time.minute().into(),
        Function::GetSeconds => time.second().into(),
        Function::GetMilliseconds => i64::from(time.nanosecond()) / 1_000_000,
        _ => return None,
    })
}

fn of_duration(part: Function, nanos: i64) -> Option<i64> {
    let unit = match part {
        Function::GetHours => 3600 * NANOS,
        Function::GetMinutes => 60 * NANOS,
        Function::GetSeconds => NANOS,
        Function::GetMilliseconds => 1_000_000,
        _ => return None,
    };
    Some(nanos / unit)
}
