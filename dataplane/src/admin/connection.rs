//! One connection to the admin interface, within narrow bounds.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::HOST};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, task::spawn_blocking, time::timeout};

use super::{Answers, Guard, host, page};

/// For a head to come, and for a kept connection to be used again.
const HEAD: Duration = Duration::from_secs(5);

/// Of a connection: who reads a page slowly holds nothing for longer.
const LIFE: Duration = Duration::from_secs(60);

/// Bytes of a head.
const MAX_HEAD: usize = 16 << 10;

pub(super) async fn serve(stream: TcpStream, guard: Guard, answers: Answers) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answers = Arc::clone(&answers);
        async move { Ok::<_, Infallible>(answer(request.map(|_| ()), guard, answers).await.map(Full::new)) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(MAX_HEAD).max_headers(64);
    // What goes wrong on the way is the client's to notice.
    timeout(LIFE, server.serve_connection(TokioIo::new(stream), service)).await.ok();
}

/// Pages are made beside the runtime: the whole table as JSON takes its time.
async fn answer(request: Request<()>, guard: Guard, answers: Answers) -> Response<Bytes> {
    if request.headers().get_all(HOST).iter().count() > 1 {
        return page::text(StatusCode::BAD_REQUEST, "a request has one Host");
    }
    if guard == Guard::Local
        && let Err(why) = host::check(&request)
    {
        return page::text(StatusCode::FORBIDDEN, why);
    }
    let made = spawn_blocking(move || answers(&request)).await;
    made.unwrap_or_else(|panic| {
        tracing::error!(error = %panic, "a page of the admin interface cannot be made");
        page::text(StatusCode::INTERNAL_SERVER_ERROR, "this page cannot be made; the log says more")
    })
}
