//! TLS towards a backend: whom to trust, whom to be.

mod verify;

use std::{io, sync::Arc};

use ravelin_snapshot::backend::Tls;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Unconnected;
use crate::{fetch, upstream::socket::Socket};
use verify::Named;

const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

/// What is offered in the handshake (ALPN). Without TLS it is taken as agreed upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Offer {
    Http1,
    Http2,
    /// The backend chooses.
    Either,
}

/// Sessions are resumed over all workers.
#[derive(Debug)]
pub(super) struct Client {
    name: ServerName<'static>,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    either: Arc<ClientConfig>,
}

impl Client {
    /// What cannot be used is a fault of the compiler.
    pub(super) fn new(said: &Tls) -> Result<Self, String> {
        let roots = Arc::new(roots(said)?);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
        let builder = match said.names.is_empty() {
            true => builder.with_root_certificates(roots),
            false => {
                let verifier = Named::new(&said.names, roots, &provider)?;
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
            }
        };
        let config = match &said.certificate {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(own.chain.as_bytes()).collect();
                let chain = chain.map_err(|_| "the gateway's certificate is not PEM")?;
                let key = PrivateKeyDer::from_pem_slice(own.key.expose().as_bytes());
                let key = key.map_err(|_| "the gateway's key is not PEM")?;
                builder.with_client_auth_cert(chain, key).map_err(|error| error.to_string())?
            }
        };
        let offering = |protocols: &[&[u8]]| {
            let mut config = config.clone();
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            Arc::new(config)
        };
        let name = ServerName::try_from(said.hostname.clone()).map_err(|error| error.to_string())?;
        Ok(Self { name, http1: offering(&[HTTP1]), http2: offering(&[HTTP2]), either: offering(&[HTTP2, HTTP1]) })
    }

    pub(super) async fn secure(&self, stream: TcpStream, offer: Offer) -> Result<(Socket, bool), Unconnected> {
        let config = match offer {
            Offer::Http1 => &self.http1,
            Offer::Http2 => &self.http2,
            Offer::Either => &self.either,
        };
        let connector = TlsConnector::from(Arc::clone(config));
        let stream = connector.connect(self.name.clone(), stream).await.map_err(Unconnected::Tls)?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
        if offer == Offer::Http2 && !http2 {
            return Err(Unconnected::Protocol); // RFC 9113, 3.2: it is agreed upon by ALPN
        }
        Ok((Socket::from(stream), http2))
    }
}

/// A system without any is one where every handshake fails, and not one that trusts everybody.
fn roots(said: &Tls) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    if said.system {
        match fetch::systems() {
            Ok(systems) => roots.roots.extend(systems.roots.iter().cloned()),
            Err(error) => tracing::warn!(%error, "the system's authorities are not there"),
        }
    }
    if let Some(pem) = &said.authorities {
        let named = fetch::named(pem).map_err(|error| error.to_string())?;
        roots.roots.extend(named.roots);
    }
    Ok(roots)
}

impl From<Unconnected> for io::Error {
    fn from(error: Unconnected) -> Self {
        match error {
            Unconnected::Io(error) | Unconnected::Tls(error) => error,
            other @ (Unconnected::Broken(_) | Unconnected::Protocol) => Self::other(other),
        }
    }
}
