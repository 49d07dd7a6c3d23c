//! Bytes, for what no well-behaved client sends.

use std::{convert::Infallible, future::pending, io, net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::DEADLINE;

/// A TCP connection without any protocol.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    /// Arrived, and not asked for yet.
    received: BytesMut,
}

/// All that came until the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The bytes.
    pub bytes: Bytes,
    /// What followed.
    pub end: End,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer closed its side.
    Closed,
    /// The peer reset the connection.
    Reset,
    /// Nothing by the deadline; the connection is open.
    Silent,
}

impl Received {
    /// The bytes as text, with replacements for what is none.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The status codes of all HTTP/1.1 answers in the bytes, as far as lines tell: bodies must not look like status lines.
    pub fn statuses(&self) -> Vec<u16> {
        let text = self.text();
        text.split("HTTP/1.1 ").skip(1).filter_map(|answer| answer.get(..3)?.parse().ok()).collect()
    }
}

impl Wire {
    /// A fresh connection.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = timeout(DEADLINE, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: BytesMut::new() })
    }

    /// Writes all of them.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        timeout(DEADLINE, self.stream.write_all(bytes.as_ref())).await?
    }

    /// Says that no more will come, and still listens.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// What arrives up to and with `pattern`; an error if the connection ends before, which tells what there was.
    pub async fn until(&mut self, pattern: impl AsRef<[u8]>) -> io::Result<Bytes> {
        let pattern = pattern.as_ref();
        timeout(DEADLINE, async {
            loop {
                if let Some(at) = self.received.windows(pattern.len()).position(|window| window == pattern) {
                    return Ok(self.received.split_to(at + pattern.len()).freeze());
                }
                if self.stream.read_buf(&mut self.received).await? == 0 {
                    let had = String::from_utf8_lossy(&self.received).into_owned();
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("it ended after {had:?}")));
                }
            }
        })
        .await?
    }

    /// The head of an HTTP/1.1 message, as text with its empty line.
    pub async fn head(&mut self) -> io::Result<String> {
        Ok(String::from_utf8_lossy(&self.until(b"\r\n\r\n").await?).into_owned())
    }

    /// Exactly that many bytes.
    pub async fn exactly(&mut self, count: usize) -> io::Result<Bytes> {
        timeout(DEADLINE, async {
            while self.received.len() < count {
                if self.stream.read_buf(&mut self.received).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Ok(self.received.split_to(count).freeze())
        })
        .await?
    }

    /// All that comes until the end, or until nothing has for [`DEADLINE`].
    pub async fn rest(self) -> Received {
        self.rest_within(DEADLINE).await
    }

    /// The same with a deadline of the caller's, for peers that are meant to be silent.
    pub async fn rest_within(mut self, silence: Duration) -> Received {
        let end = read_to_end(&mut self.stream, &mut self.received, silence).await;
        Received { bytes: self.received.freeze(), end }
    }
}

/// Sends `bytes` on a fresh connection and reads until the end, both at once: a peer may answer and close before it has read
/// all. It does not say that no more will come.
pub async fn exchange(address: SocketAddr, bytes: impl AsRef<[u8]>) -> io::Result<Received> {
    let mut wire = Wire::connect(address).await?;
    let (mut reader, mut writer) = wire.stream.split();
    let write = async {
        // What the peer does not want to read, it need not.
        drop(writer.write_all(bytes.as_ref()).await);
        pending::<Infallible>().await
    };
    let end = tokio::select! {
        end = read_to_end(&mut reader, &mut wire.received, DEADLINE) => end,
        never = write => match never {},
    };
    Ok(Received { bytes: wire.received.freeze(), end })
}

async fn read_to_end(stream: &mut (impl AsyncReadExt + Unpin), received: &mut BytesMut, silence: Duration) -> End {
    loop {
        match timeout(silence, stream.read_buf(received)).await {
            Ok(Ok(0)) => return End::Closed,
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return End::Reset,
            Err(_) => return End::Silent,
        }
    }
}
