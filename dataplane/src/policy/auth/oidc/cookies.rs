//! The cookies of a log-in: sealed values, cut into pieces that browsers keep, for this host alone.
//!
//! The first piece begins with the number of all of them. They are sealed as one: pieces of two values come to none.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, header::COOKIE};

use crate::{policy::auth::credential::cookies, request::Scheme};

/// Bytes of a piece: with its name and attributes it stays below the 4096 that browsers keep (RFC 6265, 6.1).
const PIECE: usize = 3700;
/// Pieces, at most: a head has room for them and all else.
pub(super) const MAX_PIECES: usize = 6;

/// Between the name of the session's cookie and what tells a log-in that is under way from others.
const LOGIN: &str = ".l-";

/// What the cookies of one policy are called over one scheme.
pub(super) struct Names {
    name: String,
    secure: bool,
}

/// What a request has for a session.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'r> {
    Nothing,
    /// Pieces are missing, or there twice.
    Broken,
    Sealed(Cow<'r, [u8]>),
}

impl Names {
    pub(super) fn new(name: &str, scheme: Scheme) -> Self {
        let secure = scheme == Scheme::Https;
        // No other host and no page that was sent in the clear can set a cookie of such a name.
        let prefix = if secure && !name.starts_with("__Host-") { "__Host-" } else { "" };
        Self { name: format!("{prefix}{name}"), secure }
    }

    pub(super) fn session<'r>(&self, headers: &'r HeaderMap) -> Found<'r> {
        let Ok(first) = only(headers, &self.name) else { return Found::Broken };
        let Some(first) = first else { return Found::Nothing };
        let Some((count, first)) = split(first) else { return Found::Broken };
        if count == 1 {
            return Found::Sealed(Cow::Borrowed(first));
        }
        let mut whole = first.to_vec();
        for index in 1..count {
            match only(headers, &self.piece(index)) {
                Ok(Some(piece)) => whole.extend_from_slice(piece),
                Ok(None) | Err(Twice) => return Found::Broken,
            }
        }
        Found::Sealed(Cow::Owned(whole))
    }

    /// Pieces of a value that the request has too many go. `None`: the value is too long to be kept.
    pub(super) fn set_session(&self, value: &str, seconds: u64, headers: &HeaderMap) -> Option<Vec<HeaderValue>> {
        let count = value.len().div_ceil(PIECE).max(1);
        if count > MAX_PIECES {
            return None;
        }
        let mut set = Vec::with_capacity(count);
        for index in 0..count {
            let piece = &value[index * PIECE..value.len().min((index + 1) * PIECE)];
            let piece = if index == 0 { format!("{count}.{piece}") } else { piece.to_owned() };
            set.push(self.write(&self.piece(index), &piece, seconds));
        }
        set.extend(self.expire_from(count, headers));
        Some(set)
    }

    pub(super) fn expire_session(&self, headers: &HeaderMap) -> Vec<HeaderValue> {
        self.expire_from(0, headers).collect()
    }

    fn expire_from(&self, first: usize, headers: &HeaderMap) -> impl Iterator<Item = HeaderValue> {
        let there = move |index: &usize| {
            let name = self.piece(*index);
            cookies(headers).any(|(found, _)| found == name.as_bytes())
        };
        (first..MAX_PIECES).filter(there).map(|index| self.write(&self.piece(index), "", 0))
    }

    /// Of a log-in that is under way. `tag`: characters that stand in a cookie's name.
    pub(super) fn login<'r>(&self, tag: &str, headers: &'r HeaderMap) -> Option<&'r [u8]> {
        only(headers, &self.login_name(tag)).ok().flatten()
    }

    pub(super) fn set_login(&self, tag: &str, value: &str, seconds: u64) -> HeaderValue {
        self.write(&self.login_name(tag), value, seconds)
    }

    pub(super) fn expire_login(&self, tag: &str) -> HeaderValue {
        self.write(&self.login_name(tag), "", 0)
    }

    /// All log-ins that are under way, if they are more than `most`: whoever begins so many ends none.
    pub(super) fn expire_logins(&self, most: usize, headers: &HeaderMap) -> Vec<HeaderValue> {
        let prefix = self.login_name("");
        let named = cookies(headers).filter_map(|(name, _)| std::str::from_utf8(name).ok());
        let found: Vec<&str> = named.filter(|name| name.starts_with(&prefix)).take(64).collect();
        let all = if found.len() > most { found } else { Vec::new() };
        // What came as a cookie's name may be none that can be written.
        let tag = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        all.into_iter().filter(|name| tag(name)).map(|name| self.write(name, "", 0)).collect()
    }

    /// The backend sees none of them.
    pub(super) fn strip(&self, headers: &mut HeaderMap) {
        if !cookies(headers).any(|(name, _)| self.is_ours(name)) {
            return;
        }
        let stays = cookies(headers).filter(|(name, _)| !self.is_ours(name));
        let rest: Vec<Vec<u8>> = stays.map(|(name, value)| [name, b"=", value].concat()).collect();
        headers.remove(COOKIE);
        // What was part of a header's value can stand in one.
        if let Ok(value) = HeaderValue::from_bytes(&rest.join(&b"; "[..]))
            && !rest.is_empty()
        {
            headers.insert(COOKIE, value);
        }
    }

    fn is_ours(&self, name: &[u8]) -> bool {
        let Some(rest) = name.strip_prefix(self.name.as_bytes()) else { return false };
        let numbered = rest.strip_prefix(b".").is_some_and(|rest| rest.len() == 1 && rest[0].is_ascii_digit());
        rest.is_empty() || numbered || rest.starts_with(LOGIN.as_bytes())
    }

    fn piece(&self, index: usize) -> String {
        if index == 0 { self.name.clone() } else { format!("{}.{index}", self.name) }
    }

    fn login_name(&self, tag: &str) -> String {
        format!("{}{LOGIN}{tag}", self.name)
    }

    /// No script reads it, no other site's form or picture brings it along; the redirect back from the issuer does.
    fn write(&self, name: &str, value: &str, seconds: u64) -> HeaderValue {
        let secure = if self.secure { "; Secure" } else { "" };
        let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
        HeaderValue::try_from(text).expect("a token and base64url stand in a header (invariant)")
    }
}

fn split(first: &[u8]) -> Option<(usize, &[u8])> {
    let (count, rest) = first.split_first()?;
    let count = usize::from(count.checked_sub(b'0')?);
    (1..=MAX_PIECES).contains(&count).then_some((count, rest.strip_prefix(b".")?))
}

struct Twice;

/// Of two cookies of a name nobody can tell which is the gateway's.
fn only<'r>(headers: &'r HeaderMap, name: &str) -> Result<Option<&'r [u8]>, Twice> {
    let mut named = cookies(headers).filter(|(found, _)| *found == name.as_bytes()).map(|(_, value)| value);
    match (named.next(), named.next()) {
        (first, None) => Ok(first),
        (_, Some(_)) => Err(Twice),
    }
}
