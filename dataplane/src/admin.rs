//! What an operator may see and reset: `--admin` (loopback) and `--probe` (health, readiness, metrics only).

mod connection;
mod host;
mod keys;
mod page;
mod usage;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use tokio::{net::TcpListener, sync::Semaphore, time::sleep};

use crate::server::Shared;

/// Pages that the binary adds to the admin interface (`/objects`): `None` is "not mine".
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

/// Connections at once; the next waits in the kernel's queue. Each has a bounded life.
const MAX_CONNECTIONS: usize = 128;

/// Makes the answer to a request. It may take its time: it runs beside the runtime.
pub type Answers = Arc<dyn Fn(&Request<()>) -> Response<Bytes> + Send + Sync>;

/// Serves one of the two surfaces until it is dropped.
pub async fn serve(listener: TcpListener, surface: Surface, shared: Arc<Shared>) {
    let guard = match surface {
        Surface::Admin(_) => Guard::Local,
        Surface::Probe => Guard::Open,
    };
    let answers: Answers = Arc::new(move |request| page::answer(request, &surface, &shared));
    accept(listener, guard, answers).await;
}

/// Serves another admin interface within the same bounds, to whoever asks for this machine, until it is dropped.
pub async fn serve_local(listener: TcpListener, answers: Answers) {
    accept(listener, Guard::Local, answers).await;
}

/// Whose requests are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guard {
    Open,
    /// Those that ask for this machine by address or as localhost.
    Local,
}

async fn accept(listener: TcpListener, guard: Guard, answers: Answers) {
    let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // Invariant: nobody closes the semaphore.
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let answers = Arc::clone(&answers);
                tokio::spawn(async move {
                    connection::serve(stream, guard, answers).await;
                    drop(seat);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin interface cannot accept connections");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

pub use page::{explain, text};
