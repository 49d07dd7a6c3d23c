//! On to a backend, or to the fallback, and back.

use std::{cell::Cell, time::Instant};

use http::{HeaderValue, Request, Response, StatusCode, Version};
use ravelin_snapshot::backend::Protocol;

use super::{
    Exchange,
    coalesce::Shared,
    deadline,
    headers::{self, CallerHeaders},
    mirror, respond,
    session::Held,
    sticky::Sticky,
};
use crate::{
    body::AnswerBody,
    filter::HeaderEdits,
    reject::{Reason, Reject},
    request::{Caller, Ours},
    server::Open,
    table::{
        Found,
        rule::{Destination, Fallback, Forward, Rule, Target as Share},
    },
    upstream::{self, Cause, Failure, Upload},
};

/// Where a request goes.
#[derive(Clone, Copy)]
pub(super) struct To<'a> {
    pub(super) destination: Destination,
    /// Of the key of a consistent hash.
    pub(super) hash: Option<u64>,
    pub(super) session: Option<&'a Held<'a>>,
    /// Headers that go with the request's own.
    pub(super) ours: Option<Ours<'a>>,
}

/// Sends the request to the backend whose turn it is.
pub(super) async fn forward(
    exchange: &Exchange<'_>,
    forward: &Forward,
    found: &Found<'_>,
    (known, caller): (&Caller, &CallerHeaders<'_>),
    mut request: Box<Request<Upload>>,
) -> Result<Response<AnswerBody>, Reject> {
    let rule = found.rule;
    exchange.deadline.set(deadline::of(exchange, rule, request.headers())?); // as the client said it
    let session = Held::of(exchange, forward, request.headers());
    let turn = session.as_ref().and_then(|session| session.turn()).or_else(|| forward.rotation.turn());
    let share = turn.map(|turn| &forward.backends[turn]);
    let mut sticky = sticky(exchange, forward, share.map(|share| share.to), &request);
    let shared = Shared::of(exchange, forward, rule, known, &request);
    let mut ours = prepare(exchange, forward, found, share, caller, &mut request)?;
    if forward.extras.is_some()
        && let Some(ours) = ours.take()
    {
        ours.insert(request.headers_mut()); // for copies, and calls that outlive the request
    }
    mirror::send(exchange, forward, turn, &request);
    let upgrade = request.headers().get(http::header::UPGRADE).cloned();
    let fate = request.body().fate();
    let sent = match share.map(|share| share.to) {
        None => Err(Failure::new(Reason::NoEndpoints, Some(request))),
        Some(Destination::Reject(reason)) => return Err(reason.into()),
        Some(destination @ Destination::Backend(_)) => {
            let to = To { destination, hash: sticky.hash, session: session.as_deref(), ours };
            match shared {
                None => call(exchange, forward, rule, to, request).await,
                Some(shared) => Box::pin(shared.call(exchange, forward, rule, to, request)).await,
            }
        }
    };
    match sent {
        Ok(answer) => {
            let mut answer = back(answer, upgrade.as_ref(), rule, share.map(|share| &share.response_headers))?;
            sticky.tell(answer.headers_mut());
            if let (Some(session), Some(turn)) = (session, turn) {
                session.tell(exchange, turn, answer.headers_mut());
            }
            Ok(answer)
        }
        Err(_) if fate.is_clients_fault() => Err(Reason::BadRequest.into()), // nobody else can do better
        Err(failure) => fall_back(exchange, forward, rule, ours, failure, upgrade.as_ref()).await,
    }
}

fn sticky(exchange: &Exchange<'_>, forward: &Forward, to: Option<Destination>, request: &Request<Upload>) -> Sticky {
    let Some(Destination::Backend(slot)) = to else { return Sticky::default() };
    let own = || &exchange.table.backend(slot).said.balancing;
    Sticky::of(exchange, forward.balancing.as_deref().unwrap_or_else(own), request.headers())
}

/// The head as the backend gets it: ours, if they are not returned, then what the rule changes, then what the reference changes.
fn prepare<'a>(
    exchange: &Exchange<'a>,
    forward: &Forward,
    found: &Found<'_>,
    share: Option<&Share>,
    caller: &CallerHeaders<'_>,
    request: &mut Request<Upload>,
) -> Result<Option<Ours<'a>>, Reject> {
    let edits = [Some(&found.rule.request_headers), share.map(|share| &share.request_headers)];
    let ours = Ours::new(exchange.connection, exchange.target);
    let ours = headers::onward(request, exchange.target, ours, caller, edits);
    found.rule.request_headers.apply(request.headers_mut());
    if let Some(share) = share {
        share.request_headers.apply(request.headers_mut());
    }
    let rewrites = [forward.rewrite.as_deref(), share.and_then(|share| share.rewrite.as_deref())];
    let mut path = None;
    for rewrite in rewrites.into_iter().flatten() {
        if let Some(host) = &rewrite.host {
            request.headers_mut().insert(http::header::HOST, host.clone());
        }
        if let Some(new) = &rewrite.path {
            path = Some(new.apply(exchange.target.path(), found.prefix));
        }
    }
    if path.is_some() || caller.query.is_some() || !exchange.target.is_origin() {
        *request.uri_mut() = exchange.target.origin(path.as_deref(), caller.query.as_deref())?;
    }
    if let (Some(web), Some(Destination::Backend(slot))) = (exchange.web, share.map(|share| share.to))
        && exchange.table.backend(slot).said.protocol != Protocol::Http1
    {
        web.ask(request);
    }
    Ok(ours)
}

/// A session whose endpoint cannot be reached lets go of it.
pub(super) async fn call(
    exchange: &Exchange<'_>,
    forward: &Forward,
    rule: &Rule,
    to: To<'_>,
    request: Box<Request<Upload>>,
) -> Result<Response<AnswerBody>, Failure> {
    match once(exchange, forward, rule, to, request).await {
        Err(Failure { cause: Cause::Unreached, request: Some(request), .. })
            if to.session.is_some_and(Held::lets_go) =>
        {
            once(exchange, forward, rule, to, request).await
        }
        outcome => outcome,
    }
}

async fn once(
    exchange: &Exchange<'_>,
    forward: &Forward,
    rule: &Rule,
    to: To<'_>,
    request: Box<Request<Upload>>,
) -> Result<Response<AnswerBody>, Failure> {
    let slot = match to.destination {
        Destination::Backend(slot) => slot,
        Destination::Reject(reason) => return Err(Failure::new(reason, Some(request))),
    };
    let (backend, called) = (exchange.table.backend(slot), Cell::new(None));
    let seats = exchange.record.borrow().seats();
    // A tunnel over a stream of HTTP/2 keeps its connection.
    let open = (request.version() == Version::HTTP_2).then(|| request.extensions().get::<Open>().cloned()).flatten();
    let call = upstream::Call {
        backend,
        balancing: forward.balancing.as_deref(),
        hash: to.hash,
        wanted: to.session.and_then(Held::wanted),
        retry: forward.retry.as_deref(),
        ours: to.ours,
        deadline: exchange.deadline.get(),
        attempt_timeout: rule.timeouts.backend_request,
        stream_idle: rule.timeouts.stream_idle,
        tunnel: &|tunnel| {
            let (tunnel, open) = (seats.held_by(tunnel), open.clone());
            exchange.worker.spawn(exchange.connection.scheme, async move {
                tunnel.await;
                drop(open);
            });
        },
        client: backend.said.proxy_protocol.then_some((exchange.connection.peer, exchange.connection.local)),
        called: Some(&called),
    };
    let begun = Instant::now();
    let sent = upstream::send(&exchange.worker.pools, call, request).await;
    exchange.record.borrow_mut().backend(backend, called.get(), begun.elapsed());
    if let Some(session) = to.session {
        session.chosen.set(called.get());
    }
    sent.map(|answer| answer.map(AnswerBody::Upstream))
}

/// When nothing else can answer. What is over is over: after the request's own time there is no other backend.
async fn fall_back(
    exchange: &Exchange<'_>,
    forward: &Forward,
    rule: &Rule,
    ours: Option<Ours<'_>>,
    failure: Failure,
    upgrade: Option<&HeaderValue>,
) -> Result<Response<AnswerBody>, Reject> {
    let Failure { reason, request, .. } = failure;
    if reason == Reason::RequestTimeout {
        return Err(reason.into());
    }
    match (forward.fallback.as_deref(), request) {
        (Some(Fallback::Respond(response)), _) => Ok(respond(response, rule)),
        (Some(Fallback::Backend(to)), Some(mut request)) => {
            if let Some(ours) = ours {
                ours.insert(request.headers_mut()); // where HTTP/2 has put them already
            }
            let mut sticky = sticky(exchange, forward, Some(*to), &request);
            let to = To { destination: *to, hash: sticky.hash, session: None, ours: None };
            let answer = once(exchange, forward, rule, to, request).await;
            let mut answer = back(answer.map_err(|failure| failure.reason)?, upgrade, rule, None)?;
            sticky.tell(answer.headers_mut());
            Ok(answer)
        }
        (Some(Fallback::Backend(_)), None) | (None, _) => Err(reason.into()),
    }
}

/// The answer as the client gets it.
fn back(
    mut answer: Response<AnswerBody>,
    upgrade: Option<&HeaderValue>,
    rule: &Rule,
    share: Option<&HeaderEdits>,
) -> Result<Response<AnswerBody>, Reject> {
    let switches = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers::homeward(headers);
    // A backend changes to nothing else than what it was asked for (RFC 9110, 7.8).
    if switches && !upgrade.is_some_and(|asked| headers::agrees(headers, asked)) {
        return Err(Reason::BackendRefused.into());
    }
    rule.response_headers.apply(headers);
    if let Some(share) = share {
        share.apply(headers);
    }
    Ok(answer)
}
