//! What an operator may see of the controller, on a loopback address.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use ravelin_dataplane::admin::Page;
use ravelin_snapshot::channel::Delivery;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch::Receiver},
};

use crate::objects::{self, Board};

/// Connections at once: operators are few.
const CONNECTIONS: usize = 64;

#[derive(Clone)]
struct Pages {
    published: Board,
    delivery: Receiver<Delivery>,
    objects: Page,
}

/// Listens at once; what is returned serves for ever.
pub(super) async fn serve(
    address: SocketAddr,
    published: Board,
    delivery: Receiver<Delivery>,
) -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("--admin {address}"))?;
    let objects = objects::page(published.clone(), delivery.clone());
    let pages = Pages { published, delivery, objects };
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    Ok(async move {
        // The semaphore is never closed. (invariant)
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            if let Ok((stream, _)) = listener.accept().await {
                let pages = pages.clone();
                tokio::spawn(async move {
                    connection(stream, pages).await;
                    drop(place);
                });
            }
        }
    })
}

async fn connection(stream: TcpStream, pages: Pages) {
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let answer = pages.answer(&request.map(drop)).map(Full::new);
        async move { Ok::<_, Infallible>(answer) }
    });
    let mut server = http1::Builder::new();
    // Whoever asked and went away without a word is not our trouble.
    let _ = server.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
}

impl Pages {
    fn answer(&self, request: &Request<()>) -> Response<Bytes> {
        if let Some(answer) = (self.objects)(request) {
            return answer;
        }
        match request.uri().path() {
            "/healthz" => page(StatusCode::OK, "text/plain", "ok\n"),
            "/metrics" => page(StatusCode::OK, "text/plain; version=0.0.4", self.metrics()),
            _ => page(StatusCode::NOT_FOUND, "text/plain", "there are /healthz, /metrics and /objects\n"),
        }
    }

    fn metrics(&self) -> String {
        let delivery = self.delivery.borrow();
        let number = |revision: Option<ravelin_snapshot::Revision>| revision.unwrap_or_default().0;
        let objects = self.published.borrow().as_deref().map_or(0, |published| published.compiled.verdicts.len());
        format!(
            "# HELP ravelin_snapshot_revision The latest snapshot that was compiled.\n\
             # TYPE ravelin_snapshot_revision gauge\n\
             ravelin_snapshot_revision {}\n\
             # HELP ravelin_snapshot_acknowledged The snapshot that the data plane serves.\n\
             # TYPE ravelin_snapshot_acknowledged gauge\n\
             ravelin_snapshot_acknowledged {}\n\
             # HELP ravelin_snapshot_refused Whether the data plane refuses the latest snapshot.\n\
             # TYPE ravelin_snapshot_refused gauge\n\
             ravelin_snapshot_refused {}\n\
             # HELP ravelin_objects Objects that were judged.\n\
             # TYPE ravelin_objects gauge\n\
             ravelin_objects {objects}\n",
            number(delivery.published),
            number(delivery.acknowledged),
            u8::from(delivery.refused.is_some()),
        )
    }
}

fn page(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
