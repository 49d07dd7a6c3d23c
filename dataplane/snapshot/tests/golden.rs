//! The form of the contract, as it is kept on the disk: `golden/form-FORM.json`, with every kind of part and every field set.
//!
//! Who changes the form raises `FORM` and replaces the golden file by one of the new name: nobody reads older forms. The file
//! of one form never changes. The literals below name all fields: a new one does not compile here until it has a value.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path};

use ravelin_snapshot::{
    FORM, HostPattern, ObjectKey, Part, Rare, Revision, Secret, Snapshot,
    auth::{
        ApiKey, ApiKeyMethod, AuthPolicy, Authentication, AuthorizationRule, BasicMethod, BasicUser,
        CertificateIdentity, CertificateMethod, CredentialSource, Effect, Exclusion, External, ExternalProtocol,
        ForwardedHeader, HmacKey, HmacMethod, IntrospectionMethod, Mode, Network, OidcMethod, SignatureComponent,
    },
    backend::{
        ActiveCheck, Address, Algorithm, AltName, Backend, BackendKey, BackendKind, Balancing, Breaker,
        ClientCertificate, Connections, Endpoint, HashOn, Health, Passive, Probe, Protocol, RetryBudget, Tls,
    },
    certificate::Certificate,
    expression::{Attribute, Expression, Function, MAX_DEPTH, Node},
    filter::{Algorithm as CompressionAlgorithm, Allowed, Coalesce, Compression, Cors, Filters},
    jwk::{Jwk, Material},
    jwt::{ClaimNames, JwksUri, JwtAlgorithm, JwtMethod, JwtProvider, KeySource},
    rate_limit::{
        Adaptive, Ban, Count, Limit, OnStoreFailure, Period, Phase, Plan, Plans, Quota, RateLimitPolicy, Sketch,
        SlidingWindow, TokenBucket,
    },
    route::{
        Action, Broken, Carrier, DirectResponse, Fallback, FieldMatch, Forward, Guard, HeaderChanges, Match, Mirror,
        PathMatch, PathRewrite, Redirect, Retry, RetryOn, Rewrite, Route, Rule, Session, Target, Timeouts, ValueMatch,
        WeightedBackend,
    },
    store::Store,
};

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("shop", name)
}

fn says(node: Node) -> Expression {
    Expression { source: "as written".into(), node }
}

fn attribute(attribute: Attribute) -> Expression {
    says(Node::Attribute(attribute))
}

fn service() -> BackendKey {
    BackendKey { kind: BackendKind::Service, object: key("orders"), port: 80 }
}

fn elsewhere() -> BackendKey {
    BackendKey { kind: BackendKind::Backend, object: key("elsewhere"), port: 0 }
}

fn tls() -> Tls {
    Tls {
        hostname: "orders.internal".into(),
        names: vec![AltName::Dns("a.internal".into()), AltName::Uri("spiffe://a/b".into())],
        system: true,
        authorities: Some("pem".into()),
        certificate: Some(ClientCertificate { chain: "pem".into(), key: Secret::new("pem") }),
    }
}

fn add_backends(snapshot: &mut Snapshot) {
    let connections = Connections {
        max: 1,
        max_requests: 2,
        max_pending: 3,
        pending_timeout_ms: 4,
        connect_timeout_ms: 5,
        idle_timeout_ms: 6,
    };
    let endpoint = |at: u8| Endpoint { address: Address::Ip(([10, 0, 0, at], 8080).into()), weight: 3 };
    let orders = Backend {
        protocol: Protocol::H2c,
        balancing: Balancing { algorithm: Algorithm::LeastRequest, slow_start_ms: Some(9) },
        tls: Some(Box::new(tls())),
        proxy_protocol: true,
        connections: connections.clone(),
        retry_budget: RetryBudget { percent: 1, min_per_second: 2 },
        breaker: Some(Breaker {
            window_ms: 1,
            min_requests: 2,
            failure_percent: Some(3),
            consecutive_failures: Some(4),
            open_for_ms: 5,
            half_open_requests: 6,
            success_threshold: 7,
        }),
        health: Some(checked(Probe::Http { path: "/a".into(), statuses: vec![200], body_contains: Some("ok".into()) })),
        endpoints: vec![endpoint(1)],
    };
    let name = Endpoint { address: Address::Dns { name: "api.example".into(), port: 443 }, weight: 1 };
    let elsewhere_said = Backend { connections, ..Backend::plain(Protocol::Negotiated, vec![name]) };
    snapshot.backends.insert(service(), Part::new(orders));
    snapshot.backends.insert(elsewhere(), Part::new(elsewhere_said));
    let cookie = HashOn::Cookie { name: "lb".into(), ttl_ms: Some(1) };
    for (port, algorithm, probe) in [
        (1, Algorithm::Random, Probe::Tcp),
        (7, Algorithm::ServiceRate, Probe::Tcp),
        (2, Algorithm::PeakEwma, Probe::Grpc { service: "shop.Orders".into() }),
        (3, Algorithm::ConsistentHash(HashOn::Header("x-user".into())), Probe::Tcp),
        (4, Algorithm::ConsistentHash(cookie), Probe::Tcp),
        (5, Algorithm::ConsistentHash(HashOn::QueryParam("user".into())), Probe::Tcp),
        (6, Algorithm::ConsistentHash(HashOn::SourceAddress), Probe::Tcp),
    ] {
        let said = Backend {
            balancing: Balancing { algorithm, slow_start_ms: None },
            health: Some(checked(probe)),
            ..Backend::plain(Protocol::Http1, vec![endpoint(2)])
        };
        snapshot.backends.insert(BackendKey { port, ..service() }, Part::new(said));
    }
}

fn checked(probe: Probe) -> Health {
    Health {
        active: Some(ActiveCheck {
            interval_ms: 1,
            timeout_ms: 2,
            unhealthy_threshold: 3,
            healthy_threshold: 4,
            probe,
        }),
        passive: Some(Passive { consecutive_errors: 1, eject_for_ms: 2, max_ejected_percent: 3 }),
        panic_percent: 4,
    }
}

fn jwk(kid: &str, algorithm: JwtAlgorithm, material: Material) -> Jwk {
    Jwk { kid: Some(kid.into()), algorithm: Some(algorithm), material }
}

fn provider(name: &str, keys: KeySource) -> JwtProvider {
    JwtProvider {
        name: name.into(),
        issuer: "https://id.example".into(),
        audiences: vec!["orders".into()],
        algorithms: JwtAlgorithm::ALL.to_vec(),
        keys,
        from: vec![CredentialSource::Header { name: "authorization".into(), prefix: "Bearer ".into() }],
        clock_skew_ms: 30_000,
        claims: ClaimNames { id: "sub".into(), scopes: "scope".into(), groups: "groups".into() },
    }
}

fn tokens() -> JwtMethod {
    let text = String::from;
    let keys = vec![
        jwk("rsa", JwtAlgorithm::RS256, Material::Rsa { n: text("n"), e: text("AQAB") }),
        jwk("p256", JwtAlgorithm::ES256, Material::P256 { x: text("x"), y: text("y") }),
        jwk("p384", JwtAlgorithm::ES384, Material::P384 { x: text("x"), y: text("y") }),
        jwk("edwards", JwtAlgorithm::EdDSA, Material::Ed25519(text("x"))),
        jwk("shared", JwtAlgorithm::HS256, Material::Shared(Secret::new("k"))),
    ];
    let uri =
        JwksUri { uri: text("https://id.example/keys"), refresh_ms: 1, keep_for_ms: 2, authorities: Some(text("pem")) };
    let fixed = KeySource::Fixed { secret: Some(key("keys")), keys };
    JwtMethod { providers: vec![provider("fixed", fixed), provider("fetched", KeySource::Uri(uri))] }
}

fn signatures() -> HmacMethod {
    use SignatureComponent::*;
    let key = HmacKey {
        key_id: "one".into(),
        key: Secret::new("MDEyMw=="),
        id: "ada".into(),
        scopes: vec!["read".into()],
        groups: vec!["staff".into()],
        plan: "gold".into(),
        expires: Some(-1),
    };
    let fixed = [Method, TargetUri, Authority, Scheme, RequestTarget, Path, Query];
    let named = [QueryParam("a".into()), Header("content-type".into())];
    HmacMethod {
        keys: vec![key],
        components: fixed.into_iter().chain(named).collect(),
        require_digest: true,
        require_nonce: true,
        clock_skew_ms: 1,
    }
}

fn every_method() -> Authentication {
    let api_key = ApiKey {
        name: "acme".into(),
        sha256: Secret::new("0f"),
        id: "ada".into(),
        scopes: vec!["read".into()],
        groups: vec!["staff".into()],
        plan: "gold".into(),
        expires: Some(-1),
    };
    let from = vec![CredentialSource::Cookie("key".into()), CredentialSource::QueryParam("key".into())];
    Authentication {
        keep_credentials: true,
        optional: true,
        jwt: Some(tokens()),
        api_key: Some(ApiKeyMethod { from, keys: vec![api_key] }),
        basic: Some(BasicMethod {
            realm: "shop".into(),
            secret: key("users"),
            users: vec![BasicUser { name: "ada".into(), hash: Secret::new("$2y$10$") }],
        }),
        client_certificate: Some(CertificateMethod {
            authorities: "pem".into(),
            identity: CertificateIdentity::SubjectCommonName,
        }),
        hmac: Some(signatures()),
        introspection: Some(IntrospectionMethod {
            endpoint: "https://id.example/introspect".into(),
            authorities: Some("pem".into()),
            client_id: Some("gateway".into()),
            client_secret: Secret::new("hunter2"),
            cache_for_ms: 1,
            timeout_ms: 2,
            allow_on_failure: true,
        }),
        oidc: Some(OidcMethod {
            issuer: "https://id.example".into(),
            authorities: Some("pem".into()),
            client_id: "web".into(),
            client_secret: Secret::new("hunter2"),
            scopes: vec!["openid".into()],
            redirect_path: "/oauth2/callback".into(),
            logout_path: "/logout".into(),
            cookie: "sid".into(),
            ttl_ms: 1,
        }),
    }
}

fn add_auth(snapshot: &mut Snapshot) {
    let rule = |name: &str, effect| AuthorizationRule { name: name.into(), effect, when: says(Node::Bool(true)) };
    let policy = AuthPolicy {
        mode: Mode::Enforce,
        exclude: vec![Exclusion { path: PathMatch::Exact("/healthz".into()), method: Some("GET".into()) }],
        network: Network { allow: vec!["10.0.0.0/8".parse().unwrap()], deny: vec!["2001:db8::/32".parse().unwrap()] },
        authentication: Some(every_method()),
        rules: vec![rule("readers", Effect::Allow), rule("others", Effect::Deny)],
        external: Some(External {
            protocol: ExternalProtocol::Http { path: "/check".into() },
            backend: elsewhere(),
            timeout_ms: 1,
            allow_on_failure: true,
            forward_headers: vec!["cookie".into()],
            copy_headers: vec!["x-user".into()],
            body_limit: 2,
            cache_for_ms: 3,
            cache_key: Some(attribute(Attribute::CallerId)),
        }),
        forward: vec![ForwardedHeader { header: "x-caller".into(), value: attribute(Attribute::CallerId) }],
    };
    snapshot.auth.insert(key("who"), Part::new(policy));
}

fn limit(name: &str, count: Count) -> Limit {
    Limit {
        name: name.into(),
        key: Some(attribute(Attribute::SourceAddress)),
        when: Some(says(Node::Bool(true))),
        cost: Some(says(Node::Int(2))),
        phase: Phase::Main,
        count,
        parent: Some("bucket".into()),
        max_delay_ms: Some(7),
        ban: Some(Ban { after: 1, within_ms: 2, for_ms: 3 }),
    }
}

fn add_limits(snapshot: &mut Snapshot) {
    let bucket = Count::TokenBucket(TokenBucket { requests: 1, per_ms: 2, burst: 3 });
    let window = SlidingWindow { requests: 1, per_ms: 2 };
    let quota = |per| Count::Quota(Quota { requests: 1, per, time_zone: "UTC".into() });
    let early = Limit { phase: Phase::PreAuthentication, parent: None, ..limit("bucket", bucket) };
    let limits = vec![
        early,
        limit("window", Count::SlidingWindow(window.clone())),
        limit("seats", Count::Concurrency(4)),
        limit("hour", quota(Period::Hour)),
        limit("day", quota(Period::Day)),
        limit("week", quota(Period::Week)),
        limit("month", quota(Period::Month)),
        limit("sketch", Count::Approximate { window, sketch: Sketch { width: 5, depth: 6 } }),
        limit("adaptive", Count::Adaptive(Adaptive { target_ms: 1, min: 2, max: 3 })),
    ];
    let gold = Plan::Limits(vec![limit("gold", Count::Concurrency(9))]);
    let plans = Plans {
        select: attribute(Attribute::CallerPlan),
        default: Some("gold".into()),
        key: Some(attribute(Attribute::CallerId)),
        plans: [("gold".to_owned(), gold), ("lead".to_owned(), Plan::Broken)].into(),
    };
    for (name, shared) in [
        ("much", None),
        ("local", Some(OnStoreFailure::Local)),
        ("allow", Some(OnStoreFailure::Allow)),
        ("deny", Some(OnStoreFailure::Deny)),
    ] {
        let (limits, plans, priority) = match shared {
            None => (limits.clone(), Some(plans.clone()), Some(says(Node::Int(3)))),
            Some(_) => (Vec::new(), None, None),
        };
        let policy = RateLimitPolicy { mode: Mode::Shadow, limits, plans, priority, shared };
        snapshot.limits.insert(key(name), Part::new(policy));
    }
}

fn changes() -> Rare<HeaderChanges> {
    let pair = |name: &str| vec![(name.to_owned(), "value".to_owned())];
    HeaderChanges { set: pair("x-set"), add: pair("x-add"), remove: vec!["x-remove".into()] }.into()
}

fn filters() -> Filters {
    let these = |one: &str| Allowed::These(vec![one.into()]);
    let cors = Cors {
        origins: these("https://*.b.example"),
        methods: these("PUT"),
        headers: these("x-a"),
        exposed: Allowed::All,
        credentials: true,
        max_age_s: 5,
    };
    let algorithms = vec![CompressionAlgorithm::Zstd, CompressionAlgorithm::Br, CompressionAlgorithm::Gzip];
    let compression = Compression { algorithms, types: vec!["text/*".into()], min_size: 1 };
    let coalesce = Coalesce { key: Some(attribute(Attribute::RequestPath)) };
    Filters { cors: Some(cors), compression: Some(compression), coalesce: Some(coalesce) }
}

fn rewrite(path: PathRewrite) -> Box<Rewrite> {
    Box::new(Rewrite { hostname: Some("inner.example".into()), path: Some(path) })
}

fn rule(name: &str, path: PathMatch, action: Action) -> Rule {
    let field = |name: &str, value| FieldMatch { name: name.into(), value };
    let one = Match {
        path,
        method: Some("GET".into()),
        headers: vec![field("a", ValueMatch::Exact("1".into())), field("b", ValueMatch::Regex("2".into()))],
        query: vec![field("c", ValueMatch::Present)],
        when: Some(Box::new(says(Node::Bool(true)))),
    };
    Rule {
        name: name.into(),
        matches: vec![one],
        auth: Guard::Policy(key("who")),
        limits: vec![Guard::Policy(key("much")), Guard::Closed(key("lost"))],
        request_headers: changes(),
        response_headers: changes(),
        filters: Some(Box::new(filters())),
        action,
        timeouts: Timeouts {
            request_ms: Some(1),
            backend_request_ms: Some(2),
            stream_idle_ms: Some(3),
            deadline_header: Some("x-deadline-ms".into()),
        }
        .into(),
    }
}

fn forward(fallback: Fallback) -> Action {
    let share = |target| WeightedBackend {
        weight: 1,
        target,
        request_headers: changes(),
        response_headers: changes(),
        rewrite: Some(rewrite(PathRewrite::Full("/all".into()))),
        mirrors: vec![Mirror { backend: elsewhere(), numerator: 2, denominator: 5 }],
    };
    Action::Forward(Forward {
        backends: vec![share(Target::Backend(service())), share(Target::Reject(Broken::BackendInvalid))],
        rewrite: Some(rewrite(PathRewrite::Prefix("/v1".into()))),
        balancing: Some(Box::new(Balancing { algorithm: Algorithm::RoundRobin, slow_start_ms: Some(1) })),
        retry: Some(Box::new(Retry {
            attempts: 1,
            backoff_ms: 2,
            codes: vec![503],
            on: vec![RetryOn::ConnectFailure, RetryOn::Reset, RetryOn::Timeout],
            methods: vec!["GET".into()],
        })),
        session: Some(Box::new(Session {
            carrier: Carrier::Cookie { name: "sid".into(), path: "/orders".into(), permanent: true },
            absolute_ms: Some(3),
            idle_ms: Some(4),
        })),
        mirrors: vec![Mirror { backend: elsewhere(), numerator: 1, denominator: 3 }],
        fallback: Some(Box::new(fallback)),
    })
}

fn add_routes(snapshot: &mut Snapshot) {
    let respond = DirectResponse { status: 200, content_type: Some("text/plain".into()), body: "ok".into() };
    let redirect = Redirect {
        scheme: Some("https".into()),
        hostname: Some("new.example".into()),
        port: Some(8443),
        path: Some(PathRewrite::Full("/".into())),
        status: 308,
    };
    let path = |text: &str| PathMatch::Prefix(text.into());
    let rules = vec![
        rule("elsewhere", path("/a"), forward(Fallback::Backend(Target::Backend(elsewhere())))),
        rule("here", PathMatch::Exact("/b".into()), forward(Fallback::Respond(respond.clone()))),
        rule("moved", PathMatch::Regex("/c.*".into()), Action::Redirect(redirect)),
        rule("said", path("/d"), Action::Respond(respond)),
        Rule { auth: Guard::Open, ..rule("route", path("/e"), Action::Reject(Broken::RouteInvalid)) },
        rule("policy", path("/f"), Action::Reject(Broken::PolicyInvalid)),
    ];
    let hosts =
        vec![HostPattern::Exact("a.example".into()), HostPattern::Wildcard("b.example".into()), HostPattern::Any];
    let route = Route { created: Some(1), hosts, certificates: vec![key("tls")], rules };
    snapshot.routes.insert(key("orders"), Part::new(route));
}

fn everything() -> Snapshot {
    let mut snapshot = Snapshot { revision: Revision(7), ..Snapshot::default() };
    add_backends(&mut snapshot);
    add_auth(&mut snapshot);
    add_limits(&mut snapshot);
    add_routes(&mut snapshot);
    let certificate =
        Certificate { chain: "pem".into(), key: Secret::new("pem"), not_after: -1, ocsp: Some("MAMKAQA=".into()) };
    snapshot.certificates.insert(key("tls"), Part::new(certificate));
    snapshot
}

/// What a store keeps of it, below the line of header.
fn kept(path: &Path) -> serde_json::Value {
    let text = fs::read_to_string(path).unwrap();
    serde_json::from_str(text.split_once('\n').unwrap().1).unwrap()
}

#[test]
fn the_form_is_the_golden_files_and_a_golden_file_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("snapshot");
    let store = Store::new(&path);
    store.save(&everything()).unwrap();
    let ours = serde_json::to_string_pretty(&kept(&path)).unwrap() + "\n";
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/form-{FORM}.json"));
    let theirs = fs::read_to_string(&golden).unwrap_or_default();
    let differs = ours.lines().zip(theirs.lines()).position(|(ours, theirs)| ours != theirs);
    let same = ours == theirs;
    assert!(same, "raise FORM and add its golden file; from line {differs:?} on this form is another:\n{ours}");
    let read: Snapshot = serde_json::from_str(&theirs).unwrap();
    assert_eq!(read, everything());
    assert_eq!(store.load().unwrap(), Some(everything()));
}

#[test]
fn an_expression_that_is_as_deep_as_may_be_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path().join("snapshot"));
    let not = |node| Node::Call { function: Function::Not, arguments: vec![node] };
    let deepest = (1..MAX_DEPTH).fold(Node::Bool(true), |node, _| not(node));
    assert_eq!(deepest.depth(), MAX_DEPTH);
    let mut snapshot = Snapshot::default();
    let plain = rule("deep", PathMatch::Prefix("/".into()), Action::Reject(Broken::RouteInvalid));
    let matches = vec![Match { when: Some(Box::new(says(deepest))), ..plain.matches[0].clone() }];
    let rules = vec![Rule { matches, auth: Guard::Open, limits: Vec::new(), ..plain }];
    let route = Route { created: None, hosts: vec![HostPattern::Any], certificates: Vec::new(), rules };
    snapshot.routes.insert(key("deep"), Part::new(route));
    store.save(&snapshot).unwrap();
    assert_eq!(store.load().unwrap(), Some(snapshot));
}
