//! A whole data plane in this process, fed over the channel, with real sockets on both sides.

mod bounds;
mod drain;
mod gateway;
mod head;
mod http2;
mod proxy;
mod smuggling;
mod start;
mod tls;
