//! Questions to endpoints: over HTTP in the backend's own protocol, as gRPC's health service, or a mere connection.

use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use ravelin_snapshot::backend::{ActiveCheck, Address, Backend, Probe, Protocol};
use tokio::{task::JoinSet, time::timeout};

use super::Health;
use crate::upstream::{
    socket::Socket,
    transport::{Offer, Transport, Unconnected},
};

/// Endpoints that are asked at once.
const AT_ONCE: usize = 64;

/// Of an answer's body; what is beyond is not looked at.
const BODY: usize = 64 << 10;

/// SERVING, as grpc.health.v1 has it.
const SERVING: u8 = 1;

/// Why an endpoint does not pass.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("it cannot be reached: {0}")]
    Unconnected(#[from] Unconnected),
    #[error("it does not speak HTTP/1.1: {0}")]
    Http1(#[from] hyper::Error),
    #[error("it does not speak HTTP/2: {0}")]
    Http2(#[from] h2::Error),
    #[error("it cannot be asked: {0}")]
    Request(#[from] http::Error),
    #[error("it answers otherwise")]
    Answer,
}

/// How the endpoints of a backend are spoken to.
#[derive(Clone)]
pub(in crate::upstream) struct Asked {
    protocol: Protocol,
    proxied: bool,
    /// What the endpoints are called, if they have a name in common.
    host: Option<Arc<str>>,
    transport: Arc<Transport>,
}

impl Asked {
    pub(in crate::upstream) fn new(said: &Backend, transport: &Arc<Transport>) -> Self {
        let transport = Arc::clone(transport);
        Self { protocol: said.protocol, proxied: said.proxy_protocol, host: host(said).map(Into::into), transport }
    }

    fn host(&self, address: SocketAddr) -> String {
        self.host.as_deref().map_or_else(|| address.to_string(), str::to_owned)
    }

    /// The socket, and whether HTTP/2 is spoken over it.
    async fn connect(&self, address: SocketAddr, probe: &Probe) -> Result<(Socket, bool), Unconnected> {
        let offer = match (probe, self.protocol) {
            (Probe::Grpc { .. }, _) | (_, Protocol::H2c) => Offer::Http2,
            (Probe::Tcp | Probe::Http { .. }, Protocol::Http1) => Offer::Http1,
            (Probe::Tcp | Probe::Http { .. }, Protocol::Negotiated) => Offer::Either,
        };
        // The gateway asks for itself.
        let client = self.proxied.then_some((address, address));
        self.transport.connect(address, offer, client).await
    }
}

/// The name that the certificate has, else the DNS name that all endpoints have.
fn host(said: &Backend) -> Option<String> {
    if let Some(tls) = &said.tls {
        return Some(tls.hostname.clone());
    }
    let mut names = said.endpoints.iter().map(|endpoint| match &endpoint.address {
        Address::Dns { name, port: 80 } => Some(name.clone()),
        Address::Dns { name, port } => Some(format!("{name}:{port}")),
        Address::Ip(_) => None,
    });
    let first = names.next()??;
    names.all(|name| name.as_ref() == Some(&first)).then_some(first)
}

/// Asks for as long as somebody wants to know.
pub(super) async fn run(health: Weak<Health>, said: ActiveCheck, way: Asked) {
    loop {
        let begun = Instant::now();
        let Some(endpoints) = health.upgrade().map(|health| health.endpoints()) else { return };
        let mut asked = JoinSet::new();
        for (id, address) in endpoints {
            if asked.len() >= AT_ONCE {
                tell(&health, asked.join_next().await);
            }
            let (said, way) = (said.clone(), way.clone());
            asked.spawn(async move {
                let limit = Duration::from_millis(said.timeout_ms);
                (id, matches!(timeout(limit, ask(address, &said.probe, &way)).await, Ok(Ok(()))))
            });
        }
        while let Some(done) = asked.join_next().await {
            tell(&health, Some(done));
        }
        tokio::time::sleep(spread(said.interval_ms).saturating_sub(begun.elapsed())).await;
    }
}

fn tell(health: &Weak<Health>, done: Option<Result<(u64, bool), tokio::task::JoinError>>) {
    if let (Some(health), Some(Ok((id, passed)))) = (health.upgrade(), done) {
        health.checked(id, passed);
    }
}

/// A tenth more or less, so that replicas do not ask in step.
fn spread(interval_ms: u64) -> Duration {
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    Duration::from_millis(interval_ms).mul_f64(0.9 + 0.2 * f64::from(nanos % 1_000) / 1_000.0)
}

async fn ask(address: SocketAddr, probe: &Probe, way: &Asked) -> Result<(), Failed> {
    let (stream, is_http2) = way.connect(address, probe).await?;
    let (scheme, host) = (if way.transport.is_secure() { "https" } else { "http" }, way.host(address));
    let (path, statuses, body_contains) = match probe {
        Probe::Tcp => return Ok(()),
        Probe::Grpc { service } => return grpc(stream, &format!("{scheme}://{host}"), service).await,
        Probe::Http { path, statuses, body_contains } => (path, statuses, body_contains),
    };
    let answer = if is_http2 {
        let request = Request::get(format!("{scheme}://{host}{path}")).body(())?;
        let (answer, body, _) = http2(stream, request, Bytes::new()).await?;
        answer.map(|()| body)
    } else {
        http1(stream, &host, path, body_contains.is_some()).await?
    };
    let text = body_contains.as_deref().unwrap_or_default().as_bytes();
    let holds = text.is_empty() || answer.body().windows(text.len()).any(|part| part == text);
    let good = statuses.contains(&answer.status().as_u16()) && holds;
    if good { Ok(()) } else { Err(Failed::Answer) }
}

async fn http1(stream: Socket, host: &str, path: &str, read: bool) -> Result<Response<Bytes>, Failed> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, "ravelin-health")
        .body(Empty::<Bytes>::new())?;
    let asked = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = match read {
            true => Limited::new(body, BODY).collect().await.map_err(|_| Failed::Answer)?.to_bytes(),
            false => Bytes::new(),
        };
        Ok(Response::from_parts(head, body))
    };
    tokio::select! {
        answer = asked => answer,
        Err(error) = connection => Err(error.into()),
    }
}

/// The head, the body, and the trailers.
async fn http2(stream: Socket, request: Request<()>, sent: Bytes) -> Result<(Response<()>, Bytes, HeaderMap), Failed> {
    let (sender, connection) = h2::client::handshake(stream).await?;
    let asked = async {
        let mut sender = sender.ready().await?;
        let (answer, mut upload) = sender.send_request(request, sent.is_empty())?;
        if !sent.is_empty() {
            upload.send_data(sent, true)?;
        }
        let (head, mut body) = answer.await?.into_parts();
        let mut read = BytesMut::new();
        while let Some(data) = body.data().await {
            let data = data?;
            body.flow_control().release_capacity(data.len())?;
            if read.len() + data.len() > BODY {
                return Err(Failed::Answer);
            }
            read.put(data);
        }
        let trailers = poll_fn(|cx| body.poll_trailers(cx)).await?.unwrap_or_default();
        Ok((Response::from_parts(head, ()), read.freeze(), trailers))
    };
    tokio::select! {
        answer = asked => answer,
        Err(error) = connection => Err(error.into()),
    }
}

/// `grpc.health.v1.Health/Check`: the request is one string field, the answer one enum field.
async fn grpc(stream: Socket, origin: &str, service: &str) -> Result<(), Failed> {
    let request = Request::post(format!("{origin}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(())?;
    let (answer, body, trailers) = http2(stream, request, message(service)).await?;
    let status = trailers.get("grpc-status").or_else(|| answer.headers().get("grpc-status"));
    let ok = status.is_some_and(|status| status == "0");
    // Not compressed, two bytes: field 1, a number.
    let serving = body[..] == [0, 0, 0, 0, 2, 0x08, SERVING];
    if ok && serving { Ok(()) } else { Err(Failed::Answer) }
}

fn message(service: &str) -> Bytes {
    let mut field = BytesMut::new();
    if !service.is_empty() {
        field.put_u8(0x0a); // field 1, a string
        let mut length = service.len();
        while length >= 0x80 {
            field.put_u8((length as u8 & 0x7f) | 0x80);
            length >>= 7;
        }
        field.put_u8(length as u8);
        field.put(service.as_bytes());
    }
    let mut message = BytesMut::new();
    message.put_u8(0); // not compressed
    message.put_u32(field.len() as u32);
    message.put(field);
    message.freeze()
}
