//! Identical GET requests that are under way share one call of the backend.
//!
//! The call has a task and a time of its own: a client that goes away takes it from nobody. Its answer is read whole before
//! anybody gets it; one that is too large, a stream, or for one client alone goes to whoever asked first, and the others ask for
//! themselves.

use std::{
    cell::Cell,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::digest::{Context, SHA256};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use http_body_util::BodyExt;
use ravelin_snapshot::backend::Balancing;
use tokio::sync::{oneshot, watch};

use super::{Exchange, forward::To};
use crate::{
    body::AnswerBody,
    expression::Scope,
    reject::Reason,
    request::Caller,
    table::{
        extras::Coalesce,
        rule::{Destination, Forward, Rule},
    },
    upstream::{
        self, Addresses, Backend, Failure, Led, Pools, Retry, Upload, UpstreamBody,
        coalesce::{Answer, Flights, Key, Leader, Outcome, Seat},
    },
};

/// Of an answer that is shared.
const MOST: usize = 1 << 20;

/// Requests that differ in these are never identical: answers follow them.
const ALWAYS: [HeaderName; 9] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::RANGE,
    header::IF_RANGE,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_MATCH,
    header::IF_UNMODIFIED_SINCE,
];

/// What a backend may know a client by, whom the gateway does not know.
const CREDENTIALS: [HeaderName; 2] = [header::AUTHORIZATION, header::COOKIE];

/// A request's part in a call, found out while it is still as the client sent it.
pub(super) struct Shared<'t> {
    said: &'t Coalesce,
    key: Key,
}

/// What whoever asked first gets.
enum First {
    Shared(Arc<Answer>),
    /// Not to be shared.
    Own(Response<AnswerBody>),
    Failed(Failure),
}

/// The first answer, with the endpoint that was called, and how long it took.
type Given = (First, Option<SocketAddr>, Duration);

impl<'t> Shared<'t> {
    /// `None`: the request makes a call of its own.
    pub(super) fn of(
        exchange: &Exchange<'_>,
        forward: &'t Forward,
        rule: &Rule,
        caller: &Caller,
        request: &Request<Upload>,
    ) -> Option<Self> {
        let said = forward.extras.as_deref()?.coalesce.as_ref()?;
        let plain = request.method() == Method::GET && !request.headers().contains_key(header::UPGRADE);
        if !plain || !http_body::Body::is_end_stream(request.body()) {
            return None;
        }
        let target = exchange.target;
        let mut key = Context::new(&SHA256);
        let headers = request.headers();
        put(&mut key, target.scheme().as_str().as_bytes());
        put_all(&mut key, headers, &ALWAYS);
        match &said.key {
            Some(program) => {
                let view = exchange.view(request);
                let scope = Scope { request: &view, caller, route: &rule.name, now: exchange.clock };
                put(&mut key, program.eval_string(&scope).ok()?.as_bytes());
            }
            None => {
                for part in [target.host(), target.path(), target.query(), &caller.id] {
                    put(&mut key, part.as_bytes());
                }
                put_all(&mut key, headers, &CREDENTIALS);
            }
        }
        let digest = key.finish();
        Some(Self { said, key: digest.as_ref().try_into().expect("a digest of 32 bytes (invariant)") })
    }

    /// Makes the call, or waits for it.
    pub(super) async fn call(
        self,
        exchange: &Exchange<'_>,
        forward: &Forward,
        rule: &Rule,
        to: To<'_>,
        request: Box<Request<Upload>>,
    ) -> Result<Response<AnswerBody>, Failure> {
        let Destination::Backend(slot) = to.destination else {
            return super::forward::call(exchange, forward, rule, to, request).await;
        };
        let backend = exchange.table.backend(slot);
        match self.said.flights.join(self.key) {
            Seat::First(leader) => {
                let call = Alone {
                    pools: exchange.worker.pools.clone(),
                    backend: Arc::clone(backend),
                    balancing: forward.balancing.as_deref().cloned(),
                    hash: to.hash,
                    retry: forward.retry.clone(),
                    request_timeout: rule.timeouts.request,
                    attempt_timeout: rule.timeouts.backend_request,
                    stream_idle: rule.timeouts.stream_idle,
                    client: backend
                        .said
                        .proxy_protocol
                        .then_some((exchange.connection.peer, exchange.connection.local)),
                    own_key: self.said.key.is_some(),
                };
                let (give, given) = oneshot::channel();
                tokio::task::spawn_local(call.make(leader, give, request));
                first(exchange, backend, given).await
            }
            Seat::Other(call) => match other(exchange, call).await? {
                Some(answer) => answer.map_err(|reason| Failure::new(reason, Some(request))),
                None => super::forward::call(exchange, forward, rule, to, request).await,
            },
        }
    }
}

/// Within the request's own time.
async fn within<T>(exchange: &Exchange<'_>, work: impl Future<Output = T>) -> Result<T, Failure> {
    match exchange.deadline.get() {
        None => Ok(work.await),
        Some(deadline) => {
            let waited = tokio::time::timeout_at(deadline.into(), work).await;
            waited.map_err(|_| Failure::new(Reason::RequestTimeout, None))
        }
    }
}

async fn first(
    exchange: &Exchange<'_>,
    backend: &Backend,
    given: oneshot::Receiver<Given>,
) -> Result<Response<AnswerBody>, Failure> {
    // The task ends early only with its worker.
    let ended = |_| Failure::new(Reason::BackendRefused, None);
    let (first, called, took) = within(exchange, given).await?.map_err(ended)?;
    exchange.record.borrow_mut().backend(backend, called, took);
    match first {
        First::Shared(answer) => Ok(copy(&answer)),
        First::Own(answer) => Ok(answer),
        First::Failed(failure) => Err(failure),
    }
}

/// `None`: there is nothing to share.
async fn other(
    exchange: &Exchange<'_>,
    mut call: watch::Receiver<Option<Outcome>>,
) -> Result<Option<Result<Response<AnswerBody>, Reason>>, Failure> {
    let outcome = within(exchange, async {
        let outcome = call.wait_for(Option::is_some).await.ok()?;
        outcome.clone()
    });
    Ok(match outcome.await? {
        Some(Outcome::Answer(answer)) => Some(Ok(copy(&answer))),
        Some(Outcome::Failed(reason)) => Some(Err(reason)),
        Some(Outcome::Alone) | None => None,
    })
}

fn copy(answer: &Answer) -> Response<AnswerBody> {
    let mut copy = Response::new(AnswerBody::from(answer.body.clone()));
    *copy.status_mut() = answer.status;
    copy.headers_mut().clone_from(&answer.headers);
    copy
}

/// A call that belongs to no request.
struct Alone {
    pools: Pools,
    backend: Arc<Backend>,
    balancing: Option<Balancing>,
    hash: Option<u64>,
    retry: Option<Arc<Retry>>,
    request_timeout: Option<Duration>,
    attempt_timeout: Option<Duration>,
    stream_idle: Option<Duration>,
    client: Option<Addresses>,
    /// The rule says itself what is identical.
    own_key: bool,
}

impl Alone {
    async fn make(self, leader: Leader, give: oneshot::Sender<Given>, request: Box<Request<Upload>>) {
        let (begun, called) = (Instant::now(), Cell::new(None));
        let call = upstream::Call {
            backend: &self.backend,
            balancing: self.balancing.as_ref(),
            hash: self.hash,
            wanted: None,
            retry: self.retry.as_deref(),
            ours: None,
            deadline: self.request_timeout.map(|limit| begun + limit),
            attempt_timeout: self.attempt_timeout,
            stream_idle: self.stream_idle,
            tunnel: &|_| {},
            client: self.client,
            called: Some(&called),
        };
        let sent = upstream::send(&self.pools, call, request).await;
        let took = begun.elapsed();
        let (outcome, first) = match sent {
            Err(failure) => (failed(failure.reason), First::Failed(failure)),
            Ok(answer) if self.may_share(&answer) => whole(answer).await,
            Ok(answer) => (Outcome::Alone, First::Own(answer.map(AnswerBody::Upstream))),
        };
        leader.tell(outcome);
        drop(give.send((first, called.get(), took))); // it may have gone
    }

    fn may_share(&self, answer: &Response<Box<UpstreamBody>>) -> bool {
        let headers = answer.headers();
        let size = http_body::Body::size_hint(answer.body()).lower();
        let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        let stream = kind.starts_with(b"text/event-stream");
        size <= MOST as u64 && !stream && !headers.contains_key(header::SET_COOKIE) && self.is_for_all(headers)
    }

    /// Whether what the answer depends on is in the key. Who says what is identical answers for it, but for what is private.
    fn is_for_all(&self, headers: &HeaderMap) -> bool {
        let mut varies = names(headers, &header::VARY);
        if self.own_key {
            let private = names(headers, &header::CACHE_CONTROL).any(|directive| directive.starts_with("private"));
            return !private && !varies.any(|name| name == "*");
        }
        varies.all(|name| ALWAYS.iter().chain(&CREDENTIALS).any(|known| known.as_str() == name))
    }
}

/// The members of a list, in lower case.
fn names<'h>(headers: &'h HeaderMap, of: &HeaderName) -> impl Iterator<Item = String> + 'h {
    let lines = headers.get_all(of).iter();
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(|member| String::from_utf8_lossy(member.trim_ascii()).to_ascii_lowercase())
}

/// One whose time was over says nothing of the time of others.
fn failed(reason: Reason) -> Outcome {
    if reason == Reason::RequestTimeout { Outcome::Alone } else { Outcome::Failed(reason) }
}

/// Reads the answer, unless it turns out to be too large.
async fn whole(answer: Response<Box<UpstreamBody>>) -> (Outcome, First) {
    let (mut head, mut rest) = answer.into_parts();
    let mut read = BytesMut::new();
    while let Some(frame) = rest.frame().await {
        let Ok(frame) = frame else {
            let reason = Reason::BackendRefused;
            return (Outcome::Failed(reason), First::Failed(Failure::new(reason, None)));
        };
        let Ok(data) = frame.into_data() else { continue }; // trailers go no further
        read.extend_from_slice(&data);
        if read.len() > MOST {
            let body = AnswerBody::Led(Box::new(Led::new(read.freeze(), rest)));
            return (Outcome::Alone, First::Own(Response::from_parts(head, body)));
        }
    }
    for name in [header::TRAILER, header::TRANSFER_ENCODING] {
        head.headers.remove(name);
    }
    let answer = Arc::new(Answer { status: head.status, headers: head.headers, body: Bytes::from(read) });
    (Outcome::Answer(Arc::clone(&answer)), First::Shared(answer))
}

fn put_all(key: &mut Context, headers: &HeaderMap, names: &[HeaderName]) {
    for name in names {
        for value in headers.get_all(name) {
            put(key, name.as_str().as_bytes());
            put(key, value.as_bytes());
        }
    }
}

/// With its length, so that no two sequences of texts are the same bytes.
fn put(key: &mut Context, text: &[u8]) {
    key.update(&(text.len() as u64).to_be_bytes());
    key.update(text);
}

/// For metrics.
pub(crate) fn flights(rule: &Rule) -> Option<&Arc<Flights>> {
    match &rule.action {
        crate::table::rule::Action::Forward(forward) => Some(&forward.extras.as_deref()?.coalesce.as_ref()?.flights),
        _ => None,
    }
}
