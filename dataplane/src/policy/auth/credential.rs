//! Credentials in a request: where they are looked for, and how they are taken off it.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, header::COOKIE};
use ravelin_snapshot::auth::CredentialSource;

use crate::{query, request::RequestView};

/// Where credentials are, each place once, and for whom.
#[derive(Default)]
pub(super) struct Places(Vec<(Place, Methods)>);

#[derive(PartialEq, Eq)]
enum Place {
    Header { name: HeaderName, prefix: String },
    Cookie(String),
    Query(String),
}

/// The methods that look at a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Methods {
    /// The providers of tokens, a bit for each.
    pub(super) jwt: u16,
    pub(super) api_key: bool,
    pub(super) basic: bool,
    pub(super) introspection: bool,
}

impl Methods {
    fn add(&mut self, other: Self) {
        let Self { jwt, api_key, basic, introspection } = other;
        self.jwt |= jwt;
        self.api_key |= api_key;
        self.basic |= basic;
        self.introspection |= introspection;
    }

    /// Whether both are looked for by one kind of methods.
    fn meets(self, other: Self) -> bool {
        let token = |methods: Self| methods.jwt != 0 || methods.introspection;
        (token(self) && token(other)) || (self.api_key && other.api_key) || (self.basic && other.basic)
    }
}

/// A credential in a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Presented<'r> {
    pub(super) value: Cow<'r, [u8]>,
    pub(super) methods: Methods,
}

/// Of two credentials of a kind, gateway and backend may each believe another.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Several;

impl Places {
    pub(super) fn add(&mut self, from: &[CredentialSource], methods: Methods) -> Result<(), String> {
        for source in from {
            let place = Place::compile(source)?;
            match self.0.iter_mut().find(|(known, _)| *known == place) {
                Some((_, known)) => {
                    known.add(methods);
                }
                None => self.0.push((place, methods)),
            }
        }
        Ok(())
    }

    /// At most one for tokens, one for keys and one for passwords; they may be the same.
    pub(super) fn find<'r>(&self, request: &RequestView<'r>) -> Result<[Option<Presented<'r>>; 3], Several> {
        let mut found = [None, None, None];
        let mut seen = Methods::default();
        for (place, methods) in &self.0 {
            let Some(value) = place.find(request)? else { continue };
            if seen.meets(*methods) {
                return Err(Several);
            }
            seen.add(*methods);
            // Invariant: whoever does not meet the others is of a kind of his own, of which there are three.
            if let Some(free) = found.iter_mut().find(|place| place.is_none()) {
                *free = Some(Presented { value, methods: *methods });
            }
        }
        Ok(found)
    }

    pub(super) fn strip(&self, headers: &mut HeaderMap) {
        for (place, _) in &self.0 {
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
        query::without(query, |name| self.0.iter().any(|(place, _)| ours(place, name)))
    }
}

impl Place {
    fn compile(source: &CredentialSource) -> Result<Self, String> {
        Ok(match source {
            CredentialSource::Header { name, prefix } => Self::Header {
                name: name.parse().map_err(|_| format!("`{name}` is not a header's name"))?,
                prefix: prefix.clone(),
            },
            CredentialSource::Cookie(name) => Self::Cookie(name.clone()),
            CredentialSource::QueryParam(name) => Self::Query(name.clone()),
        })
    }

    fn find<'r>(&self, request: &RequestView<'r>) -> Result<Option<Cow<'r, [u8]>>, Several> {
        match self {
            Self::Header { name, prefix } => {
                let values = request.headers.get_all(name);
                let ours = values.iter().find_map(|value| cut(value, prefix));
                // One that is none of ours may be the one that the backend believes.
                if ours.is_some() && values.iter().nth(1).is_some() {
                    Err(Several)
                } else {
                    Ok(ours.map(Cow::Borrowed))
                }
            }
            Self::Cookie(name) => {
                let mut named = cookies(request.headers).filter(|(found, _)| *found == name.as_bytes());
                only(named.next(), named.next().is_some()).map(|one| one.map(|(_, value)| Cow::Borrowed(value)))
            }
            Self::Query(name) => {
                let mut named = query::all(request.query, name);
                only(named.next(), named.next().is_some()).map(|one| one.map(query::decode_bytes))
            }
        }
    }
}

fn only<T>(first: Option<T>, another: bool) -> Result<Option<T>, Several> {
    if another { Err(Several) } else { Ok(first) }
}

/// What follows the prefix. Schemes such as `Bearer` are in any case and have spaces behind them (RFC 9110, 11.4); one
/// with nothing behind it, or with a tab, is a credential too: a bad one.
fn cut<'v>(value: &'v HeaderValue, prefix: &str) -> Option<&'v [u8]> {
    let scheme = prefix.trim_end_matches(' ');
    let (start, rest) = value.as_bytes().split_at_checked(scheme.len())?;
    if !start.eq_ignore_ascii_case(scheme.as_bytes()) {
        return None;
    }
    match rest.first() {
        _ if scheme.len() == prefix.len() => Some(rest),
        None | Some(b'\t') => Some(rest),
        Some(b' ') => Some(&rest[rest.iter().take_while(|byte| **byte == b' ').count()..]),
        Some(_) => None,
    }
}

/// Names and values of all `Cookie` headers (RFC 6265, 4.2; HTTP/2 may split them).
pub(crate) fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_is_in_any_case_and_alone_or_with_a_tab_it_is_a_bad_credential() {
        for (value, prefix, expected) in [
            ("Bearer t", "Bearer ", Some("t")),
            ("bEARER   t", "Bearer ", Some("t")),
            ("Bearer", "Bearer ", Some("")),
            ("Bearer\tt", "Bearer ", Some("\tt")),
            ("Bearert", "Bearer ", None),
            ("Basic t", "Bearer ", None),
            ("Bear", "Bearer ", None),
            ("key=t", "key=", Some("t")),
            ("key= t", "key=", Some(" t")),
            ("t", "", Some("t")),
            ("", "", Some("")),
        ] {
            let value = HeaderValue::from_static(value);
            assert_eq!(cut(&value, prefix), expected.map(str::as_bytes), "{value:?} {prefix:?}");
        }
    }
}
