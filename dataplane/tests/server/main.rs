//! A whole data plane in this process, fed over the channel, with real sockets on both sides.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod backend_tls;
mod balance;
mod basic;
mod bounds;
mod client_certificate;
mod coalesce;
mod compression;
mod cors;
mod deadline;
mod drain;
mod explain;
mod external;
mod external_grpc;
mod gateway;
mod grpc_web;
mod head;
mod hmac;
mod http2;
mod introspection;
mod limit;
mod mirror;
mod oidc;
mod plain;
mod policy;
mod proxy;
mod session;
mod smuggling;
mod start;
mod tls;
mod token;
mod websocket;
