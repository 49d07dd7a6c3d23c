//! Real sockets: a client, workers as the server has them, and backends that behave or do not.

mod bad;
mod balance;
mod bounds;
mod breaker;
mod gateway;
mod health;
mod http1;
mod http2;
mod retry;
mod stream;

use gateway::Gateway;
