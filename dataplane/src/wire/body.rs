//! Where a body ends.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::{
    WireError,
    chunks::{Bounds, Chunks},
};

/// How much of a body is still to come.
#[derive(Debug)]
pub(crate) enum Decoder {
    /// Bytes.
    Length(u64),
    Chunked(Chunks),
    /// Everything until the connection ends.
    Close,
}

#[derive(Debug)]
pub(crate) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    /// Nothing of it is there: more has to be read.
    Wanting,
}

impl Decoder {
    pub(crate) fn chunked(bounds: Bounds) -> Self {
        Self::Chunked(Chunks::new(bounds))
    }

    /// The next piece of what has come.
    pub(crate) fn decode(&mut self, buffer: &mut BytesMut) -> Result<Piece, WireError> {
        match self {
            Self::Length(0) => Ok(Piece::End),
            Self::Chunked(chunks) => chunks.decode(buffer),
            Self::Length(_) | Self::Close if buffer.is_empty() => Ok(Piece::Wanting),
            Self::Length(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                *left -= count as u64;
                Ok(Piece::Data(buffer.split_to(count).freeze()))
            }
            Self::Close => Ok(Piece::Data(buffer.split().freeze())),
        }
    }

    /// The connection has ended, and what came has been decoded.
    pub(crate) fn closed(&mut self) -> Result<(), WireError> {
        match self {
            Self::Close => *self = Self::Length(0),
            _ if self.is_over() => {}
            Self::Length(_) | Self::Chunked(_) => return Err(WireError::Incomplete),
        }
        Ok(())
    }

    /// All of it has been decoded.
    pub(crate) fn is_over(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks) => chunks.is_over(),
            Self::Close => false,
        }
    }

    /// Bytes to come, if that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            _ if self.is_over() => Some(0),
            Self::Chunked(_) | Self::Close => None,
        }
    }
}
