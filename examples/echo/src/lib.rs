//! What stands at both ends of a gateway under test.
//!
//! - [`Echo`]: a sample backend that answers with what it saw, over HTTP/1.1 and HTTP/2 without TLS.
//! - [`raw`]: a scripted TCP backend for everything that a good backend never does.
//! - [`client`]: clients: one connection with HTTP or raw bytes on it, a steady load, a WebSocket that beats throughout.
//! - [`Port`]: a loopback port that stays reserved, so that a peer can go and come back on the same address.
//!
//! None of it uses TLS; the clients also take any stream that is connected already.

pub mod client;
pub mod raw;

mod echo;
mod port;
mod websocket;

pub use echo::{Counts, Echo, Options, Seen};
pub use port::Port;
