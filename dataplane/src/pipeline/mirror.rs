//! Copies of requests for other backends. The request itself waits for none of it, and nothing that becomes of a copy is seen in
//! its answer: a copy has a task of its own, a time of its own, and a bounded body.

use std::time::{Duration, Instant};

use http::{Request, header};
use http_body_util::BodyExt;

use super::Exchange;
use crate::{
    table::{
        Slot,
        extras::Mirror,
        rule::{Action, Forward, Rule},
    },
    upstream::{self, Pools, Upload},
};

/// A copy that takes longer is given up.
const TIME: Duration = Duration::from_secs(30);

/// Of a copy's answer, at most so much is read before its connection is closed instead.
const READ: usize = 1 << 20;

/// Sends copies of `request`, which goes to the backend of `turn`, to those whose turn it is, once its body is there: all of it has been sent on then.
pub(super) fn send(exchange: &Exchange<'_>, forward: &Forward, turn: Option<usize>, request: &Request<Upload>) {
    let Some(extras) = forward.extras.as_deref() else { return };
    let upgrade = request.headers().contains_key(header::UPGRADE);
    let mut copies = Vec::new();
    let mirrors = extras.mirrors.iter().filter(|mirror| mirror.only.is_none() || mirror.only == turn);
    for Mirror { backend, rotation, .. } in mirrors {
        let backend = exchange.table.backend(*backend);
        if rotation.turn() == Some(0)
            && !upgrade
            && let Some(copy) = backend.mirrored.begin()
        {
            let client = backend.said.proxy_protocol.then_some((exchange.connection.peer, exchange.connection.local));
            copies.push((std::sync::Arc::clone(backend), copy, client));
        }
    }
    if copies.is_empty() {
        return;
    }
    let (head, pools) = (head(request), exchange.worker.pools.clone());
    let body = request.body().copied();
    tokio::task::spawn_local(async move {
        let body = match body {
            // An error: it was too large, or the client broke off.
            Some(body) => match body.await {
                Ok(body) => Some(body),
                Err(_) => return,
            },
            None => None,
        };
        for (backend, copy, client) in copies {
            let request = Box::new(clone(&head, body.clone().map(Upload::from).unwrap_or_default()));
            let pools = pools.clone();
            tokio::task::spawn_local(async move {
                let answered = one(&pools, &backend, client, request).await;
                copy.end(answered);
            });
        }
    });
}

/// Whether there was an answer; it is thrown away.
async fn one(
    pools: &Pools,
    backend: &std::sync::Arc<upstream::Backend>,
    client: Option<upstream::Addresses>,
    request: Box<Request<Upload>>,
) -> bool {
    let call = upstream::Call {
        backend,
        balancing: None,
        hash: None,
        wanted: None,
        retry: None,
        ours: None,
        deadline: Some(Instant::now() + TIME),
        attempt_timeout: None,
        stream_idle: None,
        tunnel: &|_| {},
        client,
        called: None,
    };
    let Ok(mut answer) = upstream::send(pools, call, request).await else { return false };
    let mut left = READ;
    let read = async {
        while let Some(Ok(frame)) = answer.frame().await {
            let size = frame.data_ref().map_or(0, bytes::Bytes::len);
            left = left.saturating_sub(size);
            if left == 0 {
                return;
            }
        }
    };
    drop(tokio::time::timeout(TIME, read).await);
    true
}

/// The copy is one that its backend answers in its own time and way: it waits for no leave, and has no trailers.
fn head(request: &Request<Upload>) -> Request<()> {
    let mut head = clone(request, ());
    for name in [header::EXPECT, header::TRAILER] {
        head.headers_mut().remove(name);
    }
    head
}

fn clone<A, B>(request: &Request<A>, body: B) -> Request<B> {
    let mut copy = Request::new(body);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    *copy.version_mut() = request.version();
    copy.headers_mut().clone_from(request.headers());
    copy
}

/// Of the backends that get copies of a rule's requests, for metrics.
pub(crate) fn slots(rule: &Rule) -> impl Iterator<Item = Slot> + '_ {
    let extras = match &rule.action {
        Action::Forward(forward) => forward.extras.as_deref(),
        Action::Redirect(_) | Action::Respond(_) | Action::Reject(_) => None,
    };
    extras.into_iter().flat_map(|extras| &extras.mirrors).map(|mirror| mirror.backend)
}
