//! The data plane: listeners, routing, policies, upstreams. It knows nothing of Kubernetes; it serves the snapshot
//! that it was given last, and starts from the one on its disk when nobody gives it any.
//!
//! Start reading at [`pipeline`]: one function, top to bottom, is the way of a request. [`server`] is what surrounds
//! it (threads, sockets, TLS, drain), [`table`] what it looks up, [`policy`] what may refuse, [`upstream`] where it goes.
//! [`receiver`] takes snapshots and swaps the table. Around the pipeline: [`wire`] is HTTP/1.1 as bytes, which
//! `server/connection/plain.rs` reads requests with, [`body`] what is under way in both directions, [`record`] what is noted of a
//! request for [`metrics`] and the [`access_log`], [`session`] what keeps a client on its endpoint.

pub mod access_log;
pub mod admin;
pub mod body;
mod clock;
pub mod explain;
pub mod expression;
mod fetch;
pub mod filter;
pub mod metrics;
pub mod pipeline;
pub mod policy;
mod query;
pub mod receiver;
pub mod record;
pub mod reject;
pub mod request;
pub mod server;
pub mod session;
pub mod settings;
pub mod table;
pub mod upstream;
pub mod wire;

pub use server::{Addresses, Running, StartError, start};
pub use settings::{Bounds, Settings};
