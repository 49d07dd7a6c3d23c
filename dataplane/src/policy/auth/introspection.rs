//! Opaque tokens (RFC 7662): their issuer is asked beside the workers, some at once, and what he says is remembered for a
//! while, by a keyed hash; a token that is no good for a moment only.

use std::{
    cell::RefCell,
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use http::HeaderValue;
use ravelin_snapshot::{
    auth::{CredentialSource, IntrospectionMethod},
    json,
    url::HttpUrl,
};
use serde_json::{Map, Value};
use tokio::{
    runtime::Handle,
    sync::{OnceCell, Semaphore, watch},
};

use super::{
    client::{self, encoded},
    keyed::{Hash, Scratch},
    memory::{self, Memory},
};
use crate::{
    fetch::{self, Bounds, Form, Trust},
    request::Caller,
};

/// `caller.method`.
pub(super) const METHOD: &str = "introspection";

/// Bytes of a token, at most.
const MAX_TOKEN: usize = 4 << 10;
/// Bytes of an answer, at most.
const MAX_ANSWER: usize = 64 << 10;
/// Questions of one policy that are under way, at most; who comes beyond has no answer.
const MAX_ASKED: usize = 64;
/// For how long a token that is no good stays so, at most.
const REFUSED_FOR: Duration = Duration::from_secs(1);

/// What an issuer has said of a token.
#[derive(Clone)]
pub(super) enum Outcome {
    Active {
        caller: Arc<Caller>,
        /// In seconds since the epoch.
        end: Option<f64>,
    },
    Inactive,
    /// There is no answer, or none that can be understood.
    Failed,
}

/// Why nobody is known by a token.
pub(super) enum Refused {
    Bad,
    /// Nobody can tell: the issuer has not answered.
    Failed,
    Asks(Box<Question>),
}

/// The issuer, as one policy asks him.
pub(super) struct Introspection {
    said: IntrospectionMethod,
    owner: u64,
    url: HttpUrl,
    /// How the gateway shows who it is.
    authorization: HeaderValue,
    trust: OnceCell<Trust>,
    places: Arc<Semaphore>,
    /// Tokens that the issuer is being asked about, by a keyed hash: whoever comes with one of them waits for the same answer.
    asked: Mutex<HashMap<Hash, Answered>>,
    /// Not a worker's; `None`: nobody is asked.
    runtime: Option<Handle>,
}

/// A token that its issuer is to be asked about.
pub struct Question {
    introspection: Arc<Introspection>,
    token: Vec<u8>,
}

type Answered = watch::Receiver<Option<Outcome>>;

struct Remembered {
    /// `None`: it is no good.
    caller: Option<Arc<Caller>>,
    until: SystemTime,
}

thread_local! {
    static MEMORY: RefCell<Memory<Remembered>> = RefCell::new(Memory::new());
}

impl Introspection {
    /// `before` itself if it says the same: with it goes what is remembered.
    pub(super) fn compile(
        said: &IntrospectionMethod,
        before: Option<&Arc<Self>>,
        runtime: Option<&Handle>,
    ) -> Result<Arc<Self>, String> {
        if let Some(before) = before.filter(|before| before.said == *said) {
            return Ok(Arc::clone(before));
        }
        let secret = said.client_secret.expose();
        let authorization = match &said.client_id {
            Some(id) => client::basic(id, secret),
            None => {
                let bearer = HeaderValue::try_from(format!("Bearer {secret}"));
                let mut bearer = bearer.map_err(|_| "the client secret cannot stand in a header")?;
                bearer.set_sensitive(true);
                bearer
            }
        };
        Ok(Arc::new(Self {
            url: HttpUrl::parse(&said.endpoint).map_err(|error| format!("introspection: {error}"))?,
            owner: memory::new_owner(),
            authorization,
            trust: OnceCell::new(),
            places: Arc::new(Semaphore::new(MAX_ASKED)),
            asked: Mutex::default(),
            runtime: runtime.cloned(),
            said: said.clone(),
        }))
    }

    /// Where its credential is in a request.
    pub(super) fn source() -> CredentialSource {
        CredentialSource::Header { name: "authorization".to_owned(), prefix: "Bearer ".to_owned() }
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.said.endpoint
    }

    pub(super) fn fails_open(&self) -> bool {
        self.said.allow_on_failure
    }

    /// `answered`: what the issuer has said of this very token.
    pub(super) fn judge(
        self: &Arc<Self>,
        token: &[u8],
        now: SystemTime,
        answered: Option<&Outcome>,
    ) -> Result<Arc<Caller>, Refused> {
        // RFC 6750, 2.1: what is none is no question for anybody.
        let whole = token.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte));
        if token.is_empty() || token.len() > MAX_TOKEN || !whole {
            return Err(Refused::Bad);
        }
        let known = |known: &Remembered| (now < known.until).then(|| known.caller.clone());
        if let Some(known) = MEMORY.with_borrow_mut(|memory| memory.get(self.owner, token, known)) {
            return known.ok_or(Refused::Bad);
        }
        let most = Duration::from_millis(self.said.cache_for_ms);
        match answered {
            None => Err(Refused::Asks(Box::new(Question { introspection: Arc::clone(self), token: token.to_vec() }))),
            Some(Outcome::Failed) => Err(Refused::Failed),
            Some(Outcome::Inactive) => {
                self.remember(token, None, now + most.min(REFUSED_FOR));
                Err(Refused::Bad)
            }
            Some(Outcome::Active { caller, end }) => {
                let end = end.map(|end| SystemTime::UNIX_EPOCH + Duration::from_secs_f64(end));
                if end.is_some_and(|end| end <= now) {
                    return Err(Refused::Bad);
                }
                let until = now + most;
                self.remember(token, Some(caller), end.map_or(until, |end| end.min(until)));
                Ok(Arc::clone(caller))
            }
        }
    }

    fn remember(&self, token: &[u8], caller: Option<&Arc<Caller>>, until: SystemTime) {
        // A caller takes about as much as what was said of him, which is bounded.
        let weight = token.len() + caller.map_or(0, |caller| caller.claims.to_string().len() * 3);
        let entry = Remembered { caller: caller.cloned(), until };
        MEMORY.with_borrow_mut(|memory| memory.put(self.owner, token, entry, weight));
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<Hash, Answered>> {
        // Invariant: whoever panicked here left the map whole.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, token: &[u8]) -> Option<Outcome> {
        let trust = match self.url.https {
            true => Some(self.trust.get_or_try_init(|| Trust::new(self.said.authorities.as_deref())).await),
            false => None,
        };
        let body = format!("token={}&token_type_hint=access_token", encoded(token));
        let form = Form { body: body.into(), authorization: Some(self.authorization.clone()) };
        let bounds = Bounds { time: Duration::from_millis(self.said.timeout_ms), bytes: MAX_ANSWER };
        let answered = match trust.transpose() {
            Ok(trust) => fetch::post(&self.url, trust, bounds, form).await,
            Err(error) => Err(error),
        };
        match answered {
            Ok(answer) => read(&answer),
            Err(error) => {
                tracing::warn!(endpoint = self.said.endpoint, %error, "an issuer cannot be asked about a token");
                None
            }
        }
    }
}

impl Question {
    /// Beside the workers.
    pub(super) async fn answer(self) -> Outcome {
        let Some(mut answered) = self.join() else { return Outcome::Failed };
        let answered = answered.wait_for(Option::is_some).await;
        answered.ok().and_then(|answered| answered.clone()).unwrap_or(Outcome::Failed)
    }

    /// `None`: nobody can be asked, or too many are.
    fn join(self) -> Option<Answered> {
        let Self { introspection, token } = self;
        let hash = Scratch::default().hash(introspection.owner, &token);
        let mut asked = introspection.asked();
        let free = match asked.entry(hash) {
            Entry::Occupied(known) => return Some(known.get().clone()),
            Entry::Vacant(free) => free,
        };
        let runtime = introspection.runtime.clone()?;
        let place = Arc::clone(&introspection.places).try_acquire_owned().ok()?;
        let (tell, told) = watch::channel(None);
        free.insert(told.clone());
        drop(asked);
        let left = Left { introspection, hash };
        drop(runtime.spawn(async move {
            let _place = place;
            tell.send_replace(left.introspection.ask(&token).await);
        }));
        Some(told)
    }
}

/// A question that is under way, until it is dropped.
struct Left {
    introspection: Arc<Introspection>,
    hash: Hash,
}

impl Drop for Left {
    fn drop(&mut self) {
        self.introspection.asked().remove(&self.hash);
    }
}

/// `None`: it is no answer of RFC 7662.
fn read(answer: &[u8]) -> Option<Outcome> {
    let Ok(Value::Object(claims)) = json::read(answer) else { return None };
    match claims.get("active")? {
        Value::Bool(true) => {}
        Value::Bool(false) => return Some(Outcome::Inactive),
        _ => return None,
    }
    let end = match claims.get("exp") {
        None | Some(Value::Null) => None,
        // Beyond the year 9999 nobody has a token.
        Some(end) => Some(end.as_f64().filter(|end| (0.0..=253_402_300_799.0).contains(end))?),
    };
    Some(Outcome::Active { caller: Arc::new(caller(claims)?), end })
}

/// `None`: it does not say whose the token is, or says what it says in a form of its own.
fn caller(claims: Map<String, Value>) -> Option<Caller> {
    let text = |name: &str| match claims.get(name) {
        None | Some(Value::Null) => Some(None),
        Some(Value::String(text)) => Some(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => None,
    };
    let id = text("sub")?.or(text("username")?).or(text("client_id")?)?.to_owned();
    let scopes = text("scope")?.unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect();
    let issuer = text("iss")?.unwrap_or_default().to_owned();
    Some(Caller { id, method: METHOD, issuer, scopes, claims: Value::Object(claims), ..Caller::default() })
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use ravelin_snapshot::Secret;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        time::timeout,
    };

    use super::*;

    #[tokio::test]
    async fn all_who_come_with_one_token_at_once_wait_for_one_answer() {
        let issuer = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let said = IntrospectionMethod {
            endpoint: format!("http://{}/", issuer.local_addr().unwrap()),
            authorities: None,
            client_id: None,
            client_secret: Secret::new("hunter2"),
            cache_for_ms: 0,
            timeout_ms: 30_000,
            allow_on_failure: false,
        };
        let method = Introspection::compile(&said, None, Some(&Handle::current())).unwrap();
        let ask = |token: &[u8]| Question { introspection: Arc::clone(&method), token: token.to_vec() }.answer();
        // Beyond what may be under way at once, were each a question of its own.
        let all = join_all((0..2 * MAX_ASKED).map(|_| ask(b"one")).chain([ask(b"other")]));
        let answer = async {
            for _ in ["one", "other"] {
                let (mut stream, _) = issuer.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"access_token") {
                    assert!(stream.read_buf(&mut request).await.unwrap() > 0);
                }
                let body = "{\"active\": true, \"sub\": \"ada\"}";
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        };
        let both = timeout(Duration::from_secs(30), async { tokio::join!(all, answer).0 });
        let answers = both.await.unwrap();
        assert!(answers.iter().all(|outcome| matches!(outcome, Outcome::Active { caller, .. } if caller.id == "ada")));
        while !method.asked().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(method.places.available_permits(), MAX_ASKED);
    }
}
