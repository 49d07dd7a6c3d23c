//! A body that is compressed as it passes. What has come is sent on whenever nothing more has: a stream is not held up.

use std::{
    io::{self, Write},
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use brotli::CompressorWriter;
use bytes::Bytes;
use flate2::write::GzEncoder;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use ravelin_snapshot::filter::Algorithm;

use crate::body::{AnswerBody, BodyError};

/// Output that is worth a piece of its own.
const PIECE: usize = 16 << 10;

/// Input that is taken at once; others have a turn then.
const TURN: usize = 128 << 10;

/// Middle ground: more costs much time and saves few bytes.
const GZIP: u32 = 5;
const BROTLI: u32 = 4;
const ZSTD: i32 = 3;

/// Windows, as powers of two: what they hold, each stream holds.
const BROTLI_WINDOW: u32 = 18;
const ZSTD_WINDOW: u32 = 18;

pub struct Compressed {
    source: AnswerBody,
    /// `None`: all of it is written; or it could not be set up, which `failed` says.
    encoder: Option<Encoder>,
    failed: Option<io::Error>,
    trailers: Option<HeaderMap>,
    /// Something was written and not flushed.
    held: bool,
}

enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    fn new(algorithm: Algorithm) -> io::Result<Self> {
        Ok(match algorithm {
            Algorithm::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP))),
            Algorithm::Br => Self::Brotli(Box::new(CompressorWriter::new(Vec::new(), 4 << 10, BROTLI, BROTLI_WINDOW))),
            Algorithm::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD)?;
                encoder.window_log(ZSTD_WINDOW)?;
                Self::Zstd(encoder)
            }
        })
    }

    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.write_all(data),
            Self::Brotli(encoder) => encoder.write_all(data),
            Self::Zstd(encoder) => encoder.write_all(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.flush(),
            Self::Brotli(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }

    fn written(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        }
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Brotli(encoder) => Ok(encoder.into_inner()),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl Compressed {
    pub(super) fn new(algorithm: Algorithm, source: AnswerBody) -> Self {
        let (encoder, failed) = match Encoder::new(algorithm) {
            Ok(encoder) => (Some(encoder), None),
            Err(error) => (None, Some(error)),
        };
        Self { source, encoder, failed, trailers: None, held: false }
    }

    /// A piece of output if there is enough, or any at all.
    fn take(&mut self, least: usize) -> Option<Frame<Bytes>> {
        let written = self.encoder.as_mut()?.written();
        (written.len() >= least.max(1)).then(|| Frame::data(mem::take(written).into()))
    }

    fn finish(&mut self) -> Result<Option<Frame<Bytes>>, BodyError> {
        let rest = self.encoder.take().map(Encoder::finish).transpose().map_err(BodyError::Compression)?;
        let rest = rest.filter(|rest| !rest.is_empty()).map(|rest| Frame::data(rest.into()));
        Ok(rest.or_else(|| self.trailers.take().map(Frame::trailers)))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, BodyError>> {
        let mut taken = 0;
        loop {
            if let Some(error) = self.failed.take() {
                return Poll::Ready(Err(BodyError::Compression(error)));
            }
            let Some(encoder) = &mut self.encoder else {
                return Poll::Ready(Ok(self.trailers.take().map(Frame::trailers)));
            };
            let frame = match Pin::new(&mut self.source).poll_frame(cx) {
                Poll::Ready(frame) => frame.transpose()?,
                Poll::Pending if mem::take(&mut self.held) => {
                    encoder.flush().map_err(BodyError::Compression)?;
                    return self.take(1).map_or(Poll::Pending, |frame| Poll::Ready(Ok(Some(frame))));
                }
                Poll::Pending => return Poll::Pending,
            };
            match frame.map(Frame::into_data) {
                None => return Poll::Ready(self.finish()),
                Some(Err(frame)) => {
                    self.trailers = frame.into_trailers().ok();
                    return Poll::Ready(self.finish());
                }
                Some(Ok(data)) => {
                    encoder.write(&data).map_err(BodyError::Compression)?;
                    self.held = true;
                    taken += data.len();
                    if let Some(frame) = self.take(PIECE) {
                        return Poll::Ready(Ok(Some(frame)));
                    }
                    if taken >= TURN {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl Body for Compressed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.poll(cx).map(Result::transpose)
    }

    fn is_end_stream(&self) -> bool {
        self.encoder.is_none() && self.failed.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
