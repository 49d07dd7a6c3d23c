//! What an operator may see and reset: `--admin` (loopback) and `--probe` (health, readiness, metrics only).

mod connection;
mod host;
mod page;

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

/// Serves one of the two surfaces until it is dropped.
pub async fn serve(listener: TcpListener, surface: Surface, shared: Arc<Shared>) {
    let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let surface = Arc::new(surface);
    loop {
        // Invariant: nobody closes the semaphore.
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (surface, shared) = (Arc::clone(&surface), Arc::clone(&shared));
                tokio::spawn(async move {
                    connection::serve(stream, surface, shared).await;
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

pub use page::explain;
