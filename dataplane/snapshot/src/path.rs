//! The one form of a path, used for routing, policies and upstream alike (docs/src/objects/apiroute.md, "Paths"): the compiler brings what
//! users write into it, the data plane what clients send.
//!
//! Two spellings of one path that route, policy and backend read differently are how gateways are walked around. Here a
//! path has one spelling, or the request is refused:
//! - percent-encoded unreserved characters are decoded, other escapes are in upper case (RFC 3986, 6.2.2);
//! - `//` is one slash, dot segments are resolved (RFC 3986, 5.2.4), encoded ones too;
//! - `%2F` stays as it is: it is data within a segment.

use std::borrow::Cow;

use crate::hex;

/// Why a path has no normal form: 400 `bad_request`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    #[error("the path climbs above the root")]
    AboveRoot,
    #[error("a segment is a dot segment to servers that decode more or cut parameters")]
    HiddenDotSegment,
    #[error("the path holds a backslash, a control character or NUL")]
    Forbidden,
    #[error("a percent sign is not followed by two hex digits")]
    BadEscape,
}

/// Whether `path` is `prefix` or below it, by whole segments; both are in normal form.
pub fn is_within(path: &str, prefix: &str) -> bool {
    prefix == "/" || path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The normal form of `path`: what stands before the `?` of an origin-form target. Borrowed if it is in that form
/// already, which is nearly always.
pub fn normalize(path: &str) -> Result<Cow<'_, str>, BadPath> {
    if !path.starts_with('/') {
        return Err(BadPath::NotAbsolute);
    }
    if is_plain(path.as_bytes()) {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = decode(path)?;
    let resolved = resolve(&decoded)?;
    Ok(if resolved == path { Cow::Borrowed(path) } else { Cow::Owned(resolved) })
}

/// Nothing to decode, to merge, to resolve or to refuse. Without a branch in the loop: nearly every path is plain.
fn is_plain(path: &[u8]) -> bool {
    let (mut odd, mut before) = (0, 0);
    for byte in path {
        let class = CLASSES[usize::from(*byte)];
        odd |= class & (ODD | before);
        before = class >> 1;
    }
    odd & (ODD | MERGES) == 0
}

/// To be looked at more closely.
const ODD: u8 = 1 << 2;
/// It begins what is behind it: `/`.
const SLASH: u8 = 1 << 1;
/// Behind a slash, the path is not plain: `/`, `.`.
const MERGES: u8 = SLASH >> 1;

/// What a byte is in a path, of every byte.
static CLASSES: [u8; 256] = {
    let mut classes = [ODD; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'/' => SLASH | MERGES,
            b'.' => MERGES,
            b'%' | b'\\' | b';' => ODD,
            graphic if graphic.is_ascii_graphic() => 0,
            _ => ODD,
        };
        byte += 1;
    }
    classes
};

/// Decodes what is unreserved, puts other escapes in upper case and escapes what is not ASCII.
fn decode(path: &str) -> Result<String, BadPath> {
    let mut out = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let (high, low) = (bytes.next().and_then(hex::digit), bytes.next().and_then(hex::digit));
                let value = high.zip(low).map(|(high, low)| high << 4 | low).ok_or(BadPath::BadEscape)?;
                match value {
                    0..=0x1f | 0x7f => return Err(BadPath::Forbidden),
                    b'-' | b'.' | b'_' | b'~' => out.push(value.into()),
                    _ if value.is_ascii_alphanumeric() => out.push(value.into()),
                    _ => escape(&mut out, value),
                }
            }
            b'\\' | 0..=0x1f | 0x7f => return Err(BadPath::Forbidden),
            b' ' | 0x80.. => escape(&mut out, byte),
            _ => out.push(byte.into()),
        }
    }
    Ok(out)
}

fn escape(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(DIGITS[usize::from(byte >> 4)].into());
    out.push(DIGITS[usize::from(byte & 15)].into());
}

/// Merges slashes and resolves dot segments. A final `.` or `..` leaves a slash (RFC 3986, 5.2.4).
fn resolve(path: &str) -> Result<String, BadPath> {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        match segment {
            "." => {}
            ".." => drop(segments.pop().ok_or(BadPath::AboveRoot)?),
            _ if hides_dots(segment) => return Err(BadPath::HiddenDotSegment),
            _ => segments.push(segment),
        }
    }
    let folder = ["/", "/.", "/.."].iter().any(|end| path.ends_with(end));
    let mut out = String::with_capacity(path.len());
    for segment in &segments {
        out.push('/');
        out.push_str(segment);
    }
    if folder || out.is_empty() {
        out.push('/');
    }
    Ok(out)
}

/// Whether a server that decodes `%2F` and `%5C`, or cuts `;parameters`, would see a dot segment here.
fn hides_dots(segment: &str) -> bool {
    if !segment.contains([';', '%']) {
        return false;
    }
    let slashes = segment.replace("%2F", "/").replace("%5C", "/");
    slashes.split('/').any(|piece| matches!(piece.split(';').next(), Some("." | "..")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_has_one_spelling() {
        for (path, normal) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("//a///b/", "/a/b/"),
            ("/a/./b/../c", "/a/c"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/%61%7e%2d", "/a~-"),
            ("/a%2fb", "/a%2Fb"),
            ("/caf\u{e9}", "/caf%C3%A9"),
            ("/a;v=1/b", "/a;v=1/b"),
            ("/...", "/..."),
            ("/.well-known/x", "/.well-known/x"),
        ] {
            assert_eq!(normalize(path).as_deref(), Ok(normal), "{path}");
        }
    }

    #[test]
    fn what_servers_read_differently_is_refused() {
        for (path, why) in [
            ("a", BadPath::NotAbsolute),
            ("/..", BadPath::AboveRoot),
            ("/a/../../b", BadPath::AboveRoot),
            ("/%2e%2e/b", BadPath::AboveRoot),
            ("/a/..;x/b", BadPath::HiddenDotSegment),
            ("/a/.;/b", BadPath::HiddenDotSegment),
            ("/a/..%2fb", BadPath::HiddenDotSegment),
            ("/a/b%5C..%5cc", BadPath::HiddenDotSegment),
            ("/a/..;p%2Fb", BadPath::HiddenDotSegment),
            ("/a\\b", BadPath::Forbidden),
            ("/a%00", BadPath::Forbidden),
            ("/a%0d%0a", BadPath::Forbidden),
            ("/a%", BadPath::BadEscape),
            ("/a%2", BadPath::BadEscape),
            ("/a%zz", BadPath::BadEscape),
        ] {
            assert_eq!(normalize(path), Err(why), "{path}");
        }
    }

    proptest! {
        #[test]
        fn the_form_is_a_fixed_point_without_dots_and_double_slashes(path in "/([a-c./;~ é\\\\]|%2[eEfF]|%5c|%61|//|\\.\\.){0,12}") {
            if let Ok(normal) = normalize(&path) {
                let again = normalize(&normal);
                prop_assert_eq!(again.as_deref(), Ok(&*normal), "idempotent");
                prop_assert!(normal.starts_with('/') && !normal.contains("//"));
                prop_assert!(normal.split('/').all(|segment| segment != "." && segment != ".."));
                let further = normal.replace("%2F", "/").replace("%5C", "/");
                prop_assert!(further.split('/').all(|s| !matches!(s.split(';').next(), Some("." | ".."))));
            }
        }
    }
}
