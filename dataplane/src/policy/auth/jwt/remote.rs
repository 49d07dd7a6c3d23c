//! Keys that are fetched from their issuer, again and again: beside the workers, one fetch at a time for all policies that
//! name the same, and as long as one of them does. The last good ones count while the issuer is away, for a while.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use ravelin_snapshot::{
    jwk::{self, Jwk, KeySetError, Material},
    jwt::JwksUri,
    url::{HttpUrl, InvalidUrl},
};
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use super::keys::Keys;
use crate::fetch::{self, Bounds, FetchError, Trust};

/// What the fetching keeps to.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Between two fetches of which a token with an unknown key is the cause.
    unknown: Duration,
    /// After a failure: at first, and at last.
    retry: Duration,
    latest: Duration,
    bounds: Bounds,
}

const PACE: Pace = Pace {
    unknown: Duration::from_secs(10),
    retry: Duration::from_secs(1),
    latest: Duration::from_secs(30),
    bounds: Bounds { time: Duration::from_secs(10), bytes: jwk::MAX_BYTES },
};

/// How long a request waits for keys that are on their way.
const PATIENCE: Duration = Duration::from_secs(2);

/// The key sets that are being fetched, from table to table. By default nobody is asked and no keys are known.
#[derive(Default)]
pub(in crate::policy::auth) struct Issuers {
    known: Mutex<HashMap<JwksUri, Weak<Remote>>>,
    asks: Option<Asks>,
}

/// How issuers are asked.
struct Asks {
    /// Not a worker's.
    runtime: Handle,
    pace: Pace,
}

/// A key set that is being fetched for as long as somebody holds it.
pub(super) struct Remote {
    keys: ArcSwapOption<Keys>,
    /// Somebody has asked since the last fetch began.
    asked: AtomicBool,
    ask: watch::Sender<()>,
    /// From when on whoever asks is answered at once; `None`: a fetch is under way.
    soonest: Mutex<Option<Instant>>,
    /// Fetches that have ended, well or not.
    pub(super) ended: watch::Sender<u64>,
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("its answer is no key set: {0}")]
    KeySet(#[from] KeySetError),
}

impl Issuers {
    /// They are asked from `runtime`.
    pub(in crate::policy::auth) fn asked_from(runtime: Handle) -> Self {
        Self { known: Mutex::default(), asks: Some(Asks { runtime, pace: PACE }) }
    }

    #[cfg(test)]
    pub(super) fn at_pace(unknown: Duration, retry: Duration, time: Duration) -> Self {
        let bounds = Bounds { time, ..PACE.bounds };
        let pace = Pace { unknown, retry, latest: retry, bounds };
        Self { known: Mutex::default(), asks: Some(Asks { runtime: Handle::current(), pace }) }
    }

    /// The one that is being fetched already, or one that begins now; `None`: nobody is asked.
    pub(super) fn get(&self, said: &JwksUri) -> Result<Option<Arc<Remote>>, InvalidUrl> {
        let Some(asks) = &self.asks else { return HttpUrl::parse(&said.uri).map(|_| None) };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(remote) = known.get(said).and_then(Weak::upgrade) {
            return Ok(Some(remote));
        }
        known.retain(|_, remote| remote.strong_count() > 0);
        let remote = Remote::fetch(said, asks)?;
        known.insert(said.clone(), Arc::downgrade(&remote));
        Ok(Some(remote))
    }
}

impl Remote {
    fn fetch(said: &JwksUri, Asks { runtime, pace }: &Asks) -> Result<Arc<Self>, InvalidUrl> {
        let url = HttpUrl::parse(&said.uri)?;
        let (ask, asks) = watch::channel(());
        let remote = Arc::new(Self {
            keys: ArcSwapOption::empty(),
            asked: AtomicBool::new(false),
            ask,
            soonest: Mutex::new(None),
            ended: watch::Sender::new(0),
        });
        let fetching = Fetching { remote: Arc::downgrade(&remote), said: said.clone(), url, pace: *pace, trust: None };
        drop(runtime.spawn(fetching.run(asks)));
        Ok(remote)
    }

    /// `None`: they have not come yet, or are too old.
    pub(super) fn keys(&self) -> Option<Arc<Keys>> {
        self.keys.load_full()
    }

    pub(super) fn id(&self) -> Option<u64> {
        self.keys.load().as_ref().map(|keys| keys.id)
    }

    /// A token has named a key that is not there: a newer set may have it.
    pub(super) fn ask(&self) {
        if !self.asked.swap(true, Relaxed) {
            self.ask.send_replace(());
        }
    }

    /// Told by the one that fetches.
    fn wait_until(&self, soonest: Instant) {
        *self.soonest.lock().unwrap_or_else(PoisonError::into_inner) = Some(soonest);
    }

    /// The fetch that is under way or begins at once, for somebody who has asked.
    pub(super) fn coming(self: &Arc<Self>) -> Option<Coming> {
        let soonest = self.soonest.lock().unwrap_or_else(PoisonError::into_inner);
        let due = soonest.is_none_or(|soonest| soonest <= Instant::now());
        due.then(|| Coming { remote: Arc::clone(self), ended: *self.ended.borrow() })
    }
}

/// Keys that are on their way.
pub struct Coming {
    remote: Arc<Remote>,
    ended: u64,
}

impl Coming {
    /// Returns when they are there, or will not be soon.
    pub(in crate::policy::auth) async fn arrived(self) {
        let mut ended = self.remote.ended.subscribe();
        // Invariant: we hold the sender.
        drop(timeout(PATIENCE, ended.wait_for(|ended| *ended > self.ended)).await);
    }
}

struct Fetching {
    remote: Weak<Remote>,
    said: JwksUri,
    url: HttpUrl,
    pace: Pace,
    trust: Option<Trust>,
}

impl Fetching {
    /// Until nobody holds the set any longer.
    async fn run(mut self, mut asks: watch::Receiver<()>) {
        let mut last: Option<Vec<Jwk>> = None;
        let mut failing: Option<Instant> = None;
        let mut delay = self.pace.retry;
        loop {
            let Some(remote) = self.remote.upgrade() else { return };
            remote.asked.store(false, Relaxed);
            *remote.soonest.lock().unwrap_or_else(PoisonError::into_inner) = None;
            drop(remote);
            let began = Instant::now();
            let answered = self.fetch().await;
            let Some(remote) = self.remote.upgrade() else { return };
            let now = Instant::now();
            let mut next = match answered {
                Ok(keys) => {
                    if failing.take().is_some() {
                        tracing::info!(uri = self.said.uri, "the keys of the issuer are fetched again");
                    }
                    delay = self.pace.retry;
                    // An answer that says nothing new leaves what was remembered by the last.
                    if last.as_ref() != Some(&keys) || remote.keys.load().is_none() {
                        remote.keys.store(Some(Arc::new(Keys::new(&keys))));
                        last = Some(keys);
                    }
                    now + Duration::from_millis(self.said.refresh_ms)
                }
                Err(error) => {
                    let since = *failing.get_or_insert(began);
                    tracing::warn!(uri = self.said.uri, %error, "the keys of an issuer cannot be fetched");
                    let until = since + Duration::from_millis(self.said.keep_for_ms);
                    if now >= until && remote.keys.swap(None).is_some() {
                        tracing::error!(uri = self.said.uri, "the last keys of the issuer are too old to count");
                    }
                    let again = now + delay;
                    delay = (delay * 2).min(self.pace.latest);
                    if now < until { again.min(until) } else { again }
                }
            };
            // While the issuer fails it is asked often enough.
            remote.wait_until(if failing.is_none() { began + self.pace.unknown } else { next });
            remote.ended.send_modify(|ended| *ended += 1);
            if failing.is_none() && remote.asked.load(Relaxed) {
                next = next.min(began + self.pace.unknown);
            }
            drop(remote);
            loop {
                tokio::select! {
                    () = sleep_until(next) => break,
                    asked = asks.changed() => match asked {
                        Ok(()) if failing.is_none() => next = next.min(began + self.pace.unknown),
                        Ok(()) => {}
                        Err(_) => return, // nobody holds the set
                    },
                }
            }
        }
    }

    async fn fetch(&mut self) -> Result<Vec<Jwk>, Failed> {
        if self.url.https && self.trust.is_none() {
            self.trust = Some(Trust::new(self.said.authorities.as_deref()).await?);
        }
        let body = fetch::get(&self.url, self.trust.as_ref(), self.pace.bounds).await?;
        let set = jwk::parse(&body)?;
        for ignored in &set.ignored {
            tracing::debug!(uri = self.said.uri, index = ignored.index, why = ignored.why, "a key does not count");
        }
        // What an issuer shows to all the world is no secret.
        let keys = set.keys.into_iter().filter(|key| !matches!(key.material, Material::Shared(_)));
        Ok(keys.collect())
    }
}
