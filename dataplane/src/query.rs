//! The query as a map, for matches, expressions and credentials: names and values percent-decoded, `+` is a space, the first value of a repeated name counts.
//!
//! This is how forms are read (WHATWG URL, 5.1), but for what is not UTF-8 once decoded: that is no text here. The backend
//! gets the query as the client wrote it.

use std::borrow::Cow;
use std::collections::HashSet;

use ravelin_snapshot::hex;

/// The first value of `name`, as the client sent it.
pub(crate) fn first<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    all(query, name).next()
}

/// Every value of `name`, as the client sent it.
pub(crate) fn all<'a>(query: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    pairs(query).filter(move |(raw, _)| bytes(raw).eq(name.bytes())).map(|(_, value)| value)
}

/// The query without the pairs of these names; borrowed if there are none.
pub(crate) fn without<'a>(query: &'a str, gone: impl Fn(&[u8]) -> bool) -> Cow<'a, str> {
    let stays = |part: &&str| !gone(&decode_bytes(part.split_once('=').map_or(*part, |(name, _)| name)));
    if query.split('&').all(|part| stays(&part)) {
        return Cow::Borrowed(query);
    }
    Cow::Owned(query.split('&').filter(stays).collect::<Vec<_>>().join("&"))
}

/// Every name once, in the order of the query; `None` if one is not UTF-8.
pub(crate) fn names(query: &str) -> Option<Vec<Cow<'_, str>>> {
    let mut seen = HashSet::new();
    let mut names = Vec::new();
    for (raw, _) in pairs(query) {
        let name = decode(raw)?;
        if seen.insert(name.clone()) {
            names.push(name);
        }
    }
    Some(names)
}

/// What was encoded as `raw`; borrowed if nothing was, `None` if it is not UTF-8.
pub(crate) fn decode(raw: &str) -> Option<Cow<'_, str>> {
    match decode_bytes(raw) {
        Cow::Borrowed(_) => Some(Cow::Borrowed(raw)),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
}

/// The same, whether it is UTF-8 or not.
pub(crate) fn decode_bytes(raw: &str) -> Cow<'_, [u8]> {
    if raw.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        Cow::Owned(bytes(raw).collect())
    } else {
        Cow::Borrowed(raw.as_bytes())
    }
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').unwrap_or((part, "")))
}

/// The decoded bytes; a percent sign without two hex digits is itself.
fn bytes(raw: &str) -> impl Iterator<Item = u8> + '_ {
    let raw = raw.as_bytes();
    let digit = |at: usize| raw.get(at).copied().and_then(hex::digit);
    let mut at = 0;
    std::iter::from_fn(move || {
        let byte = *raw.get(at)?;
        let escaped = match byte {
            b'%' => digit(at + 1).zip(digit(at + 2)),
            _ => None,
        };
        at += if escaped.is_some() { 3 } else { 1 };
        Some(match escaped {
            Some((high, low)) => high << 4 | low,
            None if byte == b'+' => b' ',
            None => byte,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(query: &'static str, name: &str) -> Option<String> {
        first(query, name).and_then(decode).map(Cow::into_owned)
    }

    #[test]
    fn the_first_value_of_a_name_is_decoded() {
        assert_eq!(value("a=1&b=2&a=3", "a").as_deref(), Some("1"));
        assert_eq!(value("a%20b=c+d%2Be", "a b").as_deref(), Some("c d+e"));
        assert_eq!(value("a&b=", "a").as_deref(), Some(""));
        assert_eq!(value("&&=x&a=b=c", "a").as_deref(), Some("b=c"));
        assert_eq!(value("&&=x&a=b=c", "").as_deref(), Some("x"));
        assert_eq!(value("a=%c3%A9", "a").as_deref(), Some("é"));
        assert_eq!(value("a=%zz%4", "a").as_deref(), Some("%zz%4"));
        assert_eq!(value("a=1", "b"), None);
        assert_eq!(value("", ""), None);
    }

    #[test]
    fn what_is_not_utf8_has_no_text() {
        assert_eq!(decode("%ff"), None);
        assert_eq!(names("a=1&%ff=2"), None);
        assert_eq!(first("%ff=2&a=1", "a"), Some("1"));
    }

    #[test]
    fn a_pair_is_taken_out_and_the_rest_stays_as_it_was_written() {
        let without_key = |query| without(query, |name| name == b"key").into_owned();
        assert_eq!(without_key("a=%61&k%65y=1&&key&b"), "a=%61&&b");
        assert_eq!(without_key("key=1"), "");
        assert!(matches!(without("a=1&monkey=2", |name| name == b"key"), Cow::Borrowed("a=1&monkey=2")));
    }

    #[test]
    fn a_plain_value_is_borrowed() {
        assert!(matches!(decode("plain-value"), Some(Cow::Borrowed("plain-value"))));
    }

    #[test]
    fn every_name_is_there_once() {
        assert_eq!(names("b=1&a=2&%62=3"), Some(vec!["b".into(), "a".into()]));
    }
}
