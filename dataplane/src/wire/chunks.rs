//! The chunked coding (RFC 9112, 7.1), a byte at a time but for the data.

use bytes::{Buf, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Piece, WireError};

/// Of all extensions of one body, bytes. They are read and forgotten.
const MAX_EXTENSIONS: u32 = 16 << 10;

/// Of the fields of a head or of trailers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) bytes: usize,
    pub(crate) fields: usize,
}

#[derive(Debug)]
pub(crate) struct Chunks {
    state: State,
    /// Of the chunk that is being read.
    left: u64,
    extensions: u32,
    trailers: Vec<u8>,
    fields: usize,
    bounds: Bounds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The first digit of a size.
    First,
    Size,
    /// White space behind a size.
    Blank,
    Extension,
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    /// The beginning of a line behind the last chunk: a trailer, or the end.
    Line,
    Trailer,
    TrailerEnd,
    LastLf,
    /// Trailers are whole and not yet given.
    Trailers,
    Over,
    /// What came is no chunk, and nothing behind it counts.
    Broken,
}

impl Chunks {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { state: State::First, left: 0, extensions: 0, trailers: Vec::new(), fields: 0, bounds }
    }

    pub(super) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// The next piece of what has come.
    pub(super) fn decode(&mut self, buffer: &mut BytesMut) -> Result<Piece, WireError> {
        self.frame(buffer)?;
        match self.state {
            State::Data if !buffer.is_empty() => {
                let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
                self.left -= count as u64;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                let data = buffer.split_to(count).freeze();
                // So that the end is known with the last piece. What is wrong behind it, the next call says.
                drop(self.frame(buffer));
                Ok(Piece::Data(data))
            }
            State::Trailers => {
                self.state = State::Broken; // unless they are some
                let trailers = fields(&self.trailers, self.fields)?;
                self.state = State::Over;
                Ok(Piece::Trailers(trailers))
            }
            State::Over => Ok(Piece::End),
            State::Broken => Err(WireError::Chunks),
            _ => Ok(Piece::Wanting),
        }
    }

    /// Takes what is between the data.
    fn frame(&mut self, buffer: &mut BytesMut) -> Result<(), WireError> {
        let mut taken = 0;
        while !matches!(self.state, State::Data | State::Trailers | State::Over | State::Broken)
            && let Some(byte) = buffer.get(taken)
        {
            // For ever: half a line may have been taken, and read anew it could be another.
            self.step(*byte).inspect_err(|_| self.state = State::Broken)?;
            taken += 1;
        }
        buffer.advance(taken);
        Ok(())
    }

    fn step(&mut self, byte: u8) -> Result<(), WireError> {
        self.state = match (self.state, byte) {
            (State::First | State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                // Invariant: a hexadecimal digit.
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                self.left = self.left.checked_mul(16).map(|left| left | digit).ok_or(WireError::Chunks)?;
                State::Size
            }
            (State::Size | State::Blank, b'\t' | b' ') => State::Blank,
            (State::Size | State::Blank, b';') => State::Extension,
            (State::Size | State::Blank | State::Extension, b'\r') => State::SizeEnd,
            (State::Extension, b'\n') => return Err(WireError::Chunks), // some would take it for the end of the line
            (State::Extension, _) => {
                self.extensions += 1;
                if self.extensions >= MAX_EXTENSIONS {
                    return Err(WireError::Chunks);
                }
                State::Extension
            }
            (State::SizeEnd, b'\n') if self.left == 0 => State::Line,
            (State::SizeEnd, b'\n') => State::Data,
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::First,
            (State::Line, b'\r') => State::LastLf,
            (State::Line | State::Trailer, _) => {
                self.keep(byte)?;
                if byte == b'\r' { State::TrailerEnd } else { State::Trailer }
            }
            (State::TrailerEnd, b'\n') => {
                self.keep(byte)?;
                self.fields += 1;
                if self.fields > self.bounds.fields {
                    return Err(WireError::Chunks);
                }
                State::Line
            }
            (State::LastLf, b'\n') if self.trailers.is_empty() => State::Over,
            (State::LastLf, b'\n') => {
                self.trailers.extend_from_slice(b"\r\n");
                State::Trailers
            }
            _ => return Err(WireError::Chunks),
        };
        Ok(())
    }

    fn keep(&mut self, byte: u8) -> Result<(), WireError> {
        self.trailers.push(byte);
        if self.trailers.len() >= self.bounds.bytes { Err(WireError::Chunks) } else { Ok(()) }
    }
}

fn fields(text: &[u8], count: usize) -> Result<HeaderMap, WireError> {
    let mut parsed = vec![httparse::EMPTY_HEADER; count];
    let Ok(httparse::Status::Complete((_, parsed))) = httparse::parse_headers(text, &mut parsed) else {
        return Err(WireError::Chunks);
    };
    let mut fields = HeaderMap::with_capacity(parsed.len());
    for field in parsed {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| WireError::Chunks)?;
        fields.append(name, HeaderValue::from_bytes(field.value).map_err(|_| WireError::Chunks)?);
    }
    Ok(fields)
}
