//! An AuthPolicy becomes what the data plane enforces.

mod api_key;
mod basic;
mod certificate;
mod external;
mod hmac;
mod introspection;
mod jwt;
pub(super) mod keys;
mod oidc;
mod source;

use std::collections::BTreeSet;

use ipnet::IpNet;
use ravelin_crds::{
    AuthPolicySpec, Authentication, Authorization, AuthorizationRule, Exclusion, ForwardedHeader, Network, PolicyMode,
};
use ravelin_snapshot::{
    ObjectKey,
    auth::{self, AuthPolicy, Effect, Mode},
    route::PathMatch,
};

use super::{
    grammar, held,
    notes::{Field, Notes},
    route::matches,
    text::{self, Type},
    work::{Reads, Work},
};
use crate::{object::Object, verdict::Reason};
pub(super) use oidc::reach;

/// Entries of `exclude` and of `authorization.rules`, at most.
const MAX_RULES: usize = 64;
/// Ranges of one list, at most.
const MAX_RANGES: usize = 256;
/// Headers that are forwarded, at most.
const MAX_FORWARDED: usize = 16;

/// The policy; of no use if anything is noted that breaks it.
pub(super) fn compile(
    work: &mut Work<'_>,
    reads: &mut Reads,
    notes: &mut Notes,
    object: &Object<AuthPolicySpec>,
) -> AuthPolicy {
    let AuthPolicySpec { target_refs: _, overrides: _, mode, exclude, network, authentication, authorization, forward } =
        &object.spec;
    let exclude = exclusions(exclude, Field::SPEC.member("exclude"), notes);
    let network = network.as_ref().map(|said| self::network(said, Field::SPEC.member("network"), notes));
    let authentication = authentication.as_ref().map(|said| {
        let field = Field::SPEC.member("authentication");
        self::authentication(work, reads, notes, &object.meta.key, said, field)
    });
    let rules = authorization.as_ref().map(|said| self::rules(said, Field::SPEC.member("authorization"), notes));
    let external = authorization.as_ref().and_then(|said| said.external.as_ref()).and_then(|said| {
        let field = Field::SPEC.member("authorization");
        let field = field.member("external");
        external::compile(work, reads, notes, &object.meta.key.namespace, said, field)
    });
    let forward = forwarded(forward, Field::SPEC.member("forward"), notes);
    external::told_once(external.as_ref(), &forward, notes);
    AuthPolicy {
        mode: self::mode(*mode),
        exclude,
        network: network.unwrap_or_default(),
        authentication,
        rules: rules.unwrap_or_default(),
        external,
        forward,
    }
}

pub(super) fn mode(said: Option<PolicyMode>) -> Mode {
    match said.unwrap_or_default() {
        PolicyMode::Enforce => Mode::Enforce,
        PolicyMode::Shadow => Mode::Shadow,
    }
}

/// Notes a list that is too long.
pub(super) fn bound(count: usize, most: usize, field: Field<'_>, notes: &mut Notes) {
    notes.at_most((count, most), "entries", field, "Leave some out, or write another policy.");
}

fn exclusions(said: &[Exclusion], field: Field<'_>, notes: &mut Notes) -> Vec<auth::Exclusion> {
    bound(said.len(), MAX_RULES, field, notes);
    let mut exclude = Vec::with_capacity(said.len());
    for (index, Exclusion { path, method }) in said.iter().enumerate() {
        let field = field.item(index);
        if path.is_none() && method.is_none() {
            notes.invalid(field, "every request would be excluded", "Set a path, a method or both.");
        }
        let path = path.as_ref().map(|said| matches::path(said, field.member("path"), notes));
        let path = path.unwrap_or_else(|| PathMatch::Prefix("/".to_owned()));
        exclude.push(auth::Exclusion { path, method: method.map(|method| method.as_str().to_owned()) });
    }
    exclude
}

fn network(said: &Network, field: Field<'_>, notes: &mut Notes) -> auth::Network {
    let Network { allow, deny } = said;
    if allow.is_none() && deny.is_none() {
        notes.invalid(field, "no range is named", "Set allow or deny.");
    }
    let mut ranges = |said: &Option<Vec<String>>, field: Field<'_>| {
        let Some(said) = said else { return Vec::new() };
        bound(said.len(), MAX_RANGES, field, notes);
        if said.is_empty() {
            // An empty `allow` would allow all where it reads as if it allowed nobody.
            notes.invalid(field, "the list is empty", "Name a range, or leave the list out.");
        }
        let ranges = said.iter().enumerate();
        ranges.filter_map(|(index, text)| range(text, field.item(index), notes)).collect()
    };
    auth::Network { allow: ranges(allow, field.member("allow")), deny: ranges(deny, field.member("deny")) }
}

fn range(said: &str, field: Field<'_>, notes: &mut Notes) -> Option<IpNet> {
    let Ok(range) = said.parse::<IpNet>() else {
        let message = format!("{} is no address range", text::shown(said));
        notes.invalid(field, message, "Write it as 10.0.0.0/8 or 2001:db8::/32.");
        return None;
    };
    if range.trunc() != range {
        let message = format!("{said} has bits beyond its length, and is taken for {}", range.trunc());
        notes.warning(field, Reason::Suspicious, message, "Write the range that is meant.");
    }
    Some(range.trunc())
}

fn authentication(
    work: &Work<'_>,
    reads: &mut Reads,
    notes: &mut Notes,
    policy: &ObjectKey,
    said: &Authentication,
    field: Field<'_>,
) -> auth::Authentication {
    let Authentication {
        keep_credentials,
        optional,
        jwt,
        api_key,
        basic,
        client_certificate,
        hmac,
        introspection,
        oidc,
    } = said;
    let others = jwt.is_some() || basic.is_some() || client_certificate.is_some();
    if api_key.is_none() && !others && hmac.is_none() && introspection.is_none() && oidc.is_none() {
        notes.invalid(field, "no method is named", "Set one, such as apiKey.");
    }
    let jwt = jwt.as_ref().map(|said| {
        let field = field.member("jwt");
        jwt::method(work, reads, notes, &policy.namespace, said, field)
    });
    let api_key = api_key.as_ref().map(|said| {
        let field = field.member("apiKey");
        api_key::method(work, reads, notes, &policy.namespace, said, field)
    });
    let basic = basic.as_ref().and_then(|said| {
        let field = field.member("basic");
        basic::method(work, reads, notes, policy, said, field)
    });
    let client_certificate = client_certificate.as_ref().and_then(|said| {
        let field = field.member("clientCertificate");
        certificate::method(work, reads, notes, &policy.namespace, said, field)
    });
    let hmac = hmac.as_ref().map(|said| {
        let field = field.member("hmac");
        hmac::method(work, reads, notes, &policy.namespace, said, field)
    });
    let introspection = introspection.as_ref().and_then(|said| {
        let field = field.member("introspection");
        introspection::method(work, reads, notes, &policy.namespace, said, field)
    });
    let oidc = oidc.as_ref().and_then(|said| {
        let field = field.member("oidc");
        oidc::method(work, reads, notes, &policy.namespace, said, field)
    });
    auth::Authentication {
        keep_credentials: keep_credentials.unwrap_or(false),
        optional: optional.unwrap_or(false),
        jwt,
        api_key,
        basic,
        client_certificate,
        hmac,
        introspection,
        oidc,
    }
}

fn rules(said: &Authorization, field: Field<'_>, notes: &mut Notes) -> Vec<auth::AuthorizationRule> {
    let Authorization { rules, external } = said;
    let inner = field.member("rules");
    bound(rules.len(), MAX_RULES, inner, notes);
    if rules.is_empty() && external.is_none() {
        notes.invalid(field, "nothing is asked of a caller", "Set rules, or leave authorization out.");
    }
    let mut names = BTreeSet::new();
    let mut compiled = Vec::with_capacity(rules.len());
    for (index, AuthorizationRule { name, allow, deny }) in rules.iter().enumerate() {
        let field = inner.item(index);
        entry_name(name, &mut names, field, notes);
        let (effect, source, member) = match (allow, deny) {
            (Some(source), None) => (Effect::Allow, source, "allow"),
            (None, Some(source)) => (Effect::Deny, source, "deny"),
            (None, None) | (Some(_), Some(_)) => {
                notes.invalid(field, "a rule allows or denies", "Set exactly one of allow and deny.");
                continue;
            }
        };
        if let Some(when) = text::expression(source, Type::Bool, field.member(member), notes) {
            compiled.push(auth::AuthorizationRule { name: name.clone(), effect, when });
        }
    }
    compiled
}

/// Checks a name that answers and metrics show: well-formed and not there before.
pub(super) fn entry_name<'a>(name: &'a str, seen: &mut BTreeSet<&'a str>, field: Field<'_>, notes: &mut Notes) {
    let field = field.member("name");
    if !grammar::is_entry_name(name) {
        let remedy = "Use up to 63 letters, digits, `-`, `_` and `.`, with a letter or a digit at both ends.";
        notes.invalid(field, format!("{} is no name", text::shown(name)), remedy);
    } else if !seen.insert(name) {
        notes.invalid(field, format!("there is another entry with the name `{name}`"), "Give each a name of its own.");
    }
}

fn forwarded(said: &[ForwardedHeader], field: Field<'_>, notes: &mut Notes) -> Vec<auth::ForwardedHeader> {
    bound(said.len(), MAX_FORWARDED, field, notes);
    let mut forwarded: Vec<auth::ForwardedHeader> = Vec::with_capacity(said.len());
    for (index, ForwardedHeader { header, value }) in said.iter().enumerate() {
        let field = field.item(index);
        let inner = field.member("header");
        let Some(header) = grammar::header(header, inner, notes) else { continue };
        if forwarded.iter().any(|known| known.header == header) {
            notes.invalid(inner, format!("`{header}` is there twice"), "Leave one of them out.");
        }
        if let Some(value) = text::expression(value, Type::String, field.member("value"), notes) {
            forwarded.push(auth::ForwardedHeader { header, value });
        }
    }
    forwarded
}
