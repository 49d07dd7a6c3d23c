//! How the gateway shows itself to an issuer whose client it is.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderValue;

/// Both are encoded as in a form before they are joined (RFC 6749, 2.3.1).
pub(super) fn basic(id: &str, secret: &str) -> HeaderValue {
    let joined = format!("{}:{}", encoded(id.as_bytes()), encoded(secret.as_bytes()));
    let basic = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(joined)));
    let mut basic = basic.expect("base64 stands in a header (invariant)");
    basic.set_sensitive(true);
    basic
}

/// As in a form.
pub(super) fn encoded(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) => text.push(char::from(*byte)),
            byte => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}
