//! Statuses.

mod conditions;

pub use conditions::Written;
