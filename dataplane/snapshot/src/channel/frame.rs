//! Frames on a byte stream: a length of four bytes, big-endian, then so many bytes of JSON.

use std::{
    io::{self, Write},
    time::Duration,
};

use bytes::{Buf, BufMut, BytesMut};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use crate::{
    part::{Malformed, decode},
    secret::reveal,
};

/// The largest frame that each side takes. A data plane speaks of digests and reasons, a controller of whole parts.
pub(super) const TO_CONTROLLER: usize = 1 << 20;
pub(super) const TO_DATA_PLANE: usize = 64 << 20;

/// What is gathered before it is written.
const BATCH: usize = 64 << 10;
/// A peer that takes no batch for so long is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
const HEADER: usize = 4;

/// Why a connection ends. No variant holds content: it may be secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("the peer has gone")]
    Closed,
    #[error("the peer has gone in the middle of a frame")]
    CutShort,
    #[error("a frame of {length} bytes where at most {cap} are taken")]
    Oversized { length: usize, cap: usize },
    #[error("a damaged frame: {0}")]
    Damaged(#[from] Malformed),
    #[error("the peer takes no data")]
    Stalled,
    #[error(transparent)]
    Io(#[from] io::Error),
}

pub(super) struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
    cap: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(super) fn new(stream: R, cap: usize) -> Self {
        Self { stream, buffer: BytesMut::new(), cap }
    }

    /// The next frame. Nothing is lost if the future is dropped: what has arrived stays in the buffer.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> Result<T, FrameError> {
        loop {
            if let Some(length) = self.length()?
                && self.buffer.len() >= HEADER + length
            {
                self.buffer.advance(HEADER);
                return Ok(decode(&self.buffer.split_to(length))?);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(if self.buffer.is_empty() { FrameError::Closed } else { FrameError::CutShort });
            }
        }
    }

    /// Of the frame at the front, judged before its bytes are waited for.
    fn length(&self) -> Result<Option<usize>, FrameError> {
        let Some(header) = self.buffer.first_chunk::<HEADER>() else { return Ok(None) };
        let length = u32::from_be_bytes(*header) as usize;
        if length > self.cap {
            return Err(FrameError::Oversized { length, cap: self.cap });
        }
        Ok(Some(length))
    }
}

pub(super) struct FrameWriter<W> {
    stream: W,
    buffer: BytesMut,
    cap: usize,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    pub(super) fn new(stream: W, cap: usize) -> Self {
        Self { stream, buffer: BytesMut::new(), cap }
    }

    /// Adds a frame, and writes when there is a batch of them. A frame beyond the cap is not added.
    pub(super) async fn put<T: Serialize>(&mut self, message: &T) -> Result<(), FrameError> {
        append(&mut self.buffer, message, self.cap)?;
        if self.buffer.len() >= BATCH { self.flush().await } else { Ok(()) }
    }

    pub(super) async fn flush(&mut self) -> Result<(), FrameError> {
        timeout(WRITE_TIMEOUT, self.stream.write_all(&self.buffer)).await.map_err(|_| FrameError::Stalled)??;
        self.buffer.clear();
        Ok(())
    }
}

pub(super) fn append<T: Serialize>(buffer: &mut BytesMut, message: &T, cap: usize) -> Result<(), FrameError> {
    let start = buffer.len();
    buffer.put_u32(0);
    let mut rest = Capped { inner: buffer.writer(), left: cap };
    let written = reveal(|| serde_json::to_writer(&mut rest, message));
    let length = buffer.len() - start - HEADER;
    if written.is_err() {
        // Our types always serialize: what failed is the cap.
        buffer.truncate(start);
        return Err(FrameError::Oversized { length, cap });
    }
    buffer[start..start + HEADER].copy_from_slice(&(length as u32).to_be_bytes());
    Ok(())
}

/// Fails beyond `left` bytes.
struct Capped<W> {
    inner: W,
    left: usize,
}

impl<W: Write> Write for Capped<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self.left.checked_sub(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    async fn read(bytes: &[u8]) -> Result<Value, FrameError> {
        FrameReader::new(bytes, 16).next().await
    }

    #[tokio::test]
    async fn a_frame_that_is_damaged_cut_short_or_too_long_is_an_error_and_never_a_message() {
        assert_eq!(read(b"\0\0\0\x02[]").await.unwrap(), serde_json::json!([]));
        assert!(matches!(read(b"").await, Err(FrameError::Closed)));
        assert!(matches!(read(b"\0\0").await, Err(FrameError::CutShort)));
        assert!(matches!(read(b"\0\0\0\x05[]").await, Err(FrameError::CutShort)));
        assert!(matches!(read(b"\0\0\0\x02[[").await, Err(FrameError::Damaged(_))));
        assert!(matches!(read(b"\0\0\0\x04[] x").await, Err(FrameError::Damaged(_))));
        assert!(matches!(read(b"\xff\xff\xff\xff").await, Err(FrameError::Oversized { cap: 16, .. })));
    }

    #[tokio::test]
    async fn a_frame_beyond_the_cap_is_not_sent_and_the_next_one_is_whole() {
        let mut sent = Vec::new();
        let mut writer = FrameWriter::new(&mut sent, 16);
        assert!(matches!(writer.put(&"x".repeat(15)).await, Err(FrameError::Oversized { .. })));
        writer.put(&"x".repeat(14)).await.unwrap();
        writer.flush().await.unwrap();
        assert_eq!(read(&sent).await.unwrap(), Value::from("x".repeat(14)));
    }
}
