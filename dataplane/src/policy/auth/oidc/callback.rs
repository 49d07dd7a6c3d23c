//! The way back from the issuer: a code, for the browser that was sent there and for no other, becomes a session.

use std::{sync::Arc, time::SystemTime};

use http::{HeaderValue, Method, StatusCode};

use super::{
    Kind, Oidc, Outcome,
    answer::{Answer, refuse},
    cookies::Names,
    discovery::Metadata,
    login::{self, Pending, is_page, tag},
    seconds,
    session::{Session, Written},
    tokens::{NoTokens, Nonce},
};
use crate::{
    policy::auth::{Denied, client::encoded},
    query,
    reject::Reason,
    request::RequestView,
};

/// Bytes of a parameter, at most.
const MAX_PARAMETER: usize = 4 << 10;

/// A code that is to be redeemed.
pub(super) struct Code {
    code: String,
    /// Who says to have made it (RFC 9207).
    issuer: Option<String>,
    pending: Pending,
    redirect_uri: String,
    now: SystemTime,
}

/// What an issuer sends along with the browser.
#[derive(Default)]
struct Said {
    code: Option<String>,
    state: Option<String>,
    issuer: Option<String>,
    error: Option<String>,
}

impl Said {
    /// `None`: one of them is there twice, or is no text of a bearable length.
    fn read(query: &str) -> Option<Self> {
        let one = |name: &str| -> Option<Option<String>> {
            let mut values = query::all(query, name);
            match (values.next(), values.next()) {
                (None, _) => Some(None),
                (Some(raw), None) if raw.len() <= MAX_PARAMETER => Some(Some(query::decode(raw)?.into_owned())),
                (Some(_), _) => None,
            }
        };
        Some(Self { code: one("code")?, state: one("state")?, issuer: one("iss")?, error: one("error")? })
    }
}

impl Oidc {
    /// At the path that the issuer sends browsers back to.
    pub(super) fn callback(
        self: &Arc<Self>,
        request: &RequestView<'_>,
        now: SystemTime,
        answered: Option<&Outcome>,
    ) -> Denied {
        let bad = || refuse(Reason::BadRequest, &[]);
        if request.query.is_empty() && is_page(request) {
            return self.log_in(request, "/".to_owned(), now, answered);
        }
        if *request.method != Method::GET {
            return bad();
        }
        let Some(said) = Said::read(request.query) else { return bad() };
        let Some(state) = said.state else { return bad() };
        // Whose browser was not sent there from here has the answer of somebody else's log-in.
        let Some(pending) = self.pending(&state, request, now) else { return bad() };
        let names = Names::new(&self.said.cookie, request.scheme);
        let over = vec![names.expire_login(tag(&state))];
        let code = match (said.code, said.error) {
            (Some(code), None) => code,
            (None, Some(_)) => return refuse(Reason::Unauthenticated, &over),
            (Some(_), Some(_)) | (None, None) => return refuse(Reason::BadRequest, &over),
        };
        match answered {
            None => {
                let redirect_uri = self.redirect_uri(request);
                let code = Code { code, issuer: said.issuer, pending, redirect_uri, now };
                self.wait_for(Kind::Code(Box::new(code)))
            }
            Some(Outcome::Session(session)) => self.logged_in(session, &pending.back, request, now).map_or_else(
                || refuse(Reason::PolicyInvalid, &over),
                |mut answer| {
                    answer.cookies.extend(over.clone());
                    answer.served()
                },
            ),
            Some(Outcome::Refused) => refuse(Reason::Unauthenticated, &over),
            // The code may be good still, and the browser may try again.
            Some(Outcome::Failed | Outcome::Metadata | Outcome::Notice(_)) => refuse(Reason::PolicyInvalid, &[]),
        }
    }

    fn logged_in(&self, session: &Session, back: &str, request: &RequestView<'_>, now: SystemTime) -> Option<Answer> {
        let mut answer = Answer::to(StatusCode::FOUND, back)?;
        answer.cookies = self.cookies(session, request, now)?;
        Some(answer)
    }

    /// All that the browser has to keep for a session.
    pub(super) fn cookies(
        &self,
        session: &Session,
        request: &RequestView<'_>,
        now: SystemTime,
    ) -> Option<Vec<HeaderValue>> {
        let sealed = self.seal(&self.context("session", request), session)?;
        let names = Names::new(&self.said.cookie, request.scheme);
        let set = names.set_session(&sealed, self.left(session, now), request.headers);
        if set.is_none() {
            tracing::warn!(issuer = self.said.issuer, bytes = sealed.len(), "a log-in is too large for cookies");
        }
        set
    }

    /// Beside the workers.
    pub(super) async fn redeem(&self, metadata: &Metadata, code: Code) -> Outcome {
        let Code { code, issuer, pending, redirect_uri, now } = code;
        let named = match &issuer {
            Some(issuer) => *issuer == self.said.issuer,
            None => !metadata.names_issuer,
        };
        if !named {
            tracing::info!(issuer = self.said.issuer, "the answer to a log-in is another issuer's");
            return Outcome::Refused;
        }
        let form = format!(
            "grant_type=authorization_code&code={}&redirect_uri={}&code_verifier={}",
            encoded(code.as_bytes()),
            encoded(redirect_uri.as_bytes()),
            encoded(pending.verifier.as_bytes()),
        );
        let tokens = match self.tokens(metadata, form, now).await {
            Ok(tokens) => tokens,
            Err(NoTokens::Refused) => return Outcome::Refused,
            Err(NoTokens::Failed) => return Outcome::Failed,
        };
        let Some(id_token) = tokens.id_token else { return Outcome::Failed };
        let Some(claims) = self.id_token(metadata, &id_token, Nonce::Is(&pending.nonce), now).await else {
            return Outcome::Refused;
        };
        let Some(id) = login::random::<16>() else { return Outcome::Failed };
        let written = Written {
            id,
            id_token,
            stale: tokens.refresh_token.is_some().then_some(tokens.stale),
            refresh_token: tokens.refresh_token,
            scopes: tokens.scopes.unwrap_or_else(|| self.said.scopes.clone()),
            begun: seconds(now),
            issued: claims.get("iat").and_then(serde_json::Value::as_f64).unwrap_or_default(),
        };
        match Session::of(written) {
            Some(session) => Outcome::Session(Arc::new(session)),
            None => Outcome::Refused,
        }
    }
}
