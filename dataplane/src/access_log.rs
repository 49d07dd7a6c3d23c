//! The access log: one JSON line a request, off the request path; lines are dropped and counted when the sink stalls.
