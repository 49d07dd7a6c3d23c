//! What is noted of one request, from its head to the end of its answer: for metrics and the access log.
//!
//! The pipeline tells a [`Record`] what it finds out; the answer's body carries it on and closes it when the last piece is
//! handed over, or when it is dropped before. A record that is dropped without an answer closes itself: each request has one.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    thread,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{Method, Request, Response, header::USER_AGENT};
use http_body::{Body, Frame, SizeHint};

use crate::{
    access_log::{End, Feed, Line, Log, Stamp},
    body::{AnswerBody, BodyError},
    metrics::{Counted, Metrics, Share, Verb},
    policy::{auth::Denial, limit::Seats},
    reject::Reason,
    request::Target,
    table::Rule,
    upstream::Backend,
};

/// Where one worker writes its records.
pub struct Recorder {
    share: Share,
    feed: Option<Feed>,
    audit: Option<Feed>,
    /// Memory of lines that are written, for the next ones.
    spare: RefCell<Vec<Vec<u8>>>,
    stamp: Stamp,
    /// What is dropped from now on is cut off by the gateway.
    ending: Cell<bool>,
}

/// Buffers that are kept, and of which size at most.
const MAX_SPARE: usize = 64;
const MAX_SPARE_BYTES: usize = 4096;

impl Recorder {
    /// A log is `None` if it is off.
    pub fn new(metrics: &Arc<Metrics>, log: Option<&Arc<Log>>, audit: Option<&Arc<Log>>) -> Rc<Self> {
        Rc::new(Self {
            share: metrics.share(),
            feed: log.map(Log::feed),
            audit: audit.map(Log::feed),
            spare: RefCell::default(),
            stamp: Stamp::default(),
            ending: Cell::new(false),
        })
    }

    /// A head of which nothing is known but who sent it, and what was answered. Its time is that of a moment.
    pub fn malformed(&self, peer: SocketAddr, id: &str, reason: Reason, sent: u64) {
        let mut counted = Counted::new(Verb::Other);
        (counted.code, counted.reason) = (Some(reason.status()), Some(reason));
        self.share.count(&counted);
        if let Some(feed) = &self.feed {
            let mut line = Line::headless(self.space(), SystemTime::now(), &self.stamp);
            line.client(peer);
            line.target(id.as_bytes(), "", "");
            line.answered(reason.status(), counted.reason);
            let line = line.finish(counted.took, (0, sent), End::Complete);
            feed.put(&line);
            self.keep(line);
        }
    }

    /// A refusal by a policy, at once: nobody has to wait for the answer's end to read of it.
    pub(crate) fn denied(&self, denial: &Denial, clock: SystemTime, method: &Method, target: &Target, rule: &Rule) {
        let Some(feed) = &self.audit else { return };
        let mut line = Line::headless(self.space(), clock, &self.stamp);
        line.event(denial, method);
        line.client(target.client.source);
        line.target(target.id_value().as_bytes(), target.host(), target.path());
        line.rule(&rule.logged);
        let line = line.denied(denial);
        feed.put(&line);
        self.keep(line);
    }

    /// The worker's end: whoever is still served is cut off.
    pub(crate) fn end(&self) {
        self.ending.set(true);
    }

    /// Who it was that let go of a request before its end.
    fn dropped(&self) -> End {
        if self.ending.get() || thread::panicking() { End::Cut } else { End::ClientGone }
    }

    fn space(&self) -> Vec<u8> {
        self.spare.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(512))
    }

    fn keep(&self, space: Vec<u8>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < MAX_SPARE && space.capacity() <= MAX_SPARE_BYTES {
            spare.push(space);
        }
    }
}

/// One request.
pub struct Record {
    recorder: Rc<Recorder>,
    line: Option<Line>,
    begun: Instant,
    counted: Counted,
    /// Bytes of bodies.
    received: Option<Rc<Cell<u64>>>,
    sent: u64,
    /// Of limits on requests at once.
    seats: Seats,
    closed: bool,
}

impl Record {
    pub fn begin<B>(recorder: &Rc<Recorder>, now: Instant, clock: SystemTime, request: &Request<B>) -> Box<Self> {
        let line = recorder.feed.as_ref().map(|_| {
            let mut line = Line::begin(recorder.space(), clock, &recorder.stamp, request.method(), request.version());
            if let Some(agent) = request.headers().get(USER_AGENT) {
                line.user_agent(agent.as_bytes());
            }
            line
        });
        let counted = Counted::new(Verb::of(request.method()));
        Box::new(Self {
            recorder: Rc::clone(recorder),
            line,
            begun: now,
            counted,
            received: None,
            sent: 0,
            seats: Seats::default(),
            closed: false,
        })
    }

    /// For whoever reads the request's body: what it adds there is the `bytesIn`.
    pub fn received(&mut self) -> Rc<Cell<u64>> {
        Rc::clone(self.received.get_or_insert_default())
    }

    /// To be held until the answer has ended.
    pub fn hold(&mut self, seats: Seats) {
        self.seats = seats;
    }

    pub fn seats(&self) -> Seats {
        self.seats.clone()
    }

    /// A request whose head cannot be read has the peer as its client, and no more.
    pub fn peer(&mut self, peer: SocketAddr) {
        if let Some(line) = &mut self.line {
            line.client(peer);
        }
    }

    pub fn target(&mut self, target: &Target) {
        if let Some(line) = &mut self.line {
            line.client(target.client.source);
            line.target(target.id_value().as_bytes(), target.host(), target.path());
        }
    }

    pub fn rule(&mut self, rule: &Rule) {
        self.counted.set_route(&self.recorder.share, &rule.label);
        if let Some(line) = &mut self.line {
            line.rule(&rule.logged);
        }
    }

    /// Never a credential: the id that a policy found.
    pub fn caller(&mut self, id: &str) {
        if let Some(line) = &mut self.line {
            line.caller(id);
        }
    }

    /// A call, and how long it took until the head of the backend's answer, or its failure. `endpoint` is `None` if there
    /// was none to be called. The last call is the one that is logged.
    pub fn backend(&mut self, backend: &Backend, endpoint: Option<SocketAddr>, took: Duration) {
        if endpoint.is_some() {
            self.counted.called(&self.recorder.share, &backend.label, took);
            self.seats.answered(took);
        }
        if let Some(line) = &mut self.line {
            line.backend(&backend.logged, took);
            if let Some(address) = endpoint {
                line.endpoint(address);
            }
        }
    }

    /// The answer is one that Ravelin makes because of this.
    pub fn refused(&mut self, reason: Reason) {
        self.counted.reason = Some(reason);
    }

    /// Goes with the answer to its end.
    pub fn answer(mut self: Box<Self>, answer: Response<AnswerBody>) -> Response<Recorded> {
        self.counted.code = Some(answer.status());
        answer.map(|body| {
            let mut recorded = Recorded { body, record: Some(self) };
            if recorded.body.is_end_stream() {
                recorded.close(End::Complete, None);
            }
            recorded
        })
    }

    fn close(&mut self, end: End, broken: Option<Reason>) {
        self.closed = true;
        self.counted.took = self.begun.elapsed();
        self.counted.reason = self.counted.reason.or(broken);
        self.recorder.share.count(&self.counted);
        if let (Some(mut line), Some(feed)) = (self.line.take(), &self.recorder.feed) {
            if let Some(code) = self.counted.code {
                line.answered(code, self.counted.reason);
            }
            let received = self.received.as_ref().map_or(0, |received| received.get());
            let line = line.finish(self.counted.took, (received, self.sent), end);
            feed.put(&line);
            self.recorder.keep(line);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.closed {
            self.close(self.recorder.dropped(), None);
        }
    }
}

/// The body of an answer with the record of its request.
pub struct Recorded {
    body: AnswerBody,
    /// `None` once it is closed.
    record: Option<Box<Record>>,
}

impl Recorded {
    fn close(&mut self, end: End, broken: Option<Reason>) {
        if let Some(mut record) = self.record.take() {
            record.close(end, broken);
        }
    }
}

impl Body for Recorded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(record), Some(data)) = (&mut self.record, frame.data_ref()) {
                    record.sent += data.len() as u64;
                }
                if self.body.is_end_stream() {
                    self.close(End::Complete, None);
                }
            }
            Some(Err(error)) => {
                let (end, reason) = error.end();
                self.close(end, reason);
            }
            None => self.close(End::Complete, None),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl BodyError {
    /// Whose fault it is, and what the answer would have been if its head were not gone already.
    fn end(&self) -> (End, Option<Reason>) {
        match self {
            Self::Backend(_) | Self::BackendStream(_) => (End::Broken, Some(Reason::BackendRefused)),
            Self::Idle => (End::Broken, Some(Reason::BackendTimeout)),
            Self::Deadline => (End::Broken, Some(Reason::RequestTimeout)),
            Self::Compression(_) => (End::Broken, None),
            Self::Client(_) | Self::ClientWire(_) | Self::Base64 => (End::ClientGone, None),
        }
    }
}
