//! The connections of a load.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use ::http::{Request, header::CONNECTION};
use bytes::Bytes;
use tokio::sync::{Mutex as AsyncMutex, Semaphore};

use super::{Load, Tally};
use crate::client::{Answer, Body, Client, ClientError, Protocol, body};

/// Connections in a row that end before they take a given request.
const MAX_UNSENT: u32 = 8;

pub(super) struct Lanes {
    address: SocketAddr,
    host: String,
    resending: bool,
    tally: Arc<Tally>,
    kind: Kind,
}

enum Kind {
    /// One request at a time on each, the last used first.
    Http1 { permits: Semaphore, idle: Mutex<Vec<Client>> },
    /// Each takes its turn. A lock is held while its connection is opened.
    Http2(Vec<AsyncMutex<Option<Client>>>),
}

/// A connection, and whether it has served before.
struct Taken {
    client: Client,
    used: bool,
}

impl Lanes {
    pub(super) fn new(load: &Load, tally: Arc<Tally>) -> Self {
        let kind = match load.protocol {
            Protocol::Http1 => Kind::Http1 { permits: Semaphore::new(load.connections), idle: Mutex::default() },
            Protocol::Http2 => Kind::Http2((0..load.connections).map(|_| AsyncMutex::default()).collect()),
        };
        Self { address: load.address, host: load.host.clone(), resending: load.resending, tally, kind }
    }

    pub(super) async fn send(&self, number: u64, request: Request<Bytes>) -> Result<Answer, ClientError> {
        let _permit = match &self.kind {
            // Invariant: never closed.
            Kind::Http1 { permits, .. } => Some(permits.acquire().await.expect("open (invariant)")),
            Kind::Http2(_) => None,
        };
        let mut resent = false;
        let mut unsent = 0;
        loop {
            let taken = self.take(number, resent).await?;
            let used = taken.used;
            match self.exchange(taken, request.clone().map(body)).await {
                Err(ClientError::NotSent(_)) if unsent < MAX_UNSENT => unsent += 1,
                Err(ClientError::Http(_)) if self.resending && used && !resent && request.method().is_idempotent() => {
                    self.tally.note(|report| report.resent += 1);
                    resent = true;
                }
                outcome => return outcome,
            }
        }
    }

    async fn exchange(&self, mut taken: Taken, request: Request<Body>) -> Result<Answer, ClientError> {
        let outcome = taken.client.send(request).await;
        match (&self.kind, &outcome) {
            (Kind::Http1 { idle, .. }, Ok(answer)) if !closes(answer) => {
                idle.lock().unwrap_or_else(PoisonError::into_inner).push(taken.client);
            }
            (Kind::Http1 { .. }, Err(ClientError::TimedOut)) => {} // it is we who end it
            (Kind::Http1 { .. }, _) => self.tally.note(|report| report.ended_by_peer += 1),
            // Whether it has ended is seen when it is its turn again.
            (Kind::Http2(_), _) => {}
        }
        outcome
    }

    async fn take(&self, number: u64, fresh: bool) -> Result<Taken, ClientError> {
        match &self.kind {
            Kind::Http1 { idle, .. } => {
                while !fresh && let Some(client) = pop(idle) {
                    if !client.is_closed() {
                        return Ok(Taken { client, used: true });
                    }
                    self.tally.note(|report| report.ended_by_peer += 1);
                }
                Ok(Taken { client: self.connect(Protocol::Http1).await?, used: false })
            }
            Kind::Http2(lanes) => {
                // The remainder is less than the count of the lanes.
                let mut lane = lanes[(number % lanes.len() as u64) as usize].lock().await;
                if let Some(client) = lane.as_ref().filter(|client| !client.is_closed()).and_then(Client::sibling) {
                    return Ok(Taken { client, used: true });
                }
                if lane.take().is_some() {
                    self.tally.note(|report| report.ended_by_peer += 1);
                }
                let client = lane.insert(self.connect(Protocol::Http2).await?);
                // Invariant: connections of HTTP/2 have siblings.
                Ok(Taken { client: client.sibling().expect("HTTP/2 (invariant)"), used: false })
            }
        }
    }

    async fn connect(&self, protocol: Protocol) -> Result<Client, ClientError> {
        let client = Client::connect(self.address, protocol).await?.with_host(&self.host);
        self.tally.note(|report| report.opened += 1);
        Ok(client)
    }

    /// Those that the peer has ended since they were used last are counted.
    pub(super) fn close(&self) {
        let mut ended = 0;
        match &self.kind {
            Kind::Http1 { idle, .. } => {
                while let Some(client) = pop(idle) {
                    ended += u64::from(client.is_closed());
                }
            }
            Kind::Http2(lanes) => {
                for lane in lanes {
                    let client = lane.try_lock().ok().and_then(|mut lane| lane.take());
                    ended += u64::from(client.is_some_and(|client| client.is_closed()));
                }
            }
        }
        self.tally.note(|report| report.ended_by_peer += ended);
    }
}

fn pop(idle: &Mutex<Vec<Client>>) -> Option<Client> {
    idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

fn closes(answer: &Answer) -> bool {
    answer.headers.get(CONNECTION).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
}
