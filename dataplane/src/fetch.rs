//! What the gateway itself asks others for, such as an issuer's keys: one GET, or one form, with a bound on everything. It runs beside
//! the workers, never on a request's way.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use ravelin_snapshot::url::{HttpUrl, InvalidUrl};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, InvalidDnsNameError, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::spawn_blocking,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::upstream;

/// Redirects that are followed, at most; all of them stay at their origin.
const MAX_REDIRECTS: usize = 3;
/// To one address; there may be another.
const CONNECT: Duration = Duration::from_secs(3);

/// What an answer may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The whole of it, redirects included.
    pub(crate) time: Duration,
    /// Of the body.
    pub(crate) bytes: usize,
}

/// Why there is no answer. It carries nothing of what was answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("its name cannot be resolved: {0}")]
    Resolve(String),
    #[error("it cannot be connected to: {0}")]
    Connect(#[source] io::Error),
    #[error("its name has no address")]
    NoAddress,
    #[error("it cannot be spoken to over TLS: {0}")]
    Tls(#[source] io::Error),
    #[error("its name cannot stand in a certificate: {0}")]
    Name(#[from] InvalidDnsNameError),
    #[error("it does not speak HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("it cannot be asked for: {0}")]
    Request(#[from] http::Error),
    #[error("it answers {0}")]
    Status(StatusCode),
    #[error("it redirects to another origin, which is not followed")]
    Elsewhere,
    #[error("it redirects to nowhere: {0}")]
    Location(#[from] InvalidUrl),
    #[error("it redirects again and again")]
    Redirects,
    #[error("its answer is longer than {0} bytes")]
    TooLong(usize),
    #[error("it does not answer in time")]
    TimedOut,
    #[error("no authority is trusted: {0}")]
    Trust(String),
}

/// Whose certificates are believed.
#[derive(Clone)]
pub(crate) struct Trust(Arc<ClientConfig>);

impl Trust {
    /// `authorities`: PEM; the system's without them.
    pub(crate) async fn new(authorities: Option<&str>) -> Result<Self, FetchError> {
        let roots = match authorities {
            Some(pem) => Arc::new(named(pem)?),
            None => spawn_blocking(systems).await.map_err(|panic| FetchError::Trust(panic.to_string()))??,
        };
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| FetchError::Trust(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }
}

pub(crate) fn named(pem: &str) -> Result<RootCertStore, FetchError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| FetchError::Trust(error.to_string()))?;
        roots.add(certificate).map_err(|error| FetchError::Trust(error.to_string()))?;
    }
    Ok(roots)
}

/// Read once in a process's life.
pub(crate) fn systems() -> Result<Arc<RootCertStore>, FetchError> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return Ok(Arc::clone(roots));
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or("the system has none".to_owned(), ToString::to_string);
        return Err(FetchError::Trust(why));
    }
    Ok(Arc::clone(ROOTS.get_or_init(|| Arc::new(roots))))
}

/// The body of a 200.
pub(crate) async fn get(url: &HttpUrl, trust: Option<&Trust>, bounds: Bounds) -> Result<Bytes, FetchError> {
    let followed = async {
        let mut at = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            match once(&at, trust, bounds, None).await? {
                Answer::Body(body) => return Ok(body),
                Answer::Redirect(location) => {
                    let to = at.join(&location)?;
                    if !to.same_origin(url) {
                        return Err(FetchError::Elsewhere);
                    }
                    at = to;
                }
            }
        }
        Err(FetchError::Redirects)
    };
    timeout(bounds.time, followed).await.unwrap_or(Err(FetchError::TimedOut))
}

/// A form that is sent, and as whom.
pub(crate) struct Form {
    pub(crate) body: Bytes,
    pub(crate) authorization: Option<HeaderValue>,
}

/// The body of a 200 to a form. No redirect is followed: what is sent is for one alone.
pub(crate) async fn post(
    url: &HttpUrl,
    trust: Option<&Trust>,
    bounds: Bounds,
    form: Form,
) -> Result<Bytes, FetchError> {
    let asked = once(url, trust, bounds, Some(form));
    match timeout(bounds.time, asked).await.unwrap_or(Err(FetchError::TimedOut))? {
        Answer::Body(body) => Ok(body),
        Answer::Redirect(_) => Err(FetchError::Elsewhere),
    }
}

enum Answer {
    Body(Bytes),
    Redirect(String),
}

async fn once(url: &HttpUrl, trust: Option<&Trust>, bounds: Bounds, form: Option<Form>) -> Result<Answer, FetchError> {
    let stream = connect(url).await?;
    match trust.filter(|_| url.https) {
        None if url.https => Err(FetchError::Trust("there is none".to_owned())),
        None => exchange(stream, url, bounds, form).await,
        Some(Trust(config)) => {
            let name = match url.address() {
                Some(address) => ServerName::from(address),
                None => ServerName::try_from(url.host.trim_end_matches('.').to_owned())?,
            };
            let connector = TlsConnector::from(Arc::clone(config));
            let stream = connector.connect(name, stream).await.map_err(FetchError::Tls)?;
            exchange(stream, url, bounds, form).await
        }
    }
}

async fn connect(url: &HttpUrl) -> Result<TcpStream, FetchError> {
    let addresses: Vec<IpAddr> = match url.address() {
        Some(address) => vec![address],
        None => upstream::addresses(&url.host).await.map_err(|error| FetchError::Resolve(error.to_string()))?,
    };
    let mut failed = FetchError::NoAddress;
    for address in addresses {
        match timeout(CONNECT, TcpStream::connect(SocketAddr::new(address, url.port))).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = FetchError::Connect(error),
            Err(_) => failed = FetchError::TimedOut,
        }
    }
    Err(failed)
}

async fn exchange<S>(stream: S, url: &HttpUrl, bounds: Bounds, form: Option<Form>) -> Result<Answer, FetchError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::Builder::new().handshake(TokioIo::new(stream)).await?;
    // What it came to, the exchange tells; it may end while the last of the body is still to be read.
    let driven = async {
        drop(connection.await);
        std::future::pending::<()>().await;
    };
    let (method, body) = match &form {
        Some(form) => (Method::POST, form.body.clone()),
        None => (Method::GET, Bytes::new()),
    };
    let mut request = Request::builder()
        .method(method)
        .uri(&url.target)
        .header(header::HOST, url.authority())
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, concat!("ravelin/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close")
        .body(Full::new(body))?;
    if let Some(form) = form {
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(header::CONTENT_TYPE, kind);
        if let Some(authorization) = form.authorization {
            request.headers_mut().insert(header::AUTHORIZATION, authorization);
        }
    }
    let asked = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        if status.is_redirection()
            && let Some(location) = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok())
        {
            return Ok(Answer::Redirect(location.to_owned()));
        }
        if status != StatusCode::OK {
            return Err(FetchError::Status(status));
        }
        let mut body = answer.into_body();
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            if read.len() + data.len() > bounds.bytes {
                return Err(FetchError::TooLong(bounds.bytes));
            }
            read.extend_from_slice(&data);
        }
        Ok(Answer::Body(read.into()))
    };
    tokio::select! {
        answered = asked => answered,
        () = driven => Err(FetchError::TimedOut), // never: it is pending
    }
}
