//! Another service that says whether a request may pass: asked by the request's own worker, over the connections that this has
//! to it, and remembered for as long as the policy says.

mod grpc;
mod http;
mod protobuf;

use std::{
    cell::RefCell,
    sync::Arc,
    time::{Duration, SystemTime},
};

use ::http::{HeaderMap, HeaderName, HeaderValue};
use ravelin_snapshot::auth::{self, ExternalProtocol};

use self::protobuf::Action;
use super::{
    body::{self, Unread},
    memory::{self, Memory},
};
use crate::{
    expression::{Program, Scope},
    reject::Passed,
    request::Connection,
    table::Table,
    upstream::{Pools, Upload},
};

type Copied = Vec<(HeaderName, HeaderValue)>;

/// What a service that lets a request pass says besides.
#[derive(Debug, Default)]
pub(super) struct Word {
    /// Headers of its answer that go on to the backend.
    pub(super) copied: Copied,
    /// Headers of the request that do not.
    pub(super) gone: Vec<HeaderName>,
    /// Headers for the client.
    told: Vec<(HeaderName, HeaderValue, Action)>,
}

impl Word {
    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        for (name, value, action) in &self.told {
            grpc::set(headers, name.clone(), value.clone(), *action);
        }
    }

    /// Bytes, about.
    fn weight(&self) -> usize {
        let named = |name: &HeaderName, value: &HeaderValue| name.as_str().len() + value.len() + 64;
        let copied = self.copied.iter().map(|(name, value)| named(name, value));
        let told = self.told.iter().map(|(name, value, _)| named(name, value));
        let gone = self.gone.iter().map(|name| name.as_str().len() + 64);
        copied.chain(told).chain(gone).sum()
    }
}

/// What the service has said, or why it has said nothing.
#[derive(Clone)]
pub(super) enum Outcome {
    Allowed(Arc<Word>),
    Denied(Arc<Passed>),
    Failed,
    /// The request's body cannot be sent along.
    Unread(Unread),
}

/// The service, as one policy asks it.
pub(super) struct External {
    said: auth::External,
    owner: u64,
    forward: Vec<HeaderName>,
    pub(super) copy: Vec<HeaderName>,
    key: Option<Program>,
}

/// Why it does not come to an answer here.
pub(super) enum Missing {
    Asks(Box<Check>),
    Is(Outcome),
}

/// What the service is to be asked.
pub struct Check {
    external: Arc<External>,
    /// Without a body.
    headers: HeaderMap,
    /// What the answer is remembered by; `None`: it depends on the body, or is not remembered.
    key: Option<Vec<u8>>,
    now: SystemTime,
}

/// What asking needs of the request and its worker.
#[derive(Clone, Copy)]
pub struct Aide<'a> {
    pub pools: &'a Pools,
    pub table: &'a Table,
    pub connection: &'a Connection,
    pub body: &'a Upload,
}

/// An answer, until when it counts.
struct Remembered {
    outcome: Outcome,
    until: SystemTime,
}

thread_local! {
    static MEMORY: RefCell<Memory<Remembered>> = RefCell::new(Memory::new());
}

impl External {
    /// `before` itself if it says the same: with it goes what is remembered.
    pub(super) fn compile(said: &auth::External, before: Option<&Arc<Self>>) -> Result<Arc<Self>, String> {
        if let Some(before) = before.filter(|before| before.said == *said) {
            return Ok(Arc::clone(before));
        }
        let names = |said: &[String]| -> Result<Vec<HeaderName>, String> {
            said.iter().map(|name| name.parse().map_err(|_| format!("`{name}` is not a header's name"))).collect()
        };
        let key = said.cache_key.as_ref().map(Program::compile).transpose();
        Ok(Arc::new(Self {
            owner: memory::new_owner(),
            forward: names(&said.forward_headers)?,
            copy: names(&said.copy_headers)?,
            key: key.map_err(|error| format!("cacheKey: {error}"))?,
            said: said.clone(),
        }))
    }

    pub(super) fn fails_open(&self) -> bool {
        self.said.allow_on_failure
    }

    pub(super) fn name(&self) -> String {
        self.said.backend.to_string()
    }

    /// `answered`: what a check of this request has come to.
    pub(super) fn judge(self: &Arc<Self>, scope: &Scope<'_>, answered: Option<&Outcome>) -> Result<Arc<Word>, Missing> {
        let outcome = match answered {
            Some(outcome) => outcome.clone(),
            None => self.known(scope)?,
        };
        match outcome {
            Outcome::Allowed(word) => Ok(word),
            other => Err(Missing::Is(other)),
        }
    }

    fn known(self: &Arc<Self>, scope: &Scope<'_>) -> Result<Outcome, Missing> {
        let headers = http::headers(self, scope.request);
        // Without its key an answer is nobody's.
        let key = match (&self.key, self.said.cache_for_ms) {
            (_, 0) => None,
            (Some(key), _) => key.eval_string(scope).ok().map(|key| [b"key ", key.as_bytes()].concat()),
            (None, _) if self.said.body_limit > 0 => None,
            (None, _) => Some(http::sent(&headers, &[])),
        };
        if let Some(outcome) = key.as_deref().and_then(|key| self.remembered(key, scope.now)) {
            return Ok(outcome);
        }
        Err(Missing::Asks(Box::new(Check { external: Arc::clone(self), headers, key, now: scope.now })))
    }

    fn remembered(&self, key: &[u8], now: SystemTime) -> Option<Outcome> {
        let good = |known: &Remembered| (now < known.until).then(|| known.outcome.clone());
        MEMORY.with_borrow_mut(|memory| memory.get(self.owner, key, good))
    }

    fn remember(&self, key: &[u8], now: SystemTime, outcome: &Outcome) {
        let weight = match outcome {
            Outcome::Allowed(word) => word.weight(),
            Outcome::Denied(passed) => {
                let headers = passed.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64);
                headers.sum::<usize>() + passed.body.len()
            }
            // Nothing has been said.
            Outcome::Failed | Outcome::Unread(_) => return,
        };
        let until = now + Duration::from_millis(self.said.cache_for_ms);
        let entry = Remembered { outcome: outcome.clone(), until };
        MEMORY.with_borrow_mut(|memory| memory.put(self.owner, key, entry, weight));
    }
}

impl Check {
    /// Asks, and remembers what is said.
    pub(super) async fn answer(mut self, aide: Aide<'_>) -> Outcome {
        let said = &self.external.said;
        let mut body = None;
        if said.body_limit > 0 && !aide.body.is_empty() {
            // Invariant: the compiler admits 64 KiB at most.
            body = match body::read(aide.body, said.body_limit as usize).await {
                Ok(read) => Some(read),
                Err(unread) => return Outcome::Unread(unread),
            };
        }
        let whole = self.external.key.is_none() && said.cache_for_ms > 0 && said.body_limit > 0;
        if whole {
            let key = http::sent(&self.headers, body.as_deref().unwrap_or_default());
            if let Some(outcome) = self.external.remembered(&key, self.now) {
                return outcome;
            }
            self.key = Some(key);
        }
        let external = Arc::clone(&self.external);
        let limit = Duration::from_millis(external.said.timeout_ms);
        let asked = async {
            match &external.said.protocol {
                ExternalProtocol::Http { path } => http::ask(&external, path, self.headers, body, aide).await,
                ExternalProtocol::Grpc => grpc::ask(&external, &self.headers, body, self.now, aide).await,
            }
        };
        let outcome = tokio::time::timeout(limit, asked).await.unwrap_or(Outcome::Failed);
        if let Some(key) = &self.key {
            external.remember(key, self.now, &outcome);
        }
        outcome
    }
}
