//! Who has logged in: what the session's cookie holds, and until when it counts.

use std::{cell::Cell, cell::RefCell, sync::Arc, time::SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    METHOD, Oidc,
    ended::{Mark, Whose},
    seconds,
};
use crate::{
    policy::auth::{jwt, memory::Memory},
    request::Caller,
};

/// As it stands in the cookie. The names are short: each takes room in every request.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Written {
    /// Random: which log-in it is.
    #[serde(rename = "i")]
    pub(super) id: String,
    /// Of the log-in, or of the last refresh that brought one; it was verified before.
    #[serde(rename = "t")]
    pub(super) id_token: String,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub(super) refresh_token: Option<String>,
    #[serde(rename = "s")]
    pub(super) scopes: Vec<String>,
    /// By our clock, in seconds since the epoch.
    #[serde(rename = "b")]
    pub(super) begun: u64,
    /// By the issuer's clock: `iat` of the log-in's token.
    #[serde(rename = "a")]
    pub(super) issued: f64,
    /// From when on the issuer is asked whether it goes on.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub(super) stale: Option<u64>,
}

pub(in crate::policy::auth) struct Session {
    pub(super) written: Written,
    pub(super) caller: Arc<Caller>,
    /// At the issuer.
    sid: Option<String>,
}

/// A session that was opened on this thread.
struct Remembered {
    session: Arc<Session>,
    /// How many changes of what has ended were seen when it was last looked for.
    seen: Cell<Option<u64>>,
}

thread_local! {
    static MEMORY: RefCell<Memory<Remembered>> = RefCell::new(Memory::new());
}

impl Session {
    /// `None`: its token does not say whose it is.
    pub(super) fn of(written: Written) -> Option<Self> {
        let mut caller = jwt::caller_of(written.id_token.as_bytes())?;
        let sid = caller.claims.get("sid").and_then(Value::as_str).map(str::to_owned);
        caller.method = METHOD;
        caller.scopes.clone_from(&written.scopes);
        Some(Self { written, caller: Arc::new(caller), sid })
    }
}

impl Oidc {
    pub(super) fn seal(&self, context: &[u8], session: &Session) -> Option<String> {
        let text = serde_json::to_vec(&session.written).ok()?;
        self.seals.as_ref()?.load().seal_text(context, text).ok()
    }

    /// `None`: it is none of ours, or it is over.
    pub(super) fn open(&self, context: &[u8], sealed: &[u8], now: SystemTime) -> Option<Arc<Session>> {
        // Another host's, or another scheme's, is another one.
        let known =
            |known: &Remembered| self.counts(&known.session, &known.seen, now).then(|| Arc::clone(&known.session));
        let named = [context, sealed].concat();
        if let Some(session) = MEMORY.with_borrow_mut(|memory| memory.get(self.owner, &named, known)) {
            return Some(session);
        }
        let text = self.seals.as_ref()?.load().open_text(context, sealed)?;
        let session = Arc::new(Session::of(serde_json::from_slice(&text).ok()?)?);
        let seen = Cell::new(None);
        if !self.counts(&session, &seen, now) {
            return None;
        }
        // A caller takes about as much again as the token that it is from.
        let weight = named.len() * 4;
        let entry = Remembered { session: Arc::clone(&session), seen };
        MEMORY.with_borrow_mut(|memory| memory.put(self.owner, &named, entry, weight));
        Some(session)
    }

    /// Seconds that the session has left.
    pub(super) fn left(&self, session: &Session, now: SystemTime) -> u64 {
        let end = session.written.begun.saturating_add(self.said.ttl_ms.div_ceil(1000));
        end.saturating_sub(seconds(now))
    }

    fn counts(&self, session: &Session, seen: &Cell<Option<u64>>, now: SystemTime) -> bool {
        if self.left(session, now) == 0 {
            return false;
        }
        let changes = self.ended.changes();
        if seen.get() == Some(changes) {
            return true;
        }
        let alive = !self.ended.holds(self.marks(session), session.written.issued);
        if alive {
            seen.set(Some(changes));
        }
        alive
    }

    fn marks(&self, session: &Session) -> impl Iterator<Item = Mark> {
        let sid = session.sid.clone().map(Whose::Issuers);
        let id = Whose::Session(session.written.id.clone());
        let subject = session.caller.claims.get("sub").and_then(Value::as_str);
        let subject = subject.map(|subject| Whose::Subject(subject.to_owned()));
        [Some(id), sid, subject].into_iter().flatten().map(|of| self.mark(of))
    }

    pub(super) fn mark(&self, of: Whose) -> Mark {
        Mark { issuer: self.said.issuer.clone(), client: self.said.client_id.clone(), of }
    }

    /// Beyond this time no session that has begun by now is alive; in seconds since the epoch.
    pub(super) fn horizon(&self, now: SystemTime) -> f64 {
        // A longer `ttl` to come would wake what is forgotten, so a year is kept in any case.
        const YEAR: f64 = 366.0 * 86_400.0;
        (seconds(now) as f64) + (self.said.ttl_ms as f64 / 1e3).max(YEAR)
    }
}
