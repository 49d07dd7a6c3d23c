//! The backend of all proxies: answers over HTTP/1.1 as fast as a thread can, and looks at nothing but the end of a head; or
//! over HTTP/2 by a library. And a forwarder of bytes, as the floor that a proxy stands on.

use std::{convert::Infallible, io::Write, net::SocketAddr};

use anyhow::Context;
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What it answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// Bytes, with their number.
    Whole(usize),
    /// Bytes in chunks of 4 KiB.
    Chunks(usize),
}

const CHUNK: usize = 4 << 10;

/// Runs on a thread of its own until the program ends.
pub(crate) fn start(body: Body, http2: bool) -> anyhow::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    std::thread::Builder::new().name("backend".to_owned()).spawn(move || accept(listener, body, http2))?;
    Ok(address)
}

fn accept(listener: std::net::TcpListener, body: Body, http2: bool) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = Bytes::from(answer(body));
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            match http2 {
                true => drop(tokio::spawn(serve_http2(stream, body))),
                false => drop(tokio::spawn(serve(stream, answer.clone()))),
            }
        }
    })
}

fn answer(body: Body) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n";
    match body {
        Body::Whole(bytes) => format!("{head}content-length: {bytes}\r\n\r\n{}", "x".repeat(bytes)),
        Body::Chunks(bytes) => {
            let chunk = format!("{CHUNK:x}\r\n{}\r\n", "x".repeat(CHUNK));
            format!("{head}transfer-encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(bytes / CHUNK))
        }
    }
    .into_bytes()
}

async fn serve(mut stream: TcpStream, answer: Bytes) -> std::io::Result<()> {
    let mut buffer = Vec::with_capacity(8192);
    loop {
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        while let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            buffer.drain(..end + 4);
            stream.write_all(&answer).await?;
        }
    }
}

async fn serve_http2(stream: TcpStream, body: Body) -> Result<(), hyper::Error> {
    let (Body::Whole(bytes) | Body::Chunks(bytes)) = body;
    let body = Bytes::from(vec![b'x'; bytes]);
    let service = hyper::service::service_fn(move |_| {
        let answer = Response::new(Full::new(body.clone()));
        async { Ok::<_, Infallible>(answer) }
    });
    hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await
}

/// Copies bytes between whoever connects and `to`, on one thread, for ever. Says where, in one line.
pub(crate) fn forward(to: SocketAddr) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
        loop {
            let (mut client, _) = listener.accept().await?;
            tokio::spawn(async move {
                client.set_nodelay(true)?;
                let mut server = TcpStream::connect(to).await?;
                server.set_nodelay(true)?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await.map(drop).context("cut")
            });
        }
    })
}
