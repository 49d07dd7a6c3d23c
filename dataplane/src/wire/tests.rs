//! hyper is the oracle: whatever is plain to us is the same message to hyper, piece by piece, and where it ends is where it
//! ends for hyper; and what we write is to hyper what it was meant to be.

mod answers;
mod requests;
mod writing;

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use http::HeaderMap;
use proptest::{prelude::*, sample::select};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{AnswerBounds, Bounds};

const BOUNDS: Bounds = Bounds { bytes: 64 << 10, fields: 100 };

const ANSWER: AnswerBounds = AnswerBounds { head: BOUNDS.bytes, trailers: BOUNDS };

/// A connection that holds all that its peer will ever send, and takes all that is sent to it.
struct Script {
    input: Vec<u8>,
    read: usize,
    written: Vec<u8>,
    /// The peer answers what it is sent and closes, rather than wait.
    closes: bool,
}

impl Script {
    fn new(input: &[u8], closes: bool) -> Self {
        Self { input: input.to_vec(), read: 0, written: Vec::new(), closes }
    }
}

impl AsyncRead for Script {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.closes && self.written.is_empty() {
            return Poll::Pending; // nobody answers before he is asked
        }
        let from = self.read;
        let count = buffer.remaining().min(self.input.len() - from);
        if count == 0 && !self.closes {
            return Poll::Pending;
        }
        buffer.put_slice(&self.input[from..from + count]);
        self.read += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Polls as often as it could take: nothing but its own input moves it.
fn settle<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    (0..64).find_map(|_| match future.as_mut().poll(&mut cx) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    })
}

fn sorted(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    all.sort();
    all
}

/// Fields that speak of the body, well and badly.
const FRAMING: [&str; 24] = [
    "content-length: 0",
    "content-length: 5",
    "Content-Length: 5",
    "content-length: 05",
    "content-length:5 ",
    "content-length: 5, 5",
    "content-length: 5, 6",
    "content-length: +5",
    "content-length: -5",
    "content-length: 5 5",
    "content-length:",
    "content-length: 18446744073709551615",
    "content-length: 99999999999999999999",
    "content-length : 5",
    "transfer-encoding: chunked",
    "Transfer-Encoding: CHUNKED",
    "transfer-encoding: gzip, chunked",
    "transfer-encoding: chunked, identity",
    "transfer-encoding: xchunked",
    "transfer-encoding: identity",
    "transfer-encoding:\tchunked\t",
    "transfer-encoding: \x0bchunked",
    " transfer-encoding: chunked",
    "transfer-encoding:",
];

const OTHERS: [&str; 20] = [
    "host: a",
    "host: b",
    "accept: */*",
    "x-long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "x-empty:",
    "x y: 1",
    "x: a\x00b",
    "x: a\rb",
    "x: caf\u{e9}",
    "X-Upper: 1",
    "x: 1\r\n folded",
    "connection: close",
    "connection: Keep-Alive",
    "connection: close, x",
    "connection: keep-alive, close",
    "keep-alive: timeout=5",
    "te: trailers",
    "expect: 100-continue",
    "upgrade: websocket",
    "trailer: x-sum",
];

const BODIES: [&str; 22] = [
    "",
    "hello",
    "hell",
    "hello!",
    "5\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n",
    "5\r\nhello\r\n0\r\nx sum: 1\r\n\r\n",
    "05;a=b\r\nhello\r\n00\r\n\r\n",
    "5 \t\r\nhello\r\n0\r\n\r\n",
    "5 5\r\nhello\r\n0\r\n\r\n",
    "5;a\nb\r\nhello\r\n0\r\n\r\n",
    "5\nhello\n0\n\n",
    "5\r\nhello0\r\n\r\n",
    "5\r\nhello!\r\n0\r\n\r\n",
    "x\r\n\r\n",
    "-1\r\na\r\n0\r\n\r\n",
    "fffffffffffffffff\r\na",
    "ffffffffffffffff\r\na",
    "0\r\n\r\n",
    "0\r\n",
    "\r\n",
    "A\r\n0123456789\r\n0\r\n\r\n",
];

fn fields() -> impl Strategy<Value = String> {
    let field = prop_oneof![select(&FRAMING[..]), select(&OTHERS[..])];
    let end = prop_oneof![9 => Just("\r\n"), 1 => Just("\n")];
    prop::collection::vec((field, end), 0..5)
        .prop_map(|fields| fields.into_iter().map(|(field, end)| format!("{field}{end}")).collect())
}

/// A byte here and there is another.
fn bent(text: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<u8>> {
    let bends = prop::collection::vec((any::<prop::sample::Index>(), select(&b"\r\n \t:;,0159afx\x00\xff"[..])), 0..3);
    (text, prop_oneof![3 => Just(Vec::new()).boxed(), 1 => bends.boxed()]).prop_map(|(text, bends)| {
        let mut bytes = text.into_bytes();
        for (at, byte) in bends {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        bytes
    })
}

#[test]
fn a_head_that_comes_in_pieces_is_noticed_when_its_end_comes() {
    for head in ["GET / HTTP/1.1\r\nhost: a\r\n\r\n", "GET / HTTP/1.1\nhost: a\n\n", "GET / HTTP/1.1\r\nhost: a\n\r\n"]
    {
        for known in 1..head.len() {
            assert!(super::may_be_whole(head.as_bytes(), known), "{head:?} {known}");
            assert!(!super::may_be_whole(&head.as_bytes()[..known], known), "{head:?} {known}");
        }
    }
}

#[test]
fn chunks_that_broke_stay_broken_whatever_their_rest_looks_like_and_give_what_came_before() {
    let mut chunks = super::Decoder::chunked(BOUNDS);
    // Read anew from where the line broke, this would be a chunk of five.
    let mut buffer = bytes::BytesMut::from("2\r\nhi\r\n5;a\nb\r\nhello\r\n0\r\n\r\n");
    assert!(matches!(chunks.decode(&mut buffer), Ok(super::Piece::Data(data)) if data == "hi"));
    for _ in 0..4 {
        assert!(chunks.decode(&mut buffer).is_err() && !chunks.is_over());
    }
}
