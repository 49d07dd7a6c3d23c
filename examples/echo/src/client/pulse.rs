//! A WebSocket that is open throughout, and proves it.

use std::{error::Error, fmt, io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};

use super::DEADLINE;
use crate::websocket::{self, Frame, Opcode, base64};

/// The head of an answer is not longer.
const MAX_HEAD: usize = 64 * 1024;

/// A WebSocket through whatever stands before an [`Echo`](crate::Echo): it sends a message, waits for its echo, and so on.
#[derive(Debug)]
#[must_use]
pub struct Pulse {
    stop: oneshot::Sender<()>,
    beats: watch::Receiver<u64>,
    task: JoinHandle<Result<(), io::Error>>,
}

impl Pulse {
    /// Connects, in the current tokio runtime, and beats at that interval once the handshake is done. An answer other than 101
    /// is an error that tells it.
    pub async fn start(address: SocketAddr, host: &str, path: &str, every: Duration) -> Result<Self, Broken> {
        let connect = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        let stream = within_deadline(connect).await.map_err(|cause| Broken { beats: 0, cause })?;
        Self::over(stream, host, path, every).await
    }

    /// The same over a connection that is there already.
    pub async fn over<S>(stream: S, host: &str, path: &str, every: Duration) -> Result<Self, Broken>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut stream = BufReader::new(stream);
        within_deadline(greet(&mut stream, host, path)).await.map_err(|cause| Broken { beats: 0, cause })?;
        let (stop, stopped) = oneshot::channel();
        let (count, beats) = watch::channel(0);
        let task = tokio::spawn(beat(stream, every, stopped, count));
        Ok(Self { stop, beats, task })
    }

    /// Messages that came back.
    pub fn beats(&self) -> u64 {
        *self.beats.borrow()
    }

    /// Returns once `count` more messages have come back, or it has broken.
    pub async fn more(&self, count: u64) -> Result<(), Broken> {
        let mut beats = self.beats.clone();
        let enough = self.beats() + count;
        match beats.wait_for(|beats| *beats >= enough).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Broken { beats: self.beats(), cause: io::Error::other("see what stopping it says") }),
        }
    }

    /// Closes it and tells how many messages have come back; an error if it broke before, or does not close as it should.
    pub async fn stop(self) -> Result<u64, Broken> {
        let Self { stop, beats, task } = self;
        drop(stop);
        // The task neither panics nor is it aborted.
        let ended = task.await.unwrap_or_else(|gone| Err(io::Error::other(gone)));
        let beats = *beats.borrow();
        ended.map(|()| beats).map_err(|cause| Broken { beats, cause })
    }
}

/// The connection did not live through it.
#[derive(Debug)]
pub struct Broken {
    /// Messages that had come back before.
    pub beats: u64,
    /// What happened.
    pub cause: io::Error,
}

impl fmt::Display for Broken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the WebSocket broke after {} messages: {}", self.beats, self.cause)
    }
}

impl Error for Broken {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}

async fn greet<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufReader<S>, host: &str, path: &str) -> io::Result<()> {
    let key = base64(b"sixteen bytes, I");
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = String::new();
    while !answer.ends_with("\r\n\r\n") {
        if stream.read_line(&mut answer).await? == 0 || answer.len() > MAX_HEAD {
            return Err(refused("no answer to the handshake", &answer));
        }
    }
    let accept = websocket::accept(key.as_bytes());
    let mut fields = answer.lines().filter_map(|line| line.split_once(':'));
    let accepted =
        fields.any(|(name, value)| name.eq_ignore_ascii_case("sec-websocket-accept") && value.trim() == accept);
    if !answer.starts_with("HTTP/1.1 101 ") || !accepted {
        return Err(refused("the handshake is refused", &answer));
    }
    Ok(())
}

fn refused(what: &str, answer: &str) -> io::Error {
    io::Error::other(format!("{what}: {answer:?}"))
}

async fn beat<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: BufReader<S>,
    every: Duration,
    mut stopped: oneshot::Receiver<()>,
    count: watch::Sender<u64>,
) -> io::Result<()> {
    let mut ticks = interval(every.max(Duration::from_micros(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            // Nothing comes unasked but a close, or the end.
            _ = stream.fill_buf() => {}
            _ = ticks.tick() => {}
        }
        let payload = Bytes::from(format!("beat {}", *count.borrow()));
        exchange(&mut stream, Frame { last: true, opcode: Opcode::Text, payload }).await?;
        count.send_modify(|beats| *beats += 1);
    }
    exchange(&mut stream, Frame::close(websocket::GOING_AWAY)).await
}

/// Sends it and waits for the same.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufReader<S>, frame: Frame) -> io::Result<()> {
    let back = within_deadline(async {
        frame.write(stream, Some(*b"mask")).await?;
        Frame::read(stream).await
    });
    let back = back.await?;
    if back != frame {
        return Err(io::Error::other(format!("{back:?} came for {frame:?}")));
    }
    Ok(())
}

async fn within_deadline<T>(attempt: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(DEADLINE, attempt)
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Echo,
        raw::{Raw, Script},
    };

    const SOON: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn it_beats_until_it_is_stopped() {
        let echo = Echo::start("orders").unwrap();
        let pulse = Pulse::start(echo.address(), "shop.example", "/chat", SOON).await.unwrap();
        timeout(DEADLINE, pulse.more(20)).await.unwrap().unwrap();
        assert!(pulse.stop().await.unwrap() >= 20);
        assert_eq!(echo.connections_total(), 1);
    }

    #[tokio::test]
    async fn a_break_is_told_with_the_messages_before_it() {
        let echo = Echo::start("orders").unwrap();
        let pulse = Pulse::start(echo.address(), "shop.example", "/chat", SOON).await.unwrap();
        timeout(DEADLINE, pulse.more(3)).await.unwrap().unwrap();
        echo.kill().await;
        assert!(timeout(DEADLINE, pulse.more(u64::MAX / 2)).await.unwrap().is_err());
        assert!(pulse.stop().await.unwrap_err().beats >= 3);
    }

    #[tokio::test]
    async fn a_close_by_the_backend_is_a_break() {
        let echo = Echo::start("orders").unwrap();
        let pulse = Pulse::start(echo.address(), "shop.example", "/chat", Duration::from_secs(3600)).await.unwrap();
        timeout(DEADLINE, pulse.more(1)).await.unwrap().unwrap();
        timeout(DEADLINE, echo.stop()).await.unwrap();
        assert!(timeout(DEADLINE, pulse.stop()).await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_refused_handshake_is_told() {
        let echo = Echo::start("orders").unwrap();
        let broken = Pulse::start(echo.address(), "shop.example", "/chat?status=403", SOON).await.unwrap_err();
        assert!(broken.to_string().contains("HTTP/1.1 403 Forbidden"), "{broken}");
        let raw = Raw::start(Script::unasked_upgrade()).unwrap();
        assert!(Pulse::start(raw.address(), "shop.example", "/chat", SOON).await.is_err());
    }
}
