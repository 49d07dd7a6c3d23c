//! The contract between the two halves of Ravelin: plain, immutable, comparable data, and the channel that carries it.
//!
//! A [`Snapshot`] is everything that the data plane needs in order to serve: routes, policies, backends, certificates.
//! No name is left to resolve but the keys of its own parts, durations are milliseconds, sizes are bytes, and secrets
//! are in a type that shows itself to nobody. Its parts are content-addressed, so that only what changed travels.
//!
//! The controller imports this crate and never the data plane; the data plane imports it and never the controller.

pub mod auth;
pub mod backend;
pub mod certificate;
pub mod channel;
pub mod expression;
pub mod filter;
pub mod hex;
pub mod host;
pub mod json;
pub mod jwk;
pub mod jwt;
pub mod key;
pub mod part;
pub mod password;
pub mod path;
pub mod rare;
pub mod rate_limit;
pub mod regex;
pub mod route;
pub mod secret;
pub mod shared_map;
pub mod snapshot;
pub mod store;
pub mod url;

pub use host::HostPattern;
pub use key::{ObjectKey, ObjectName, PolicyKey};
pub use part::{Change, Digest, Part, Parts};
pub use rare::{Empty, Rare};
pub use secret::Secret;
pub use shared_map::{Difference, SharedMap};
pub use snapshot::{Revision, Snapshot};

/// The version of all forms here, on the wire and on disk. It goes up with every change of one, and gets a golden file of
/// its own (`tests/golden/form-FORM.json`), which holds the form of the parts; two versions refuse each other's data and
/// say so.
pub const FORM: u32 = 10;
