//! One connection to the admin interface, within narrow bounds.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, task::spawn_blocking, time::timeout};

use super::{Surface, host, page};
use crate::server::Shared;

/// For a head to come, and for a kept connection to be used again.
const HEAD: Duration = Duration::from_secs(5);

/// Of a connection: who reads a page slowly holds nothing for longer.
const LIFE: Duration = Duration::from_secs(60);

/// Bytes of a head.
const MAX_HEAD: usize = 16 << 10;

pub(super) async fn serve(stream: TcpStream, surface: Arc<Surface>, shared: Arc<Shared>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (surface, shared) = (Arc::clone(&surface), Arc::clone(&shared));
        async move { Ok::<_, Infallible>(answer(request.map(|_| ()), surface, shared).await.map(Full::new)) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(MAX_HEAD).max_headers(64);
    // What goes wrong on the way is the client's to notice.
    timeout(LIFE, server.serve_connection(TokioIo::new(stream), service)).await.ok();
}

/// Pages are made beside the runtime: the whole table as JSON takes its time.
async fn answer(request: Request<()>, surface: Arc<Surface>, shared: Arc<Shared>) -> Response<Bytes> {
    if matches!(*surface, Surface::Admin(_))
        && let Err(why) = host::check(&request)
    {
        return page::text(StatusCode::FORBIDDEN, why);
    }
    let made = spawn_blocking(move || page::answer(&request, &surface, &shared)).await;
    made.unwrap_or_else(|panic| {
        tracing::error!(error = %panic, "a page of the admin interface cannot be made");
        page::text(StatusCode::INTERNAL_SERVER_ERROR, "this page cannot be made; the log says more")
    })
}
