//! What keeps a client on one endpoint, and on one of the rule's backends: a value that it was given before (GEP-1619).

use std::{cell::Cell, net::SocketAddr, time::SystemTime};

use http::{HeaderMap, HeaderValue, header::SET_COOKIE};

use super::Exchange;
use crate::{
    policy::auth::cookies,
    request::Scheme,
    session::{Seals, Ticket},
    table::{extras::Carrier, extras::Session, rule::Forward},
};

/// A client's session, found out while the request is still as the client sent it.
pub(super) struct Held<'t> {
    said: &'t Session,
    /// What the client has, unless it is over.
    ticket: Option<Ticket>,
    /// Seconds since the epoch.
    now: u32,
    /// The endpoint that it is to have.
    wanted: Cell<Option<SocketAddr>>,
    /// The endpoint that it got.
    pub(super) chosen: Cell<Option<SocketAddr>>,
}

impl<'t> Held<'t> {
    /// `None`: the rule keeps none.
    pub(super) fn of(exchange: &Exchange<'_>, forward: &'t Forward, headers: &HeaderMap) -> Option<Box<Self>> {
        let said = forward.extras.as_deref()?.session.as_ref()?;
        let now = seconds(exchange.clock);
        let ticket = known(said, headers, &exchange.worker.seals()).filter(|ticket| is_alive(said, *ticket, now));
        Some(Box::new(Self { said, ticket, now, wanted: Cell::default(), chosen: Cell::default() }))
    }

    /// The backend of the session, if it still has a share of the requests.
    pub(super) fn turn(&self) -> Option<usize> {
        let ticket = self.ticket?;
        let turn = self.said.arms.iter().position(|arm| *arm == ticket.arm)?;
        self.wanted.set(Some(ticket.endpoint));
        Some(turn)
    }

    pub(super) fn wanted(&self) -> Option<SocketAddr> {
        self.wanted.get()
    }

    /// Whether it had an endpoint to hold on to; from now on any will do.
    pub(super) fn lets_go(&self) -> bool {
        self.wanted.take().is_some_and(|wanted| self.chosen.get() == Some(wanted))
    }

    /// Tells the client what it is to say the next time, if that is something new.
    pub(super) fn tell(&self, exchange: &Exchange<'_>, turn: usize, headers: &mut HeaderMap) {
        let (Some(endpoint), Some(arm)) = (self.chosen.get(), self.said.arms.get(turn)) else { return };
        let same = self.ticket.filter(|ticket| (ticket.arm, ticket.endpoint) == (*arm, endpoint));
        if same.is_some_and(|ticket| self.said.idle.is_none() || ticket.seen == self.now) {
            return;
        }
        let begun = same.map_or(self.now, |ticket| ticket.begun);
        let ticket = Ticket { arm: *arm, endpoint, begun, seen: self.now };
        // Without randomness there is no session, and an answer all the same.
        let Ok(value) = exchange.worker.seals().seal(ticket) else { return };
        let Ok(said) = HeaderValue::from_str(&self.spell(&value, begun, exchange.target.scheme())) else { return };
        match &self.said.carrier {
            Carrier::Cookie { .. } => drop(headers.append(SET_COOKIE, said)),
            Carrier::Header(name) => drop(headers.insert(name, said)),
        }
    }

    fn spell(&self, value: &str, begun: u32, scheme: Scheme) -> String {
        let Carrier::Cookie { name, path, permanent } = &self.said.carrier else { return value.to_owned() };
        let lives = self.said.absolute.filter(|_| *permanent);
        let lives = lives.map(|lives| format!("; Max-Age={}", lives.saturating_sub(age(begun, self.now))));
        let secure = if scheme == Scheme::Https { "; Secure" } else { "" };
        format!("{name}={value}; Path={path}; HttpOnly{}{secure}", lives.unwrap_or_default())
    }
}

/// Of several cookies of that name, which different paths may have, one that we made.
fn known(said: &Session, headers: &HeaderMap, seals: &Seals) -> Option<Ticket> {
    match &said.carrier {
        Carrier::Cookie { name, .. } => {
            let mut values = cookies(headers).filter(|(found, _)| *found == name.as_bytes()).take(4);
            values.find_map(|(_, value)| seals.open(value))
        }
        Carrier::Header(name) => seals.open(headers.get(name)?.as_bytes()),
    }
}

fn is_alive(said: &Session, ticket: Ticket, now: u32) -> bool {
    let within = |limit: Option<u64>, since: u32| limit.is_none_or(|limit| age(since, now) < limit);
    within(said.absolute, ticket.begun) && within(said.idle, ticket.seen)
}

/// What another replica's clock calls the future is now.
fn age(since: u32, now: u32) -> u64 {
    u64::from(now.saturating_sub(since))
}

fn seconds(clock: SystemTime) -> u32 {
    let since = clock.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_when_its_time_is_over_or_nothing_was_asked_for_too_long() {
        let carrier = || Carrier::Header(http::HeaderName::from_static("x-session"));
        let with = |absolute, idle| Session { carrier: carrier(), absolute, idle, arms: vec![] };
        let ticket = Ticket { arm: 0, endpoint: ([10, 0, 0, 1], 80).into(), begun: 100, seen: 150 };
        for (absolute, idle, now, alive) in [
            (None, None, u32::MAX, true),
            (Some(60), None, 159, true),
            (Some(60), None, 160, false),
            (None, Some(20), 169, true),
            (None, Some(20), 170, false),
            (Some(60), Some(20), 165, false),
            (Some(60), Some(20), 40, true),
        ] {
            assert_eq!(is_alive(&with(absolute, idle), ticket, now), alive, "{absolute:?} {idle:?} {now}");
        }
    }
}
