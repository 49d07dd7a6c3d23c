//! Durations as Gateway API writes them (GEP-2257): `1h30m`, `250ms`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time of whole milliseconds, written as one to four parts of `h`, `m`, `s`, `ms` with up to five digits each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(std::time::Duration);

/// Why a text is no [`Duration`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a duration: write one to four parts of h, m, s, ms with at most five digits each, such as 1h30m, 10s or 250ms"
)]
pub struct InvalidDuration(String);

/// What the API server accepts as a duration: all of GEP-2257 and no more.
pub(crate) const PATTERN: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";

impl Duration {
    pub const ZERO: Self = Self(std::time::Duration::ZERO);

    /// Below a millisecond is cut off, since it cannot be written.
    pub const fn from_millis(millis: u64) -> Self {
        Self(std::time::Duration::from_millis(millis))
    }

    pub const fn from_secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }

    pub const fn get(self) -> std::time::Duration {
        self.0
    }

    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl From<Duration> for std::time::Duration {
    fn from(duration: Duration) -> Self {
        duration.0
    }
}

impl FromStr for Duration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        let invalid = || InvalidDuration(text.chars().take(64).collect());
        let mut rest = text;
        let mut millis = 0;
        let mut parts = 0;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, after) = rest.split_at(digits);
            let (unit, after) = unit(after).ok_or_else(invalid)?;
            if !(1..=5).contains(&digits) || parts == 4 {
                return Err(invalid());
            }
            // At most 5 digits of hours, four times: far from overflow.
            millis += number.parse::<u64>().map_err(|_| invalid())? * unit;
            parts += 1;
            rest = after;
        }
        if parts == 0 { Err(invalid()) } else { Ok(Self::from_millis(millis)) }
    }
}

/// The unit that `text` begins with, in milliseconds, and what follows it.
fn unit(text: &str) -> Option<(u64, &str)> {
    // `ms` before `m`: the longest unit wins.
    [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)]
        .into_iter()
        .find_map(|(name, millis)| text.strip_prefix(name).map(|rest| (millis, rest)))
}

/// The canonical form of GEP-2257: the largest units first, `0s` for nothing.
impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.as_millis() == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0.as_millis();
        for (name, millis) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            if rest >= millis {
                write!(f, "{}{name}", rest / millis)?;
                rest %= millis;
            }
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Duration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as 1h30m, 10s or 250ms")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 2, "maxLength": 28, "pattern": PATTERN})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_gateway_api_writes() {
        for (text, millis) in [
            ("0s", 0),
            ("250ms", 250),
            ("1h30m", 5_400_000),
            ("1m1ms", 60_001),
            ("99999h", 359_996_400_000),
            ("1s1s", 2_000),
        ] {
            assert_eq!(text.parse(), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn refuses_what_gateway_api_refuses() {
        for text in ["", "1", "s", "1d", "1.5s", "-1s", "100000s", "1h1h1h1h1h", " 1s", "1s ", "1µs", "1S"] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
    }

    #[test]
    fn writes_a_canonical_form_that_reads_back() {
        for (text, canonical) in [("90m", "1h30m"), ("0ms", "0s"), ("1500ms", "1s500ms"), ("1h", "1h")] {
            let duration: Duration = text.parse().unwrap();
            assert_eq!(duration.to_string(), canonical);
            assert_eq!(canonical.parse(), Ok(duration));
        }
    }

    #[test]
    fn an_error_says_how_to_write_it() {
        let error = serde_json::from_str::<Duration>("\"10 seconds\"").unwrap_err().to_string();
        assert!(error.contains("`10 seconds` is not a duration") && error.contains("250ms"), "{error}");
        let error = serde_json::from_str::<Duration>("10").unwrap_err().to_string();
        assert!(error.contains("expected a duration such as"), "{error}");
    }
}
