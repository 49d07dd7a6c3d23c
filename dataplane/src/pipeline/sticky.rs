//! What keeps a client on one endpoint: the key of a consistent hash.

use http::{HeaderMap, HeaderValue, header::SET_COOKIE};
use ravelin_snapshot::backend::{Algorithm, Balancing, HashOn};

use super::Exchange;
use crate::{
    policy::auth::cookies,
    query::{decode_bytes, first},
    request::Scheme,
    upstream::balance::hash,
};

/// Found out while the request is still as the client sent it.
#[derive(Default)]
pub(super) struct Sticky {
    /// Of the request's key.
    pub(super) hash: Option<u64>,
    /// For a client that had no cookie.
    cookie: Option<HeaderValue>,
}

impl Sticky {
    pub(super) fn of(exchange: &Exchange<'_>, balancing: &Balancing, headers: &HeaderMap) -> Self {
        let Algorithm::ConsistentHash(on) = &balancing.algorithm else { return Self::default() };
        let hash = match on {
            HashOn::Header(name) => headers.get(name).map(|value| hash(value.as_bytes())),
            HashOn::QueryParam(name) => {
                let value = first(exchange.target.query(), name);
                value.map(|value| hash(&decode_bytes(value)))
            }
            HashOn::SourceAddress => Some(hash(exchange.target.client.source.ip().to_string().as_bytes())),
            HashOn::Cookie { name, ttl_ms } => {
                let known = cookies(headers).find(|(found, value)| *found == name.as_bytes() && !value.is_empty());
                match known {
                    Some((_, value)) => Some(hash(value)),
                    None => {
                        let value = exchange.worker.request_id();
                        let cookie = cookie(name, value.as_bytes(), *ttl_ms, exchange.target.scheme());
                        return Self { hash: Some(self::hash(value.as_bytes())), cookie };
                    }
                }
            }
        };
        Self { hash, cookie: None }
    }

    /// Tells the client what it is to say the next time.
    pub(super) fn tell(&mut self, headers: &mut HeaderMap) {
        if let Some(cookie) = self.cookie.take() {
            headers.append(SET_COOKIE, cookie);
        }
    }
}

/// No script needs it, and it goes with every path of the host.
fn cookie(name: &str, value: &[u8], lives_ms: Option<u64>, scheme: Scheme) -> Option<HeaderValue> {
    let mut text = [name.as_bytes(), b"=", value, b"; Path=/; HttpOnly"].concat();
    if let Some(millis) = lives_ms {
        text.extend_from_slice(format!("; Max-Age={}", millis.div_ceil(1000)).as_bytes());
    }
    if scheme == Scheme::Https {
        text.extend_from_slice(b"; Secure");
    }
    HeaderValue::from_bytes(&text).ok() // Invariant: the name is a token, the value is ours.
}
