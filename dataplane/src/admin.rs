//! What an operator may see and reset: `--admin` (loopback) and `--probe` (health, readiness, metrics only).

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::server::Shared;

/// Pages that the binary adds to the admin interface (`/objects`, `/explain`): `None` is "not mine".
pub type Page = Arc<dyn Fn(&Request<()>) -> Option<Response<Bytes>> + Send + Sync>;

pub type Pages = Vec<Page>;

/// Who may look.
#[derive(Clone)]
pub enum Surface {
    /// Whoever has a shell on this machine: everything.
    Admin(Pages),
    /// The cluster: health, readiness, metrics.
    Probe,
}

/// Serves one of the two surfaces until it is dropped.
pub async fn serve(listener: TcpListener, surface: Surface, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (surface, shared) = (surface.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = answer(&request.map(|_| ()), &surface, &shared);
                async move { Ok::<_, Infallible>(answer.map(Full::new)) }
            });
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

fn answer(request: &Request<()>, surface: &Surface, shared: &Shared) -> Response<Bytes> {
    let text = |status, text: String| {
        let mut answer = Response::new(Bytes::from(text));
        *answer.status_mut() = status;
        answer
    };
    match (request.uri().path(), surface) {
        ("/healthz", _) => text(StatusCode::OK, "ok\n".to_owned()),
        ("/readyz", _) => match shared.ready() {
            Ok(()) => text(StatusCode::OK, "ok\n".to_owned()),
            Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        },
        (_, Surface::Admin(pages)) => pages
            .iter()
            .find_map(|page| page(request))
            .unwrap_or_else(|| text(StatusCode::NOT_FOUND, "no such page\n".to_owned())),
        (_, Surface::Probe) => text(StatusCode::NOT_FOUND, "no such page\n".to_owned()),
    }
}
