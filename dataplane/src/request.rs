//! What is known of a request: by its head, and by who sent it.

mod forwarded;
mod id;
mod target;

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    ops::Deref,
    rc::Rc,
    sync::Arc,
};

use http::{HeaderMap, HeaderValue, Method};
use ipnet::IpNet;
use ravelin_snapshot::ObjectKey;
use serde_json::Value;

use crate::policy::auth::ClientChain;
pub use forwarded::{Client, Ours};
pub(crate) use id::RequestIds;
pub use id::{X_REQUEST_ID, keep};
pub use target::Target;
pub(crate) use target::is_authority;

/// What matching, policies and expressions may read. It borrows from the request and from the connection.
#[derive(Clone, Copy, Debug)]
pub struct RequestView<'a> {
    pub method: &'a Method,
    /// In normal form; see [`ravelin_snapshot::path`].
    pub path: &'a str,
    /// Path and query, as the client sent them.
    pub raw: &'a str,
    /// Without the `?`; as the client sent it.
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    /// Lower case, without port and final dot.
    pub host: &'a str,
    /// `Host`, as the client sent it.
    pub authority: &'a str,
    pub scheme: Scheme,
    /// `x-request-id`.
    pub id: &'a str,
    /// The client: the peer, or whom the trusted proxies name.
    pub source: SocketAddr,
    /// What the client showed in a handshake that asked for a certificate; `None`: it was not asked.
    pub chain: Option<&'a ClientChain>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Who calls. The default is the anonymous caller: every field empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Caller {
    pub id: String,
    /// `apiKey`, ...; empty for the anonymous caller.
    pub method: &'static str,
    pub issuer: String,
    pub scopes: Vec<String>,
    pub groups: Vec<String>,
    /// A JSON object; `Null` stands for the empty one.
    pub claims: Value,
    pub plan: String,
}

/// The caller of a request: shared with whoever remembers him, or anonymous.
#[derive(Clone, Debug, Default)]
pub struct Known(Option<Arc<Caller>>);

static ANONYMOUS: Caller = Caller {
    id: String::new(),
    method: "",
    issuer: String::new(),
    scopes: Vec::new(),
    groups: Vec::new(),
    claims: Value::Null,
    plan: String::new(),
};

impl Deref for Known {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        self.0.as_deref().unwrap_or(&ANONYMOUS)
    }
}

impl From<Arc<Caller>> for Known {
    fn from(caller: Arc<Caller>) -> Self {
        Self(Some(caller))
    }
}

/// Which rule a request came to: the `route` of expressions, logs and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RuleName {
    pub route: ObjectKey,
    pub rule: String,
}

/// The connection that a request came over.
#[derive(Debug)]
pub struct Connection {
    /// The other end of the socket, or whom the PROXY protocol names.
    pub peer: SocketAddr,
    pub local: SocketAddr,
    pub scheme: Scheme,
    /// The name that the client asked for in the TLS handshake, in lower case.
    pub server_name: Option<String>,
    /// What the client showed in a handshake that asked for a certificate.
    pub chain: Option<Box<ClientChain>>,
    /// The peer is one of `--trusted-proxies`: what it says of its client is believed.
    pub(crate) trusted: bool,
    /// The peer as `X-Forwarded-For` names it.
    peer_text: HeaderValue,
    /// The target of the HTTP/1.1 request that is under way had a fragment, which the parser has cut off.
    pub(crate) cut: Cell<bool>,
    /// The last `Host`, and the `Forwarded` that belongs to it: nearly always the next request's too.
    forwarded: RefCell<Option<(HeaderValue, HeaderValue)>>,
    /// The last `Host`, and all that a backend is told of it and the client, as text.
    told: RefCell<Option<(HeaderValue, Box<[u8]>)>>,
    /// The last `Host`, and what it says.
    authority: RefCell<Option<Rc<target::Authority>>>,
}

impl Connection {
    pub fn new(
        peer: SocketAddr,
        local: SocketAddr,
        scheme: Scheme,
        server_name: Option<String>,
        trusted: &[IpNet],
    ) -> Self {
        // A client that came over a socket for both families is still the IPv4 client that the ranges speak of.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        Self {
            peer,
            local: SocketAddr::new(local.ip().to_canonical(), local.port()),
            scheme,
            server_name,
            chain: None,
            trusted: forwarded::is_trusted(trusted, peer.ip()),
            // Invariant: an address in text is visible ASCII.
            peer_text: HeaderValue::from_str(&peer.ip().to_string()).expect("an address is a value (invariant)"),
            cut: Cell::new(false),
            forwarded: RefCell::new(None),
            told: RefCell::new(None),
            authority: RefCell::new(None),
        }
    }
}
