//! What an operator sees of a data plane: metrics, access log, admin interface; with real sockets on all sides.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access_log;
mod admin;
#[path = "../server/gateway.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod gateway;
mod metrics;
mod scrape;
