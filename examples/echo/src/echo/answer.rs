//! One request, one answer.

use std::{
    io,
    sync::{Arc, PoisonError, atomic::Ordering},
};

use http::{
    HeaderValue, Request, Response, StatusCode, Version,
    header::{CONNECTION, CONTENT_TYPE, TRAILER},
    request,
};
use hyper::body::Incoming;
use tokio::time::sleep;

use super::{
    Phase, Seen, Site,
    connection::Open,
    content::{self, Content},
    switches::{Fail, Kind, RequestBody, Switches},
    tunnel,
};

/// An error closes the connection, or resets the stream.
pub(super) async fn answer(request: Request<Incoming>, open: Arc<Open>) -> io::Result<Response<Content>> {
    let version = request.version();
    let mut response = if request.uri().path() == "/healthz" {
        health(&open)
    } else {
        open.run.site.counts.send_modify(|counts| counts.requests += 1);
        echo(request, &open).await?
    };
    if open.run.is(Phase::Draining)
        && version == Version::HTTP_11
        && response.status() != StatusCode::SWITCHING_PROTOCOLS
    {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

fn health(open: &Open) -> Response<Content> {
    if open.run.is(Phase::Draining) {
        plain(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else if open.run.site.ready.load(Ordering::Relaxed) {
        plain(StatusCode::OK, "ok\n")
    } else {
        plain(StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

async fn echo(mut request: Request<Incoming>, open: &Arc<Open>) -> io::Result<Response<Content>> {
    let protocol = tunnel::asked_for(&request);
    let upgrade = protocol.is_some().then(|| hyper::upgrade::on(&mut request));
    let (head, body) = request.into_parts();
    let switches = match Switches::of(&head) {
        Ok(switches) => switches,
        Err(error) => return Ok(plain(StatusCode::BAD_REQUEST, error + "\n")),
    };
    let site = &open.run.site;
    let mut seen = Seen::new(open.number, &head);
    let upgrading = protocol.zip(upgrade).filter(|_| switches.status == StatusCode::OK);
    // Not read yet, if at all.
    let mut unread = None;
    if upgrading.is_none() && switches.request_body == RequestBody::Read {
        seen.read(body).await.map_err(io::Error::other)?;
    } else {
        unread = Some(body);
    }
    let told = seen.to_json(&site.name);
    remember(site, seen);
    if !switches.delay.is_zero() {
        sleep(switches.delay).await;
    }
    if switches.fail == Some(Fail::Head) {
        return Err(io::Error::other("no answer, as asked"));
    }
    if let Some((protocol, upgrade)) = upgrading {
        return Ok(tunnel::open(protocol, upgrade, Arc::clone(open)));
    }
    Ok(assemble(&head, &switches, unread, site, &told))
}

fn assemble(
    head: &request::Parts,
    switches: &Switches,
    unread: Option<Incoming>,
    site: &Site,
    told: &serde_json::Value,
) -> Response<Content> {
    let (kind, mut content) = match (&switches.kind, unread) {
        (_, Some(body)) if switches.request_body == RequestBody::Back => {
            (head.headers.get(CONTENT_TYPE).cloned(), content::back(body))
        }
        (Kind::Size(size), _) => (Some(HeaderValue::from_static("application/octet-stream")), content::filler(*size)),
        (Kind::Events { count, every }, _) => {
            (Some(HeaderValue::from_static("text/event-stream")), content::events(*count, *every))
        }
        (Kind::Seen, _) => (Some(HeaderValue::from_static("application/json")), content::whole(format!("{told}\n"))),
    };
    if switches.fail == Some(Fail::Body) {
        content = content::broken(content);
    }
    let mut response = Response::new(content);
    *response.status_mut() = switches.status;
    let headers = response.headers_mut();
    headers.extend(kind.map(|kind| (CONTENT_TYPE, kind)));
    // Trailers are sent only if they were announced.
    if switches.request_body == RequestBody::Back && head.version == Version::HTTP_11 {
        headers.extend(head.headers.get(TRAILER).map(|names| (TRAILER, names.clone())));
    }
    headers.extend(HeaderValue::from_str(&site.name).ok().map(|name| (SERVER, name)));
    for (name, value) in &switches.headers {
        headers.append(name, value.clone());
    }
    response
}

/// Which backend answered, for answers that are not JSON.
const SERVER: http::HeaderName = http::HeaderName::from_static("x-echo-server");

fn remember(site: &Site, seen: Seen) {
    if site.remember == 0 {
        return;
    }
    let mut kept = site.seen.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() == site.remember {
        kept.pop_front();
    }
    kept.push_back(seen);
}

fn plain(status: StatusCode, text: impl Into<String>) -> Response<Content> {
    let mut response = Response::new(content::whole(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}
