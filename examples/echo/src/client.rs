//! Clients for tests. Each call has a generous [`DEADLINE`] of its own, so that a peer that never answers is an error, not a hang.

use std::{net::SocketAddr, time::Duration};

mod body;
mod http;
mod load;
mod pulse;
mod wire;

pub use body::{Body, Upload, body, upload};
pub use http::{Answer, Client, ClientError, Protocol, request};
pub use load::{Load, Report, Running};
pub use pulse::{Broken, Pulse};
pub use wire::{End, Received, Wire, exchange};

/// Longer than anything that works takes, on a machine that is busy.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// One GET over a fresh HTTP/1.1 connection. For more than one, or anything else: [`Client`].
pub async fn get(address: SocketAddr, host: &str, path: &str) -> Result<Answer, ClientError> {
    Client::connect(address, Protocol::Http1).await?.with_host(host).get(path).await
}
