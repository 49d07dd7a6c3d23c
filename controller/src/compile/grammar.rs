//! What texts and numbers may be. The CRDs say the same, but files pass no API server.

use super::{
    notes::{Field, Notes},
    text,
};

/// Of backends and endpoints.
pub(super) const MAX_WEIGHT: u32 = 1_000_000;

/// What does not fit is for ever.
pub(super) fn millis(said: ravelin_crds::Duration) -> u64 {
    u64::try_from(said.get().as_millis()).unwrap_or(u64::MAX)
}

/// A name in a URL's host or in a DNS query: lower case, labels of up to 63 characters, no final dot.
pub(super) fn is_dns_name(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label)
}

/// As DNS has them in practice: underscores are no host names, but are resolved.
fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    (1..=63).contains(&label.len()) && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
}

/// A hostname of a route: a DNS name, perhaps with `*.` before it.
pub(super) fn is_hostname(name: &str) -> bool {
    let plain = name.strip_prefix("*.").unwrap_or(name);
    !plain.contains('_') && is_dns_name(plain)
}

/// A token (RFC 9110, 5.6.2) of a bearable length: names of headers, cookies and the like.
pub(super) fn is_token(name: &str) -> bool {
    let ok = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=256).contains(&name.len()) && name.bytes().all(ok)
}

/// A field value (RFC 9110, 5.5): no control characters but the tab, no white space around it.
pub(super) fn is_field_value(value: &str) -> bool {
    let ok = |byte: u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
    value.len() <= 4096 && value.bytes().all(ok) && value.trim_matches([' ', '\t']) == value
}

/// Headers that say where a message ends, how it travels or for whom it is: nobody but the gateway sets them.
fn frames(lower: &str) -> bool {
    const FRAMING: [&str; 11] = [
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    FRAMING.contains(&lower)
}

/// A header that somebody else than the gateway may set, in lower case; `None` and a note if it is none.
pub(super) fn header(name: &str, field: Field<'_>, notes: &mut Notes) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    if !is_token(name) {
        let message = format!("{} is no header name", text::shown(name));
        notes.invalid(field, message, "Use letters, digits and hyphens.");
        return None;
    }
    if frames(&lower) {
        let message = format!("`{lower}` says where a message ends or whose it is, and is the gateway's own");
        notes.invalid(field, message, "Leave it out; for the host there is urlRewrite.hostname.");
        return None;
    }
    Some(lower)
}

/// A name in answers and metrics.
pub(super) fn is_entry_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let outer = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    bytes.len() <= 63 && bytes.iter().all(|byte| inner(*byte)) && outer(bytes.first()) && outer(bytes.last())
}
