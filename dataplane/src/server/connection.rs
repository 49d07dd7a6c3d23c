//! One client connection, from the accepted socket to its end.

mod exchange;
pub(super) mod http1;
mod http2;
mod plain;
mod watchdog;

use std::{io, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use bytes::BytesMut;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{
    proxy_protocol::{self, BadHeader},
    stream::{Io, PREFACE, Pulse, Stream},
    tls::HandshakeError,
    worker::Worker,
};
use crate::request::{Connection, Scheme};
use exchange::Line;
pub(crate) use http2::WebSocket;
pub(crate) use plain::ClientBody;

/// Why a connection ends before its first request.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Proxy(#[from] BadHeader),
    #[error(transparent)]
    Tls(#[from] HandshakeError),
    #[error("it sent nothing")]
    Silent,
    #[error("it speaks neither HTTP/1.1 nor HTTP/2")]
    Neither,
}

/// A connection of which is known who is there and what is spoken.
struct Opened {
    line: Line,
    stream: Stream,
    http2: bool,
}

pub(super) async fn serve(worker: Rc<Worker>, tcp: TcpStream, peer: SocketAddr, secure: bool) {
    // One deadline for everything before the first complete head: PROXY header, handshake, preface, head.
    let deadline = Instant::now() + worker.settings.bounds.header_timeout;
    // What is large and short, or not for everybody, is apart: a task is as large as its largest moment for all its life.
    let opened = match timeout_at(deadline, Box::pin(open(&worker, tcp, peer, secure))).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "a connection came to nothing"),
        Err(_) => return tracing::debug!(%peer, "a connection came to nothing: --header-timeout"),
    };
    let Opened { line, stream, http2 } = opened;
    if http2 {
        Box::pin(http2::serve(line, stream)).await;
    } else {
        http1::serve(line, stream, deadline).await;
    }
}

async fn open(worker: &Rc<Worker>, mut tcp: TcpStream, peer: SocketAddr, secure: bool) -> Result<Opened, OpenError> {
    let (mut from, mut to) = (peer, tcp.local_addr()?);
    first_byte(worker, &tcp).await?;
    if worker.settings.proxy_protocol.iter().any(|range| range.contains(&peer.ip().to_canonical()))
        && let Some((client, destination)) = proxy_protocol::read(&mut tcp).await?
    {
        (from, to) = (client, destination);
    }
    let pulse = Pulse::new();
    let trusted = &worker.settings.trusted_proxies;
    if secure {
        let secured = worker.shared.tls.accept(tcp).await?;
        let stream = Stream::new(Io::Tls(Box::new(secured.stream)), BytesMut::new(), Arc::clone(&pulse));
        let mut connection = Connection::new(from, to, Scheme::Https, secured.server_name, trusted);
        connection.chain = secured.chain;
        let line = Line { worker: Rc::clone(worker), connection, pulse };
        return Ok(Opened { line, stream, http2: secured.http2 });
    }
    let (early, http2) = sniff(&tcp).await?;
    let stream = Stream::new(Io::Plain(tcp), early, Arc::clone(&pulse));
    let connection = Connection::new(from, to, Scheme::Http, None, trusted);
    let line = Line { worker: Rc::clone(worker), connection, pulse };
    Ok(Opened { line, stream, http2 })
}

/// Waits until there is something to read. Nothing is held for a connection that only opens; who was accepted last before
/// a drain gets a moment to speak.
async fn first_byte(worker: &Rc<Worker>, tcp: &TcpStream) -> Result<(), OpenError> {
    const GRACE: Duration = Duration::from_secs(1);
    let mut closing = worker.shared.stage.subscribe();
    let silent = async {
        drop(closing.wait_for(|stage| *stage >= super::Stage::Closing).await);
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        biased;
        readable = tcp.readable() => Ok(readable?),
        () = silent => Err(OpenError::Silent),
    }
}

/// Reads as much as tells HTTP/2 with prior knowledge from HTTP/1.1. There is no upgrade from one to the other: it is gone
/// from the standard (RFC 9113, 3.1) and a way to smuggle.
async fn sniff(tcp: &TcpStream) -> Result<(BytesMut, bool), OpenError> {
    let mut early = BytesMut::with_capacity(PREFACE.len());
    loop {
        if !PREFACE.starts_with(&early) {
            if !is_neither(&early) {
                return Ok((early, false));
            }
            // A socket that is closed with unread bytes resets rather than ends.
            drop(tcp.try_read(&mut [0; 4096]));
            return Err(OpenError::Neither);
        }
        if early.len() == PREFACE.len() {
            return Ok((early, true));
        }
        let mut room = [0; PREFACE.len()];
        match tcp.try_read(&mut room[early.len()..]) {
            Ok(0) => return Err(OpenError::Silent),
            Ok(count) => {
                let from = early.len();
                early.extend_from_slice(&room[from..from + count]);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tcp.readable().await?,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether this begins neither a preface nor a request of HTTP/1.1: what stands behind the method is no target of any form
/// (RFC 9112, 3.2). Who speaks neither protocol is not answered in one of them (RFC 9113, 3.4).
fn is_neither(held: &[u8]) -> bool {
    let mut words = held.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(_)) = (words.next(), words.next(), words.next()) else { return false };
    let is_word = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_alphabetic);
    is_word(method) && is_word(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_request_of_http1_is_left_to_its_parser() {
        for request in ["GET / HTTP/1.1\r\n", "OPTIONS * HTTP/1.1", "GET ftp://a/ HTTP/1.1", "CONNECT a:443 HTTP/1.1"] {
            assert!(!is_neither(request.as_bytes()), "{request}");
        }
        for slip in ["G", "GET", "GET ", "GET  / HTTP/1.1", "GET\r\nHost: a\r\n", " / HTTP/1.1", "\r\nGET / HTTP/1.1"] {
            assert!(!is_neither(slip.as_bytes()), "{slip}: 400");
        }
        assert!(is_neither(b"INVALID CONNECTION PREFA"));
    }
}
