//! Workers that do nothing but call one backend.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use http::{
    Request, Response,
    header::{HOST, HeaderValue},
};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
};
use hyper_util::rt::TokioIo;
use ravelin_snapshot::{
    ObjectKey, Part,
    backend::{self, Address, BackendKey, BackendKind, Endpoint, Protocol},
};
use tokio::{net::TcpListener, sync::watch, task::LocalSet};

use crate::{
    body::{AnswerBody, RequestBody},
    upstream::{Backend, Call, Pools, Retry, balance::hash, send},
};

/// Each worker has a thread and an address of its own; all end with this.
pub(super) struct Gateway {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) backend: Arc<ArcSwap<Backend>>,
    _alive: watch::Sender<()>,
}

/// The time-outs of every call.
#[derive(Clone, Default)]
pub(super) struct Limits {
    pub(super) request: Option<Duration>,
    pub(super) attempt: Option<Duration>,
    pub(super) stream_idle: Option<Duration>,
    pub(super) retry: Option<Arc<Retry>>,
    /// The header whose value is the key of a consistent hash.
    pub(super) hash: Option<&'static str>,
    /// Where endpoints are checked.
    pub(super) checks: Option<tokio::runtime::Handle>,
    /// Towards clients, rather than HTTP/1.1.
    pub(super) http2: bool,
}

/// A backend over HTTP/1.1, round robin, with all defaults.
pub(super) fn said(addresses: impl IntoIterator<Item = SocketAddr>) -> backend::Backend {
    let endpoints = addresses.into_iter().map(|address| Endpoint { address: Address::Ip(address), weight: 1 });
    backend::Backend::plain(Protocol::Http1, endpoints.collect())
}

pub(super) fn key() -> BackendKey {
    BackendKey { kind: BackendKind::Backend, object: ObjectKey::new("shop", "orders"), port: 0 }
}

impl Gateway {
    pub(super) fn start(workers: usize, said: backend::Backend) -> Self {
        Self::with_limits(workers, said, Limits::default())
    }

    pub(super) fn with_limits(workers: usize, said: backend::Backend, limits: Limits) -> Self {
        let limits = Arc::new(limits);
        let backend =
            Arc::new(ArcSwap::from_pointee(Backend::new(&key(), &Part::new(said), None, limits.checks.as_ref())));
        let (alive, ended) = watch::channel(());
        let addresses = (0..workers).map(|_| {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            let address = listener.local_addr().unwrap();
            let (backend, ended, limits) = (Arc::clone(&backend), ended.clone(), Arc::clone(&limits));
            std::thread::spawn(move || work(listener, &backend, &limits, ended));
            address
        });
        Self { addresses: addresses.collect(), backend, _alive: alive }
    }

    /// What the next table would do.
    pub(super) fn swap(&self, said: backend::Backend) {
        let next = Backend::new(&key(), &Part::new(said), Some(&self.backend.load()), None);
        self.backend.store(Arc::new(next));
    }
}

fn work(
    listener: std::net::TcpListener,
    backend: &Arc<ArcSwap<Backend>>,
    limits: &Limits,
    mut ended: watch::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let accept = async {
        let pools = Pools::default();
        let listener = TcpListener::from_std(listener).unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (backend, pools, http2, limits) = (Arc::clone(backend), pools.clone(), limits.http2, limits.clone());
            let service = hyper::service::service_fn(move |request| {
                let (backend, pools, limits) = (backend.load_full(), pools.clone(), limits.clone());
                async move { Ok::<_, Infallible>(answer(&backend, &pools, &limits, request).await) }
            });
            let io = TokioIo::new(stream);
            tokio::task::spawn_local(async move {
                if http2 {
                    return drop(http2::Builder::new(Local).serve_connection(io, service).await);
                }
                drop(http1::Builder::new().serve_connection(io, service).with_upgrades().await);
            });
        }
    };
    LocalSet::new().block_on(&runtime, async {
        tokio::select! {
            () = accept => {}
            _ = ended.changed() => {}
        }
    });
}

#[derive(Clone)]
struct Local;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

/// A failure is an answer with its reason in the header `reason`.
async fn answer(
    backend: &Arc<Backend>,
    pools: &Pools,
    limits: &Limits,
    mut request: Request<Incoming>,
) -> Response<AnswerBody> {
    if let Some(authority) = request.uri().authority() {
        let host = HeaderValue::from_str(authority.as_str()).unwrap();
        request.headers_mut().insert(HOST, host);
        *request.uri_mut() = request.uri().path_and_query().unwrap().as_str().parse().unwrap();
    }
    let call = Call {
        backend,
        balancing: None,
        hash: limits.hash.and_then(|name| request.headers().get(name)).map(|key| hash(key.as_bytes())),
        wanted: None,
        retry: limits.retry.as_deref(),
        ours: None,
        deadline: limits.request.map(|limit| Instant::now() + limit),
        attempt_timeout: limits.attempt,
        stream_idle: limits.stream_idle,
        tunnel: &|tunnel| drop(tokio::task::spawn_local(tunnel)),
        client: None,
        called: None,
    };
    let request = Box::new(request.map(|body| RequestBody::unbounded(body).into()));
    match send(pools, call, request).await {
        Ok(answer) => answer.map(AnswerBody::Upstream),
        Err(failure) => {
            let mut answer = Response::new(AnswerBody::empty());
            *answer.status_mut() = failure.reason.status();
            answer.headers_mut().insert("reason", HeaderValue::from_static(failure.reason.as_str()));
            let again = if failure.request.is_some() { "yes" } else { "no" };
            answer.headers_mut().insert("again", HeaderValue::from_static(again));
            answer
        }
    }
}
