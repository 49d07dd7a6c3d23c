//! The issuer's token endpoint: what it is asked, and what its answers are worth.

use std::time::{Duration, SystemTime};

use ravelin_snapshot::json;
use serde_json::{Map, Value};

use super::{Oidc, discovery::Metadata, seconds};
use crate::{
    fetch::{self, Bounds, FetchError, Form},
    policy::auth::{
        client::{self, encoded},
        jwt::Good,
    },
};

const BOUNDS: Bounds = Bounds { time: Duration::from_secs(5), bytes: 256 << 10 };

/// Seconds until a refresh where the issuer does not say.
const UNSAID: u64 = 300;

/// What an issuer hands out. The access token is left to it: nothing here needs one.
pub(super) struct Tokens {
    pub(super) id_token: Option<String>,
    pub(super) refresh_token: Option<String>,
    pub(super) scopes: Option<Vec<String>>,
    /// When the issuer is to be asked again.
    pub(super) stale: u64,
}

/// Why there are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoTokens {
    /// The issuer says that what it was shown is worth nothing (400).
    Refused,
    /// It says nothing that can be understood.
    Failed,
}

impl Oidc {
    /// `form`: without what the client says of itself.
    pub(super) async fn tokens(
        &self,
        metadata: &Metadata,
        mut form: String,
        now: SystemTime,
    ) -> Result<Tokens, NoTokens> {
        let (id, secret) = (&self.said.client_id, self.said.client_secret.expose());
        let authorization = metadata.basic.then(|| client::basic(id, secret));
        if authorization.is_none() {
            let (id, secret) = (encoded(id.as_bytes()), encoded(secret.as_bytes()));
            form.push_str(&format!("&client_id={id}&client_secret={secret}"));
        }
        let form = Form { body: form.into(), authorization };
        match fetch::post(&metadata.token, metadata.trust.as_ref(), BOUNDS, form).await {
            Ok(answer) => read(&answer, now).ok_or_else(|| {
                tracing::warn!(issuer = self.said.issuer, "an issuer's answer about tokens cannot be understood");
                NoTokens::Failed
            }),
            Err(FetchError::Status(status)) if status == http::StatusCode::BAD_REQUEST => {
                tracing::info!(issuer = self.said.issuer, "an issuer refuses a code or a refresh token");
                Err(NoTokens::Refused)
            }
            Err(error) => {
                tracing::warn!(issuer = self.said.issuer, %error, "an issuer cannot be asked for tokens");
                Err(NoTokens::Failed)
            }
        }
    }

    /// The claims of an ID token (Core 1.0, 3.1.3.7); `nonce`: of the log-in, or for a refresh the one before.
    pub(super) async fn id_token(
        &self,
        metadata: &Metadata,
        token: &str,
        nonce: Nonce<'_>,
        now: SystemTime,
    ) -> Option<Map<String, Value>> {
        let good = self.verified(metadata, token.as_bytes(), now).await.ok()?;
        let claims = good.claims;
        // A token about a log-out is no other one.
        let other = good.kind.is_some_and(|kind| !kind.eq_ignore_ascii_case("JWT")) || claims.contains_key("events");
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let client = Some(&*self.said.client_id);
        let several = claims.get("aud").and_then(Value::as_array).is_some_and(|list| list.len() > 1);
        let party = match claims.get("azp") {
            None => !several,
            Some(_) => text("azp") == client,
        };
        let nonced = match nonce {
            Nonce::Is(nonce) => text("nonce") == Some(nonce),
            Nonce::Was(before) => !claims.contains_key("nonce") || text("nonce") == before,
        };
        let whole = text("sub").is_some_and(|sub| !sub.is_empty()) && claims.get("iat").is_some_and(Value::is_number);
        (!other && party && nonced && whole).then_some(claims)
    }

    /// Waits for keys that could make a difference, once.
    pub(super) async fn verified(&self, metadata: &Metadata, token: &[u8], now: SystemTime) -> Result<Good, Doubt> {
        let mut failed = match metadata.issued.verify(token, now) {
            Ok(good) => return Ok(good),
            Err(failed) => failed,
        };
        if let Some(coming) = failed.coming.take() {
            coming.arrived().await;
            failed = match metadata.issued.verify(token, now) {
                Ok(good) => return Ok(good),
                Err(failed) => failed,
            };
        }
        tracing::info!(issuer = self.said.issuer, why = %failed.why, "a token of an issuer is refused");
        Err(if failed.why.is_doubt() { Doubt::Unknown } else { Doubt::Bad })
    }
}

/// Which nonce a token has to have.
#[derive(Clone, Copy)]
pub(super) enum Nonce<'n> {
    Is(&'n str),
    /// None, or the one that the token before had (Core 1.0, 12.2).
    Was(Option<&'n str>),
}

/// Why a token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    Bad,
    /// The keys of the issuer are not there.
    Unknown,
}

fn read(answer: &[u8], now: SystemTime) -> Option<Tokens> {
    let Ok(Value::Object(answer)) = json::read(answer) else { return None };
    let text = |name: &str| match answer.get(name) {
        None | Some(Value::Null) => Some(None),
        Some(Value::String(text)) => Some(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(_) => None,
    };
    let lives = match answer.get("expires_in") {
        None | Some(Value::Null) => UNSAID,
        // Some say it as a text.
        Some(lives) => lives.as_u64().or_else(|| lives.as_str()?.parse().ok())?,
    };
    let scopes = text("scope")?.map(|scopes| scopes.split_ascii_whitespace().map(str::to_owned).collect());
    let stale = seconds(now).saturating_add(lives);
    Some(Tokens { id_token: text("id_token")?, refresh_token: text("refresh_token")?, scopes, stale })
}
