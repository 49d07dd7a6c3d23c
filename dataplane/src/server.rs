//! Threads, sockets, TLS, connections, drain: what surrounds the pipeline.
