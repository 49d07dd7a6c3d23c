//! What texts and numbers may be. The CRDs say the same, but files pass no API server.

/// Of backends and endpoints.
pub(super) const MAX_WEIGHT: u32 = 1_000_000;

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
pub(super) fn frames(lower: &str) -> bool {
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
