//! The question over gRPC: `Check` of Envoy's `ext_authz`, version 3.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body::Body;

use super::{
    Aide, External, Outcome, Word,
    http::{self as plain, OWN, passed, send},
    protobuf::{Action, Allowed, CheckRequest, CheckResponse, Denied, Header},
};
use crate::{
    request::X_REQUEST_ID,
    upstream::{Upload, UpstreamBody},
};

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Bytes of an answer, at most: those of a body that is passed on, and its headers.
const MAX_ANSWER: usize = 128 << 10;
const MAX_BODY: usize = 64 << 10;

/// `told` is what a question over HTTP would say: so one key stands for either.
pub(super) async fn ask(
    external: &Arc<External>,
    told: &HeaderMap,
    body: Option<Bytes>,
    now: SystemTime,
    aide: Aide<'_>,
) -> Outcome {
    let message = message(told, body.as_deref().unwrap_or_default(), now, aide).encode();
    let Ok(length) = u32::try_from(message.len()) else { return Outcome::Failed };
    let framed = [&[0][..], &length.to_be_bytes(), &message].concat();
    let mut request = Request::new(Upload::from(Bytes::from(framed)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_static(CHECK);
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    // Eight digits, at most.
    let limit = format!("{}m", external.said.timeout_ms.min(99_999_999));
    headers.extend(HeaderValue::try_from(limit).ok().map(|limit| (GRPC_TIMEOUT, limit)));
    for name in [header::HOST, X_REQUEST_ID] {
        headers.extend(told.get(&name).map(|value| (name.clone(), value.clone())));
    }
    let Some(answer) = send(external, request, aide).await else { return Outcome::Failed };
    let (head, body) = answer.into_parts();
    let kind = head.headers.get(header::CONTENT_TYPE);
    let is_grpc = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if head.status != StatusCode::OK || !is_grpc {
        return Outcome::Failed;
    }
    let response = read(body).await.and_then(|message| CheckResponse::decode(&message));
    response.and_then(|response| heard(external, response)).unwrap_or(Outcome::Failed)
}

fn message<'a>(told: &'a HeaderMap, body: &'a [u8], now: SystemTime, aide: Aide<'_>) -> CheckRequest<'a> {
    let text = |name| told.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let path = text("x-forwarded-uri");
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let ours = |name: &HeaderName| *name == header::HOST || *name == X_REQUEST_ID;
    let headers = told.keys().filter(|name| !ours(name) && !plain::is_ours(name)).map(|name| {
        let values: Vec<_> = told.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        (name.as_str(), values.join(","))
    });
    CheckRequest {
        source: text("x-forwarded-for"),
        destination: (aide.connection.local.ip().to_string(), aide.connection.local.port()),
        time: (since.as_secs(), since.subsec_nanos()),
        id: text("x-request-id"),
        method: text("x-forwarded-method"),
        headers: headers.collect(),
        path,
        host: text("x-forwarded-host"),
        scheme: text("x-forwarded-proto"),
        query: path.split_once('?').map_or("", |(_, query)| query),
        body,
    }
}

/// The one message of an answer that has ended well.
async fn read(mut body: Box<UpstreamBody>) -> Option<Bytes> {
    let mut read = Vec::new();
    let mut status = None;
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        match frame.ok()?.into_data() {
            Ok(data) if read.len() + data.len() > MAX_ANSWER => return None,
            Ok(data) => read.extend_from_slice(&data),
            Err(frame) => status = frame.into_trailers().ok()?.remove(GRPC_STATUS),
        }
    }
    // Without it the answer may have been cut off; an error comes without a message.
    if status? != "0" {
        return None;
    }
    let mut message = Bytes::from(read);
    if message.len() < 5 || message.get_u8() != 0 {
        return None; // compressed, which nobody asked for
    }
    let length = message.get_u32() as usize;
    (length == message.len()).then_some(message)
}

/// `None`: it says nothing, or one thing and its opposite.
fn heard(external: &External, response: CheckResponse) -> Option<Outcome> {
    let CheckResponse { code, denied, ok } = response;
    match (code, denied, ok) {
        (Some(0), None, ok) => Some(Outcome::Allowed(Arc::new(allowed(external, ok.unwrap_or_default())))),
        (None, None, Some(ok)) => Some(Outcome::Allowed(Arc::new(allowed(external, ok)))),
        (Some(0), Some(_), _) | (None, None, None) | (_, Some(_), Some(_)) => None,
        (_, denied, _) => refused(denied.unwrap_or_default()),
    }
}

fn allowed(external: &External, said: Allowed) -> Word {
    let Allowed { headers, remove, respond } = said;
    let mut word = Word::default();
    for (name, value, _) in headers.into_iter().filter_map(parsed) {
        if external.copy.contains(&name) {
            word.copied.push((name, value));
        }
    }
    let names = remove.iter().filter_map(|name| HeaderName::from_bytes(name).ok());
    word.gone = names.filter(|name| !OWN.contains(name) && *name != header::HOST).collect();
    word.told = respond.into_iter().filter_map(parsed).filter(|(name, ..)| !OWN.contains(name)).collect();
    word
}

/// The service's own answer; 403 unless it says another.
fn refused(said: Denied) -> Option<Outcome> {
    let Denied { status, headers, body } = said;
    if body.len() > MAX_BODY {
        return None;
    }
    let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    let status = status.filter(|status| status.as_u16() >= 200).unwrap_or(StatusCode::FORBIDDEN);
    let mut map = HeaderMap::new();
    for (name, value, action) in headers.into_iter().filter_map(parsed) {
        set(&mut map, name, value, action);
    }
    Some(Outcome::Denied(Arc::new(passed(status, map, body))))
}

/// `None`: it can stand in no answer. HTTP/2's own names are none of a header's.
fn parsed(said: Header) -> Option<(HeaderName, HeaderValue, Action)> {
    let Header { name, value, action } = said;
    let name = HeaderName::from_bytes(&name).ok().filter(|name| !name.as_str().starts_with(':'))?;
    Some((name, HeaderValue::from_maybe_shared(value).ok()?, action))
}

pub(super) fn set(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue, action: Action) {
    let there = headers.contains_key(&name);
    match action {
        Action::Append => drop(headers.append(name, value)),
        Action::AddIfAbsent if there => {}
        Action::OverwriteIfThere if !there => {}
        Action::AddIfAbsent | Action::Overwrite | Action::OverwriteIfThere => drop(headers.insert(name, value)),
    }
}
