//! Heads and bodies on their way out.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use hyper::ext::ReasonPhrase;
use tokio::io::AsyncWrite;

use super::{answer::says, request::digits};
use crate::request::X_REQUEST_ID;

/// How a body's end is told to its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// So many bytes, then no more.
    Length(u64),
    Chunked,
}

/// Of chunks that are there already, so much is written at once: a backend's small ones cost no system call each.
const GATHER: usize = 16 << 10;

/// Bytes of a message of the usual size: so much memory is kept for the next one.
const USUAL: usize = 4 << 10;

/// What is to be written next: a head or chunks and the frame of another, its data, the rest of its frame.
#[derive(Debug)]
pub(crate) struct Outgoing {
    text: Vec<u8>,
    /// How much of `text` is written.
    written: usize,
    data: Bytes,
    tail: &'static [u8],
    ending: Ending,
    /// Some of the message has been given to the kernel.
    begun: bool,
}

/// A body that is not what its head said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch;

impl Default for Outgoing {
    fn default() -> Self {
        Self { text: Vec::new(), written: 0, data: Bytes::new(), tail: b"", ending: Ending::Length(0), begun: false }
    }
}

impl Outgoing {
    /// Begins a message; `write` writes its head.
    pub(crate) fn begin(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Ending) {
        self.text.clear();
        (self.written, self.data, self.tail, self.begun) = (0, Bytes::new(), b"", false);
        self.ending = write(&mut self.text);
    }

    /// Everything is written.
    pub(crate) fn is_empty(&self) -> bool {
        self.written == self.text.len() && self.data.is_empty() && self.tail.is_empty()
    }

    /// The next piece of the body, when there [is room](Self::has_room) for it.
    pub(crate) fn push(&mut self, data: Bytes) -> Result<(), Mismatch> {
        if data.is_empty() {
            return Ok(());
        }
        match &mut self.ending {
            Ending::Length(left) => *left = left.checked_sub(data.len() as u64).ok_or(Mismatch)?,
            Ending::Chunked => {
                self.settle();
                // Writing to memory does not fail.
                drop(io::Write::write_fmt(&mut self.text, format_args!("{:x}\r\n", data.len())));
                self.tail = b"\r\n";
            }
        }
        self.data = data;
        Ok(())
    }

    /// The body is over.
    pub(crate) fn finish(&mut self, trailers: Option<(&HeaderMap, &[HeaderName])>) -> Result<(), Mismatch> {
        match self.ending {
            Ending::Length(0) => return Ok(()),
            Ending::Length(_) => return Err(Mismatch),
            Ending::Chunked => {}
        }
        match trailers {
            None if !self.data.is_empty() => self.tail = b"\r\n0\r\n\r\n",
            None => {
                self.settle();
                self.text.extend_from_slice(b"0\r\n\r\n");
            }
            Some((trailers, announced)) => {
                self.settle();
                self.text.extend_from_slice(b"0\r\n");
                let sent = trailers.iter().filter(|(name, _)| announced.contains(name));
                sent.for_each(|(name, value)| field(&mut self.text, name, value.as_bytes()));
                self.text.extend_from_slice(b"\r\n");
            }
        }
        self.ending = Ending::Length(0);
        Ok(())
    }

    /// The last piece is written but for the head before it; or chunks are so small that the next may go with them.
    pub(crate) fn has_room(&self) -> bool {
        let waiting = self.text.len() - self.written + self.data.len();
        self.data.is_empty() && self.tail.is_empty() || self.ending == Ending::Chunked && waiting < GATHER
    }

    /// All bytes of the body have been given, as far as its length is known.
    pub(crate) fn is_complete(&self) -> bool {
        self.ending == Ending::Length(0)
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Memory for one more message of the usual size; what is more is given back.
    pub(crate) fn shrink(&mut self) {
        if self.is_empty() && self.text.capacity() > USUAL {
            self.text = Vec::new();
            self.written = 0;
        }
    }

    /// Makes what waits text, behind which more can be put.
    fn settle(&mut self) {
        if self.written == self.text.len() {
            self.text.clear();
            self.written = 0;
        }
        self.text.extend_from_slice(&self.data);
        self.text.extend_from_slice(self.tail);
        (self.data, self.tail) = (Bytes::new(), b"");
    }

    /// Writes everything.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        mut io: Pin<&mut impl AsyncWrite>,
    ) -> Poll<io::Result<()>> {
        if self.text.len() + self.data.len() <= USUAL && !self.data.is_empty() {
            self.settle(); // to copy it costs less than to gather it in the kernel
        }
        while !self.is_empty() {
            let text = &self.text[self.written..];
            let count = if self.data.is_empty() && self.tail.is_empty() {
                ready!(io.as_mut().poll_write(cx, text))?
            } else {
                let slices = [IoSlice::new(text), IoSlice::new(&self.data), IoSlice::new(self.tail)];
                ready!(io.as_mut().poll_write_vectored(cx, &slices))?
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(count);
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, count: usize) {
        self.begun = true;
        let of_text = count.min(self.text.len() - self.written);
        self.written += of_text;
        let of_data = (count - of_text).min(self.data.len());
        if of_data == self.data.len() {
            self.data = Bytes::new(); // it may keep a whole buffer
        } else {
            self.data.advance(of_data);
        }
        self.tail = &self.tail[count - of_text - of_data..];
    }
}

/// One field of a head.
pub(crate) fn field(text: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    text.extend_from_slice(name.as_str().as_bytes());
    text.extend_from_slice(b": ");
    text.extend_from_slice(value);
    text.extend_from_slice(b"\r\n");
}

fn length_field(text: &mut Vec<u8>, length: u64) {
    text.extend_from_slice(b"content-length: ");
    text.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    text.extend_from_slice(b"\r\n");
}

/// What is known of a body before its first byte: nothing of it comes, so many bytes, or it will be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    Nothing,
    Known(u64),
    Unknown,
}

impl Size {
    pub(crate) fn of(body: &impl http_body::Body) -> Self {
        match body.size_hint().exact() {
            _ if body.is_end_stream() => Self::Nothing,
            Some(length) => Self::Known(length),
            None => Self::Unknown,
        }
    }
}

/// Writes the head of a request, with what `more` writes behind its fields. What it says of its body is what will be sent,
/// whatever its headers say.
pub(crate) fn head_of_request<B>(
    text: &mut Vec<u8>,
    request: &Request<B>,
    size: Size,
    more: impl FnOnce(&mut Vec<u8>),
) -> Ending {
    text.extend_from_slice(request.method().as_str().as_bytes());
    text.push(b' ');
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    text.extend_from_slice(target.as_bytes());
    text.extend_from_slice(b" HTTP/1.1\r\n");
    let mut said = false;
    for (name, value) in request.headers() {
        match *name {
            header::CONTENT_LENGTH => said = true,
            header::TRANSFER_ENCODING => {}
            _ => field(text, name, value.as_bytes()),
        }
    }
    more(text);
    let ending = match size {
        Size::Nothing | Size::Known(0) => {
            if said {
                length_field(text, 0);
            }
            Ending::Length(0)
        }
        Size::Known(length) => {
            length_field(text, length);
            Ending::Length(length)
        }
        Size::Unknown => {
            text.extend_from_slice(b"transfer-encoding: chunked\r\n");
            Ending::Chunked
        }
    };
    text.extend_from_slice(b"\r\n");
    ending
}

/// What the head of an answer has to know beside its own fields.
pub(crate) struct Told<'a> {
    /// It answers HEAD.
    pub(crate) head: bool,
    pub(crate) size: Size,
    /// No other request is read from this connection; set if the answer says so.
    pub(crate) last: bool,
    /// `Date`, for an answer that has none.
    pub(crate) date: &'a [u8],
    /// Of the request: what the answer says itself of it does not count.
    pub(crate) id: &'a HeaderValue,
}

/// Writes the head of a final answer.
pub(crate) fn head_of_answer<B>(text: &mut Vec<u8>, answer: &Response<B>, told: &mut Told<'_>) -> Ending {
    status_line(text, answer);
    let silent = matches!(answer.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let (mut length, mut dated, mut closes) = (None, false, false);
    for (name, value) in answer.headers() {
        match *name {
            header::CONTENT_LENGTH => length = length.or_else(|| digits(value)),
            header::TRANSFER_ENCODING => {}
            _ if *name == X_REQUEST_ID => {}
            _ => {
                dated |= *name == header::DATE;
                if *name == header::CONNECTION {
                    closes |= says(value, "close");
                }
                field(text, name, value.as_bytes());
            }
        }
    }
    let ending = match told.size {
        _ if silent => Ending::Length(0),
        _ if told.head => {
            if let Some(length) = length {
                length_field(text, length);
            }
            Ending::Length(0)
        }
        Size::Nothing | Size::Known(0) => {
            length_field(text, 0);
            Ending::Length(0)
        }
        Size::Known(length) => {
            length_field(text, length);
            Ending::Length(length)
        }
        Size::Unknown => match length {
            Some(length) => {
                length_field(text, length);
                Ending::Length(length)
            }
            None => {
                text.extend_from_slice(b"transfer-encoding: chunked\r\n");
                Ending::Chunked
            }
        },
    };
    told.last |= closes;
    if told.last && !closes {
        text.extend_from_slice(b"connection: close\r\n");
    }
    field(text, &X_REQUEST_ID, told.id.as_bytes());
    if !dated {
        text.extend_from_slice(b"date: ");
        text.extend_from_slice(told.date);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    ending
}

fn status_line<B>(text: &mut Vec<u8>, answer: &Response<B>) {
    let status = answer.status();
    let reason = answer.extensions().get::<ReasonPhrase>();
    if status == StatusCode::OK && reason.is_none() {
        return text.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    text.extend_from_slice(b"HTTP/1.1 ");
    text.extend_from_slice(status.as_str().as_bytes());
    text.push(b' ');
    match reason {
        Some(reason) => text.extend_from_slice(reason.as_bytes()),
        None => text.extend_from_slice(status.canonical_reason().unwrap_or("<none>").as_bytes()),
    }
    text.extend_from_slice(b"\r\n");
}

/// The trailers that a message announces (RFC 9110, 6.5.1): no others are sent on.
pub(crate) fn announced(headers: &HeaderMap) -> Vec<HeaderName> {
    // What a reader could take for a header is never a trailer.
    const NEVER: [HeaderName; 19] = [
        header::AUTHORIZATION,
        header::CACHE_CONTROL,
        header::CONNECTION,
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::CONTENT_TYPE,
        header::COOKIE,
        header::EXPECT,
        header::FORWARDED,
        header::HOST,
        header::MAX_FORWARDS,
        header::PROXY_AUTHORIZATION,
        header::RANGE,
        header::SET_COOKIE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::TE,
        header::UPGRADE,
    ];
    let lists = headers.get_all(header::TRAILER).iter().filter_map(|value| value.to_str().ok());
    let names = lists.flat_map(|list| list.split(',')).filter_map(|name| name.trim().parse::<HeaderName>().ok());
    names.filter(|name| !NEVER.contains(name)).collect()
}
