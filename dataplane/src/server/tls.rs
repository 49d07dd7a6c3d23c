//! TLS on the way in: which certificate a name gets, and the handshake.
//!
//! Certificates belong to the table: they change with it, and connections that are open keep what they have.

mod asks;

use std::{cmp::Reverse, collections::HashMap, io, sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use base64::{Engine, engine::general_purpose::STANDARD};
use ravelin_snapshot::{HostPattern, ObjectKey, Part, Snapshot, certificate::Certificate, channel::Refusal};
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use crate::{clock, policy::auth::ClientChain, table::Table};
use asks::Asks;

/// Which certificates a name gets: those of the routes for exactly that host, else of the nearest wildcard, else of the
/// routes without hostnames. Of several that fit the client the first is taken that covers the name and holds at the time.
#[derive(Default)]
pub struct Certificates {
    exact: HashMap<String, Arc<Chains>>,
    /// By what stands behind `*.`.
    wildcard: HashMap<String, Arc<Chains>>,
    any: Option<Arc<Chains>>,
    parsed: HashMap<ObjectKey, (Part<Certificate>, Arc<Dated>)>,
}

/// A chain with its key, and when its leaf holds: seconds since the epoch, both included.
struct Dated {
    certified: Arc<CertifiedKey>,
    from: i64,
    until: i64,
}

/// The certificates of one host pattern, the oldest route's first.
#[derive(Default)]
struct Chains {
    keys: Vec<ObjectKey>,
    dated: Vec<Arc<Dated>>,
}

impl Certificates {
    /// Work in proportion to what changed: nothing is parsed again that was parsed for `previous`, and where neither
    /// certificates nor routes with certificates changed, `previous` itself is returned.
    pub fn build(snapshot: &Snapshot, previous: Option<(&Snapshot, &Arc<Self>)>) -> Result<Arc<Self>, Refusal> {
        if let Some((before, certificates)) = previous
            && same(snapshot, before)
        {
            return Ok(Arc::clone(certificates));
        }
        let provider = aws_lc_rs::default_provider();
        let mut parsed = HashMap::new();
        for (key, part) in snapshot.certificates.iter() {
            let before = previous.and_then(|(_, certificates)| certificates.parsed.get(key));
            let dated = match before {
                Some((said, dated)) if said == part => Arc::clone(dated),
                _ => parse(part, &provider).map(Arc::new).map_err(|reason| refusal(key, reason))?,
            };
            parsed.insert(key.clone(), (part.clone(), dated));
        }
        let mut routes: Vec<_> = snapshot.routes.iter().filter(|(_, route)| !route.certificates.is_empty()).collect();
        routes.sort_by_key(|(key, route)| (route.created.unwrap_or(i64::MAX), *key));
        let mut hosts: HashMap<&HostPattern, Chains> = HashMap::new();
        for (_, route) in routes {
            for host in &route.hosts {
                let chains = hosts.entry(host).or_default();
                for key in route.certificates.iter().filter(|key| !chains.keys.contains(key)).collect::<Vec<_>>() {
                    if let Some((_, dated)) = parsed.get(key) {
                        chains.keys.push(key.clone());
                        chains.dated.push(Arc::clone(dated));
                    }
                }
            }
        }
        let mut certificates = Self { parsed, ..Self::default() };
        for (host, chains) in hosts {
            let chains = Arc::new(chains);
            match host {
                HostPattern::Exact(name) => drop(certificates.exact.insert(name.clone(), chains)),
                HostPattern::Wildcard(suffix) => drop(certificates.wildcard.insert(suffix.clone(), chains)),
                HostPattern::Any => certificates.any = Some(chains),
            }
        }
        Ok(Arc::new(certificates))
    }

    /// `name` in lower case, without final dot; `None`: the client has not said one.
    fn find(&self, name: Option<&str>) -> Option<&Arc<Chains>> {
        let named = name.and_then(|name| {
            let above = name.match_indices('.').map(|(at, _)| &name[at + 1..]);
            let wildcard = above.filter(|suffix| !suffix.is_empty()).find_map(|suffix| self.wildcard.get(suffix));
            self.exact.get(name).or(wildcard)
        });
        named.or(self.any.as_ref())
    }

    /// Whether a name, or a client that says none, gets a certificate. Otherwise the handshake is refused.
    pub fn has(&self, server_name: Option<&str>) -> bool {
        self.find(server_name).is_some()
    }

    /// Whether a connection that was opened for `server_name` may carry a request for `host`: if it is the same name, or
    /// if `host` would have got the same certificates. Otherwise the answer is 421, and the client opens another.
    pub fn fit(&self, server_name: Option<&str>, host: &str) -> bool {
        if server_name == Some(host) {
            return true;
        }
        match (self.find(server_name), self.find(Some(host))) {
            (Some(served), Some(wanted)) => Arc::ptr_eq(served, wanted) || served.keys == wanted.keys,
            // The certificate has left the table while the connection was open; its host has none either.
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}

/// Whether both have the same certificates for the same hosts.
fn same(snapshot: &Snapshot, before: &Snapshot) -> bool {
    let mut certificates = snapshot.certificates.changes(&before.certificates);
    let mut routes = snapshot.routes.changes(&before.routes).filter(|change| {
        let has = |route: Option<&Part<ravelin_snapshot::route::Route>>| {
            route.is_some_and(|route| !route.certificates.is_empty())
        };
        has(change.before) || has(change.after)
    });
    certificates.next().is_none() && routes.next().is_none()
}

fn refusal(key: &ObjectKey, reason: String) -> Refusal {
    Refusal { part: format!("certificate {key}"), reason }
}

/// The error says nothing of the key.
fn parse(said: &Certificate, provider: &CryptoProvider) -> Result<Dated, String> {
    let chain = CertificateDer::pem_slice_iter(said.chain.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|_| "the chain is not PEM".to_owned())?;
    let leaf = chain.first().ok_or_else(|| "the chain holds no certificate".to_owned())?;
    // What cannot be dated holds: the compiler has read it, and clients judge for themselves.
    let leaf = x509_parser::parse_x509_certificate(leaf).ok();
    let from = leaf.map_or(i64::MIN, |(_, leaf)| leaf.validity().not_before.timestamp());
    let key = PrivateKeyDer::from_pem_slice(said.key.expose().as_bytes());
    let key = key.map_err(|_| "the key is not a PEM private key".to_owned())?;
    let certified = CertifiedKey::from_der(chain, key, provider);
    let certified = certified.map_err(|error| format!("chain and key do not fit: {error}"))?;
    let mut certified = certified;
    if let Some(staple) = &said.ocsp {
        let staple = STANDARD.decode(staple).map_err(|_| "the OCSP answer is not base64".to_owned())?;
        certified.ocsp = Some(staple);
    }
    Ok(Dated { certified: Arc::new(certified), from, until: said.not_after })
}

impl Chains {
    fn choose(&self, hello: &ClientHello<'_>, now: SystemTime) -> Option<Arc<CertifiedKey>> {
        let fits = |dated: &&&Arc<Dated>| dated.certified.key.choose_scheme(hello.signature_schemes()).is_some();
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let covers = |dated: &Dated| {
            let leaf = dated.certified.cert.first().and_then(|leaf| ParsedCertificate::try_from(leaf).ok());
            let verified = leaf.zip(name.as_ref()).map(|(leaf, name)| rustls::client::verify_server_name(&leaf, name));
            matches!(verified, Some(Ok(())))
        };
        let now = i64::try_from(clock::seconds(now)).unwrap_or(i64::MAX);
        let holds = |dated: &Dated| (dated.from..=dated.until).contains(&now);
        let found = match self.dated.as_slice() {
            [] => None,
            // There is nothing to choose, and the client may accept it.
            [only] => Some(only),
            // Of equals the first.
            all => all.iter().filter(|dated| fits(&dated)).min_by_key(|dated| Reverse((covers(dated), holds(dated)))),
        };
        found.map(|dated| Arc::clone(&dated.certified))
    }
}

/// Opens connections with what the table holds at that moment.
pub(super) struct Acceptor {
    config: Arc<ServerConfig>,
    /// Of hosts with a policy that wants a certificate of the client.
    asking: Arc<ServerConfig>,
    table: Arc<ArcSwap<Table>>,
}

/// Why a handshake came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("no route brings a certificate for {}", name.as_deref().unwrap_or("a client that names no host"))]
    UnrecognizedName { name: Option<String> },
}

/// A connection whose handshake is done.
pub(super) struct Secured {
    pub stream: TlsStream<TcpStream>,
    pub server_name: Option<String>,
    pub http2: bool,
    /// What the client showed, if it was asked.
    pub chain: Option<Box<ClientChain>>,
}

impl Acceptor {
    /// TLS 1.2 and 1.3. Tickets are sealed with one key for all workers, which changes by itself; nothing is kept per
    /// session. No early data: it can be replayed.
    pub(super) fn new(table: Arc<ArcSwap<Table>>) -> Result<Self, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let by_name = Arc::new(ByName { table: Arc::clone(&table) });
        let asks = Arc::new(Asks::new(&provider));
        // No tickets: who comes back with one would not prove again that he has the key.
        let mut asking = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(asks)
            .with_cert_resolver(Arc::clone(&by_name) as _);
        asking.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        asking.ignore_client_order = true;
        asking.session_storage = Arc::new(NoServerSessionStorage {});
        asking.send_tls13_tickets = 0;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(by_name);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ignore_client_order = true; // all are good, and ours are in order
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self { config: Arc::new(config), asking: Arc::new(asking), table })
    }

    /// The caller sets the time.
    pub(super) async fn accept(&self, tcp: TcpStream) -> Result<Secured, HandshakeError> {
        let mut start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), tcp).await?;
        let name = start.client_hello().server_name().map(|name| name.trim_end_matches('.').to_ascii_lowercase());
        let (known, asks) = {
            let table = self.table.load();
            (table.certificates().has(name.as_deref()), table.asks(name.as_deref()))
        };
        if !known {
            // TLS 1.2 and 1.3 alike: a fatal alert in the clear. Without a certificate there is no handshake to tell it in.
            const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];
            start.io.write_all(&UNRECOGNIZED_NAME).await?;
            start.io.shutdown().await?;
            return Err(HandshakeError::UnrecognizedName { name });
        }
        let stream = start.into_stream(Arc::clone(if asks { &self.asking } else { &self.config })).await?;
        let session = stream.get_ref().1;
        let http2 = session.alpn_protocol() == Some(b"h2");
        let shown = || session.peer_certificates().unwrap_or_default().iter().map(|one| one.clone().into_owned());
        let chain = asks.then(|| Box::new(ClientChain::new(name.clone(), shown().collect())));
        Ok(Secured { stream, server_name: name, http2, chain })
    }
}

struct ByName {
    table: Arc<ArcSwap<Table>>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(|name| name.trim_end_matches('.').to_ascii_lowercase());
        self.table.load().certificates().find(name.as_deref())?.choose(&hello, SystemTime::now())
    }
}

impl std::fmt::Debug for ByName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ByName")
    }
}
