//! A steady load: requests at a fixed rate, whatever becomes of those before.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ::http::{Method, Request};
use bytes::Bytes;
use tokio::{
    sync::{oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep_until},
};

use super::{Answer, ClientError, Protocol, request};

mod lanes;
mod report;

pub use report::Report;

use lanes::Lanes;

/// An open-loop load: request `n` is due `n / rate` seconds after the start. It does not wait for answers, but for one of its
/// connections when all of them are busy; what it waits counts as latency.
///
/// A request is sent again only if nothing of it was written, for that is the connection's end and not the request's, or as
/// [`Load::resending`] allows. Connections that the peer ends are counted, and replaced.
#[must_use]
pub struct Load {
    address: SocketAddr,
    protocol: Protocol,
    host: String,
    rate: u32,
    connections: usize,
    resending: bool,
    make: Box<dyn Fn(u64) -> Request<Bytes> + Send>,
    judge: Arc<Judge>,
}

type Judge = dyn Fn(u64, &Answer) -> Result<(), String> + Send + Sync;

impl Load {
    /// `GET /` 200 times a second over 8 connections, which is to be answered with a 2xx.
    pub fn to(address: SocketAddr, protocol: Protocol) -> Self {
        Self {
            address,
            protocol,
            host: address.to_string(),
            rate: 200,
            connections: 8,
            resending: false,
            make: Box::new(|_| request(Method::GET, "/", &[], Bytes::new())),
            judge: Arc::new(|_, answer: &Answer| match answer.status.is_success() {
                true => Ok(()),
                false => Err(format!("status {}", answer.status.as_u16())),
            }),
        }
    }

    /// `Host` or `:authority`.
    pub fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// Requests per second, 1 at least.
    pub fn rate(mut self, rate: u32) -> Self {
        self.rate = rate.max(1);
        self
    }

    /// Connections at once, 1 at least. Over HTTP/1.1 as many requests at once, over HTTP/2 in turn.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections.max(1);
        self
    }

    /// What to send: gets the request's number, from 0.
    pub fn requests(mut self, make: impl Fn(u64) -> Request<Bytes> + Send + 'static) -> Self {
        self.make = Box::new(make);
        self
    }

    /// Which answer is right, and what is wrong with the others: gets the request's number and its answer.
    pub fn judging(mut self, judge: impl Fn(u64, &Answer) -> Result<(), String> + Send + Sync + 'static) -> Self {
        self.judge = Arc::new(judge);
        self
    }

    /// As browsers and client libraries do: a request whose method is idempotent is sent once more, on a fresh connection,
    /// when the one it went over had served before and ends without an answer (RFC 9110, 9.2.2).
    pub fn resending(mut self) -> Self {
        self.resending = true;
        self
    }

    /// Begins, in the current tokio runtime.
    pub fn start(self) -> Running {
        let (stop, stopped) = oneshot::channel();
        let tally = Arc::new(Tally::default());
        let task = tokio::spawn(run(self, Arc::clone(&tally), stopped));
        Running { stop, tally, task }
    }
}

/// A load that goes on until it is stopped; dropping it ends it too.
#[derive(Debug)]
#[must_use]
pub struct Running {
    stop: oneshot::Sender<()>,
    tally: Arc<Tally>,
    task: JoinHandle<()>,
}

impl Running {
    /// Requests whose outcome is known.
    pub fn finished(&self) -> u64 {
        *self.tally.finished.borrow()
    }

    /// Returns once the outcome is known of `count` requests that are not sent yet.
    pub async fn more(&self, count: u64) {
        let mut finished = self.tally.finished.subscribe();
        // At worst, all that were sent before are among the finished.
        let enough = self.report().sent + count;
        // Invariant: the sender lives in `tally`, which we hold.
        finished.wait_for(|finished| *finished >= enough).await.expect("the count is here (invariant)");
    }

    /// What has become of the requests whose outcome is known.
    pub fn report(&self) -> Report {
        self.tally.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends no more, waits for the outcome of all that were sent, and tells.
    pub async fn stop(self) -> Report {
        let Self { stop, tally, task } = self;
        drop(stop);
        if let Err(panic) = task.await {
            // A judge or a maker of requests that panics is a test that fails.
            std::panic::resume_unwind(panic.into_panic());
        }
        tally.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[derive(Debug, Default)]
struct Tally {
    finished: watch::Sender<u64>,
    report: Mutex<Report>,
}

impl Tally {
    fn note(&self, note: impl FnOnce(&mut Report)) {
        note(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn finish(&self, outcome: Outcome, latency: Duration) {
        self.note(|report| {
            report.latencies.push(latency);
            match outcome {
                Ok((status, judged)) => {
                    *report.statuses.entry(status).or_default() += 1;
                    if let Err(wrong) = judged {
                        count(&mut report.wrong, wrong);
                    }
                }
                Err(error) => count(&mut report.errors, error.to_string()),
            }
        });
        self.finished.send_modify(|finished| *finished += 1);
    }
}

fn count(map: &mut BTreeMap<String, u64>, what: String) {
    *map.entry(what).or_default() += 1;
}

/// The status with the judge's opinion, or no answer.
type Outcome = Result<(u16, Result<(), String>), ClientError>;

async fn run(load: Load, tally: Arc<Tally>, mut stopped: oneshot::Receiver<()>) {
    let lanes = Arc::new(Lanes::new(&load, Arc::clone(&tally)));
    let mut requests = JoinSet::new();
    let start = Instant::now();
    for number in 0_u64.. {
        let due = start + Duration::from_secs(1).mul_f64(number as f64 / f64::from(load.rate));
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            () = sleep_until(due) => {}
        }
        let request = (load.make)(number);
        let (lanes, judge, tally) = (Arc::clone(&lanes), Arc::clone(&load.judge), Arc::clone(&tally));
        tally.note(|report| report.sent += 1);
        requests.spawn(async move {
            let outcome = lanes.send(number, request).await;
            let outcome = outcome.map(|answer| (answer.status.as_u16(), judge(number, &answer)));
            tally.finish(outcome, due.elapsed());
        });
        while let Some(done) = requests.try_join_next() {
            rethrow(done);
        }
    }
    while let Some(done) = requests.join_next().await {
        rethrow(done);
    }
    lanes.close();
}

fn rethrow(done: Result<(), tokio::task::JoinError>) {
    if let Some(panic) = done.err().and_then(|error| error.try_into_panic().ok()) {
        std::panic::resume_unwind(panic);
    }
}

#[cfg(test)]
mod tests;
