//! Where requests go: a port of a Service with its EndpointSlices, or a Backend object.

pub(super) mod policy;

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use ravelin_crds::{AppProtocol, BackendEndpoint, BackendSpec};
use ravelin_snapshot::{
    ObjectKey,
    backend::{Address, Backend, BackendKey, BackendKind, Endpoint, Protocol},
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
    let object = ObjectKey::new(&key.namespace, &key.name);
    let (protocol, endpoints, port) = match key.kind {
        BackendKind::Service => service(work, reads, &object, key.port)?,
        BackendKind::Backend => {
            reads.insert(Fact::BackendObject(object.clone()));
            let found = work.model.backends.get(&object).ok_or_else(|| {
                let message = format!("there is no Backend {object}");
                Refused::new(Reason::BackendNotFound, "name", message, "Create it, or correct the name.")
            })?;
            let said = self::object(found, &mut Notes::of_faults(&found.faults));
            let (protocol, endpoints) = said.ok_or_else(|| {
                let message = format!("Backend {object} is broken");
                Refused::new(Reason::InvalidReference, "", message, "See what its own status says.")
            })?;
            (protocol, endpoints, "")
        }
    };
    let treatment = work.treatment(reads, key.kind, &object, port).map_err(|policy| {
        let message = format!("BackendPolicy {policy} is for it and is broken");
        let refused = Refused::new(Reason::InvalidReference, "", message, "See what the policy's own status says.");
        Refused { broken: Broken::PolicyInvalid, ..refused }
    })?;
    let Treatment { balancing, connections, retry_budget, breaker, health } = treatment;
    Ok(Backend { protocol, balancing, connections, retry_budget, breaker, health, endpoints })
}

/// What a Backend object says; `None` if anything of it has no meaning, which is noted.
pub(super) fn object(object: &Object<BackendSpec>, notes: &mut Notes) -> Option<(Protocol, Vec<Endpoint>)> {
    let BackendSpec { endpoints: said, app_protocol } = &object.spec;
    let field = Field::SPEC.member("endpoints");
    if said.is_empty() && !touches(&object.faults, field) {
        notes.invalid(field, "a Backend needs an endpoint", "Name at least one address and port.");
    }
    if said.len() > MAX_ENDPOINTS {
        let message = format!("{} endpoints are more than {MAX_ENDPOINTS}", said.len());
        notes.invalid(field, message, "Split the Backend, and share the requests by weights.");
    }
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
    let protocol = match app_protocol.unwrap_or_default() {
        AppProtocol::Http | AppProtocol::WebSocket => Protocol::Http1,
        AppProtocol::H2c => Protocol::H2c,
        AppProtocol::Https | AppProtocol::WebSocketTls => {
            let message = "TLS to backends is not implemented yet";
            notes.error(
                Field::SPEC.member("appProtocol"),
                Reason::Unsupported,
                message,
                "Use http or kubernetes.io/h2c.",
            );
            return None;
        }
    };
    (notes.breaks() == 0).then(|| (protocol, endpoints.into_iter().collect()))
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
) -> Result<(Protocol, Vec<Endpoint>, &'m str), Refused> {
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
    let protocol = service_protocol(key, port)?;
    reads.insert(Fact::Slices(key.clone()));
    Ok((protocol, slice_endpoints(work, key, &port.name), &port.name))
}

fn service_protocol(key: &ObjectKey, port: &ServicePort) -> Result<Protocol, Refused> {
    let refused = |message: String| {
        Refused::new(Reason::UnsupportedProtocol, "port", message, "Change the appProtocol of the Service's port.")
    };
    match port.app_protocol.as_deref().map(str::parse) {
        None | Some(Ok(AppProtocol::Http | AppProtocol::WebSocket)) => Ok(Protocol::Http1),
        Some(Ok(AppProtocol::H2c)) => Ok(Protocol::H2c),
        Some(Ok(AppProtocol::Https | AppProtocol::WebSocketTls)) => {
            Err(refused(format!("port {} of Service {key}: TLS to backends is not implemented yet", port.port)))
        }
        Some(Err(error)) => Err(refused(format!("port {} of Service {key}: {error}", port.port))),
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
