//! Policies: what may refuse a request. Each has a shape of its own.

pub mod auth;
pub mod limit;
