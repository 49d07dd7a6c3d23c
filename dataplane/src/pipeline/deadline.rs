//! Until when an answer is of use: what the rule says, shortened by what the client says.

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::Exchange;
use crate::{
    reject::{Reason, Reject},
    table::Rule,
};

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Both are counted from when the request came. A time that cannot be read in the header that the rule names is refused.
pub(super) fn of(exchange: &Exchange<'_>, rule: &Rule, headers: &HeaderMap) -> Result<Option<Instant>, Reject> {
    let mut left = rule.timeouts.request;
    if exchange.grpc
        && let Some(said) = headers.get(GRPC_TIMEOUT).and_then(grpc)
    {
        left = shorter(left, said);
    }
    if let Some(name) = &rule.timeouts.deadline_header
        && headers.contains_key(name)
    {
        let mut all = headers.get_all(name).iter();
        let said = all.next().filter(|_| all.next().is_none()).and_then(millis).ok_or(Reason::BadRequest)?;
        left = shorter(left, said);
    }
    Ok(left.and_then(|left| exchange.now.checked_add(left)))
}

fn shorter(left: Option<Duration>, said: Duration) -> Option<Duration> {
    Some(left.map_or(said, |left| left.min(said)))
}

/// Decimal digits; more than fit into a number are for ever.
fn millis(value: &HeaderValue) -> Option<Duration> {
    let digits = digits(value.as_bytes())?;
    Some(Duration::from_millis(digits.parse().unwrap_or(u64::MAX)))
}

/// At most eight digits and a unit (gRPC over HTTP/2, "Requests"). What is no such thing is for the backend to judge.
fn grpc(value: &HeaderValue) -> Option<Duration> {
    let (unit, number) = value.as_bytes().split_last()?;
    let number: u64 = digits(number).filter(|digits| digits.len() <= 8)?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

fn digits(text: &[u8]) -> Option<&str> {
    let text = str::from_utf8(text).ok()?;
    (!text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit())).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_its_document_has_it() {
        for (said, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("4m", Some(Duration::from_millis(4))),
            ("5u", Some(Duration::from_micros(5))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("999999999n", None),
            ("1", None),
            ("S", None),
            ("-1S", None),
            ("1 S", None),
        ] {
            assert_eq!(grpc(&HeaderValue::from_static(said)), expected, "{said}");
        }
        for (said, expected) in [
            ("250", Some(Duration::from_millis(250))),
            ("0", Some(Duration::ZERO)),
            ("99999999999999999999", Some(Duration::from_millis(u64::MAX))),
            ("", None),
            ("+1", None),
            ("1.5", None),
            ("1s", None),
        ] {
            assert_eq!(millis(&HeaderValue::from_static(said)), expected, "{said}");
        }
    }
}
