//! As much of RFC 6455 as both ends of an echo need.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

mod sha1;

/// The status of a close by a server that goes away (7.4.1).
pub(crate) const GOING_AWAY: u16 = 1001;
/// Larger frames are an error; a test has no use for them.
const MAX_PAYLOAD: u64 = 16 << 20;

/// What a server says to a client's key (4.2.2).
pub(crate) fn accept(key: &[u8]) -> String {
    base64(&sha1::digest(&[key, b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat()))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// A frame, unmasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) last: bool,
    pub(crate) opcode: Opcode,
    pub(crate) payload: Bytes,
}

impl Frame {
    pub(crate) fn close(status: u16) -> Self {
        Self { last: true, opcode: Opcode::Close, payload: Bytes::copy_from_slice(&status.to_be_bytes()) }
    }

    /// Not safe to cancel in the middle of a frame.
    pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let first = stream.read_u8().await?;
        let second = stream.read_u8().await?;
        let opcode = match first & 0x7f {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "no such WebSocket frame")),
        };
        let size = match second & 0x7f {
            126 => u64::from(stream.read_u16().await?),
            127 => stream.read_u64().await?,
            size => u64::from(size),
        };
        if size > MAX_PAYLOAD {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the WebSocket frame is too large"));
        }
        let mut mask = [0; 4];
        if second & 0x80 != 0 {
            stream.read_exact(&mut mask).await?;
        }
        let mut payload = vec![0; size as usize]; // at most MAX_PAYLOAD
        stream.read_exact(&mut payload).await?;
        apply(mask, &mut payload);
        Ok(Self { last: first & 0x80 != 0, opcode, payload: payload.into() })
    }

    /// A client masks, a server does not (5.3).
    pub(crate) async fn write(&self, stream: &mut (impl AsyncWrite + Unpin), mask: Option<[u8; 4]>) -> io::Result<()> {
        let opcode = match self.opcode {
            Opcode::Continuation => 0,
            Opcode::Text => 1,
            Opcode::Binary => 2,
            Opcode::Close => 8,
            Opcode::Ping => 9,
            Opcode::Pong => 10,
        };
        let masked = if mask.is_some() { 0x80 } else { 0 };
        let mut bytes = BytesMut::with_capacity(self.payload.len() + 14);
        bytes.put_u8(opcode | if self.last { 0x80 } else { 0 });
        match self.payload.len() {
            size @ 0..126 => bytes.put_u8(masked | size as u8), // less than 126
            size @ 126..=0xffff => {
                bytes.put_u8(masked | 126);
                bytes.put_u16(size as u16); // at most 0xffff
            }
            size => {
                bytes.put_u8(masked | 127);
                bytes.put_u64(size as u64);
            }
        }
        bytes.put_slice(mask.as_ref().map_or(&[], |mask| &mask[..]));
        let start = bytes.len();
        bytes.put_slice(&self.payload);
        apply(mask.unwrap_or_default(), &mut bytes[start..]);
        stream.write_all(&bytes).await?;
        stream.flush().await
    }
}

fn apply(mask: [u8; 4], payload: &mut [u8]) {
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// RFC 4648, with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let six = bits >> (18 - 6 * place) & 63;
            text.push(if place <= three.len() { char::from(ALPHABET[six as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_key_is_the_one_of_the_rfc() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn base64_pads_as_the_rfc_does() {
        let vectors = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        for (size, text) in vectors.into_iter().enumerate() {
            assert_eq!(base64(&b"foobar"[..size]), text);
        }
    }

    #[tokio::test]
    async fn a_frame_of_any_size_is_read_as_it_was_written() {
        for size in [0, 1, 125, 126, 127, 65_535, 65_536, 100_000] {
            for mask in [None, Some([1, 2, 3, 254])] {
                let payload = (0..size).map(|at| at as u8).collect::<Vec<_>>();
                let frame = Frame { last: size % 2 == 0, opcode: Opcode::Binary, payload: payload.into() };
                let mut bytes = Vec::new();
                frame.write(&mut bytes, mask).await.unwrap();
                assert_eq!(Frame::read(&mut bytes.as_slice()).await.unwrap(), frame);
            }
        }
    }
}
