//! How a connection to a backend begins: TCP, a PROXY header, TLS.

mod proxy;
mod tls;

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use ravelin_snapshot::backend;
use tokio::io::AsyncWriteExt;

use super::{http1, socket::Socket};
use crate::clock;
pub(super) use tls::Offer;

/// Of one backend.
#[derive(Debug, Default)]
pub(super) struct Transport {
    security: Security,
    /// The second of the last warning.
    warned: AtomicU64,
}

#[derive(Debug, Default)]
enum Security {
    #[default]
    Plain,
    Tls(Box<tls::Client>),
    /// The compiler has let something through that cannot be used: no connection is made.
    Broken(String),
}

/// Who a connection is for, and where that client had come to.
pub type Addresses = (SocketAddr, SocketAddr);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unconnected {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("TLS: {0}")]
    Tls(#[source] io::Error),
    #[error("TLS cannot be set up: {0}")]
    Broken(String),
    #[error("it chose no protocol that was offered")]
    Protocol,
}

impl Transport {
    pub(super) fn new(said: &backend::Backend) -> Self {
        let security = match said.tls.as_deref().map(tls::Client::new) {
            None => Security::Plain,
            Some(Ok(client)) => Security::Tls(Box::new(client)),
            Some(Err(why)) => Security::Broken(why),
        };
        Self { security, warned: AtomicU64::new(0) }
    }

    pub(super) fn is_secure(&self) -> bool {
        !matches!(self.security, Security::Plain)
    }

    /// The socket, and whether HTTP/2 is to be spoken over it.
    pub(super) async fn connect(
        &self,
        address: SocketAddr,
        offer: Offer,
        client: Option<Addresses>,
    ) -> Result<(Socket, bool), Unconnected> {
        let connected = async {
            let mut stream = http1::connect(address).await?;
            if let Some((from, to)) = client {
                stream.write_all(&proxy::header(from, to)).await?;
            }
            match &self.security {
                Security::Plain => Ok((Socket::Plain(stream), offer == Offer::Http2)),
                Security::Tls(tls) => tls.secure(stream, offer).await,
                Security::Broken(why) => Err(Unconnected::Broken(why.clone())),
            }
        };
        let connected = connected.await;
        if let Err(error) = &connected {
            self.warn(address, error);
        }
        connected
    }

    /// A certificate that is not trusted is seen nowhere else. At most once a second.
    fn warn(&self, address: SocketAddr, error: &Unconnected) {
        if matches!(error, Unconnected::Io(_)) {
            return;
        }
        let now = clock::seconds(SystemTime::now());
        if self.warned.swap(now, Ordering::Relaxed) != now {
            tracing::warn!(%address, %error, "a backend cannot be connected to");
        }
    }
}
