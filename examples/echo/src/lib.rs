//! What stands at both ends of a gateway under test.
//!
//! - [`Echo`]: a sample backend that answers with what it saw, over HTTP/1.1 and HTTP/2 without TLS.
//! - [`raw`]: a scripted TCP backend for everything that a good backend never does.
//! - [`client`]: clients: one connection with HTTP or raw bytes on it, a steady load, a WebSocket that beats throughout.
//! - [`Port`]: a loopback port that stays reserved, so that a peer can go and come back on the same address.
//!
//! None of it uses TLS; the clients also take any stream that is connected already.
//!
//! ```
//! use ravelin_echo::{Echo, client::{Client, Load, Protocol}};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let echo = Echo::start("orders").unwrap();
//! let mut client = Client::connect(echo.address(), Protocol::Http2).await.unwrap().with_host("shop.example");
//! assert_eq!(client.get("/cart?x=1").await.unwrap().json()["path"], "/cart");
//! assert_eq!(client.get("/?status=503").await.unwrap().status, 503);
//!
//! let load = Load::to(echo.address(), Protocol::Http1).rate(500).start();
//! load.more(20).await; // here the test changes something
//! load.stop().await.assert_no_request_lost();
//! # });
//! ```

pub mod client;
pub mod raw;

mod echo;
mod port;
mod websocket;

pub use echo::{Counts, Echo, Options, Seen};
pub use port::Port;
