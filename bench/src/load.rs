//! The load: clients that each ask again as soon as they have an answer (closed loop), or when it is time (open loop).

mod client;

use std::{
    cell::Cell,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{runtime::Runtime, sync::mpsc, task::LocalSet, time::MissedTickBehavior};
use tokio_rustls::rustls::pki_types::CertificateDer;

use client::Client;

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Http1,
    /// With prior knowledge.
    Http2,
    /// Over TLS.
    Https1,
    Https2,
}

impl Wire {
    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Self::Https1 | Self::Https2)
    }

    pub(crate) fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Https2)
    }
}

/// What to send where.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) wire: Wire,
    /// Of whoever answers over TLS.
    pub(crate) certificate: Option<CertificateDer<'static>>,
    pub(crate) host: &'static str,
    /// Sent along, if there is one.
    pub(crate) api_key: Option<&'static str>,
    /// Requests go to these in turn.
    pub(crate) paths: Rc<Vec<String>>,
}

/// Streams of one connection, where the wire has them.
pub(crate) const STREAMS: usize = 16;

/// Requests that were answered in `time`, of which `at_once` are under way at any moment.
pub(crate) fn run(target: &Target, at_once: usize, time: Duration) -> anyhow::Result<u64> {
    let until = Instant::now() + time;
    ask_all(target, at_once, move |_| Instant::now() < until)
}

/// `each` requests of each of the `at_once`.
pub(crate) fn exactly(target: &Target, at_once: usize, each: usize) -> anyhow::Result<u64> {
    ask_all(target, at_once, move |done| done < each)
}

fn ask_all(target: &Target, at_once: usize, again: impl Fn(usize) -> bool + Copy + 'static) -> anyhow::Result<u64> {
    let answered = Rc::new(Cell::new(0));
    on_one_thread(async {
        let mut tasks = Vec::new();
        for (start, mut client) in clients(target, at_once).await?.into_iter().enumerate() {
            let (target, answered) = (target.clone(), Rc::clone(&answered));
            tasks.push(tokio::task::spawn_local(async move {
                for (done, path) in (0..target.paths.len()).cycle().skip(start % target.paths.len()).enumerate() {
                    client.ask(path).await?;
                    answered.set(answered.get() + 1);
                    if !again(done + 1) {
                        break;
                    }
                }
                anyhow::Ok(())
            }));
        }
        for task in tasks {
            task.await??;
        }
        anyhow::Ok(())
    })?;
    Ok(answered.get())
}

/// Connections that are kept, each of which has had an answer.
pub(crate) struct Kept {
    clients: Vec<Client>,
    // Behind what lives on it.
    local: LocalSet,
    runtime: Runtime,
}

impl Kept {
    pub(crate) fn open(target: &Target, count: usize) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let local = LocalSet::new();
        let clients = local.block_on(&runtime, async {
            let mut clients = Vec::with_capacity(count);
            for _ in 0..count {
                let mut client = Client::open(target).await?;
                client.ask(0).await?;
                clients.push(client);
            }
            anyhow::Ok(clients)
        })?;
        Ok(Self { clients, local, runtime })
    }

    /// An error if one of them has been closed.
    pub(crate) fn ask_again(&mut self) -> anyhow::Result<()> {
        self.local.block_on(&self.runtime, async {
            for client in &mut self.clients {
                client.ask(0).await?;
            }
            Ok(())
        })
    }
}

/// How long each answer took, in order of length, when `per_second` requests come whether or not those before are answered. Each is
/// timed from the moment when it was due: who waits for its turn waits (no coordinated omission).
pub(crate) fn paced(target: &Target, at_once: usize, per_second: u64, time: Duration) -> anyhow::Result<Vec<Duration>> {
    const TICK: Duration = Duration::from_millis(1);
    on_one_thread(async {
        let (mut queues, mut tasks) = (Vec::new(), Vec::new());
        for (start, mut client) in clients(target, at_once).await?.into_iter().enumerate() {
            let (queue, mut due) = mpsc::unbounded_channel::<Instant>();
            queues.push(queue);
            let paths = target.paths.len();
            tasks.push(tokio::task::spawn_local(async move {
                let mut took = Vec::new();
                let mut path = start;
                while let Some(due) = due.recv().await {
                    path += 1;
                    client.ask(path % paths).await?;
                    took.push(due.elapsed());
                }
                anyhow::Ok(took)
            }));
        }
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let (start, mut sent) = (Instant::now(), 0);
        for tick in 0.. {
            let due = TICK * tick;
            if due >= time {
                break;
            }
            ticks.tick().await;
            let wanted = (due.as_secs_f64() * per_second as f64) as usize;
            while sent < wanted && queues[sent % queues.len()].send(start + due).is_ok() {
                sent += 1; // whoever does not take it has ended with an error, which is told below
            }
        }
        drop(queues);
        let mut all = Vec::with_capacity(sent);
        for task in tasks {
            all.extend(task.await??);
        }
        all.sort_unstable();
        Ok(all)
    })
}

/// One for each request that is under way; those of HTTP/2 share connections.
async fn clients(target: &Target, at_once: usize) -> anyhow::Result<Vec<Client>> {
    let mut clients: Vec<Client> = Vec::with_capacity(at_once);
    for number in 0..at_once {
        let shared = match clients.last() {
            Some(last) if number % STREAMS > 0 => last.share(),
            _ => None,
        };
        clients.push(match shared {
            Some(client) => client,
            None => Client::open(target).await?,
        });
    }
    Ok(clients)
}

fn on_one_thread<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, work)
}
