//! Times, durations and time zones as text: read alike by the compiler, for constants, and by the data plane, for what
//! a request brings.

use chrono::{DateTime, FixedOffset};
use chrono_tz::Tz;

/// Nanoseconds of a second.
pub const NANOS: i64 = 1_000_000_000;

/// Where a timestamp is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// With daylight saving and all other history.
    Named(Tz),
    Offset(FixedOffset),
}

impl Zone {
    pub const UTC: Self = Self::Named(Tz::UTC);

    /// An IANA name (`Europe/Paris`), or an offset (`+02:00`, `-08:30`; a missing sign is `+`).
    pub fn parse(text: &str) -> Option<Self> {
        let Some((hours, minutes)) = text.split_once(':') else {
            return text.parse().ok().map(Self::Named);
        };
        let (sign, hours) = match hours.as_bytes().first()? {
            b'-' => (-1, &hours[1..]),
            b'+' => (1, &hours[1..]),
            _ => (1, hours),
        };
        let seconds = two_digits(hours, 23)? * 3600 + two_digits(minutes, 59)? * 60;
        FixedOffset::east_opt(sign * seconds).map(Self::Offset)
    }
}

fn two_digits(text: &str, most: i32) -> Option<i32> {
    let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number <= most)
}

/// The first and the last second that a CEL timestamp can have: 0001-01-01 to 9999-12-31.
pub const TIMESTAMP_SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// RFC 3339, as seconds and nanoseconds since the epoch.
pub fn parse_timestamp(text: &str) -> Option<(i64, u32)> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    // A leap second is the last nanosecond of its minute: CEL knows none.
    let nanos = time.timestamp_subsec_nanos().min(999_999_999);
    TIMESTAMP_SECONDS.contains(&time.timestamp()).then(|| (time.timestamp(), nanos))
}

/// `1h30m`, `-1.5s`, `250ms`: decimal numbers with the units h, m, s, ms, us and ns, in nanoseconds.
pub fn parse_duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total: i128 = 0;
    loop {
        let end = rest.find(|letter: char| letter != '.' && !letter.is_ascii_digit())?;
        let (number, after) = rest.split_at(end);
        let length = after.find(|letter: char| letter == '.' || letter.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(length);
        total = total.checked_add(nanoseconds(number, unit)?)?;
        if after.is_empty() {
            return i64::try_from(sign * total).ok();
        }
        rest = after;
    }
}

fn nanoseconds(number: &str, unit: &str) -> Option<i128> {
    let unit: i128 = match unit {
        "h" => 3600 * i128::from(NANOS),
        "m" => 60 * i128::from(NANOS),
        "s" => NANOS.into(),
        "ms" => 1_000_000,
        "us" | "µs" | "μs" => 1000,
        "ns" => 1,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || whole.len() > 19 || fraction.contains('.') {
        return None;
    }
    let mut sum = if whole.is_empty() { 0 } else { whole.parse::<i128>().ok()?.checked_mul(unit)? };
    let mut weight = unit;
    for digit in fraction.bytes() {
        weight /= 10; // beyond a nanosecond nothing is left to add
        sum += i128::from(digit - b'0') * weight;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_names_or_offsets() {
        assert_eq!(Zone::parse("Europe/Paris"), Some(Zone::Named(Tz::Europe__Paris)));
        assert_eq!(Zone::parse("UTC"), Some(Zone::UTC));
        assert_eq!(Zone::parse("-08:30"), FixedOffset::west_opt(8 * 3600 + 30 * 60).map(Zone::Offset));
        assert_eq!(Zone::parse("02:00"), FixedOffset::east_opt(2 * 3600).map(Zone::Offset));
        for text in
            ["", "Europe/Nowhere", "europe/paris", "+2:00", "24:00", "00:60", ":", "é:00", "+é:00", "--1:00", "1"]
        {
            assert_eq!(Zone::parse(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_exact() {
        let cases = [
            ("0", 0),
            ("1h30m", 5400 * NANOS),
            ("-1.5s", -1_500_000_000),
            ("+250ms", 250_000_000),
            ("1us1ns", 1001),
            ("1µs", 1000),
            (".5m", 30 * NANOS),
            ("2.s", 2 * NANOS),
            ("0.1234567899s", 123_456_789),
            ("9223372036854775807ns", i64::MAX),
        ];
        for (text, nanos) in cases {
            assert_eq!(parse_duration(text), Some(nanos), "{text}");
        }
        for text in [
            "",
            "-",
            "1",
            "s",
            ".s",
            "1.2.3s",
            "1d",
            "1s ",
            " 1s",
            "1e3s",
            "9223372036854775808ns",
            "99999999999999999999h",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn timestamps_have_years_of_four_digits() {
        assert_eq!(parse_timestamp("1970-01-01T00:00:00Z"), Some((0, 0)));
        assert_eq!(parse_timestamp("2024-02-29T12:00:00.5+02:00"), Some((1_709_200_800, 500_000_000)));
        assert_eq!(parse_timestamp("9999-12-31T23:59:59.999999999Z"), Some((253_402_300_799, 999_999_999)));
        for text in ["", "2024-02-30T00:00:00Z", "2024-02-01", "9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00"]
        {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
    }
}
