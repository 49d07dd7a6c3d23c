//! One connection, HTTP/1.1 or HTTP/2.

use std::{error::Error, fmt, io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header::HOST};
use http_body_util::BodyExt;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::AbortHandle,
    time::timeout,
};

use super::{Body, DEADLINE, body};

/// As a gateway may send it back to who asked for it.
const MAX_HEADER_LIST: u32 = 1 << 20;

/// What is spoken. HTTP/2 without TLS is with prior knowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// A client on one connection, which lives as long as it. It never connects again: whoever wants to know that a connection
/// lives through something keeps its client.
#[derive(Debug)]
pub struct Client {
    sender: Sender,
    host: String,
    scheme: &'static str,
    driver: Arc<Driver>,
}

/// The task that moves the bytes.
#[derive(Debug)]
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Client {
    /// A fresh connection; `Host` or `:authority` is the address.
    pub async fn connect(address: SocketAddr, protocol: Protocol) -> Result<Self, ClientError> {
        let stream = timeout(DEADLINE, TcpStream::connect(address)).await.map_err(|_| ClientError::TimedOut)??;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream, protocol, "http").await?.with_host(&address.to_string()))
    }

    /// A connection that is there already, with TLS perhaps; `scheme` is `http` or `https`. Set the host.
    pub async fn over<S>(stream: S, protocol: Protocol, scheme: &'static str) -> Result<Self, ClientError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let io = TokioIo::new(stream);
        // Invariant of both drivers: how the connection ends, the requests on it are told.
        let (sender, driver) = match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(io).await?;
                (Sender::Http1(sender), tokio::spawn(connection).abort_handle())
            }
            Protocol::Http2 => {
                let mut builder = http2::Builder::new(TokioExecutor::new());
                let (sender, connection) = builder.max_header_list_size(MAX_HEADER_LIST).handshake(io).await?;
                (Sender::Http2(sender), tokio::spawn(connection).abort_handle())
            }
        };
        Ok(Self { sender, host: String::new(), scheme, driver: Arc::new(Driver(driver)) })
    }

    /// The same connection once more, for requests at the same time: HTTP/2 alone has that.
    pub fn sibling(&self) -> Option<Self> {
        let Sender::Http2(sender) = &self.sender else { return None };
        let sender = Sender::Http2(sender.clone());
        Some(Self { sender, host: self.host.clone(), scheme: self.scheme, driver: Arc::clone(&self.driver) })
    }

    /// Another `Host` or `:authority`.
    #[must_use]
    pub fn with_host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// No request can be sent any more.
    pub fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }

    /// A GET.
    pub async fn get(&mut self, path: &str) -> Result<Answer, ClientError> {
        self.get_with(path, &[]).await
    }

    /// A GET with headers.
    pub async fn get_with(&mut self, path: &str, headers: &[(&str, &str)]) -> Result<Answer, ClientError> {
        self.send(request(Method::GET, path, headers, body(""))).await
    }

    /// A POST.
    pub async fn post(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        bytes: impl Into<Bytes>,
    ) -> Result<Answer, ClientError> {
        self.send(request(Method::POST, path, headers, body(bytes))).await
    }

    /// Any request, and its whole answer. What the URI and the headers leave open is filled in from the host.
    pub async fn send(&mut self, request: Request<Body>) -> Result<Answer, ClientError> {
        let whole = async { Answer::read(self.dispatch(request).await?).await };
        timeout(DEADLINE, whole).await.map_err(|_| ClientError::TimedOut)?
    }

    /// Any request, and the head of its answer: the body is the caller's to read, with this client still alive.
    pub async fn open(&mut self, request: Request<Body>) -> Result<Response<Incoming>, ClientError> {
        timeout(DEADLINE, self.dispatch(request)).await.map_err(|_| ClientError::TimedOut)?
    }

    async fn dispatch(&mut self, request: Request<Body>) -> Result<Response<Incoming>, ClientError> {
        let request = self.complete(request)?;
        let tried = match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await.map_err(ClientError::NotSent)?;
                sender.try_send_request(request).await
            }
            Sender::Http2(sender) => {
                sender.ready().await.map_err(ClientError::NotSent)?;
                sender.try_send_request(request).await
            }
        };
        tried.map_err(|mut failed| match failed.take_message() {
            Some(_) => ClientError::NotSent(failed.into_error()),
            None => ClientError::Http(failed.into_error()),
        })
    }

    fn complete(&self, mut request: Request<Body>) -> Result<Request<Body>, ClientError> {
        match &self.sender {
            Sender::Http1(_) if !request.headers().contains_key(HOST) => {
                let host = HeaderValue::from_str(&self.host).map_err(http::Error::from)?;
                request.headers_mut().insert(HOST, host);
            }
            Sender::Http2(_) if request.uri().authority().is_none() => {
                let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
                let uri = Uri::builder().scheme(self.scheme).authority(self.host.as_str()).path_and_query(path);
                *request.uri_mut() = uri.build()?;
                *request.version_mut() = Version::HTTP_2;
            }
            Sender::Http1(_) | Sender::Http2(_) => {}
        }
        Ok(request)
    }
}

/// A request with a path alone, for [`Client::send`] or a [`Load`](super::Load). Panics on what is no header or path.
pub fn request<B>(method: Method, path: &str, headers: &[(&str, &str)], body: B) -> Request<B> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).expect("the test asks for what can be sent")
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Of the answer.
    pub status: StatusCode,
    /// Of the protocol.
    pub version: Version,
    /// All of them, repeated ones in order.
    pub headers: HeaderMap,
    /// All of it.
    pub body: Bytes,
    /// What followed the body.
    pub trailers: HeaderMap,
}

impl Answer {
    /// Waits for the end of the body.
    pub async fn read(response: Response<Incoming>) -> Result<Self, ClientError> {
        let (head, body) = response.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        let body = body.to_bytes();
        Ok(Self { status: head.status, version: head.version, headers: head.headers, body, trailers })
    }

    /// The header's first value, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as text, with replacements for what is none.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON. Panics with the answer if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}) in {self:?}"))
    }
}

/// Why there is no answer. Its text tells the causes too.
#[derive(Debug)]
pub enum ClientError {
    /// Of connecting.
    Connect(io::Error),
    /// Nothing of the request was written: it can be sent again on another connection.
    NotSent(hyper::Error),
    /// Of the exchange.
    Http(hyper::Error),
    /// The request could not be made.
    Request(http::Error),
    /// Nothing by the [`DEADLINE`].
    TimedOut,
}

impl fmt::Display for ClientError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(_) => formatter.write_str("cannot connect")?,
            Self::NotSent(_) => formatter.write_str("the connection has ended before the request was sent")?,
            Self::Http(_) => formatter.write_str("no answer")?,
            Self::Request(_) => formatter.write_str("no such request")?,
            Self::TimedOut => formatter.write_str("no answer by the deadline")?,
        }
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(formatter, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl Error for ClientError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Connect(error) => Some(error),
            Self::NotSent(error) | Self::Http(error) => Some(error),
            Self::Request(error) => Some(error),
            Self::TimedOut => None,
        }
    }
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        Self::Connect(error)
    }
}

impl From<hyper::Error> for ClientError {
    fn from(error: hyper::Error) -> Self {
        Self::Http(error)
    }
}

impl From<http::Error> for ClientError {
    fn from(error: http::Error) -> Self {
        Self::Request(error)
    }
}
