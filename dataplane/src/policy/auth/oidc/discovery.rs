//! What an issuer says of itself (OpenID Connect Discovery 1.0): asked for beside the workers, again and again, for as long
//! as a policy holds it. The last good answer counts while there is no newer one.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use ravelin_snapshot::{
    auth::OidcMethod,
    json,
    jwt::JwksUri,
    url::{HttpUrl, InvalidUrl},
};
use serde_json::{Map, Value};
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    fetch::{self, Bounds, FetchError, Trust},
    policy::auth::jwt::{Issued, Issuers},
};

const WELL_KNOWN: &str = "/.well-known/openid-configuration";

const BOUNDS: Bounds = Bounds { time: Duration::from_secs(10), bytes: 256 << 10 };

/// Between two questions; after a failure sooner, at first and at last.
const REFRESH: Duration = Duration::from_secs(3600);
const RETRY: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(30);

/// How long a request waits for an answer that is on its way.
const PATIENCE: Duration = Duration::from_secs(2);

/// Of the issuer's keys.
const KEYS_REFRESH_MS: u64 = 300_000;
const KEYS_KEEP_FOR_MS: u64 = 86_400_000;

/// An issuer that is being asked for as long as somebody holds it.
pub(super) struct Provider {
    metadata: ArcSwapOption<Metadata>,
    /// Questions that have ended, well or not. Closed: nobody holds it.
    ended: watch::Sender<u64>,
}

/// What of it counts here.
pub(super) struct Metadata {
    /// The answer that all this is from.
    said: Value,
    pub(super) authorization: String,
    pub(super) token: HttpUrl,
    /// The token endpoint takes the client's secret in a header, rather than in the form.
    pub(super) basic: bool,
    pub(super) end_session: Option<String>,
    /// An answer to the browser names its issuer (RFC 9207).
    pub(super) names_issuer: bool,
    /// Its tokens.
    pub(super) issued: Issued,
    /// For whoever asks it; `None`: no authority is trusted.
    pub(super) trust: Option<Trust>,
}

/// Why an answer does not count.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("its answer is no object in JSON")]
    Form,
    #[error("its answer is another issuer's")]
    Issuer,
    #[error("its `{0}` is missing or no URL")]
    Url(&'static str),
    #[error("its `{0}` is not https as the issuer is")]
    Plain(&'static str),
    #[error("its `jwks_uri` cannot be asked: {0}")]
    Keys(#[from] InvalidUrl),
    #[error("it does not know PKCE with S256")]
    Pkce,
    #[error("it takes no client secret, neither as `client_secret_basic` nor as `client_secret_post`")]
    Secret,
}

impl Provider {
    /// Asked from `runtime`, which is not a worker's.
    pub(super) fn ask(said: &OidcMethod, issuers: &Arc<Issuers>, runtime: &Handle) -> Result<Arc<Self>, InvalidUrl> {
        let url = HttpUrl::parse(&format!("{}{WELL_KNOWN}", said.issuer.trim_end_matches('/')))?;
        let provider = Arc::new(Self { metadata: ArcSwapOption::empty(), ended: watch::Sender::new(0) });
        let alive = provider.ended.subscribe();
        let asking =
            Asking { provider: Arc::downgrade(&provider), said: said.clone(), url, issuers: Arc::clone(issuers) };
        drop(runtime.spawn(asking.run(alive)));
        Ok(provider)
    }

    /// `None`: the issuer has never said it.
    pub(super) fn metadata(&self) -> Option<Arc<Metadata>> {
        self.metadata.load_full()
    }

    /// The same, for whoever can wait for a first answer.
    pub(super) async fn coming(&self) -> Option<Arc<Metadata>> {
        if self.metadata.load().is_none() {
            // Where the first question has failed, nobody waits for the next.
            drop(timeout(PATIENCE, self.ended.subscribe().wait_for(|ended| *ended > 0)).await);
        }
        self.metadata()
    }
}

struct Asking {
    provider: Weak<Provider>,
    said: OidcMethod,
    url: HttpUrl,
    issuers: Arc<Issuers>,
}

impl Asking {
    /// Until nobody holds the provider any longer.
    async fn run(self, mut alive: watch::Receiver<u64>) {
        let mut trust = None;
        let mut delay = RETRY;
        loop {
            let asked = self.fetch(&mut trust).await;
            let Some(provider) = self.provider.upgrade() else { return };
            let known = provider.metadata.load_full();
            let metadata = asked.and_then(|said| match known.filter(|known| known.said == said) {
                Some(_) => Ok(None),
                None => Metadata::read(&self, said, trust.clone()).map(Some),
            });
            let pause = match metadata {
                Ok(new) => {
                    if let Some(new) = new {
                        provider.metadata.store(Some(Arc::new(new)));
                    }
                    delay = RETRY;
                    REFRESH
                }
                Err(error) => {
                    tracing::warn!(issuer = self.said.issuer, %error, "an issuer of log-ins cannot be used");
                    let pause = delay;
                    delay = (delay * 2).min(LATEST);
                    pause
                }
            };
            provider.ended.send_modify(|ended| *ended += 1);
            drop(provider);
            let gone = async { while alive.changed().await.is_ok() {} };
            tokio::select! {
                () = sleep(pause) => {}
                () = gone => return,
            }
        }
    }

    async fn fetch(&self, trust: &mut Option<Trust>) -> Result<Value, Unusable> {
        if trust.is_none() {
            *trust = match Trust::new(self.said.authorities.as_deref()).await {
                Ok(trust) => Some(trust),
                Err(error) if self.url.https => return Err(error.into()),
                // Its endpoints may need none either.
                Err(_) => None,
            };
        }
        let body = fetch::get(&self.url, trust.as_ref(), BOUNDS).await?;
        json::read(&body).map_err(|_| Unusable::Form)
    }
}

impl Metadata {
    fn read(asking: &Asking, said: Value, trust: Option<Trust>) -> Result<Self, Unusable> {
        let method = &asking.said;
        let object = said.as_object().ok_or(Unusable::Form)?;
        // Discovery 1.0, 4.3: else one issuer could speak for another.
        if text(object, "issuer") != Some(&method.issuer) {
            return Err(Unusable::Issuer);
        }
        if !lists(object, "code_challenge_methods_supported", "S256") {
            return Err(Unusable::Pkce);
        }
        let basic = lists(object, "token_endpoint_auth_methods_supported", "client_secret_basic");
        if !basic && !lists(object, "token_endpoint_auth_methods_supported", "client_secret_post") {
            return Err(Unusable::Secret);
        }
        let url = |name| {
            let text = text(object, name).ok_or(Unusable::Url(name))?;
            let url = HttpUrl::parse(text).map_err(|_| Unusable::Url(name))?;
            if asking.url.https && !url.https { Err(Unusable::Plain(name)) } else { Ok((text.to_owned(), url)) }
        };
        let end_session = object.contains_key("end_session_endpoint").then(|| url("end_session_endpoint"));
        let keys = JwksUri {
            uri: url("jwks_uri")?.0,
            refresh_ms: KEYS_REFRESH_MS,
            keep_for_ms: KEYS_KEEP_FOR_MS,
            authorities: method.authorities.clone(),
        };
        Ok(Self {
            authorization: url("authorization_endpoint")?.0,
            token: url("token_endpoint")?.1,
            basic,
            end_session: end_session.transpose()?.map(|(text, _)| text),
            names_issuer: object.get("authorization_response_iss_parameter_supported") == Some(&Value::Bool(true)),
            issued: Issued::by(&method.issuer, &method.client_id, &keys, &asking.issuers)?,
            trust,
            said,
        })
    }
}

fn text<'o>(object: &'o Map<String, Value>, name: &str) -> Option<&'o str> {
    object.get(name).and_then(Value::as_str)
}

/// Who has no such list says nothing against it.
fn lists(object: &Map<String, Value>, name: &str, wanted: &str) -> bool {
    object.get(name).is_none_or(|list| list.as_array().is_some_and(|list| list.iter().any(|one| one == wanted)))
}
