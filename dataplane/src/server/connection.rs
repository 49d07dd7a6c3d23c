//! One client connection, from the accepted socket to its end.

mod http;
mod watchdog;

use std::{io, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{
    proxy_protocol::{self, BadHeader},
    stream::{Early, Io, PREFACE, Pulse, Stream},
    tls::HandshakeError,
    worker::Worker,
};
use crate::request::{Connection, Scheme};
pub(super) use http::Protocols;

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
}

/// A connection of which is known who is there and what is spoken.
struct Opened {
    stream: Stream,
    pulse: Arc<Pulse>,
    connection: Connection,
    http2: bool,
}

pub(super) async fn serve(worker: Rc<Worker>, tcp: TcpStream, peer: SocketAddr, secure: bool) {
    // One deadline for everything before the first complete head: PROXY header, handshake, preface, head.
    let deadline = Instant::now() + worker.settings.bounds.header_timeout;
    let opened = match timeout_at(deadline, open(&worker, tcp, peer, secure)).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "a connection came to nothing"),
        Err(_) => return tracing::debug!(%peer, "a connection came to nothing: --header-timeout"),
    };
    if opened.http2 {
        http::serve_http2(worker, opened).await;
    } else {
        http::serve_http1(worker, opened, deadline).await;
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
        let stream = Stream::new(Io::Tls(Box::new(secured.stream)), Early::default(), Arc::clone(&pulse));
        let connection = Connection::new(from, to, Scheme::Https, secured.server_name, trusted);
        return Ok(Opened { stream, pulse, connection, http2: secured.http2 });
    }
    let (early, http2) = sniff(&tcp).await?;
    let stream = Stream::new(Io::Plain(tcp), early, Arc::clone(&pulse));
    let connection = Connection::new(from, to, Scheme::Http, None, trusted);
    Ok(Opened { stream, pulse, connection, http2 })
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
async fn sniff(tcp: &TcpStream) -> Result<(Early, bool), OpenError> {
    let mut early = Early::default();
    loop {
        let held = early.held();
        if !PREFACE.starts_with(held) {
            return Ok((early, false));
        }
        if held.len() == PREFACE.len() {
            return Ok((early, true));
        }
        match tcp.try_read(early.room()) {
            Ok(0) => return Err(OpenError::Silent),
            Ok(count) => early.add(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tcp.readable().await?,
            Err(error) => return Err(error.into()),
        }
    }
}
