//! The question over HTTP: a GET, or with a body a POST, that says in its headers what the request is.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;

use super::{Aide, Copied, External, Outcome, Word};
use crate::{
    reject::Passed,
    request::{RequestView, X_REQUEST_ID},
    upstream::{self, Call, Upload, UpstreamBody},
};

/// Bytes of an answer that are passed on, at most; a longer one is none.
const MAX_ANSWER: usize = 64 << 10;

/// What is about the connection or the form of an answer, and not about what it says.
pub(super) const OWN: [HeaderName; 9] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::DATE,
    X_REQUEST_ID,
];

/// What the service is told of a request: its headers that are named, and ours over them.
pub(super) fn headers(external: &External, request: &RequestView<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let kind = (external.said.body_limit > 0).then_some(header::CONTENT_TYPE);
    for name in external.forward.iter().chain(&kind) {
        for value in request.headers.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    let uri = match request.query {
        "" => request.path.to_owned(),
        query => format!("{}?{query}", request.path),
    };
    let key = &external.said.backend.object;
    let ours = [
        ("host", format!("{}.{}", key.name, key.namespace)),
        ("x-forwarded-method", request.method.to_string()),
        ("x-forwarded-proto", request.scheme.as_str().to_owned()),
        ("x-forwarded-host", request.host.to_owned()),
        ("x-forwarded-uri", uri),
        ("x-forwarded-for", request.source.ip().to_canonical().to_string()),
        ("x-request-id", request.id.to_owned()),
    ];
    for (name, value) in ours {
        // What a header cannot hold was no request's.
        let value = HeaderValue::try_from(value).unwrap_or_else(|_| HeaderValue::from_static(""));
        headers.insert(HeaderName::from_static(name), value);
    }
    headers
}

/// What [`headers`] says besides those that are named.
pub(super) fn is_ours(name: &HeaderName) -> bool {
    const OURS: [&str; 5] =
        ["x-forwarded-method", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-uri", "x-forwarded-for"];
    OURS.contains(&name.as_str())
}

/// All that is sent and could make a difference, as bytes that nothing else comes to.
pub(super) fn sent(headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
    let mut bytes = b"all ".to_vec();
    let mut add = |part: &[u8]| {
        bytes.extend_from_slice(&(part.len() as u64).to_ne_bytes());
        bytes.extend_from_slice(part);
    };
    let mut lines: Vec<_> = headers.iter().filter(|(name, _)| **name != X_REQUEST_ID).collect();
    lines.sort_by_key(|(name, _)| name.as_str()); // stable: values of one name keep their order
    for (name, value) in lines {
        add(name.as_str().as_bytes());
        add(value.as_bytes());
    }
    add(body);
    bytes
}

pub(super) async fn ask(
    external: &Arc<External>,
    path: &str,
    headers: HeaderMap,
    body: Option<Bytes>,
    aide: Aide<'_>,
) -> Outcome {
    let Ok(uri) = path.parse() else { return Outcome::Failed };
    let mut request = Request::new(body.map(Upload::from).unwrap_or_default());
    *request.method_mut() = if request.body().is_empty() { Method::GET } else { Method::POST };
    (*request.uri_mut(), *request.headers_mut()) = (uri, headers);
    match send(external, request, aide).await {
        Some(answer) => heard(external, answer).await,
        None => Outcome::Failed,
    }
}

/// By the worker's own connections, within the bounds of the backend's policy.
pub(super) async fn send(
    external: &External,
    request: Request<Upload>,
    aide: Aide<'_>,
) -> Option<Response<Box<UpstreamBody>>> {
    let backend = aide.table.backend_of(&external.said.backend)?;
    let limit = Duration::from_millis(external.said.timeout_ms);
    let call = Call {
        backend,
        balancing: None,
        hash: None,
        wanted: None,
        ours: None,
        retry: None,
        deadline: Instant::now().checked_add(limit),
        attempt_timeout: None,
        stream_idle: Some(limit),
        tunnel: &|_| {},
        client: backend.said.proxy_protocol.then_some((aide.connection.peer, aide.connection.local)),
        called: None,
    };
    upstream::send(aide.pools, call, Box::new(request)).await.ok()
}

async fn heard(external: &External, answer: Response<Box<UpstreamBody>>) -> Outcome {
    let (head, mut body) = answer.into_parts();
    if head.status.is_server_error() || head.status.is_informational() {
        return Outcome::Failed;
    }
    let mut read = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        let Ok(frame) = frame else { return Outcome::Failed };
        let Ok(data) = frame.into_data() else { continue };
        if read.len() + data.len() > MAX_ANSWER {
            return Outcome::Failed;
        }
        read.extend_from_slice(&data);
    }
    if head.status.is_success() {
        return Outcome::Allowed(Arc::new(Word { copied: copied(external, &head.headers), ..Word::default() }));
    }
    Outcome::Denied(Arc::new(passed(head.status, head.headers, read.into())))
}

pub(super) fn copied(external: &External, headers: &HeaderMap) -> Copied {
    let values = |name: &HeaderName| -> Copied {
        headers.get_all(name).iter().map(|value| (name.clone(), value.clone())).collect()
    };
    external.copy.iter().flat_map(values).collect()
}

/// As the client gets it.
pub(super) fn passed(status: StatusCode, mut headers: HeaderMap, body: Bytes) -> Passed {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&OWN) {
        headers.remove(name);
    }
    Passed { status, headers, body }
}
