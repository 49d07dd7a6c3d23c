//! One client: HTTP/1.1 by hand, for it should cost little, HTTP/2 by a library.

use std::{rc::Rc, sync::Arc};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{HeaderValue, Request, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{self, pki_types::ServerName},
};

use super::{Target, Wire};

pub(super) enum Client {
    Http1(Box<Http1>),
    Http2(Http2),
}

pub(super) struct Http1 {
    stream: Box<dyn Stream>,
    /// Whole heads, one a path.
    requests: Vec<Vec<u8>>,
    buffer: Vec<u8>,
}

#[derive(Clone)]
pub(super) struct Http2 {
    sender: SendRequest<Empty<Bytes>>,
    uris: Rc<[Uri]>,
    api_key: Option<&'static str>,
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

impl Client {
    pub(super) async fn open(target: &Target) -> anyhow::Result<Self> {
        let tcp = TcpStream::connect(target.address).await?;
        tcp.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match target.wire.is_tls() {
            true => {
                let name = ServerName::try_from(target.host)?;
                Box::new(TlsConnector::from(Arc::new(trust(target)?)).connect(name, tcp).await?)
            }
            false => Box::new(tcp),
        };
        if !target.wire.is_http2() {
            let head = |path: &String| {
                let host = target.host;
                let key = target.api_key.map(|key| format!("x-api-key: {key}\r\n")).unwrap_or_default();
                format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: bench\r\naccept: */*\r\n{key}\r\n")
            };
            let requests = target.paths.iter().map(|path| head(path).into_bytes()).collect();
            return Ok(Self::Http1(Box::new(Http1 { stream, requests, buffer: Vec::with_capacity(64 << 10) })));
        }
        let (sender, connection) = hyper::client::conn::http2::handshake(Local, TokioIo::new(stream)).await?;
        tokio::task::spawn_local(connection);
        let scheme = if target.wire == Wire::Https2 { "https" } else { "http" };
        let uris = target.paths.iter().map(|path| format!("{scheme}://{}{path}", target.host).parse());
        Ok(Self::Http2(Http2 { sender, uris: uris.collect::<Result<_, _>>()?, api_key: target.api_key }))
    }

    /// Another one over the same connection.
    pub(super) fn share(&self) -> Option<Self> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(client) => Some(Self::Http2(client.clone())),
        }
    }

    /// Asks for the path of this number, and reads the answer to its end. Anything but a 200 is an error.
    pub(super) async fn ask(&mut self, path: usize) -> anyhow::Result<()> {
        match self {
            Self::Http1(client) => client.ask(path).await,
            Self::Http2(client) => client.ask(path).await,
        }
    }
}

impl Http2 {
    async fn ask(&mut self, path: usize) -> anyhow::Result<()> {
        let mut request = Request::builder()
            .uri(self.uris[path].clone())
            .header(header::USER_AGENT, "bench")
            .header(header::ACCEPT, "*/*")
            .body(Empty::new())?;
        if let Some(key) = self.api_key {
            request.headers_mut().insert("x-api-key", HeaderValue::from_static(key));
        }
        self.sender.ready().await?;
        let mut answer = self.sender.send_request(request).await?;
        ensure!(answer.status() == 200, "not a 200: {}", answer.status());
        while let Some(frame) = answer.frame().await {
            frame?;
        }
        Ok(())
    }
}

/// How an answer's body ends.
enum Length {
    Bytes(usize),
    Chunked,
}

/// The end of a body in chunks.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

impl Http1 {
    async fn ask(&mut self, path: usize) -> anyhow::Result<()> {
        self.stream.write_all(&self.requests[path]).await?;
        self.stream.flush().await?;
        self.buffer.clear();
        let mut length = None;
        let mut passed = 0; // bytes of the body that are no longer in the buffer
        loop {
            ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the proxy closed a connection");
            if length.is_none() {
                let Some((head, found)) = read_head(&self.buffer)? else { continue };
                self.buffer.drain(..head);
                length = Some(found);
            }
            match length {
                Some(Length::Bytes(bytes)) if passed + self.buffer.len() >= bytes => return Ok(()),
                Some(Length::Bytes(_)) => {
                    passed += self.buffer.len();
                    self.buffer.clear();
                }
                Some(Length::Chunked) if self.buffer.ends_with(LAST_CHUNK) => return Ok(()),
                Some(Length::Chunked) => drop(self.buffer.drain(..self.buffer.len().saturating_sub(LAST_CHUNK.len()))),
                None => {}
            }
        }
    }
}

/// Bytes of the head, and how its body ends, once all of the head is here.
fn read_head(buffer: &[u8]) -> anyhow::Result<Option<(usize, Length)>> {
    let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&buffer[..end])?;
    ensure!(head.starts_with("HTTP/1.1 200"), "not a 200: {head}");
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Some(Length::Chunked);
        }
        let bytes = name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?;
        bytes.map(Length::Bytes)
    });
    Ok(Some((end + 4, length.context("an answer without a length")?)))
}

/// Its certificate is made for the run.
fn trust(target: &Target) -> anyhow::Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(target.certificate.clone().context("no certificate to trust")?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![if target.wire.is_http2() { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    Ok(config)
}

/// Its tasks stay on this thread.
#[derive(Clone, Copy)]
struct Local;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        drop(tokio::task::spawn_local(future));
    }
}
