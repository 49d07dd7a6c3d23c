//! The pages.

use std::{
    collections::BTreeMap,
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use ravelin_snapshot::{ObjectKey, backend::BackendKind};
use serde::Serialize;

use super::{Surface, keys::Keys, usage};
use crate::{
    explain::{ExplainRequest, explain as judge},
    metrics,
    query::{all, decode, first},
    server::{Origin, Shared},
    table::Table,
    upstream::BreakerState,
};

pub(super) fn answer(request: &Request<()>, surface: &Surface, shared: &Shared) -> Response<Bytes> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match request.uri().path() {
        "/healthz" | "/readyz" | "/metrics" if !reads => not_allowed(),
        "/healthz" => text(StatusCode::OK, "ok"),
        "/readyz" => match shared.ready() {
            Ok(()) if shared.progress().origin == Some(Origin::Disk) => {
                text(StatusCode::OK, "ok, with the kept snapshot: no controller has said anything yet")
            }
            Ok(()) => text(StatusCode::OK, "ok"),
            Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, &why.to_string()),
        },
        "/metrics" => scrape(shared),
        path => match surface {
            Surface::Probe => not_found(),
            Surface::Admin(pages) => {
                let own = || pages.iter().find_map(|page| page(request));
                admin(path, request, reads, &shared.table()).or_else(own).unwrap_or_else(not_found)
            }
        },
    }
}

/// What is on loopback only; `None`: there is no such page.
fn admin(path: &str, request: &Request<()>, reads: bool, table: &Table) -> Option<Response<Bytes>> {
    match path {
        "/snapshot" | "/backends" | "/explain" | "/usage" | "/keys" if !reads => Some(not_allowed()),
        // Secrets show themselves to nobody but the channel and the sealed file.
        "/snapshot" => Some(json(StatusCode::OK, &*table.snapshot)),
        "/backends" => Some(json(StatusCode::OK, &Backends::of(table))),
        "/keys" => Some(json(StatusCode::OK, &Keys::of(table))),
        "/explain" => Some(explain(request, table)),
        "/usage" => Some(usage::list(request.uri().query().unwrap_or_default(), table)),
        _ if path.starts_with("/usage/") => usage::change(path, request, table),
        _ => reset(path, request.method(), table),
    }
}

fn scrape(shared: &Shared) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::from(metrics::text(&shared.metrics, &shared.table(), &shared.standing())));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

/// `/explain?method=GET&url=http://api.example/path`, and at will `header=name: value` (several times) and `source=ADDR`.
pub fn explain(request: &Request<()>, table: &Table) -> Response<Bytes> {
    let query = request.uri().query().unwrap_or_default();
    let text_of = |name| first(query, name).and_then(decode);
    let headers: Option<Vec<_>> = all(query, "header").map(decode).collect();
    let (Some(url), Some(headers)) = (text_of("url"), headers) else {
        return text(StatusCode::BAD_REQUEST, "say what to explain: /explain?method=GET&url=http://api.example/path");
    };
    let (method, source) = (text_of("method"), text_of("source"));
    let headers = headers.iter().map(|line| &**line);
    match ExplainRequest::parse(method.as_deref().unwrap_or("GET"), &url, headers, source.as_deref()) {
        Ok(request) => json(StatusCode::OK, &judge(table, &request, Instant::now(), SystemTime::now())),
        Err(error) => text(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

/// `POST /backends/NAMESPACE/NAME/breaker/reset`.
fn reset(path: &str, method: &Method, table: &Table) -> Option<Response<Bytes>> {
    let name = path.strip_prefix("/backends/")?.strip_suffix("/breaker/reset")?;
    let (namespace, name) = name.split_once('/')?;
    if method != Method::POST {
        return Some(not_allowed());
    }
    let object = ObjectKey::new(namespace, name);
    let named = || table.backends().filter(|backend| backend.key.object == object);
    let breakers: Vec<_> = named().filter_map(|backend| backend.breaker.as_ref()).collect();
    if breakers.is_empty() {
        let why = if named().next().is_some() { "has no circuit breaker" } else { "is not in the snapshot" };
        return Some(text(StatusCode::NOT_FOUND, &format!("backend {namespace}/{name} {why}")));
    }
    breakers.iter().for_each(|breaker| breaker.reset(Instant::now()));
    Some(text(StatusCode::OK, "closed"))
}

#[derive(Serialize)]
struct Backends {
    backends: Vec<Backend>,
}

#[derive(Serialize)]
struct Backend {
    kind: &'static str,
    namespace: String,
    name: String,
    /// Of its ports the one that lets least pass.
    breaker: &'static str,
    /// Of all its ports.
    endpoints: Vec<Endpoint>,
}

#[derive(Serialize)]
struct Endpoint {
    address: String,
    healthy: bool,
    ejected: bool,
    requests: u64,
    connections: u32,
}

impl Backends {
    fn of(table: &Table) -> Self {
        let (mut backends, now) = (BTreeMap::new(), Instant::now());
        for backend in table.backends() {
            let key = &backend.key;
            let kind = match key.kind {
                BackendKind::Service => "Service",
                BackendKind::Backend => "Backend",
            };
            let entry = backends.entry((kind, &key.object.namespace, &key.object.name));
            let (breaker, entry) = entry.or_insert_with(|| (BreakerState::Closed, BTreeMap::new()));
            if let Some(own) = &backend.breaker {
                *breaker = own.state(now).max(*breaker);
            }
            for endpoint in backend.endpoints() {
                let counts = endpoint.counts();
                let (requests, connections) = (counts.requests(), counts.connections());
                // Only what is ready is in a snapshot: without checks all are well.
                let standing = backend.standing(&endpoint).unwrap_or_default();
                let told = Endpoint {
                    address: endpoint.address.to_string(),
                    healthy: !standing.ill,
                    ejected: standing.ejected,
                    requests,
                    connections,
                };
                entry.insert(endpoint.address, told);
            }
        }
        let backends = backends.into_iter().map(|((kind, namespace, name), (breaker, endpoints))| Backend {
            kind,
            namespace: namespace.clone(),
            name: name.clone(),
            breaker: breaker.as_str(),
            endpoints: endpoints.into_values().collect(),
        });
        Self { backends: backends.collect() }
    }
}

pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response<Bytes> {
    // Invariant: plain data with string keys serializes.
    let body = serde_json::to_vec(value).expect("plain data serializes (invariant)");
    let mut answer = Response::new(Bytes::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

pub fn text(status: StatusCode, text: &str) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::from(format!("{text}\n")));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

fn not_found() -> Response<Bytes> {
    text(StatusCode::NOT_FOUND, "no such page")
}

pub(super) fn not_allowed() -> Response<Bytes> {
    text(StatusCode::METHOD_NOT_ALLOWED, "this page is not for this method")
}
