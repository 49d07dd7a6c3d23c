//! Policies: what may refuse a request. Each has a shape of its own.
