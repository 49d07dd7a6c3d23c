//! Which answers are right: those of a state that was in force at some moment between a request and its answer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Method, Request};
use ravelin_echo::client::{Answer, Protocol, request};

use crate::site::{SLOTS, Say, State};

/// The states in their order, and the last one that is known to be served everywhere.
pub(crate) struct History(Mutex<(Vec<State>, usize)>);

impl History {
    pub(crate) fn beginning_with(state: State) -> Self {
        Self(Mutex::new((vec![state], 0)))
    }

    /// From now on an answer may be of the next state.
    pub(crate) fn begin(&self, state: State) {
        self.0.lock().unwrap().0.push(state);
    }

    /// From now on a request may not be treated as any state before the last.
    pub(crate) fn confirm(&self) {
        let mut history = self.0.lock().unwrap();
        history.1 = history.0.len() - 1;
    }
}

/// Makes the requests of one load and judges their answers.
pub(crate) struct Judged {
    history: Arc<History>,
    protocol: Protocol,
    /// What was confirmed when the request was made.
    open: Mutex<HashMap<u64, usize>>,
}

/// `None` is the route that no edit touches.
fn target(number: u64) -> Option<usize> {
    let slot = (number % (SLOTS as u64 + 4)) as usize;
    (slot < SLOTS).then_some(slot)
}

impl Judged {
    pub(crate) fn new(history: Arc<History>, protocol: Protocol) -> Self {
        Self { history, protocol, open: Mutex::default() }
    }

    pub(crate) fn make(&self, number: u64) -> Request<Bytes> {
        self.open.lock().unwrap().insert(number, self.history.0.lock().unwrap().1);
        let host = target(number).map_or("steady.example".to_owned(), |slot| format!("slot{slot}.example"));
        match self.protocol {
            Protocol::Http1 => request(Method::GET, "/", &[("host", &host), ("x-api-key", "alpha")], Bytes::new()),
            Protocol::Http2 => {
                request(Method::GET, &format!("http://{host}/"), &[("x-api-key", "alpha")], Bytes::new())
            }
        }
    }

    pub(crate) fn judge(&self, number: u64, answer: &Answer) -> Result<(), String> {
        let since = self.open.lock().unwrap().remove(&number).unwrap();
        let history = self.history.0.lock().unwrap();
        let Some(slot) = target(number) else {
            let right = answer.status == 200 && answer.json()["server"] == "steady";
            return if right {
                Ok(())
            } else {
                Err(format!("the untouched route: {} {}", answer.status, answer.text()))
            };
        };
        // A file that is deleted and made again is absent in between.
        let states = &history.0[since..];
        if states.iter().any(|state| is_right(state.slots[slot], states, answer)) {
            return Ok(());
        }
        let says: Vec<_> = states.iter().map(|state| (state.slots[slot], state.a, state.key)).collect();
        Err(format!("slot {slot}: {} {} for {says:?} since {since}", answer.status, answer.text()))
    }
}

fn is_right(say: Say, states: &[State], answer: &Answer) -> bool {
    let status = answer.status.as_u16();
    let refused = |wanted: u16, reason: &str| status == wanted && answer.json()["reason"] == reason;
    let served = |version: usize| status == 200 && answer.header("x-version") == Some(&version.to_string());
    match say {
        Say::Absent => refused(404, "no_route"),
        Say::Direct(version) => status == 200 && answer.text() == format!("direct {version}"),
        Say::Split { version, a, b } => {
            let name = |name: &str| answer.json()["server"] == name;
            let of_a = || states.iter().any(|state| name(["a0", "a1"][state.a]));
            served(version) && ((a > 0 && of_a()) || (b > 0 && name("b")))
        }
        Say::MissingBackend => refused(500, "backend_invalid"),
        Say::Guarded(version) => {
            let known = |wanted| states.iter().any(|state| state.key == wanted);
            (known(true) && served(version)) || (known(false) && refused(401, "unauthenticated"))
        }
        Say::Closed => refused(403, "forbidden"),
        Say::Limited(version) => served(version) || refused(429, "rate_limited"),
        Say::RuleBroken => refused(500, "route_invalid"),
        Say::PolicyBroken => refused(503, "policy_invalid"),
    }
}
