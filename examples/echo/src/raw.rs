//! A backend without manners: it does what its script says, byte for byte.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::sleep,
};

use crate::Port;

mod http2;
mod request;
mod script;

pub use script::{Gate, Script};

use script::{Step, Steps};

/// A listener whose connections each play a script. Dropping it closes them all.
#[derive(Debug)]
pub struct Raw {
    port: Port,
    record: Arc<Record>,
    task: AbortHandle,
}

/// What has come to it until now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawCounts {
    /// Requests that were read, as far as the scripts read them.
    pub requests: u64,
    /// Connections whose script is not over.
    pub connections_open: u64,
    /// Connections that were accepted.
    pub connections_total: u64,
}

impl Raw {
    /// Every connection plays `script`. Runs in the current tokio runtime, on a free loopback port.
    pub fn start(script: Script) -> io::Result<Self> {
        Self::start_each([script])
    }

    /// The first connection plays the first script, and so on; those beyond the last play the last. Without any script,
    /// connections are closed at once.
    pub fn start_each(scripts: impl IntoIterator<Item = Script>) -> io::Result<Self> {
        let scripts = scripts.into_iter().collect();
        let port = Port::reserve()?;
        let record = Arc::<Record>::default();
        let task = tokio::spawn(accept(port.listen()?, scripts, Arc::clone(&record))).abort_handle();
        Ok(Self { port, record, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// All counts at one moment.
    pub fn counts(&self) -> RawCounts {
        *self.record.counts.borrow()
    }

    /// Requests that were read, as far as the scripts read them.
    pub fn requests(&self) -> u64 {
        self.counts().requests
    }

    /// Connections that were accepted.
    pub fn connections_total(&self) -> u64 {
        self.counts().connections_total
    }

    /// Returns once `reached` holds. Waits for ever if it never does: give it a deadline.
    pub async fn wait_until(&self, mut reached: impl FnMut(&RawCounts) -> bool) -> RawCounts {
        let mut counts = self.record.counts.subscribe();
        // Invariant: the sender lives in `record`, which we hold.
        *counts.wait_for(|counts| reached(counts)).await.expect("the counts are here (invariant)")
    }

    /// All bytes that were read, by connection, in the order of acceptance.
    pub fn received(&self) -> Vec<Bytes> {
        let received = self.record.received.lock().unwrap_or_else(PoisonError::into_inner);
        received.iter().map(|bytes| Bytes::copy_from_slice(bytes)).collect()
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug, Default)]
struct Record {
    counts: watch::Sender<RawCounts>,
    received: Mutex<Vec<Vec<u8>>>,
}

impl Record {
    fn asked(&self) {
        self.counts.send_modify(|counts| counts.requests += 1);
    }

    fn heard(&self, connection: usize, bytes: &[u8]) {
        let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        received[connection].extend_from_slice(bytes);
    }
}

async fn accept(listener: TcpListener, scripts: Vec<Script>, record: Arc<Record>) {
    // Dropped with this task, and the connections with it.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let number = {
            let mut received = record.received.lock().unwrap_or_else(PoisonError::into_inner);
            received.push(Vec::new());
            received.len() - 1
        };
        record.counts.send_modify(|counts| {
            counts.connections_total += 1;
            counts.connections_open += 1;
        });
        let script = scripts.get(number).or(scripts.last()).cloned().unwrap_or_default();
        let record = Arc::clone(&record);
        connections.spawn(async move {
            let mut player = Player { stream, heard: BytesMut::new(), http2_stream: 0, number, record };
            // A peer that goes before the script is over is what many a script waits for.
            drop(player.play(&script.steps).await);
            let record = Arc::clone(&player.record);
            drop(player);
            record.counts.send_modify(|counts| counts.connections_open -= 1);
        });
    }
}

struct Player {
    stream: TcpStream,
    /// Read from the stream, and not by the script yet.
    heard: BytesMut,
    /// Of the request over HTTP/2 that was read last; 0 before the first.
    http2_stream: u32,
    number: usize,
    record: Arc<Record>,
}

impl Player {
    async fn play(&mut self, steps: &Steps) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        loop {
            for step in &steps.list {
                self.take(step).await?;
            }
            if !steps.forever {
                return Ok(());
            }
        }
    }

    async fn take(&mut self, step: &Step) -> io::Result<()> {
        match step {
            Step::ReadHead => {
                self.read(|heard| request::head(heard).map(|(length, _)| (length, ()))).await?;
                self.record.asked();
            }
            Step::Read => {
                self.read(|heard| request::whole(heard).map(|length| (length, ()))).await?;
                self.record.asked();
            }
            Step::ReadHttp2 => {
                let first = self.http2_stream == 0;
                if first {
                    self.stream.write_all(&http2::settings()).await?;
                }
                self.http2_stream = self.read(http2::request).await?;
                if first {
                    // Theirs came before the request.
                    self.stream.write_all(&http2::settings_taken()).await?;
                }
                self.record.asked();
            }
            Step::AnswerHttp2(body) => self.stream.write_all(&http2::answer(self.http2_stream, body)).await?,
            Step::RefuseHttp2 => self.stream.write_all(&http2::refusal(self.http2_stream)).await?,
            Step::GoAwayHttp2 { processed } => {
                // A client's streams are odd.
                let last = if *processed { self.http2_stream } else { self.http2_stream.saturating_sub(2) };
                self.stream.write_all(&http2::go_away(last)).await?;
            }
            Step::Send(bytes) => self.stream.write_all(bytes).await?,
            Step::Trickle { bytes, every } => {
                for byte in bytes {
                    self.stream.write_all(&[*byte]).await?;
                    sleep(*every).await;
                }
            }
            Step::Endless(bytes) => loop {
                self.stream.write_all(bytes).await?;
            },
            Step::Wait(gate) => gate.passed().await,
            Step::Hold => self.read(|_| None::<(usize, ())>).await?,
            Step::Reset => self.stream.set_zero_linger()?, // and then the end of the script
        }
        Ok(())
    }

    /// Takes as many bytes as `find` says, once it finds something. The end of the stream is an error.
    async fn read<T>(&mut self, find: impl Fn(&[u8]) -> Option<(usize, T)>) -> io::Result<T> {
        loop {
            if let Some((length, found)) = find(&self.heard) {
                drop(self.heard.split_to(length));
                return Ok(found);
            }
            let before = self.heard.len();
            if self.stream.read_buf(&mut self.heard).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.record.heard(self.number, &self.heard[before..]);
        }
    }
}

#[cfg(test)]
mod tests;
