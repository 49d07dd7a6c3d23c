//! TLS towards backends, and PROXY protocol: a terminator in front of an echo tells what it was asked for.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use ravelin_echo::{
    Echo,
    client::{Answer, Client, Protocol as Spoken},
};
use ravelin_snapshot::{
    HostPattern, Part, Secret, Snapshot,
    backend::{AltName, ClientCertificate, Protocol, Tls},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    server::{NoServerSessionStorage, WebPkiClientVerifier},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};
use tokio_rustls::TlsAcceptor;

use crate::gateway::{Gateway, add_backend, add_route, echo, forward};

/// Signs for the tests.
struct Authority(CertifiedIssuer<'static, KeyPair>);

struct Signed {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    pem: (String, String),
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn sign(&self, name: SanType) -> Signed {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = vec![name];
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let pem = (certificate.pem(), key.serialize_pem());
        let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Signed { chain: vec![certificate.der().clone()], key: der, pem }
    }

    fn pem(&self) -> String {
        self.0.pem()
    }
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

/// What a connection agreed upon.
#[derive(Clone, Debug, PartialEq)]
struct Agreed {
    name: Option<String>,
    protocol: Option<String>,
    certificate: bool,
}

struct Terminator {
    address: SocketAddr,
    agreed: Arc<Mutex<Vec<Agreed>>>,
    task: AbortHandle,
}

impl Drop for Terminator {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Terminator {
    /// `clients`: the authority whose certificates it asks for.
    async fn start(signed: Signed, protocols: &[&str], clients: Option<&Authority>, echo: &Echo) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.0.der().clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(signed.chain, signed.key).unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let agreed = Arc::<Mutex<Vec<Agreed>>>::default();
        let (noted, to) = (Arc::clone(&agreed), echo.address());
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, noted) = (acceptor.clone(), Arc::clone(&noted));
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let session = stream.get_ref().1;
                    noted.lock().unwrap().push(Agreed {
                        name: session.server_name().map(str::to_owned),
                        protocol: session.alpn_protocol().map(|name| String::from_utf8(name.to_vec()).unwrap()),
                        certificate: session.peer_certificates().is_some(),
                    });
                    let mut backend = TcpStream::connect(to).await.unwrap();
                    drop(copy_bidirectional(&mut stream, &mut backend).await);
                });
            }
        });
        Self { address, agreed, task: task.abort_handle() }
    }

    fn agreed(&self) -> Vec<Agreed> {
        self.agreed.lock().unwrap().clone()
    }
}

fn trusting(authority: &Authority) -> Tls {
    Tls {
        hostname: "orders.internal".into(),
        names: vec![],
        system: false,
        authorities: Some(authority.pem()),
        certificate: None,
    }
}

fn over(address: SocketAddr, protocol: Protocol, tls: Tls) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let key = add_backend(&mut snapshot, "orders", address);
    let mut said = (**snapshot.backends.get(&key).unwrap()).clone();
    (said.protocol, said.tls) = (protocol, Some(Box::new(tls)));
    snapshot.backends.insert(key.clone(), Part::new(said));
    add_route(&mut snapshot, "all", HostPattern::Any, forward(key));
    snapshot
}

async fn get(gateway: &Gateway, path: &str) -> Answer {
    let mut client = Client::connect(gateway.http(), Spoken::Http1).await.unwrap();
    client.get(path).await.unwrap()
}

#[tokio::test]
async fn a_backend_is_trusted_by_its_name_and_its_authority_alone() {
    let (authority, stranger, echo) = (Authority::new(), Authority::new(), echo());
    let good = Terminator::start(authority.sign(dns("orders.internal")), &["http/1.1"], None, &echo).await;
    let gateway = Gateway::start(over(good.address, Protocol::Http1, trusting(&authority))).await;
    for _ in 0..3 {
        assert_eq!(get(&gateway, "/").await.status, 200);
    }
    let agreed = Agreed { name: Some("orders.internal".into()), protocol: Some("http/1.1".into()), certificate: false };
    assert!(good.agreed().iter().all(|one| *one == agreed), "{:?}", good.agreed());
    let named = Terminator::start(authority.sign(dns("other.internal")), &["http/1.1"], None, &echo).await;
    let system = Tls { system: true, authorities: None, ..trusting(&authority) };
    for (address, tls) in [
        (named.address, trusting(&authority)),
        (good.address, trusting(&stranger)),
        (good.address, system),
        (echo.address(), trusting(&authority)),
    ] {
        gateway.publish(over(address, Protocol::Http1, tls)).await;
        let answer = get(&gateway, "/").await;
        assert_eq!((answer.status.as_u16(), &answer.json()["reason"]), (502, &"backend_refused".into()));
    }
    assert_eq!(echo.requests(), 3);
}

#[tokio::test]
async fn the_backend_chooses_between_http_versions_and_connections_are_kept() {
    let (authority, echo) = (Authority::new(), echo());
    for (protocols, said, chosen) in [
        (&["h2", "http/1.1"][..], Protocol::Negotiated, "h2"),
        (&["http/1.1"], Protocol::Negotiated, "http/1.1"),
        (&["h2"], Protocol::H2c, "h2"),
        (&["h2", "http/1.1"], Protocol::Http1, "http/1.1"),
    ] {
        let signed = authority.sign(dns("orders.internal"));
        let backend = Terminator::start(signed, protocols, None, &echo).await;
        let gateway = Gateway::start(over(backend.address, said, trusting(&authority))).await;
        let mut client = Client::connect(gateway.http(), Spoken::Http1).await.unwrap();
        for path in ["/", "/?size=1Mi", "/?chunks=20", "/"] {
            let answer = client.post(path, &[], vec![b'x'; 300_000]).await.unwrap();
            assert_eq!(answer.status, 200, "{said:?} {protocols:?} {path}");
        }
        let last = backend.agreed().pop().unwrap();
        assert_eq!(last.protocol.as_deref(), Some(chosen), "{said:?} {protocols:?}");
        assert!(backend.agreed().len() <= 2, "{said:?}: one asks, and one is used by all: {:?}", backend.agreed());
    }
    let signed = authority.sign(dns("orders.internal"));
    let old = Terminator::start(signed, &["http/1.1"], None, &echo).await;
    let gateway = Gateway::start(over(old.address, Protocol::H2c, trusting(&authority))).await;
    assert_eq!(get(&gateway, "/").await.status.as_u16(), 502, "HTTP/2 is agreed upon, or not spoken");
}

#[tokio::test]
async fn other_names_stand_in_for_the_hostname() {
    let (authority, stranger, echo) = (Authority::new(), Authority::new(), echo());
    let uri = "spiffe://cluster.local/ns/shop/sa/orders";
    let by_uri = SanType::URI(uri.try_into().unwrap());
    let named = Terminator::start(authority.sign(by_uri.clone()), &[], None, &echo).await;
    let forged = Terminator::start(stranger.sign(by_uri), &[], None, &echo).await;
    let hosted = Terminator::start(authority.sign(dns("a.internal")), &[], None, &echo).await;
    let known = Terminator::start(authority.sign(dns("orders.internal")), &[], None, &echo).await;
    let names = vec![AltName::Uri(uri.into()), AltName::Dns("a.internal".into())];
    let gateway = Gateway::start(Snapshot::default()).await;
    for (backend, status) in [(&named, 200), (&hosted, 200), (&forged, 502), (&known, 502)] {
        let tls = Tls { names: names.clone(), ..trusting(&authority) };
        gateway.publish(over(backend.address, Protocol::Http1, tls)).await;
        assert_eq!(get(&gateway, "/").await.status.as_u16(), status);
    }
    assert_eq!(named.agreed()[0].name.as_deref(), Some("orders.internal"), "the name that is asked for stays");
}

#[tokio::test]
async fn the_gateway_shows_its_certificate_and_a_new_one_from_the_next_connection_on() {
    let (authority, clients, echo) = (Authority::new(), Authority::new(), echo());
    let signed = authority.sign(dns("orders.internal"));
    let backend = Terminator::start(signed, &["http/1.1"], Some(&clients), &echo).await;
    let own = |authority: &Authority| {
        let (chain, key) = authority.sign(dns("gateway.internal")).pem;
        Some(ClientCertificate { chain, key: Secret::new(key) })
    };
    let gateway = Gateway::start(over(backend.address, Protocol::Http1, trusting(&authority))).await;
    assert_eq!(get(&gateway, "/").await.status.as_u16(), 502, "nobody comes without one");
    let stranger = Tls { certificate: own(&authority), ..trusting(&authority) };
    gateway.publish(over(backend.address, Protocol::Http1, stranger)).await;
    assert_eq!(get(&gateway, "/").await.status.as_u16(), 502);
    for round in 1..=2 {
        let known = Tls { certificate: own(&clients), ..trusting(&authority) };
        gateway.publish(over(backend.address, Protocol::Http1, known)).await;
        for _ in 0..2 {
            assert_eq!(get(&gateway, "/").await.status.as_u16(), 200);
        }
        let agreed = backend.agreed();
        assert!(agreed.iter().all(|one| one.certificate) && agreed.len() >= round, "{agreed:?}");
    }
}

#[tokio::test]
async fn a_backend_is_told_of_each_client_by_a_header_of_its_own() {
    let mut snapshot = Snapshot::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let key = add_backend(&mut snapshot, "orders", listener.local_addr().unwrap());
    let mut said = (**snapshot.backends.get(&key).unwrap()).clone();
    said.proxy_protocol = true;
    snapshot.backends.insert(key.clone(), Part::new(said));
    add_route(&mut snapshot, "all", HostPattern::Any, forward(key));
    let (gateway, echo) = (Gateway::start(snapshot).await, echo());
    let to = echo.address();
    let (told, mut headers) = tokio::sync::mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut header = [0; 28];
            stream.read_exact(&mut header).await.unwrap();
            told.send(header).unwrap();
            tokio::spawn(async move {
                let mut backend = TcpStream::connect(to).await.unwrap();
                drop(copy_bidirectional(&mut stream, &mut backend).await);
            });
        }
    });
    for _ in 0..2 {
        let stream = TcpStream::connect(gateway.http()).await.unwrap();
        let own = stream.local_addr().unwrap();
        let mut client = Client::over(stream, Spoken::Http1, "http").await.unwrap().with_host("a.example");
        for _ in 0..2 {
            assert_eq!(client.get("/").await.unwrap().status, 200);
            let header = headers.recv().await.unwrap();
            assert_eq!(&header[..16], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c");
            assert_eq!(&header[16..24], &[127, 0, 0, 1, 127, 0, 0, 1]);
            assert_eq!(u16::from_be_bytes([header[24], header[25]]), own.port(), "this client, and no other");
            assert_eq!(u16::from_be_bytes([header[26], header[27]]), gateway.http().port());
        }
    }
    task.abort();
}
