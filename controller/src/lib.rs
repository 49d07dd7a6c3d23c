//! The controller: takes the objects that users wrote, compiles them into a snapshot and says what became of each.
//! It knows nothing of HTTP proxying.
//!
//! The way of a change, top to bottom: a source ([`files`] or [`watch`]) keeps a [`model`] of all [`object`]s at one
//! instant; [`compile`] turns it into a snapshot and [`verdict`]s, purely and by what changed; [`publish`] hands the
//! snapshot to the data plane and keeps what was said about the objects, for the admin interface and for statuses.
//! In a cluster each replica reports what its data plane has acknowledged ([`replica`]); the one that leads ([`leader`])
//! adds that up and writes [`status`]es.

pub mod compile;
pub mod expression;
pub mod files;
pub mod leader;
pub mod model;
pub mod object;
pub mod publish;
pub mod replica;
pub mod status;
pub mod verdict;
pub mod watch;
