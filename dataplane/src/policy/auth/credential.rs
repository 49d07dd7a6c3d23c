//! API keys: where they are in a request, whose they are, and how they are taken off it.

use std::{borrow::Cow, collections::HashMap, time::SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use http::{HeaderMap, HeaderName, HeaderValue, header::COOKIE};
use ravelin_snapshot::{
    auth::{ApiKey, CredentialSource},
    hex,
};

use crate::{
    query,
    request::{Caller, RequestView},
};

/// Where credentials are.
pub(super) struct Credentials(Vec<Place>);

enum Place {
    Header { name: HeaderName, prefix: String },
    Cookie(String),
    Query(String),
}

/// What a request presents.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Presented<'r> {
    None,
    One(Cow<'r, [u8]>),
    Several,
}

impl Credentials {
    pub(super) fn compile(from: &[CredentialSource]) -> Result<Self, String> {
        let place = |source: &CredentialSource| {
            Ok(match source {
                CredentialSource::Header { name, prefix } => Place::Header {
                    name: name.parse().map_err(|_| format!("`{name}` is not a header's name"))?,
                    prefix: prefix.clone(),
                },
                CredentialSource::Cookie(name) => Place::Cookie(name.clone()),
                CredentialSource::QueryParam(name) => Place::Query(name.clone()),
            })
        };
        Ok(Self(from.iter().map(place).collect::<Result<_, String>>()?))
    }

    pub(super) fn find<'r>(&self, request: &RequestView<'r>) -> Presented<'r> {
        let mut found = self.0.iter().flat_map(|place| place.find(request));
        match (found.next(), found.next()) {
            (None, _) => Presented::None,
            (Some(one), None) => Presented::One(one),
            (Some(_), Some(_)) => Presented::Several,
        }
    }

    pub(super) fn strip(&self, headers: &mut HeaderMap) {
        for place in &self.0 {
            match place {
                Place::Header { name, prefix } => {
                    if headers.get_all(name).iter().any(|value| cut(value, prefix).is_some()) {
                        headers.remove(name);
                    }
                }
                Place::Cookie(name) => strip_cookie(headers, name),
                Place::Query(_) => {}
            }
        }
    }

    /// Borrowed: there is none in it.
    pub(super) fn strip_query<'q>(&self, query: &'q str) -> Cow<'q, str> {
        let ours = |place: &Place, name: &[u8]| matches!(place, Place::Query(ours) if ours.as_bytes() == name);
        query::without(query, |name| self.0.iter().any(|place| ours(place, name)))
    }
}

impl Place {
    /// All that is there: two are an error.
    fn find<'r>(&self, request: &RequestView<'r>) -> Vec<Cow<'r, [u8]>> {
        match self {
            Self::Header { name, prefix } => {
                let values = request.headers.get_all(name).iter();
                values.filter_map(|value| cut(value, prefix)).map(Cow::Borrowed).collect()
            }
            Self::Cookie(name) => cookies(request.headers)
                .filter(|(found, _)| *found == name.as_bytes())
                .map(|(_, value)| Cow::Borrowed(value))
                .collect(),
            Self::Query(name) => query::all(request.query, name).map(query::decode_bytes).collect(),
        }
    }
}

/// What follows the prefix. Schemes such as `Bearer` are in any case (RFC 9110, 11.1).
fn cut<'v>(value: &'v HeaderValue, prefix: &str) -> Option<&'v [u8]> {
    let (start, rest) = value.as_bytes().split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix.as_bytes()).then_some(rest)
}

/// Names and values of all `Cookie` headers (RFC 6265, 4.2; HTTP/2 may split them).
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(|pair| {
        let pair = pair.trim_ascii();
        let at = pair.iter().position(|byte| *byte == b'=')?;
        Some((&pair[..at], &pair[at + 1..]))
    })
}

fn strip_cookie(headers: &mut HeaderMap, name: &str) {
    if !cookies(headers).any(|(found, _)| found == name.as_bytes()) {
        return;
    }
    let rest: Vec<Vec<u8>> = cookies(headers)
        .filter(|(found, _)| *found != name.as_bytes())
        .map(|(name, value)| [name, b"=", value].concat())
        .collect();
    headers.remove(COOKIE);
    // What was part of a header's value can stand in one.
    if let Ok(value) = HeaderValue::from_bytes(&rest.join(&b"; "[..]))
        && !rest.is_empty()
    {
        headers.insert(COOKIE, value);
    }
}

/// Who has which key. Keys are looked up by their digest: to find one by timing is to find a preimage of SHA-256.
pub(super) struct Keys(HashMap<[u8; 32], Holder>);

struct Holder {
    caller: Caller,
    /// Seconds since the epoch.
    expires: Option<i64>,
}

impl Keys {
    pub(super) fn compile(said: &[ApiKey]) -> Result<Self, String> {
        let holder = |key: &ApiKey| {
            let ApiKey { sha256, id, scopes, groups, plan, expires } = key;
            let caller = Caller {
                id: id.clone(),
                method: "apiKey",
                scopes: scopes.clone(),
                groups: groups.clone(),
                plan: plan.clone(),
                ..Caller::default()
            };
            let digest = hex::sha256(sha256.expose())
                .ok_or_else(|| format!("the key of {id} has no SHA-256 of 64 hex digits"))?;
            Ok((digest, Holder { caller, expires: *expires }))
        };
        Ok(Self(said.iter().map(holder).collect::<Result<_, String>>()?))
    }

    pub(super) fn caller(&self, key: &[u8], now: SystemTime) -> Option<&Caller> {
        // Invariant: SHA-256 is 32 bytes.
        let digest: [u8; 32] = digest(&SHA256, key).as_ref().try_into().expect("32 bytes (invariant)");
        let holder = self.0.get(&digest)?;
        let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let expired = holder.expires.is_some_and(|expires| i64::try_from(now).unwrap_or(i64::MAX) >= expires);
        (!expired).then_some(&holder.caller)
    }
}
