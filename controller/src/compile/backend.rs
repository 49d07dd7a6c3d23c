//! Where requests go: a port of a Service with its EndpointSlices, or a Backend object.

pub(super) mod policy;

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use ravelin_crds::{AppProtocol, BackendEndpoint, BackendSpec};
use ravelin_snapshot::{
    ObjectKey,
    backend::{Address, Backend, BackendKey, BackendKind, Endpoint, Protocol, Tls},
    route::Broken,
};

use self::policy::Treatment;
use super::{
    grammar,
    graph::Fact,
    notes::{Field, Notes, touches},
    reference::Refused,
    work::{Reads, Work},
};
use crate::{
    object::{Object, Service, ServicePort},
    verdict::Reason,
};

/// Endpoints of one Backend object, at most.
const MAX_ENDPOINTS: usize = 256;

/// A backend, or what to tell those who refer to it.
pub(super) fn compile(work: &Work<'_>, reads: &mut Reads, key: &BackendKey) -> Result<Backend, Refused> {
    let object = key.object.clone();
    let (speech, endpoints, port) = match key.kind {
        BackendKind::Service => service(work, reads, &object, key.port)?,
        BackendKind::Backend => {
            reads.insert(Fact::BackendObject(object.clone()));
            let found = work.model.backends.get(&object).ok_or_else(|| {
                let message = format!("there is no Backend {object}");
                Refused::new(Reason::BackendNotFound, "name", message, "Create it, or correct the name.")
            })?;
            let said = self::object(found, &mut Notes::of_faults(&found.faults));
            let (speech, endpoints) = said.ok_or_else(|| {
                let message = format!("Backend {object} is broken");
                Refused::new(Reason::InvalidReference, "", message, "See what its own status says.")
            })?;
            (speech, endpoints, "")
        }
    };
    let Treatment { balancing, connections, retry_budget, breaker, health, tls, proxy_protocol } =
        work.treatment(reads, key.kind, &object, port).map_err(|policy| {
            let message = format!("BackendPolicy {policy} is for it and is broken");
            let refused = Refused::new(Reason::InvalidReference, "", message, "See what the policy's own status says.");
            Refused { broken: Broken::PolicyInvalid, ..refused }
        })?;
    let Speech { protocol, secure } = speech;
    if proxy_protocol && protocol == Protocol::H2c {
        let message =
            format!("{object} speaks HTTP/2, whose connections many clients share, and PROXY protocol names one");
        let remedy = "Leave proxyProtocol out of its BackendPolicy, or use another appProtocol.";
        return Err(Refused::new(Reason::UnsupportedProtocol, "", message, remedy));
    }
    let tls = match (tls, secure) {
        (Some(tls), _) => Some(tls),
        (None, false) => None,
        (None, true) => Some(by_its_name(&object, &endpoints)?),
    };
    let tls = tls.map(Box::new);
    Ok(Backend { protocol, tls, proxy_protocol, balancing, connections, retry_budget, breaker, health, endpoints })
}

/// From `appProtocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Speech {
    protocol: Protocol,
    /// Over TLS, whether a policy says so or not.
    secure: bool,
}

impl From<AppProtocol> for Speech {
    fn from(said: AppProtocol) -> Self {
        let (protocol, secure) = match said {
            AppProtocol::Http | AppProtocol::WebSocket => (Protocol::Http1, false),
            AppProtocol::H2c => (Protocol::H2c, false),
            AppProtocol::Https => (Protocol::Negotiated, true),
            AppProtocol::WebSocketTls => (Protocol::Http1, true),
        };
        Self { protocol, secure }
    }
}

/// Without a policy the certificate has to be for the name that is connected to, if there is exactly one.
fn by_its_name(object: &ObjectKey, endpoints: &[Endpoint]) -> Result<Tls, Refused> {
    let mut names = endpoints.iter().map(|endpoint| match &endpoint.address {
        Address::Dns { name, .. } => Some(name),
        Address::Ip(_) => None,
    });
    match names.next().flatten() {
        Some(first) if names.all(|name| name == Some(first)) => {
            Ok(Tls { hostname: first.clone(), names: Vec::new(), system: true, authorities: None, certificate: None })
        }
        _ => {
            let message = format!("nothing says which name the certificate of {object} must have");
            let remedy = "Attach a BackendPolicy with tls, which says the hostname and whom to trust.";
            Err(Refused::new(Reason::InvalidReference, "", message, remedy))
        }
    }
}

/// What a Backend object says; `None` if anything of it has no meaning, which is noted.
pub(super) fn object(object: &Object<BackendSpec>, notes: &mut Notes) -> Option<(Speech, Vec<Endpoint>)> {
    let BackendSpec { endpoints: said, app_protocol } = &object.spec;
    let field = Field::SPEC.member("endpoints");
    if said.is_empty() && !touches(&object.faults, field) {
        notes.invalid(field, "a Backend needs an endpoint", "Name at least one address and port.");
    }
    let remedy = "Split the Backend, and share the requests by weights.";
    notes.at_most((said.len(), MAX_ENDPOINTS), "endpoints", field, remedy);
    let mut endpoints = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for (index, endpoint) in said.iter().enumerate().take(MAX_ENDPOINTS) {
        let field = field.item(index);
        let Some(endpoint) = object_endpoint(endpoint, field, notes) else { continue };
        if !seen.insert(endpoint.address.clone()) {
            notes.invalid(
                field,
                format!("{} is there twice", endpoint.address),
                "Give it one entry with the sum of the weights.",
            );
        }
        if endpoint.weight > 0 {
            endpoints.insert(endpoint);
        }
    }
    let speech = Speech::from(app_protocol.unwrap_or_default());
    (notes.breaks() == 0).then(|| (speech, endpoints.into_iter().collect()))
}

fn object_endpoint(endpoint: &BackendEndpoint, field: Field<'_>, notes: &mut Notes) -> Option<Endpoint> {
    let BackendEndpoint { address, port, weight } = endpoint;
    if *port == 0 {
        notes.invalid(field.member("port"), "0 is no port", "Use 1 to 65535.");
        return None;
    }
    if weight.is_some_and(|weight| weight > grammar::MAX_WEIGHT) {
        notes.invalid(field.member("weight"), "the weight is too large", "Use 0 to 1000000.");
        return None;
    }
    let weight = endpoint.weight();
    if let Ok(ip) = address.parse::<IpAddr>() {
        return Some(Endpoint { address: Address::Ip(SocketAddr::new(ip, *port)), weight });
    }
    let name = address.trim_end_matches('.').to_ascii_lowercase();
    if !grammar::is_dns_name(&name) {
        let message = format!("{address:?} is neither an IP address nor a DNS name");
        notes.invalid(field.member("address"), message, "Write it as 10.0.0.1, 2001:db8::1 or api.example.");
        return None;
    }
    Some(Endpoint { address: Address::Dns { name, port: *port }, weight })
}

/// The third is the name of the port.
fn service<'m>(
    work: &Work<'m>,
    reads: &mut Reads,
    key: &ObjectKey,
    port: u16,
) -> Result<(Speech, Vec<Endpoint>, &'m str), Refused> {
    reads.insert(Fact::Service(key.clone()));
    let model = work.model;
    let found = model.services.get(key).ok_or_else(|| {
        let message = format!("there is no Service {key}");
        Refused::new(Reason::BackendNotFound, "name", message, "Create it, or correct the name.")
    })?;
    let Service { ports, external_name } = &found.spec;
    if !found.faults.is_empty() {
        let message = format!("Service {key} could not be read whole");
        return Err(Refused::new(Reason::InvalidReference, "name", message, "Correct the Service."));
    }
    if external_name.is_some() {
        // Whoever may write a Service could otherwise reach what only the gateway can reach.
        let message = format!("Service {key} is of type ExternalName, which is not followed");
        return Err(Refused::new(Reason::InvalidReference, "name", message, "Use a Backend with the DNS name."));
    }
    let port = ports.iter().find(|found| found.port == port && found.tcp).ok_or_else(|| {
        let message = format!("Service {key} has no TCP port {port}");
        let known: Vec<String> = ports.iter().filter(|port| port.tcp).map(|port| port.port.to_string()).collect();
        let remedy = format!("Use one of its ports: {}.", known.join(", "));
        Refused::new(Reason::BackendNotFound, "port", message, remedy)
    })?;
    let speech = service_speech(key, port)?;
    reads.insert(Fact::Slices(key.clone()));
    Ok((speech, slice_endpoints(work, key, &port.name), &port.name))
}

fn service_speech(key: &ObjectKey, port: &ServicePort) -> Result<Speech, Refused> {
    match port.app_protocol.as_deref().map(str::parse::<AppProtocol>) {
        None => Ok(Speech::from(AppProtocol::default())),
        Some(Ok(said)) => Ok(Speech::from(said)),
        Some(Err(error)) => {
            let message = format!("port {} of Service {key}: {error}", port.port);
            let remedy = "Change the appProtocol of the Service's port.";
            Err(Refused::new(Reason::UnsupportedProtocol, "port", message, remedy))
        }
    }
}

/// Ready endpoints of all slices; if there is none, those that end and still serve.
fn slice_endpoints(work: &Work<'_>, service: &ObjectKey, port: &str) -> Vec<Endpoint> {
    let (mut ready, mut ending) = (BTreeSet::new(), BTreeSet::new());
    for slice in work.index.slices.get(service).filter_map(|key| work.model.endpoint_slices.get(key)) {
        let ports = slice.spec.ports.iter().filter(|(name, _)| name == port);
        for (_, port) in ports {
            for endpoint in &slice.spec.endpoints {
                let into = match (endpoint.ready, endpoint.serving && endpoint.terminating) {
                    (true, _) => &mut ready,
                    (false, true) => &mut ending,
                    (false, false) => continue,
                };
                // What is no IP address is a slice of names, which Kubernetes no longer makes.
                if let Some(Ok(ip)) = endpoint.addresses.first().map(|address| address.parse::<IpAddr>()) {
                    into.insert(Endpoint { address: Address::Ip(SocketAddr::new(ip, *port)), weight: 1 });
                }
            }
        }
    }
    if ready.is_empty() { ending } else { ready }.into_iter().collect()
}
