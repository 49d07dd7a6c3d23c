//! What a token claims, once its signature is known to be its issuer's.

use std::time::SystemTime;

use ravelin_snapshot::jwt::ClaimNames;
use serde_json::{Map, Value};

use super::{METHOD, Refused, token::Token};
use crate::request::Caller;

/// The end of the year 9999, in seconds since the epoch.
const LATEST: f64 = 253_402_300_799.0;

pub(super) fn seconds(now: SystemTime) -> f64 {
    now.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Until when the token is good, if it is good now.
pub(super) fn lifetime(token: &Token<'_>, skew: f64, now: f64) -> Result<f64, Refused> {
    let until = time(token, "exp")?.ok_or(Refused::Times)? + skew;
    let from = time(token, "nbf")?.map_or(0.0, |from| from - skew);
    time(token, "iat")?; // it says nothing that counts, but it has to be a time
    match now {
        _ if now < from => Err(Refused::Early),
        _ if now >= until => Err(Refused::Expired),
        _ => Ok(until),
    }
}

/// A JSON number from 0 to the year 9999, in seconds; fractions count (RFC 7519, 2).
fn time(token: &Token<'_>, name: &str) -> Result<Option<f64>, Refused> {
    let Some(value) = token.claim(name) else { return Ok(None) };
    match value.as_f64() {
        Some(time) if (0.0..=LATEST).contains(&time) => Ok(Some(time)),
        Some(_) | None => Err(Refused::Times),
    }
}

/// `aud`: a text, or a list of texts; one of them has to be in `accepted`, if that names any.
pub(super) fn audience(token: &Token<'_>, accepted: &[String]) -> Result<(), Refused> {
    if accepted.is_empty() {
        return Ok(());
    }
    let said = match token.claim("aud") {
        Some(Value::String(one)) => accepted.contains(one),
        Some(list @ Value::Array(_)) => texts(list)?.any(|text| accepted.iter().any(|accepted| accepted == text)),
        Some(_) => return Err(Refused::Claims),
        None => false,
    };
    if said { Ok(()) } else { Err(Refused::Audience) }
}

/// Who calls. A claim that is not of the form that its field needs refuses the token: left out, it could open what it
/// ought to close.
pub(super) fn caller(token: &Token<'_>, names: &ClaimNames) -> Result<Caller, Refused> {
    let claims = token.claims();
    let id = match find(claims, &names.id) {
        Some(Value::String(id)) if !id.is_empty() => id.clone(),
        Some(Value::Number(id)) if id.is_i64() || id.is_u64() => id.to_string(),
        // An empty id is the anonymous caller's.
        _ => return Err(Refused::Claims),
    };
    let owned = |text: &str| text.to_owned();
    let scopes = match find(claims, &names.scopes) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) => text.split_ascii_whitespace().map(owned).collect(),
        Some(list) => texts(list)?.map(owned).collect(),
    };
    let groups = match find(claims, &names.groups) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(one)) => vec![one.clone()],
        Some(list) => texts(list)?.map(owned).collect(),
    };
    let issuer = token.claim("iss").and_then(Value::as_str).unwrap_or_default().to_owned();
    let claims = Value::Object(claims.clone());
    Ok(Caller { id, method: METHOD, issuer, scopes, groups, claims, ..Caller::default() })
}

/// A claim by its name, which may have dots in it (`https://id.example/groups`); or below one, where the dots descend.
fn find<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c Value> {
    claims.get(name).or_else(|| {
        let mut dots = name.match_indices('.').map(|(at, _)| at);
        dots.find_map(|at| find(claims.get(&name[..at])?.as_object()?, &name[at + 1..]))
    })
}

fn texts(list: &Value) -> Result<impl Iterator<Item = &str>, Refused> {
    let list = list.as_array().filter(|list| list.iter().all(Value::is_string)).ok_or(Refused::Claims)?;
    Ok(list.iter().filter_map(Value::as_str))
}
