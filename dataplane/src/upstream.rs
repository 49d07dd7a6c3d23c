//! Where requests go: backends, connections, balancing, streams.
