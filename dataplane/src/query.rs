//! The query of a request as names and values, in the form of HTML forms (`application/x-www-form-urlencoded`): what
//! matches, expressions and credentials read. The backend gets the query as the client wrote it.

use std::borrow::Cow;

/// Names and values in their order, decoded; a name without `=` has the empty value.
pub fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

/// The first value of `name` (Gateway API: the first of a repeated name counts).
pub fn first<'q>(query: &'q str, name: &str) -> Option<Cow<'q, str>> {
    pairs(query).find(|(found, _)| found == name).map(|(_, value)| value)
}

/// `+` is a space, `%20` too; an escape that is none stays as it is, and what is not UTF-8 becomes U+FFFD.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = match after {
            [high, low, ..] if first == b'%' => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        bytes.push(match (escaped, first) {
            (Some(byte), _) => byte,
            (None, b'+') => b' ',
            (None, other) => other,
        });
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    match String::from_utf8_lossy(&bytes) {
        Cow::Borrowed(_) => Cow::Owned(String::from_utf8(bytes).unwrap_or_default()),
        Cow::Owned(lossy) => Cow::Owned(lossy),
    }
}

fn hex(digit: u8) -> Option<u8> {
    // At most 15.
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded_and_the_first_counts() {
        let query = "a=1&a=2&b&c=x+y%20z%2B&%64=%zz%&=e&&f=%ff&g=a=b";
        for (name, value) in
            [("a", "1"), ("b", ""), ("c", "x y z+"), ("d", "%zz%"), ("", "e"), ("f", "\u{fffd}"), ("g", "a=b")]
        {
            assert_eq!(first(query, name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(first(query, "h"), None);
        assert_eq!(pairs("").count(), 0);
    }
}
