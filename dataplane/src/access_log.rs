//! The access log: one JSON line a request; and the audit log: one a refusal by a policy. Both are written off the request path;
//! lines are dropped and counted when the sink stalls.
//!
//! A worker writes its lines into a buffer of its own. One thread takes what all buffers hold and writes it to the sink, so
//! that a sink which stalls holds up that thread alone: the buffers fill up, and what finds no room is dropped.

mod line;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use line::{End, Fields, Line, Stamp};
pub(crate) use writer::Feed;
pub use writer::{Journal, Log, Sink};
