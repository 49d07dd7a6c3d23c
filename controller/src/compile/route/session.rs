//! What keeps a client on one endpoint.

use ravelin_crds::{CookieConfig, CookieLifetime, SessionPersistence, SessionPersistenceType};
use ravelin_snapshot::{
    Digest, ObjectKey,
    route::{Carrier, Match, PathMatch, Session},
};

use crate::compile::{
    balancing::cookie_name,
    grammar,
    notes::{Field, Notes},
};

/// Of what rule it is.
pub(super) struct Of<'a> {
    pub(super) route: &'a ObjectKey,
    pub(super) rule: &'a str,
    pub(super) matches: &'a [Match],
}

/// `None` and a note if it has no meaning.
pub(super) fn compile(
    said: &SessionPersistence,
    of: &Of<'_>,
    field: Field<'_>,
    notes: &mut Notes,
) -> Option<Box<Session>> {
    let SessionPersistence { session_name, absolute_timeout, idle_timeout, type_, cookie_config } = said;
    let type_ = type_.unwrap_or_default();
    let lifetime = cookie_config.as_ref().and_then(|CookieConfig { lifetime_type }| *lifetime_type);
    let permanent = lifetime == Some(CookieLifetime::Permanent);
    if cookie_config.is_some() && type_ == SessionPersistenceType::Header {
        notes.invalid(field.member("cookieConfig"), "a header has no cookie", "Leave it out, or use the type Cookie.");
    }
    let millis = |said: &Option<ravelin_crds::Duration>| said.map(grammar::millis).filter(|millis| *millis > 0);
    let absolute_ms = millis(absolute_timeout);
    if permanent && absolute_ms.is_none() {
        let message = "a cookie that is Permanent needs an end";
        notes.invalid(field.member("absoluteTimeout"), message, "Set absoluteTimeout, such as 1h.");
    }
    let name_field = field.member("sessionName");
    let name = session_name.clone().unwrap_or_else(|| own_name(of));
    let carrier = match type_ {
        SessionPersistenceType::Cookie => {
            cookie_name(&name, name_field, notes)?;
            Carrier::Cookie { name, path: path(of.matches), permanent }
        }
        SessionPersistenceType::Header => Carrier::Header(grammar::header(&name, name_field, notes)?),
    };
    Some(Box::new(Session { carrier, absolute_ms, idle_ms: millis(idle_timeout) }))
}

/// One that no other rule has.
fn own_name(of: &Of<'_>) -> String {
    let digest = Digest::of(format!("{}/{}", of.route, of.rule).as_bytes()).to_string();
    format!("ravelin-{}", &digest[..12])
}

/// The path that all matches have in common, if it is one and can be said in a cookie (GEP-1619).
fn path(matches: &[Match]) -> String {
    let path = |one: &Match| match &one.path {
        PathMatch::Exact(path) | PathMatch::Prefix(path) => Some(path.clone()),
        PathMatch::Regex(_) => None,
    };
    let first = matches.first().and_then(path);
    let same = first.filter(|first| matches.iter().all(|one| path(one).as_ref() == Some(first)));
    let plain = |path: &String| path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';' && byte != b'%');
    same.filter(plain).unwrap_or_else(|| "/".to_owned())
}
