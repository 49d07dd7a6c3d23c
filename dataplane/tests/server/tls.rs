//! TLS: who gets which certificate, and who none.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::Method;
use ravelin_dataplane::Settings;
use ravelin_echo::client::{self, Client, Protocol, body, request};
use ravelin_snapshot::{HostPattern, ObjectKey, Part, Secret, Snapshot, certificate::Certificate, route::Route};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, HandshakeKind, NamedGroup, RootCertStore, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::gateway::{Gateway, add_backend, add_route, add_secure_route, all_to, echo, forward, route, say};

pub(crate) fn trusting(certificates: &[&[u8]], alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for der in certificates {
        roots.add(CertificateDer::from(der.to_vec())).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

pub(crate) async fn connect(
    gateway: &Gateway,
    config: &Arc<ClientConfig>,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(gateway.https()).await?;
    TlsConnector::from(Arc::clone(config)).connect(ServerName::try_from(name.to_owned()).unwrap(), tcp).await
}

fn served(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

fn alert(refused: std::io::Result<TlsStream<TcpStream>>) -> AlertDescription {
    let error = refused.err().unwrap().into_inner().unwrap();
    match error.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::AlertReceived(alert)) => *alert,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_name_decides_and_a_name_without_a_certificate_is_refused_in_the_handshake() {
    let mut snapshot = Snapshot::default();
    let a = add_secure_route(&mut snapshot, "a", "a.example", say("a"));
    let wild = add_secure_route(&mut snapshot, "wild", "*.b.example", say("wild"));
    add_route(&mut snapshot, "plain", HostPattern::parse("plain.example"), say("plain"));
    let gateway = Gateway::start(snapshot.clone()).await;
    let config = trusting(&[&a, &wild], &[]);
    assert_eq!(served(&connect(&gateway, &config, "a.example").await.unwrap()), a);
    assert_eq!(served(&connect(&gateway, &config, "x.b.example").await.unwrap()), wild);
    for name in ["plain.example", "b.example", "c.example", "127.0.0.1"] {
        assert_eq!(alert(connect(&gateway, &config, name).await), AlertDescription::UnrecognisedName, "{name}");
    }
    let default = add_secure_route(&mut snapshot, "default", "*", say("default"));
    gateway.publish(snapshot).await;
    let config = trusting(&[&a, &default], &[]);
    assert_eq!(served(&connect(&gateway, &config, "default.example").await.unwrap()), default);
    assert_eq!(served(&connect(&gateway, &config, "a.example").await.unwrap()), a);
}

#[tokio::test]
async fn of_a_routes_certificates_the_one_that_covers_the_name_is_served() {
    let mut snapshot = Snapshot::default();
    let a = add_secure_route(&mut snapshot, "a", "a.example", say("a"));
    let b = add_secure_route(&mut snapshot, "b", "b.example", say("b"));
    let keys: Vec<_> = ["b-tls", "a-tls"].map(|name| ObjectKey::new("shop", name)).into();
    let hosts = vec![HostPattern::parse("a.example"), HostPattern::parse("b.example")];
    let both = Route { hosts, certificates: keys, ..route(HostPattern::Any, say("both")) };
    snapshot.routes.remove(&ObjectKey::new("shop", "b"));
    snapshot.routes.insert(ObjectKey::new("shop", "a"), Part::new(both));
    let gateway = Gateway::start(snapshot).await;
    let config = trusting(&[&a, &b], &[]);
    assert_eq!(served(&connect(&gateway, &config, "a.example").await.unwrap()), a);
    assert_eq!(served(&connect(&gateway, &config, "b.example").await.unwrap()), b);
}

/// A certificate for `a.example`, as DER and as it is in a snapshot.
fn of_years(from: i32, until: i32) -> (Vec<u8>, Certificate) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
    let not_after = params.not_after.unix_timestamp();
    let made = params.self_signed(&key).unwrap();
    let certificate = Certificate { chain: made.pem(), key: Secret::new(key.serialize_pem()), not_after, ocsp: None };
    (made.der().to_vec(), certificate)
}

#[tokio::test]
async fn of_certificates_for_one_name_the_one_that_holds_is_served_and_if_none_does_the_first() {
    let [old, good, future] = [of_years(2001, 2002), of_years(2002, 2999), of_years(2998, 2999)];
    for (order, expected) in [
        (vec![&old, &good], &good),
        (vec![&future, &old, &good], &good),
        (vec![&good, &old], &good),
        (vec![&old], &old),
        (vec![&old, &future], &old),
    ] {
        let mut snapshot = Snapshot::default();
        let mut keys = Vec::new();
        for (at, (_, certificate)) in order.iter().enumerate() {
            keys.push(ObjectKey::new("shop", format!("{at}-tls")));
            snapshot.certificates.insert(keys[at].clone(), Part::new(certificate.clone()));
        }
        let route = Route { certificates: keys, ..route(HostPattern::parse("a.example"), say("a")) };
        snapshot.routes.insert(ObjectKey::new("shop", "a"), Part::new(route));
        let gateway = Gateway::start(snapshot).await;
        // Whether the client takes it is another question.
        assert_eq!(offered(&gateway, "a.example").await, expected.0, "{} certificates", order.len());
    }
}

/// The certificate that a client is offered, whatever it thinks of it.
async fn offered(gateway: &Gateway, name: &str) -> Vec<u8> {
    let witness = Arc::new(Witness { takes: false, ..Witness::default() });
    let mut config = ClientConfig::clone(&trusting(&[], &[]));
    config.dangerous().set_certificate_verifier(Arc::<Witness>::clone(&witness));
    connect(gateway, &Arc::new(config), name).await.unwrap_err();
    let leaf = witness.leaf.lock().unwrap();
    leaf.clone()
}

#[tokio::test]
async fn both_protocols_are_spoken_and_the_backend_is_told_of_tls() {
    let echo = echo();
    let mut snapshot = all_to(&echo);
    let action = snapshot.routes.iter().next().unwrap().1.rules[0].action.clone();
    let a = add_secure_route(&mut snapshot, "a", "a.example", action);
    let gateway = Gateway::start(snapshot).await;
    for (alpn, protocol) in [(&b"h2"[..], Protocol::Http2), (b"http/1.1", Protocol::Http1)] {
        let stream = connect(&gateway, &trusting(&[&a], &[alpn]), "a.example").await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(alpn));
        let mut client = Client::over(stream, protocol, "https").await.unwrap().with_host("a.example");
        assert_eq!(client.get("/").await.unwrap().status, 200);
        let seen = echo.seen().pop().unwrap().headers;
        assert_eq!(
            (&seen["x-forwarded-proto"], &seen["forwarded"]),
            (&"https".parse().unwrap(), &"for=127.0.0.1;host=a.example;proto=https".parse().unwrap())
        );
    }
}

#[tokio::test]
async fn a_new_certificate_is_for_the_next_handshake_and_open_connections_go_on() {
    let mut snapshot = Snapshot::default();
    let old = add_secure_route(&mut snapshot, "a", "a.example", say("old"));
    let gateway = Gateway::start(snapshot.clone()).await;
    let stream = connect(&gateway, &trusting(&[&old], &[]), "a.example").await.unwrap();
    let mut client = Client::over(stream, Protocol::Http1, "https").await.unwrap().with_host("a.example");
    assert_eq!(client.get("/").await.unwrap().text(), "old");
    let new = add_secure_route(&mut snapshot, "a", "a.example", say("new"));
    gateway.publish(snapshot).await;
    assert_eq!(client.get("/").await.unwrap().text(), "new");
    assert_eq!(served(&connect(&gateway, &trusting(&[&new], &[]), "a.example").await.unwrap()), new);
    assert!(connect(&gateway, &trusting(&[&old], &[]), "a.example").await.is_err());
}

#[tokio::test]
async fn certificates_are_replaced_under_load_and_no_handshake_fails() {
    const CLIENTS: usize = 4;
    let made: Vec<(Snapshot, Vec<u8>)> = std::iter::repeat_with(|| {
        let mut snapshot = Snapshot::default();
        let der = add_secure_route(&mut snapshot, "a", "a.example", say("a"));
        (snapshot, der)
    })
    .take(20)
    .collect();
    let all: Vec<&[u8]> = made.iter().map(|(_, der)| der.as_slice()).collect();
    let mut config = ClientConfig::clone(&trusting(&all, &[]));
    config.resumption = Resumption::disabled(); // each handshake is a whole one
    let config = Arc::new(config);
    let settings = Settings { workers: Some(2), ..Settings::default() };
    let gateway = Gateway::with(settings, made[0].0.clone()).await;
    let (seen, handshakes, over) = (RefCell::new(BTreeSet::new()), Cell::new(0), Cell::new(false));
    let client = async || {
        while !over.get() {
            let stream = connect(&gateway, &config, "a.example").await.unwrap();
            seen.borrow_mut().insert(served(&stream));
            let mut client = Client::over(stream, Protocol::Http1, "https").await.unwrap().with_host("a.example");
            assert_eq!(client.get("/").await.unwrap().text(), "a");
            handshakes.set(handshakes.get() + 1);
        }
    };
    let replacing = async {
        for (snapshot, _) in &made {
            gateway.publish(snapshot.clone()).await;
            // So many that each client has begun one since.
            let enough = handshakes.get() + CLIENTS * CLIENTS;
            while handshakes.get() < enough {
                tokio::task::yield_now().await;
            }
        }
        over.set(true);
    };
    let load = futures_util::future::join_all(std::iter::repeat_with(&client).take(CLIENTS));
    let both = futures_util::future::join(load, replacing);
    tokio::time::timeout(Duration::from_secs(60), both).await.unwrap();
    assert_eq!(seen.into_inner(), made.into_iter().map(|(_, der)| der).collect());
}

#[tokio::test]
async fn a_request_for_a_host_of_another_certificate_is_misdirected() {
    let mut snapshot = Snapshot::default();
    let wild = add_secure_route(&mut snapshot, "wild", "*.shop.example", say("wild"));
    add_secure_route(&mut snapshot, "own", "own.shop.example", say("own"));
    add_route(&mut snapshot, "plain", HostPattern::parse("plain.test"), say("plain"));
    let gateway = Gateway::start(snapshot).await;
    let stream = connect(&gateway, &trusting(&[&wild], &[b"h2"]), "a.shop.example").await.unwrap();
    let mut client = Client::over(stream, Protocol::Http2, "https").await.unwrap();
    for (host, status) in [
        ("a.shop.example", 200),
        ("b.shop.example", 200),
        ("B.SHOP.example:443", 200),
        ("own.shop.example", 421),
        ("plain.test", 421),
    ] {
        client = client.with_host(host);
        let answer = client.send(request(Method::GET, "/", &[], body(""))).await.unwrap();
        assert_eq!(answer.status, status, "{host}");
        assert!(status == 200 || answer.json()["reason"] == "misdirected");
    }
}

#[tokio::test]
async fn a_ticket_of_one_worker_is_good_at_every_other() {
    let mut snapshot = Snapshot::default();
    let a = add_secure_route(&mut snapshot, "a", "a.example", say("a"));
    let settings = Settings { workers: Some(4), ..Settings::default() };
    let gateway = Gateway::with(settings, snapshot).await;
    let config = trusting(&[&a], &[]);
    let mut kinds = Vec::new();
    for _ in 0..16 {
        let stream = connect(&gateway, &config, "a.example").await.unwrap();
        kinds.push(stream.get_ref().1.handshake_kind().unwrap());
        // The ticket comes with the first answer.
        let mut client = Client::over(stream, Protocol::Http1, "https").await.unwrap().with_host("a.example");
        assert_eq!(client.get("/").await.unwrap().text(), "a");
    }
    assert_eq!(kinds.remove(0), HandshakeKind::Full);
    assert!(kinds.iter().all(|kind| *kind == HandshakeKind::Resumed), "{kinds:?}");
}

#[tokio::test]
async fn a_tunnel_counts_with_the_listener_that_it_came_by() {
    let echo = echo();
    let mut snapshot = Snapshot::default();
    let backend = add_backend(&mut snapshot, "echo", echo.address());
    let a = add_secure_route(&mut snapshot, "a", "a.example", forward(backend));
    let gateway = Gateway::start(snapshot).await;
    let mut tunnel = connect(&gateway, &trusting(&[&a], &[]), "a.example").await.unwrap();
    tunnel
        .write_all(b"GET / HTTP/1.1\r\nhost: a.example\r\nconnection: upgrade\r\nupgrade: raw\r\n\r\nping")
        .await
        .unwrap();
    let mut got = Vec::new();
    while !got.ends_with(b"\r\n\r\nping") {
        assert_ne!(tunnel.read_buf(&mut got).await.unwrap(), 0, "{}", String::from_utf8_lossy(&got));
    }
    let admin = gateway.running.addresses.admin.unwrap();
    let once_the_connection_is_a_tunnel = async {
        loop {
            let metrics = client::get(admin, "127.0.0.1", "/metrics").await.unwrap().text();
            let open = |listener: &str| {
                let row = format!("ravelin_active_connections{{listener=\"{listener}\"}} ");
                metrics.lines().find_map(|line| line.strip_prefix(&row)).unwrap().to_owned()
            };
            assert_eq!(open("http"), "0");
            if open("https") == "1" {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), once_the_connection_is_a_tunnel).await.unwrap();
}

#[tokio::test]
async fn the_key_exchange_is_post_quantum_with_whoever_can_and_classical_with_others() {
    let mut snapshot = Snapshot::default();
    let a = add_secure_route(&mut snapshot, "a", "a.example", say("a"));
    let gateway = Gateway::start(snapshot).await;
    let all = rustls::crypto::aws_lc_rs::default_provider();
    for (groups, expected) in [
        (vec![NamedGroup::X25519MLKEM768, NamedGroup::X25519], NamedGroup::X25519MLKEM768),
        // The server's order counts, not the client's; but what is there already costs no second round.
        (vec![NamedGroup::X25519MLKEM768], NamedGroup::X25519MLKEM768),
        (vec![NamedGroup::X25519], NamedGroup::X25519),
        (vec![NamedGroup::secp384r1], NamedGroup::secp384r1),
    ] {
        let mut provider = all.clone();
        let known = |name: &NamedGroup| all.kx_groups.iter().copied().find(|group| group.name() == *name).unwrap();
        provider.kx_groups = groups.iter().map(known).collect();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(a.clone())).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = connect(&gateway, &Arc::new(config), "a.example").await.unwrap();
        let agreed = stream.get_ref().1.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(agreed, expected, "{groups:?}");
    }
}

/// Keeps the certificate that it is offered and what came with it, and takes it or not, whatever it is.
#[derive(Debug, Default)]
struct Witness {
    takes: bool,
    leaf: Mutex<Vec<u8>>,
    staple: Mutex<Vec<u8>>,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.leaf.lock().unwrap() = leaf.to_vec();
        *self.staple.lock().unwrap() = ocsp.to_vec();
        match self.takes {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(rustls::Error::General("seen".to_owned())),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[tokio::test]
async fn a_staple_of_the_secret_goes_with_its_certificate_and_no_other() {
    let mut snapshot = Snapshot::default();
    for name in ["a", "b"] {
        add_secure_route(&mut snapshot, name, &format!("{name}.example"), say(name));
    }
    let key = ObjectKey::new("shop", "a-tls");
    let mut certificate = snapshot.certificates.get(&key).unwrap().value().as_ref().clone();
    certificate.ocsp = Some("MAMKAQA=".to_owned());
    snapshot.certificates.insert(key, Part::new(certificate));
    let gateway = Gateway::start(snapshot).await;
    for (name, expected) in [("a.example", &[0x30, 3, 0x0a, 1, 0][..]), ("b.example", &[])] {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let witness = Arc::new(Witness { takes: true, ..Witness::default() });
            let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
            let verifier = Arc::<Witness>::clone(&witness);
            let config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
            connect(&gateway, &Arc::new(config), name).await.unwrap();
            assert_eq!(*witness.staple.lock().unwrap(), expected, "{name} {version:?}");
        }
    }
}
