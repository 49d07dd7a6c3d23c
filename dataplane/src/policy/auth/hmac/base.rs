//! What is signed (RFC 9421, 2.5): a line for each component that is covered, and one for the signature's own parameters.

use http::{HeaderMap, HeaderName};
use ravelin_snapshot::auth::SignatureComponent;

use super::structured::{Bare, Item, Parameters, write_bare, write_parameters};
use crate::{
    query,
    request::{RequestView, Scheme},
};

/// A component that can be covered here. One that is marked otherwise (`sf`, `key`, `bs`, `tr`, `req`) is none: what it
/// says would be something else.
pub(super) fn component(item: &Item) -> Option<SignatureComponent> {
    let Bare::Text(name) = &item.value else { return None };
    if name == "@query-param" {
        let [(parameter, Bare::Text(named))] = item.parameters.as_slice() else { return None };
        return (parameter == "name").then(|| SignatureComponent::QueryParam(named.clone()));
    }
    if !item.parameters.is_empty() {
        return None;
    }
    Some(match name.as_str() {
        "@method" => SignatureComponent::Method,
        "@target-uri" => SignatureComponent::TargetUri,
        "@authority" => SignatureComponent::Authority,
        "@scheme" => SignatureComponent::Scheme,
        "@request-target" => SignatureComponent::RequestTarget,
        "@path" => SignatureComponent::Path,
        "@query" => SignatureComponent::Query,
        name if name.starts_with('@') || name.bytes().any(|byte| byte.is_ascii_uppercase()) => return None,
        name => SignatureComponent::Header(name.to_owned()),
    })
}

/// `None`: something that is covered is not there.
pub(super) fn base(
    request: &RequestView<'_>,
    covered: &[(Item, SignatureComponent)],
    parameters: &Parameters,
) -> Option<Vec<u8>> {
    let mut base = Vec::with_capacity(512);
    for (item, component) in covered {
        write_item(item, &mut base);
        base.extend_from_slice(b": ");
        value(request, component, &mut base)?;
        base.push(b'\n');
    }
    base.extend_from_slice(b"\"@signature-params\": (");
    for (index, (item, _)) in covered.iter().enumerate() {
        if index > 0 {
            base.push(b' ');
        }
        write_item(item, &mut base);
    }
    base.push(b')');
    write_parameters(parameters, &mut base);
    Some(base)
}

fn write_item(item: &Item, out: &mut Vec<u8>) {
    write_bare(&item.value, out);
    write_parameters(&item.parameters, out);
}

fn value(request: &RequestView<'_>, component: &SignatureComponent, out: &mut Vec<u8>) -> Option<()> {
    let (path, query) = match request.raw.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (request.raw, None),
    };
    let mut put = |text: &str| out.extend_from_slice(text.as_bytes());
    match component {
        SignatureComponent::Method => put(request.method.as_str()),
        SignatureComponent::Scheme => put(request.scheme.as_str()),
        SignatureComponent::Authority => put(&authority(request)),
        SignatureComponent::TargetUri => {
            put(request.scheme.as_str());
            put("://");
            put(&authority(request));
            put(request.raw);
        }
        SignatureComponent::RequestTarget => put(request.raw),
        SignatureComponent::Path => put(path),
        SignatureComponent::Query => {
            put("?");
            put(query.unwrap_or_default());
        }
        SignatureComponent::QueryParam(name) => put(&parameter(query.unwrap_or_default(), name)?),
        SignatureComponent::Header(name) => field(request.headers, name, out)?,
    }
    Some(())
}

/// In lower case, without the scheme's own port.
fn authority(request: &RequestView<'_>) -> String {
    let authority = request.authority.to_ascii_lowercase();
    let own = match request.scheme {
        Scheme::Http => ":80",
        Scheme::Https => ":443",
    };
    match authority.strip_suffix(own) {
        Some(host) => host.to_owned(),
        None => authority,
    }
}

/// Of two parameters of one name nobody can tell which one is meant (RFC 9421, 2.2.8).
fn parameter(query: &str, name: &str) -> Option<String> {
    let name = query::decode(name)?;
    let mut values = query::all(query, &name);
    let (first, second) = (values.next()?, values.next());
    second.is_none().then(|| encoded(&query::decode_bytes(first)))
}

/// As a form has it, but for spaces.
fn encoded(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            byte if byte.is_ascii_alphanumeric() || b"-._*".contains(byte) => text.push(char::from(*byte)),
            byte => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// All values, without what is around them, joined.
fn field(headers: &HeaderMap, name: &str, out: &mut Vec<u8>) -> Option<()> {
    let name = name.parse::<HeaderName>().ok()?;
    let mut values = headers.get_all(name).iter();
    out.extend_from_slice(values.next()?.as_bytes().trim_ascii());
    for value in values {
        out.extend_from_slice(b", ");
        out.extend_from_slice(value.as_bytes().trim_ascii());
    }
    Some(())
}
