//! What an operator may see of the controller, on a loopback address.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use ravelin_dataplane::{
    admin::{self, Answers, Page, text},
    table::Table,
};
use ravelin_snapshot::channel::Delivery;
use tokio::{net::TcpListener, sync::watch::Receiver};

use crate::objects::{self, Board};

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
    let answers: Answers = Arc::new(move |request| pages.answer(request));
    Ok(admin::serve_local(listener, answers))
}

impl Pages {
    fn answer(&self, request: &Request<()>) -> Response<Bytes> {
        if let Some(answer) = (self.objects)(request) {
            return answer;
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "pages are read, with GET");
        }
        match request.uri().path() {
            "/healthz" => text(StatusCode::OK, "ok"),
            "/metrics" => self.metrics(),
            "/explain" => self.explain(request),
            _ => text(StatusCode::NOT_FOUND, "there are /healthz, /metrics, /objects and /explain"),
        }
    }

    /// Of what was compiled last, whether or not the data plane serves it yet. The table is made for each question.
    fn explain(&self, request: &Request<()>) -> Response<Bytes> {
        let published = self.published.borrow().clone();
        let Some(published) = published else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "the API server's lists are not complete");
        };
        match Table::build(Arc::new(published.compiled.snapshot.clone()), None) {
            Ok(table) => admin::explain(request, &table),
            Err(refusal) => text(StatusCode::INTERNAL_SERVER_ERROR, &refusal.to_string()),
        }
    }

    fn metrics(&self) -> Response<Bytes> {
        let delivery = self.delivery.borrow();
        let number = |revision: Option<ravelin_snapshot::Revision>| revision.unwrap_or_default().0;
        let objects = self.published.borrow().as_deref().map_or(0, |published| published.compiled.verdicts.len());
        let lines = format!(
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
        );
        let mut answer = Response::new(Bytes::from(lines));
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4"));
        answer
    }
}
