//! How endpoints are chosen: of a BackendPolicy, or of a rule.

use ravelin_crds::{BalancingAlgorithm, ConsistentHash, ConsistentHashCookie, LoadBalancing, SourceAddress};
use ravelin_snapshot::backend::{Algorithm, Balancing, HashOn};

use super::{
    grammar,
    notes::{Field, Notes},
    text,
};
use crate::verdict::Reason;

pub(super) fn compile(said: &LoadBalancing, field: Field<'_>, notes: &mut Notes) -> Balancing {
    let LoadBalancing { algorithm, consistent_hash, slow_start } = said;
    let algorithm = algorithm.unwrap_or_default();
    if consistent_hash.is_some() && algorithm != BalancingAlgorithm::ConsistentHash {
        let message = format!("{algorithm:?} hashes nothing");
        notes.invalid(field.member("consistentHash"), message, "Leave it out, or use ConsistentHash.");
    }
    let slow_start_ms = slow_start.map(grammar::millis).filter(|millis| *millis > 0);
    if slow_start_ms.is_some() && algorithm == BalancingAlgorithm::ConsistentHash {
        let message = "a key of ConsistentHash has its endpoint at once";
        notes.warning(field.member("slowStart"), Reason::Suspicious, message, "Leave it out.");
    }
    let algorithm = match algorithm {
        BalancingAlgorithm::RoundRobin => Algorithm::RoundRobin,
        BalancingAlgorithm::LeastRequest => Algorithm::LeastRequest,
        BalancingAlgorithm::Random => Algorithm::Random,
        BalancingAlgorithm::PeakEwma => Algorithm::PeakEwma,
        BalancingAlgorithm::ServiceRate => Algorithm::ServiceRate,
        BalancingAlgorithm::ConsistentHash => {
            let field = field.member("consistentHash");
            let on = consistent_hash.as_ref().and_then(|said| hash_on(said, field, notes));
            if consistent_hash.is_none() {
                let remedy = "Set one of header, cookie, queryParam and sourceAddress.";
                notes.invalid(field, "ConsistentHash needs something to hash", remedy);
            }
            on.map_or(Algorithm::RoundRobin, Algorithm::ConsistentHash)
        }
    };
    Balancing { algorithm, slow_start_ms }
}

/// `None` if it has no meaning, which is noted.
fn hash_on(said: &ConsistentHash, field: Field<'_>, notes: &mut Notes) -> Option<HashOn> {
    let ConsistentHash { header, cookie, query_param, source_address } = said;
    match (header, cookie, query_param, source_address) {
        (Some(name), None, None, None) if grammar::is_token(name) => Some(HashOn::Header(name.to_ascii_lowercase())),
        (Some(name), None, None, None) => {
            let message = format!("{} is no header name", text::shown(name));
            notes.invalid(field.member("header"), message, "Use letters, digits and hyphens.");
            None
        }
        (None, Some(ConsistentHashCookie { name, ttl }), None, None) => {
            cookie_name(name, field.member("cookie").member("name"), notes)?;
            Some(HashOn::Cookie { name: name.clone(), ttl_ms: ttl.map(grammar::millis).filter(|ttl| *ttl > 0) })
        }
        (None, None, Some(name), None) if !name.is_empty() => Some(HashOn::QueryParam(name.clone())),
        (None, None, None, Some(SourceAddress {})) => Some(HashOn::SourceAddress),
        _ => {
            let remedy = "Set exactly one of header, cookie, queryParam and sourceAddress.";
            notes.invalid(field, "one thing is hashed", remedy);
            None
        }
    }
}

pub(super) fn cookie_name(name: &str, field: Field<'_>, notes: &mut Notes) -> Option<()> {
    if grammar::is_token(name) {
        return Some(());
    }
    let message = format!("{} is no name of a cookie", text::shown(name));
    notes.invalid(field, message, "Use letters, digits and hyphens.");
    None
}
