//! The hostnames of a route: which it names, and which of those its namespace owns.

use ravelin_crds::ApiRouteSpec;
use ravelin_snapshot::HostPattern;

use crate::{
    compile::{
        HostnameOwnership, grammar,
        graph::Fact,
        notes::{Field, Notes, touches},
        text,
        work::{Reads, Work},
    },
    object::Object,
    verdict::Reason,
};

/// Hostnames of one route, at most.
const MAX_HOSTNAMES: usize = 64;

/// The hostnames that a route lays claim to. One for Gateways lays none to the default listeners.
pub(in crate::compile) fn claims(object: &Object<ApiRouteSpec>) -> impl Iterator<Item = HostPattern> {
    let here = object.spec.parent_refs.is_empty();
    let names = object.spec.hostnames.iter().take(MAX_HOSTNAMES).filter(move |_| here);
    names.filter_map(|name| parse(name))
}

fn parse(name: &str) -> Option<HostPattern> {
    let lower = name.to_ascii_lowercase();
    let name = lower.strip_suffix('.').unwrap_or(&lower);
    grammar::is_hostname(name).then(|| HostPattern::parse(name))
}

/// The hosts that the route serves. Empty: it serves nothing, and the notes say why.
pub(super) fn owned(
    work: &Work<'_>,
    reads: &mut Reads,
    notes: &mut Notes,
    object: &Object<ApiRouteSpec>,
) -> Vec<HostPattern> {
    let field = Field::SPEC.member("hostnames");
    let names = &object.spec.hostnames;
    if names.is_empty() {
        // If there may be hosts that could not be read, "every host" is certainly not what was meant.
        let unclear = touches(&object.faults, field) || super::is_misread(&object.faults);
        return if unclear { Vec::new() } else { vec![HostPattern::Any] };
    }
    notes.at_most((names.len(), MAX_HOSTNAMES), "hostnames", field, "Split the route.");
    let (mut hosts, mut lost) = (Vec::with_capacity(names.len().min(MAX_HOSTNAMES)), Vec::new());
    for (index, name) in names.iter().enumerate().take(MAX_HOSTNAMES) {
        let Some(host) = parse(name) else {
            let message = format!("{} is no hostname", text::shown(name));
            notes.invalid(field.item(index), message, "Write a DNS name, such as api.shop.example or *.shop.example.");
            continue;
        };
        match owner(work, reads, &host) {
            Some(owner) if owner != object.meta.key.namespace => lost.push((index, host, owner)),
            _ if hosts.contains(&host) => {}
            _ => hosts.push(host),
        }
    }
    for (index, host, owner) in lost {
        let message = format!("{host} belongs to the namespace `{owner}`, whose route is older");
        let remedy = "Use another hostname, or move the route to that namespace.";
        let field = field.item(index);
        if hosts.is_empty() {
            notes.error(field, Reason::HostnameOwned, message, remedy);
        } else {
            notes.warning(field, Reason::HostnameOwned, message, remedy);
        }
    }
    hosts
}

/// The namespace that a hostname belongs to: that of the most senior route which names it, or a wildcard above it. The
/// most senior of all that cover a name is never itself refused, since whoever covers that one covers the name too.
fn owner(work: &Work<'_>, reads: &mut Reads, host: &HostPattern) -> Option<String> {
    if work.options.hostname_ownership == HostnameOwnership::Shared {
        return None;
    }
    let mut first = None;
    for pattern in covering(host) {
        if let Some(claim) = work.index.claims.get(&pattern).next()
            && first.is_none_or(|first| claim < first)
        {
            first = Some(claim);
        }
        reads.insert(Fact::Claim(pattern));
    }
    first.map(|(_, route)| route.namespace.clone())
}

/// The pattern itself and the wildcards above it.
fn covering(host: &HostPattern) -> impl Iterator<Item = HostPattern> {
    let name = match host {
        HostPattern::Exact(name) | HostPattern::Wildcard(name) => name.as_str(),
        HostPattern::Any => "",
    };
    let above = name.match_indices('.').map(|(dot, _)| HostPattern::Wildcard(name[dot + 1..].to_owned()));
    std::iter::once(host.clone()).chain(above)
}
