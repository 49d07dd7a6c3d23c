//! What a connection does, step by step.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

/// The steps of a connection, in order. At their end it is closed; with bytes unread, the kernel makes that a reset.
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub(super) steps: Steps,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Steps {
    pub(super) list: Vec<Step>,
    pub(super) forever: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    ReadHead,
    Read,
    Send(Bytes),
    Trickle { bytes: Bytes, every: Duration },
    Endless(Bytes),
    Wait(Gate),
    Hold,
    Reset,
    ReadHttp2,
    AnswerHttp2(String),
    RefuseHttp2,
    GoAwayHttp2 { processed: bool },
}

/// Building blocks.
impl Script {
    /// Closes at once.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the head of a request.
    #[must_use]
    pub fn read_head(self) -> Self {
        self.then(Step::ReadHead)
    }

    /// Reads a request with its body.
    #[must_use]
    pub fn read(self) -> Self {
        self.then(Step::Read)
    }

    /// Writes these bytes.
    #[must_use]
    pub fn send(self, bytes: impl Into<Bytes>) -> Self {
        self.then(Step::Send(bytes.into()))
    }

    /// Writes an answer with this body that keeps the connection alive.
    #[must_use]
    pub fn send_answer(self, body: &str) -> Self {
        self.send(answer(body))
    }

    /// Writes these bytes one by one, and waits after each.
    #[must_use]
    pub fn trickle(self, bytes: impl Into<Bytes>, every: Duration) -> Self {
        self.then(Step::Trickle { bytes: bytes.into(), every })
    }

    /// Writes these bytes again and again, until the peer closes.
    #[must_use]
    pub fn send_for_ever(self, bytes: impl Into<Bytes>) -> Self {
        self.then(Step::Endless(bytes.into()))
    }

    /// Waits until the gate is open.
    #[must_use]
    pub fn wait(self, gate: &Gate) -> Self {
        self.then(Step::Wait(gate.clone()))
    }

    /// Keeps the connection open and reads, until the peer closes.
    #[must_use]
    pub fn hold(self) -> Self {
        self.then(Step::Hold)
    }

    /// The end of the script is a reset (`SO_LINGER` of 0), which may overtake bytes that were sent.
    #[must_use]
    pub fn reset(self) -> Self {
        self.then(Step::Reset)
    }

    /// Reads a request over HTTP/2; there must be no other on its way. Settings are exchanged before the first.
    #[must_use]
    pub fn read_http2(self) -> Self {
        self.then(Step::ReadHttp2)
    }

    /// Answers the request over HTTP/2 that was read last.
    #[must_use]
    pub fn answer_http2(self, body: &str) -> Self {
        self.then(Step::AnswerHttp2(body.to_owned()))
    }

    /// Resets the stream that was read last with REFUSED_STREAM: its request was not processed.
    #[must_use]
    pub fn refuse_http2(self) -> Self {
        self.then(Step::RefuseHttp2)
    }

    /// GOAWAY without an error; its last stream is the one that was read last if that was processed, and else the one before.
    #[must_use]
    pub fn go_away_http2(self, processed: bool) -> Self {
        self.then(Step::GoAwayHttp2 { processed })
    }

    /// Begins again at the end. The steps must contain one that waits for the peer.
    #[must_use]
    pub fn for_ever(mut self) -> Self {
        self.steps.forever = true;
        self
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.list.push(step);
        self
    }
}

/// Misbehaviour by name.
impl Script {
    /// None: it answers 200 with this body to every request.
    pub fn answers(body: &str) -> Self {
        Self::new().read().send_answer(body).for_ever()
    }

    /// What comes back is no HTTP.
    pub fn garbage() -> Self {
        Self::new().read().send(&b"\x16\x03\x01 this is no HTTP\0\r\n\r\n"[..])
    }

    /// Closes before it has read or written a byte.
    pub fn closes_at_once() -> Self {
        Self::new()
    }

    /// Reads the request and closes without a byte.
    pub fn closes_unanswered() -> Self {
        Self::new().read()
    }

    /// Closes in the middle of the answer's head.
    pub fn closes_in_head() -> Self {
        Self::new().read().send("HTTP/1.1 200 OK\r\nContent-Le")
    }

    /// Closes between the answer's head and its body.
    pub fn closes_after_head() -> Self {
        Self::new().read().send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
    }

    /// Closes after 5 of 10 bytes of the body.
    pub fn closes_in_body() -> Self {
        Self::new().read().send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
    }

    /// Closes after a chunk, without the last one.
    pub fn closes_in_chunks() -> Self {
        Self::new().read().send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    }

    /// Never answers, and keeps the connection.
    pub fn never_answers() -> Self {
        Self::new().read().hold()
    }

    /// Never answers and never reads: a body that fits in no buffer is stuck.
    pub fn never_reads(gate: &Gate) -> Self {
        Self::new().wait(gate)
    }

    /// Answers `first`, and `second` without a second request. Then it keeps silent.
    pub fn answers_twice() -> Self {
        Self::new().read().send(answer("first") + &answer("second")).hold()
    }

    /// Two lengths that differ.
    pub fn conflicting_lengths() -> Self {
        Self::new().read().send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 10\r\n\r\nhellohello").hold()
    }

    /// A length, and chunks too.
    pub fn length_and_chunks() -> Self {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
        Self::new().read().send(format!("{head}2\r\nok\r\n0\r\n\r\n")).hold()
    }

    /// A chunk whose size is no number.
    pub fn bad_chunks() -> Self {
        Self::new()
            .read()
            .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nfive\r\nhello\r\n")
            .hold()
    }

    /// A head with `count` headers of `size` bytes each.
    pub fn large_head(count: usize, size: usize) -> Self {
        let mut head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n".to_owned();
        for number in 0..count {
            head += &format!("x-{number}: {}\r\n", ".".repeat(size));
        }
        Self::new().read().send(head + "\r\nok").hold()
    }

    /// A head without an end.
    pub fn endless_head() -> Self {
        Self::new().read().send("HTTP/1.1 200 OK\r\n").send_for_ever("x-more: of the same\r\n".repeat(200))
    }

    /// Interim answers without an end.
    pub fn endless_interim() -> Self {
        Self::new().read().send_for_ever("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(100))
    }

    /// A body without an end, in chunks.
    pub fn endless_body() -> Self {
        let chunk = format!("4000\r\n{}\r\n", ".".repeat(0x4000));
        Self::new().read().send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").send_for_ever(chunk)
    }

    /// A good answer, byte by byte.
    pub fn trickles(body: &str, every: Duration) -> Self {
        Self::new().read().trickle(answer(body), every).for_ever()
    }

    /// Answers `ok` once, keeps the connection alive, and closes when the next request has come, without a byte: what a
    /// client sees of a backend that closes an idle connection just as the client reuses it.
    pub fn closes_when_reused() -> Self {
        Self::new().read().send_answer("ok").read()
    }

    /// Answers `ok` once as if to keep the connection alive, and closes it when the gate opens.
    pub fn closes_idle(gate: &Gate) -> Self {
        Self::new().read().send_answer("ok").wait(gate)
    }

    /// Resets the connection when the request has come.
    pub fn resets() -> Self {
        Self::new().read().reset()
    }

    /// Resets the connection after 5 of 10 bytes of the body were sent and the gate has opened.
    pub fn resets_in_body(gate: &Gate) -> Self {
        Self::new().read().send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").wait(gate).reset()
    }

    /// Answers 101 to who asked for no upgrade.
    pub fn unasked_upgrade() -> Self {
        Self::new().read().send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").hold()
    }

    /// None, over HTTP/2: it answers 200 with this body to every request.
    pub fn http2_answers(body: &str) -> Self {
        Self::new().read_http2().answer_http2(body).for_ever()
    }

    /// Refuses every other stream, beginning with the first, and answers `ok` to the others.
    pub fn http2_refuses_every_other() -> Self {
        Self::new().read_http2().refuse_http2().read_http2().answer_http2("ok").for_ever()
    }

    /// Goes away without having processed the first request, and closes when the peer does.
    pub fn http2_goes_away_unprocessed() -> Self {
        Self::new().read_http2().go_away_http2(false).hold()
    }

    /// Announces that it goes away, and still answers `ok` to the first request.
    pub fn http2_goes_away_processed() -> Self {
        Self::new().read_http2().go_away_http2(true).answer_http2("ok").hold()
    }

    /// Reads the request over HTTP/2 and closes without an answer: nobody knows whether it was processed.
    pub fn http2_closes_unanswered() -> Self {
        Self::new().read_http2()
    }
}

fn answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Holds scripts until the test opens it; then it stays open. Clones are the same gate.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    open: watch::Sender<bool>,
}

impl Gate {
    /// A closed one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets all through, now and later.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    pub(super) async fn passed(&self) {
        // Invariant: we are a sender ourselves.
        drop(self.open.subscribe().wait_for(|open| *open).await);
    }
}
