//! Expressions as closures.
