//! The source in a cluster: one reflector a kind, pruned, complete before anything is published.
