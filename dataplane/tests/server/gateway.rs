//! A data plane with routes made by hand.

use std::net::SocketAddr;

use ravelin_dataplane::{Running, Settings, server::Source, start};
use ravelin_echo::{Echo, Options};
use ravelin_snapshot::{
    HostPattern, ObjectKey, Part, Rare, Secret, Snapshot,
    auth::{AuthPolicy, Mode, Network},
    backend::{Address, Backend, BackendKey, BackendKind, Endpoint, Protocol},
    certificate::Certificate,
    channel::{Publisher, memory},
    route::{Action, DirectResponse, Forward, Guard, Match, PathMatch, Route, Rule, Target, WeightedBackend},
};

pub(crate) struct Gateway {
    pub(crate) running: Running,
    pub(crate) publisher: Publisher,
}

impl Gateway {
    pub(crate) async fn start(snapshot: Snapshot) -> Self {
        Self::with(Settings::default(), snapshot).await
    }

    pub(crate) async fn with(settings: Settings, snapshot: Snapshot) -> Self {
        let (publisher, subscriber) = memory();
        let running = start(settings, Source::Memory(subscriber), Vec::new()).await.unwrap();
        let gateway = Self { running, publisher };
        gateway.publish(snapshot).await;
        gateway
    }

    /// Returns when it is served.
    pub(crate) async fn publish(&self, snapshot: Snapshot) {
        let revision = self.publisher.publish(snapshot);
        let mut delivery = self.publisher.delivery();
        delivery.wait_for(|delivery| delivery.acknowledged >= Some(revision)).await.unwrap();
    }

    pub(crate) fn http(&self) -> SocketAddr {
        self.running.addresses.http.unwrap()
    }

    pub(crate) fn https(&self) -> SocketAddr {
        self.running.addresses.https.unwrap()
    }
}

/// A backend that remembers what it saw.
pub(crate) fn echo() -> Echo {
    Echo::on_thread(Options { remember: 100, ..Options::from("echo") }).unwrap()
}

/// Everything on every host goes to `echo`.
pub(crate) fn all_to(echo: &Echo) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let backend = add_backend(&mut snapshot, "echo", echo.address());
    add_route(&mut snapshot, "all", HostPattern::Any, forward(backend));
    snapshot
}

pub(crate) fn add_backend(snapshot: &mut Snapshot, name: &str, address: SocketAddr) -> BackendKey {
    let key = BackendKey { kind: BackendKind::Backend, object: ObjectKey::new("shop", name), port: 0 };
    let backend = Backend::plain(Protocol::Http1, vec![Endpoint { address: Address::Ip(address), weight: 1 }]);
    snapshot.backends.insert(key.clone(), Part::new(backend));
    key
}

pub(crate) fn forward(backend: BackendKey) -> Action {
    let share = WeightedBackend {
        weight: 1,
        target: Target::Backend(backend),
        request_headers: Rare::default(),
        response_headers: Rare::default(),
        rewrite: None,
        mirrors: Vec::new(),
    };
    Action::Forward(Forward {
        backends: vec![share],
        rewrite: None,
        balancing: None,
        retry: None,
        session: None,
        mirrors: Vec::new(),
        fallback: None,
    })
}

pub(crate) fn say(body: &str) -> Action {
    Action::Respond(DirectResponse { status: 200, content_type: None, body: body.to_owned() })
}

pub(crate) fn route(host: HostPattern, action: Action) -> Route {
    let any = Match {
        path: PathMatch::Prefix("/".to_owned()),
        method: None,
        headers: Vec::new(),
        query: Vec::new(),
        when: None,
    };
    let rule = Rule {
        name: "0".to_owned(),
        matches: vec![any],
        auth: Guard::Open,
        limits: Vec::new(),
        request_headers: Rare::default(),
        response_headers: Rare::default(),
        filters: None,
        action,
        timeouts: Rare::default(),
    };
    Route { created: None, hosts: vec![host], certificates: Vec::new(), rules: vec![rule] }
}

pub(crate) fn add_route(snapshot: &mut Snapshot, name: &str, host: HostPattern, action: Action) {
    snapshot.routes.insert(ObjectKey::new("shop", name), Part::new(route(host, action)));
}

/// A route with a certificate of its own, which is returned as DER.
pub(crate) fn add_secure_route(snapshot: &mut Snapshot, name: &str, host: &str, action: Action) -> Vec<u8> {
    let names = if host == "*" { vec!["default.example".to_owned()] } else { vec![host.to_owned()] };
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let key = ObjectKey::new("shop", format!("{name}-tls"));
    let certificate = Certificate {
        chain: made.cert.pem(),
        key: Secret::new(made.signing_key.serialize_pem()),
        not_after: i64::MAX,
        ocsp: None,
    };
    snapshot.certificates.insert(key.clone(), Part::new(certificate));
    let host = if host == "*" { HostPattern::Any } else { HostPattern::parse(host) };
    let route = Route { certificates: vec![key], ..route(host, action) };
    snapshot.routes.insert(ObjectKey::new("shop", name), Part::new(route));
    made.cert.der().to_vec()
}

/// Lets in who is of the office, and nobody of this machine.
pub(crate) fn office() -> AuthPolicy {
    AuthPolicy {
        mode: Mode::Enforce,
        exclude: vec![],
        network: Network { allow: vec!["10.0.0.0/8".parse().unwrap()], deny: vec![] },
        authentication: None,
        rules: vec![],
        external: None,
        forward: vec![],
    }
}
