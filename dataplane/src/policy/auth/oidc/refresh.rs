//! Whether a log-in goes on: asked of its issuer when what it handed out is stale, once for all requests that come with the same
//! cookie. A refresh token may be good for one time alone, so what came of it is kept for those that are still on their way.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::Value;
use tokio::{runtime::Handle, sync::watch, time::Instant};

use super::{
    Oidc, Outcome,
    discovery::Metadata,
    seconds,
    session::{Session, Written},
    tokens::{NoTokens, Nonce},
};
use crate::policy::auth::client::encoded;

/// How long what came of a refresh is kept.
const KEPT: Duration = Duration::from_secs(60);

/// Seconds in which an issuer that has not answered is not asked again: the sessions go on meanwhile.
const PAUSE: u64 = 5;

/// A hash of the session as it was before.
type Of = [u8; 32];
/// When it began, and what has come of it.
type Since = (Instant, watch::Receiver<Option<Outcome>>);

/// The refreshes that are under way or have just been.
#[derive(Default)]
pub(super) struct Refreshes {
    known: Mutex<HashMap<Of, Since>>,
    /// Seconds since the epoch.
    not_before: AtomicU64,
}

impl Oidc {
    /// Whether the issuer is to be asked now.
    pub(super) fn is_stale(&self, session: &Session, now: SystemTime) -> bool {
        let now = seconds(now);
        session.written.stale.is_some_and(|stale| stale <= now) && self.refreshes.not_before.load(Relaxed) <= now
    }

    /// The issuer has not answered.
    pub(super) fn pause(&self) -> Outcome {
        self.refreshes.not_before.store(seconds(SystemTime::now()) + PAUSE, Relaxed);
        Outcome::Failed
    }

    /// One refresh for all who come with this session.
    pub(super) async fn refreshed(
        self: &Arc<Self>,
        metadata: Arc<Metadata>,
        session: Arc<Session>,
        now: SystemTime,
        runtime: &Handle,
    ) -> Outcome {
        // Not by the refresh token alone, which may be the same the next time.
        let written = serde_json::to_vec(&session.written).unwrap_or_default();
        // Invariant: SHA-256 is 32 bytes.
        let of: Of = digest(&SHA256, &written).as_ref().try_into().expect("32 bytes (invariant)");
        let mut outcome = {
            let mut known = self.refreshes.known.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = Instant::now();
            known.retain(|_, (since, outcome)| outcome.borrow().is_none() || fresh - *since < KEPT);
            known.entry(of).or_insert_with(|| {
                let (tell, told) = watch::channel(None);
                let oidc = Arc::clone(self);
                // It comes to its end whoever waits for it: the token may be used up by then.
                drop(runtime.spawn(async move {
                    let outcome = oidc.refresh(&metadata, &session, now).await;
                    if matches!(outcome, Outcome::Failed) {
                        oidc.pause();
                        oidc.refreshes.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&of);
                    }
                    tell.send_replace(Some(outcome));
                }));
                (fresh, told)
            });
            known[&of].1.clone()
        };
        let told = outcome.wait_for(Option::is_some).await;
        told.ok().and_then(|told| told.clone()).unwrap_or(Outcome::Failed)
    }

    async fn refresh(&self, metadata: &Metadata, session: &Session, now: SystemTime) -> Outcome {
        let Some(token) = &session.written.refresh_token else { return Outcome::Failed };
        let form = format!("grant_type=refresh_token&refresh_token={}", encoded(token.as_bytes()));
        let tokens = match self.tokens(metadata, form, now).await {
            Ok(tokens) => tokens,
            Err(NoTokens::Refused) => return Outcome::Refused,
            Err(NoTokens::Failed) => return Outcome::Failed,
        };
        let before = &session.caller.claims;
        let text = |name: &str| before.get(name).and_then(Value::as_str);
        if let Some(id_token) = &tokens.id_token {
            let claims = self.id_token(metadata, id_token, Nonce::Was(text("nonce")), now).await;
            // Core 1.0, 12.2: the same user.
            if claims.is_none_or(|claims| claims.get("sub").and_then(Value::as_str) != text("sub")) {
                return Outcome::Refused;
            }
        }
        let before = session.written.clone();
        let written = Written {
            id_token: tokens.id_token.unwrap_or(before.id_token),
            refresh_token: tokens.refresh_token.or(before.refresh_token),
            scopes: tokens.scopes.unwrap_or(before.scopes),
            stale: Some(tokens.stale),
            ..before
        };
        match Session::of(written) {
            Some(session) => Outcome::Session(Arc::new(session)),
            None => Outcome::Refused,
        }
    }
}
