//! Ways out: by the user, who is sent on to the issuer (RP-Initiated Logout 1.0), and by the issuer, who tells of it behind the
//! user's back (Back-Channel Logout 1.0). Both come to one path.

use std::{sync::Arc, time::SystemTime};

use http::{Method, StatusCode, header};
use serde_json::Value;

use super::{
    Kind, Notice, Oidc, Outcome,
    answer::{Answer, refuse},
    cookies::{Found, Names},
    discovery::Metadata,
    ended::Whose,
    login::{origin, with_query},
    tokens::Doubt,
};
use crate::{
    policy::auth::{Denied, body, client::encoded, external::Aide, jwt::Good},
    query,
    reject::Reason,
    request::RequestView,
};

/// Bytes of what an issuer tells, at most.
const MAX_NOTICE: usize = 32 << 10;

/// Bytes of an ID token that go along in a URL, at most; without it the issuer may ask the user.
const MAX_HINT: usize = 4 << 10;

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

const DONE: &str = "You are logged out.\n";

impl Oidc {
    pub(super) fn log_out(
        self: &Arc<Self>,
        request: &RequestView<'_>,
        now: SystemTime,
        answered: Option<&Outcome>,
    ) -> Denied {
        let form = request.headers.get(header::CONTENT_TYPE).is_some_and(|kind| {
            let kind = kind.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
            kind.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
        });
        match (request.method, answered) {
            (&Method::POST, None) if form => self.wait_for(Kind::Notice(now)),
            (&Method::POST, Some(Outcome::Notice(notice))) if form => match notice {
                Notice::None => self.user_leaves(request, now),
                Notice::Heard => Answer::page("").served(),
                Notice::Bad => refuse(Reason::BadRequest, &[]),
                Notice::Unknown => refuse(Reason::PolicyInvalid, &[]),
            },
            (&Method::POST, Some(_)) if form => refuse(Reason::PolicyInvalid, &[]),
            (&Method::GET | &Method::POST, _) => self.user_leaves(request, now),
            _ => refuse(Reason::BadRequest, &[]),
        }
    }

    fn user_leaves(&self, request: &RequestView<'_>, now: SystemTime) -> Denied {
        let names = Names::new(&self.said.cookie, request.scheme);
        let found = names.session(request.headers);
        if found == Found::Nothing {
            return Answer::page(DONE).served();
        }
        // Another site's link ends nobody's session.
        if request.headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site") {
            return refuse(Reason::Forbidden, &[]);
        }
        let session = match &found {
            Found::Sealed(sealed) => self.open(&self.context("session", request), sealed, now),
            Found::Nothing | Found::Broken => None,
        };
        let metadata = self.provider.as_ref().and_then(|provider| provider.metadata());
        let url = metadata.as_ref().and_then(|metadata| metadata.end_session.as_deref());
        let to_issuer = session.as_ref().zip(url).and_then(|(session, url)| {
            let mut query = format!(
                "client_id={}&post_logout_redirect_uri={}",
                encoded(self.said.client_id.as_bytes()),
                encoded(format!("{}{}", origin(request), self.said.logout_path).as_bytes()),
            );
            if session.written.id_token.len() <= MAX_HINT {
                query.push_str(&format!("&id_token_hint={}", session.written.id_token));
            }
            Answer::to(StatusCode::SEE_OTHER, &with_query(url, &query))
        });
        if let Some(session) = &session {
            // Whoever has a copy of the cookie is out as well.
            let mark = self.mark(Whose::Session(session.written.id.clone()));
            self.ended.end(mark, f64::MAX, super::seconds(now) as f64, self.horizon(now));
        }
        let mut answer = to_issuer.unwrap_or_else(|| Answer::page(DONE));
        answer.cookies = names.expire_session(request.headers);
        answer.served()
    }

    /// What is in the body, and what came of it.
    pub(super) async fn notice(&self, metadata: Option<&Metadata>, now: SystemTime, aide: Aide<'_>) -> Outcome {
        let Ok(read) = body::read(aide.body, MAX_NOTICE).await else {
            return Outcome::Notice(Notice::Bad);
        };
        let Ok(body) = std::str::from_utf8(&read) else { return Outcome::Notice(Notice::Bad) };
        let mut tokens = query::all(body, "logout_token");
        let token = match (tokens.next(), tokens.next()) {
            (None, _) => return Outcome::Notice(Notice::None),
            (Some(token), None) => query::decode_bytes(token),
            (Some(_), Some(_)) => return Outcome::Notice(Notice::Bad),
        };
        let Some(metadata) = metadata else { return Outcome::Notice(Notice::Unknown) };
        Outcome::Notice(match self.verified(metadata, &token, now).await {
            Ok(good) => self.heard(&good, now),
            Err(Doubt::Bad) => Notice::Bad,
            Err(Doubt::Unknown) => Notice::Unknown,
        })
    }

    /// As Back-Channel Logout 1.0, 2.6, has it.
    fn heard(&self, token: &Good, now: SystemTime) -> Notice {
        let claims = &token.claims;
        let kind = token.kind.as_deref();
        let kind = kind.is_none_or(|kind| {
            ["JWT", "logout+jwt", "application/logout+jwt"].iter().any(|known| kind.eq_ignore_ascii_case(known))
        });
        let event = claims.get("events").and_then(|events| events.get(EVENT)).is_some_and(Value::is_object);
        let text = |name: &str| match claims.get(name) {
            None => Some(None),
            Some(Value::String(text)) if !text.is_empty() => Some(Some(text.clone())),
            Some(_) => None,
        };
        let (Some(sub), Some(sid), Some(issued)) =
            (text("sub"), text("sid"), claims.get("iat").and_then(Value::as_f64))
        else {
            return Notice::Bad;
        };
        let named = claims.get("jti").is_some_and(Value::is_string);
        if !kind || !event || !named || claims.contains_key("nonce") {
            return Notice::Bad;
        }
        // One of a session ends that one; one of a user alone ends all of his.
        let of = match (sid, sub) {
            (Some(sid), _) => Whose::Issuers(sid),
            (None, Some(sub)) => Whose::Subject(sub),
            (None, None) => return Notice::Bad,
        };
        // `iat` may have no fractions: what has begun in the same second is over.
        self.ended.end(self.mark(of), issued.floor() + 0.999_999, super::seconds(now) as f64, self.horizon(now));
        Notice::Heard
    }
}
