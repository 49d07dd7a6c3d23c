//! Log-in of browsers (OpenID Connect Core 1.0): the authorization code flow with PKCE, and a session that the browser keeps,
//! sealed, in cookies.
//!
//! [`discovery`] knows the issuer, [`login`] sends a browser there, [`callback`] takes it back, [`session`] is what it has then
//! in its [`cookies`], [`refresh`] asks whether that goes on, and [`logout`] ends it; [`ended`] remembers so.

mod answer;
mod callback;
mod cookies;
mod discovery;
mod ended;
mod login;
mod logout;
mod refresh;
mod session;
#[cfg(test)]
mod tests;
mod tokens;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderValue};
use ravelin_snapshot::{PolicyKey, auth::OidcMethod};
use tokio::{runtime::Handle, sync::Semaphore};

use super::{Coming, Denied, Outside, external::Aide, memory, unanswered};
use crate::{
    request::{Caller, RequestView, Scheme},
    session::Current,
};
use answer::Answer;
pub(super) use answer::told;
use callback::Code;
use cookies::{Found, Names};
use discovery::Provider;
pub(super) use ended::Ended;
pub(super) use login::is_page;
use refresh::Refreshes;
use session::Session;

/// `caller.method`.
pub(super) const METHOD: &str = "oidc";

/// There is no registered scheme for cookies; this one says what is missing.
pub(super) const CHALLENGE: &str = "OpenIdConnect";

/// Questions of one policy that are under way, at most; who comes beyond has no answer.
const MAX_ASKED: usize = 64;

/// Log-in, as one policy has it.
pub(super) struct Oidc {
    said: OidcMethod,
    policy: PolicyKey,
    owner: u64,
    /// `None`: it is not asked here.
    provider: Option<Arc<Provider>>,
    seals: Option<Arc<Current>>,
    ended: Arc<Ended>,
    refreshes: Refreshes,
    places: Semaphore,
    /// Not a worker's.
    runtime: Option<Handle>,
}

/// Something that has to be waited for.
pub struct Question {
    oidc: Arc<Oidc>,
    kind: Kind,
}

enum Kind {
    /// What the issuer says of itself.
    Metadata,
    Code(Box<Code>),
    /// Whether the session goes on.
    Session(Arc<Session>, SystemTime),
    /// The body of a request that may tell of a log-out.
    Notice(SystemTime),
}

/// What came of it.
#[derive(Clone)]
pub(super) enum Outcome {
    /// The issuer has said what it is, or will not soon.
    Metadata,
    Session(Arc<Session>),
    /// The issuer says no.
    Refused,
    /// It says nothing.
    Failed,
    Notice(Notice),
}

/// What an issuer tells of a log-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// It is no issuer who tells.
    None,
    Heard,
    Bad,
    /// Nobody can tell whether it is good.
    Unknown,
}

/// Somebody who has logged in.
pub(super) struct Held {
    pub(super) caller: Arc<Caller>,
    /// What the browser is to keep from now on.
    pub(super) cookies: Vec<HeaderValue>,
}

/// Why nobody is known by the cookie that is there.
pub(super) enum Refused {
    /// It is none of ours, or what it stands for is over.
    Bad,
    /// Nobody can tell here.
    Unasked,
    Asks(Box<Question>),
}

impl Oidc {
    /// `before` itself if it says the same: with it goes what is remembered.
    pub(super) fn compile(
        policy: &PolicyKey,
        said: &OidcMethod,
        before: Option<&Arc<Self>>,
        outside: &Outside,
    ) -> Result<Arc<Self>, String> {
        if let Some(before) = before.filter(|before| before.said == *said) {
            return Ok(Arc::clone(before));
        }
        let runtime = outside.runtime.as_ref();
        let same = |before: &&Arc<Self>| {
            let of = |said: &OidcMethod| (said.issuer.clone(), said.client_id.clone(), said.authorities.clone());
            of(&before.said) == of(said)
        };
        let provider = match before.filter(same).and_then(|before| before.provider.clone()) {
            Some(known) => Ok(Some(known)),
            None => runtime.map(|runtime| Provider::ask(said, &outside.issuers, runtime)).transpose(),
        };
        Ok(Arc::new(Self {
            said: said.clone(),
            policy: policy.clone(),
            owner: memory::new_owner(),
            provider: provider.map_err(|error| format!("oidc: the issuer: {error}"))?,
            seals: outside.seals.clone(),
            ended: Arc::clone(&outside.ended),
            refreshes: Refreshes::default(),
            places: Semaphore::new(MAX_ASKED),
            runtime: runtime.cloned(),
        }))
    }

    /// Whether a path is the log-in's own: nothing of the route is behind it.
    pub(super) fn owns(&self, path: &str) -> bool {
        path == self.said.redirect_path || path == self.said.logout_path
    }

    /// The answer at such a path.
    pub(super) fn serve(
        self: &Arc<Self>,
        request: &RequestView<'_>,
        now: SystemTime,
        answered: Option<&Outcome>,
    ) -> Denied {
        if self.provider.is_none() || self.seals.is_none() {
            return unanswered(Some(format!("`{}` is the log-in's own, and nobody logs in here", request.path)));
        }
        if request.path == self.said.logout_path {
            self.log_out(request, now, answered)
        } else {
            self.callback(request, now, answered)
        }
    }

    /// `None`: the request has no session.
    pub(super) fn judge(
        self: &Arc<Self>,
        request: &RequestView<'_>,
        now: SystemTime,
        answered: Option<&Outcome>,
    ) -> Option<Result<Held, Refused>> {
        let names = Names::new(&self.said.cookie, request.scheme);
        let sealed = match names.session(request.headers) {
            Found::Nothing => return None,
            Found::Broken => return Some(Err(Refused::Bad)),
            Found::Sealed(sealed) => sealed,
        };
        if self.seals.is_none() {
            return Some(Err(Refused::Unasked));
        }
        let Some(session) = self.open(&self.context("session", request), &sealed, now) else {
            return Some(Err(Refused::Bad));
        };
        Some(match answered {
            None if self.is_stale(&session, now) => {
                let kind = Kind::Session(session, now);
                Err(Refused::Asks(Box::new(Question { oidc: Arc::clone(self), kind })))
            }
            Some(Outcome::Refused) => Err(Refused::Bad),
            Some(Outcome::Session(new)) => {
                let cookies = self.cookies(new, request, now).unwrap_or_default();
                Ok(Held { caller: Arc::clone(&new.caller), cookies })
            }
            // While the issuer is away, who is in stays in until the session's end.
            None | Some(Outcome::Failed | Outcome::Metadata | Outcome::Notice(_)) => {
                Ok(Held { caller: Arc::clone(&session.caller), cookies: Vec::new() })
            }
        })
    }

    /// Sends a browser to the issuer, from where it comes back to what it wanted.
    pub(super) fn send(
        self: &Arc<Self>,
        request: &RequestView<'_>,
        now: SystemTime,
        answered: Option<&Outcome>,
    ) -> Denied {
        self.log_in(request, login::wanted(request), now, answered)
    }

    fn log_in(
        self: &Arc<Self>,
        request: &RequestView<'_>,
        back: String,
        now: SystemTime,
        answered: Option<&Outcome>,
    ) -> Denied {
        let metadata = self.provider.as_ref().and_then(|provider| provider.metadata());
        match metadata {
            Some(metadata) => {
                self.begin(&metadata, request, back, now).map_or_else(|| unanswered(None), Answer::instead)
            }
            None if answered.is_none() && self.provider.is_some() => self.wait_for(Kind::Metadata),
            None => unanswered(None),
        }
    }

    /// Takes back what the browser has.
    pub(super) fn expire(&self, request: &RequestView<'_>) -> Vec<HeaderValue> {
        Names::new(&self.said.cookie, request.scheme).expire_session(request.headers)
    }

    pub(super) fn strip(&self, headers: &mut HeaderMap) {
        for scheme in [Scheme::Http, Scheme::Https] {
            Names::new(&self.said.cookie, scheme).strip(headers);
        }
    }

    fn wait_for(self: &Arc<Self>, kind: Kind) -> Denied {
        let question = Question { oidc: Arc::clone(self), kind };
        let unasked = format!("{} is not asked here", self.said.issuer);
        Denied { coming: Some(Box::new(Coming::LogIn(Box::new(question)))), ..unanswered(Some(unasked)) }
    }

    /// What a value is sealed for: another policy's, issuer's or host's is none. No part of it has NUL in it.
    fn context(&self, kind: &str, request: &RequestView<'_>) -> Vec<u8> {
        let scheme = request.scheme.as_str();
        let (namespace, name) = (&*self.policy.namespace, &*self.policy.name);
        [kind, namespace, name, &self.said.issuer, &self.said.client_id, scheme, request.host].join("\0").into_bytes()
    }
}

impl Question {
    pub(super) async fn answer(self, aide: Aide<'_>) -> Outcome {
        let Self { oidc, kind } = self;
        let (Some(provider), Some(runtime)) = (oidc.provider.clone(), oidc.runtime.clone()) else {
            return Outcome::Failed;
        };
        let metadata = provider.coming().await;
        // Who only waits, or has a body to be read, takes no place from who asks.
        let asks = matches!(kind, Kind::Code(_) | Kind::Session(..));
        let Ok(_place) = asks.then(|| oidc.places.try_acquire()).transpose() else { return Outcome::Failed };
        match (kind, metadata) {
            (Kind::Metadata, _) => Outcome::Metadata,
            (Kind::Notice(now), metadata) => oidc.notice(metadata.as_deref(), now, aide).await,
            (Kind::Code(_), None) => Outcome::Failed,
            (Kind::Session(..), None) => oidc.pause(),
            (Kind::Session(session, now), Some(metadata)) => oidc.refreshed(metadata, session, now, &runtime).await,
            (Kind::Code(code), Some(metadata)) => {
                let oidc = Arc::clone(&oidc);
                let redeemed = runtime.spawn(async move { oidc.redeem(&metadata, *code).await });
                redeemed.await.unwrap_or(Outcome::Failed)
            }
        }
    }
}

fn seconds(now: SystemTime) -> u64 {
    now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}
