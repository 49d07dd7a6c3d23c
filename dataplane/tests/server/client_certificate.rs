//! Certificates of clients, as clients see it.

use std::sync::Arc;

use ravelin_echo::client::{Answer, Client, Protocol};
use ravelin_snapshot::{
    HostPattern, ObjectKey, Part, Snapshot,
    auth::{AuthPolicy, Authentication, CertificateIdentity, CertificateMethod, Network},
    route::Guard,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};
use rustls::{
    ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::{
    gateway::{Gateway, add_route, add_secure_route, office, say},
    tls::connect,
};

struct Authority(CertifiedIssuer<'static, KeyPair>);

type Shown = Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>;

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn sign(&self, name: &str, until: i32) -> Shown {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(until, 1, 1));
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Some((vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap()))
    }
}

fn policy(authority: &Authority) -> AuthPolicy {
    let method = CertificateMethod { authorities: authority.0.pem(), identity: CertificateIdentity::SubjectCommonName };
    AuthPolicy {
        network: Network::default(),
        authentication: Some(Authentication { client_certificate: Some(method), ..Authentication::default() }),
        ..office()
    }
}

fn protect(snapshot: &mut Snapshot, route: &str, policy: AuthPolicy) {
    let key = ObjectKey::new("shop", route);
    let mut said = (**snapshot.routes.get(&key).unwrap()).clone();
    said.rules[0].auth = Guard::Policy(key.clone());
    snapshot.routes.insert(key.clone(), Part::new(said));
    snapshot.auth.insert(key, Part::new(policy));
}

fn config(
    servers: &[&[u8]],
    shown: &Shown,
    version: &'static SupportedProtocolVersion,
    alpn: &str,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    servers.iter().for_each(|der| roots.add(CertificateDer::from(der.to_vec())).unwrap());
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_protocol_versions(&[version]).unwrap().with_root_certificates(roots);
    let mut config = match shown {
        Some((chain, key)) => builder.with_client_auth_cert(chain.clone(), key.clone_key()).unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.into()];
    Arc::new(config)
}

async fn over(stream: TlsStream<TcpStream>, host: &str) -> Client {
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let protocol = if http2 { Protocol::Http2 } else { Protocol::Http1 };
    Client::over(stream, protocol, "https").await.unwrap().with_host(host)
}

fn told(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.header("www-authenticate").unwrap_or_default().to_owned())
}

#[tokio::test]
async fn no_certificate_breaks_a_handshake_and_only_a_good_one_gets_in() {
    let (clients, others) = (Authority::new(), Authority::new());
    let mut snapshot = Snapshot::default();
    let server = add_secure_route(&mut snapshot, "a", "a.example", say("in"));
    protect(&mut snapshot, "a", policy(&clients));
    let gateway = Gateway::start(snapshot).await;
    let refused = |why: &str| (401, format!("ClientCertificate{why}"));
    for (version, alpn) in [(&TLS12, "http/1.1"), (&TLS12, "h2"), (&TLS13, "http/1.1"), (&TLS13, "h2")] {
        for (shown, expected) in [
            (clients.sign("ada", 2999), (200, String::new())),
            (None, refused("")),
            (
                others.sign("ada", 2999),
                refused(" error_description=\"the certificate is of no authority that counts here\""),
            ),
            (clients.sign("ada", 2002), refused(" error_description=\"the certificate has expired\"")),
            (clients.sign("", 2999), refused(" error_description=\"the certificate does not say whose it is\"")),
        ] {
            let config = config(&[&server], &shown, version, alpn);
            let mut client = over(connect(&gateway, &config, "a.example").await.unwrap(), "a.example").await;
            for _ in 0..2 {
                assert_eq!(told(&client.get("/").await.unwrap()), expected, "{alpn}");
            }
        }
    }
    let mut plain = Client::connect(gateway.http(), Protocol::Http1).await.unwrap().with_host("a.example");
    assert_eq!(told(&plain.get("/").await.unwrap()), refused(""), "without TLS nobody shows anything");
}

#[tokio::test]
async fn a_connection_for_one_host_is_no_way_to_another_ones_policy() {
    let (first, second) = (Authority::new(), Authority::new());
    let mut snapshot = Snapshot::default();
    // One certificate for all, so that clients may take one connection for all.
    let server = add_secure_route(&mut snapshot, "open", "*.shop.example", say("open"));
    let certificates = snapshot.routes.get(&ObjectKey::new("shop", "open")).unwrap().certificates.clone();
    for (name, authority) in [("a", &first), ("b", &second)] {
        let host = HostPattern::parse(&format!("{name}.shop.example"));
        add_route(&mut snapshot, name, host, say(name));
        let key = ObjectKey::new("shop", name);
        let mut said = (**snapshot.routes.get(&key).unwrap()).clone();
        said.certificates.clone_from(&certificates);
        snapshot.routes.insert(key, Part::new(said));
        protect(&mut snapshot, name, policy(authority));
    }
    let gateway = Gateway::start(snapshot).await;
    let shown = first.sign("ada", 2999);
    for alpn in ["http/1.1", "h2"] {
        let config = config(&[&server], &shown, &TLS13, alpn);
        for (server_name, host, expected) in [
            ("a.shop.example", "a.shop.example", 200),
            ("a.shop.example", "b.shop.example", 421),
            ("b.shop.example", "b.shop.example", 401),
            ("b.shop.example", "a.shop.example", 421),
            ("c.shop.example", "a.shop.example", 421),
            ("c.shop.example", "c.shop.example", 200),
            ("a.shop.example", "c.shop.example", 200),
        ] {
            let mut client = over(connect(&gateway, &config, server_name).await.unwrap(), host).await;
            let answer = client.get("/").await.unwrap();
            assert_eq!(answer.status.as_u16(), expected, "{alpn} {server_name} {host}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn a_policy_that_comes_to_an_open_connection_asks_for_another_and_no_ticket_takes_its_place() {
    let clients = Authority::new();
    let mut snapshot = Snapshot::default();
    let server = add_secure_route(&mut snapshot, "a", "a.example", say("in"));
    let gateway = Gateway::start(snapshot.clone()).await;
    let config = config(&[&server], &clients.sign("ada", 2999), &TLS13, "http/1.1");
    let mut early = over(connect(&gateway, &config, "a.example").await.unwrap(), "a.example").await;
    assert_eq!(early.get("/").await.unwrap().status, 200);
    protect(&mut snapshot, "a", policy(&clients));
    gateway.publish(snapshot.clone()).await;
    assert_eq!(early.get("/").await.unwrap().status, 421);
    // The ticket of the first connection would do for the second; and the second has none.
    for _ in 0..3 {
        let stream = connect(&gateway, &config, "a.example").await.unwrap();
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(stream.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        let mut client = over(stream, "a.example").await;
        assert_eq!(client.get("/").await.unwrap().status, 200);
    }
    snapshot.auth.remove(&ObjectKey::new("shop", "a"));
    let mut open = (**snapshot.routes.get(&ObjectKey::new("shop", "a")).unwrap()).clone();
    open.rules[0].auth = Guard::Open;
    snapshot.routes.insert(ObjectKey::new("shop", "a"), Part::new(open));
    gateway.publish(snapshot).await;
    let mut late = over(connect(&gateway, &config, "a.example").await.unwrap(), "a.example").await;
    assert_eq!(late.get("/").await.unwrap().status, 200);
}
