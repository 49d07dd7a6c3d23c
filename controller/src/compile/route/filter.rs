//! What is done to requests and answers on the way.

mod coalesce;
mod compression;
mod cors;

use ravelin_crds::{
    DirectResponse, FilterType, HeaderModifier, HttpHeader, PathModifier, PathModifierType, RedirectScheme,
    RequestRedirect, RouteFilter, UrlRewrite,
};
use ravelin_snapshot::{
    filter,
    route::{self, HeaderChanges, PathRewrite, Redirect, Rewrite},
};

use super::matches::{normal, without_final_slash};
use crate::{
    compile::{
        grammar,
        notes::{Field, Notes},
        text,
    },
    verdict::Reason,
};

/// Filters of one rule or one reference, and headers of one list, at most.
const MAX_FILTERS: usize = 16;

/// The filters of a rule or of a backend reference.
#[derive(Default)]
pub(super) struct Filters {
    pub(super) request_headers: HeaderChanges,
    pub(super) response_headers: HeaderChanges,
    pub(super) rewrite: Option<Rewrite>,
    pub(super) redirect: Option<Redirect>,
    pub(super) respond: Option<route::DirectResponse>,
    pub(super) others: filter::Filters,
}

/// What is wrong is noted; the result is then of no use. `prefixed`: every match of the rule is a prefix.
pub(super) fn compile(said: &[RouteFilter], prefixed: bool, field: Field<'_>, notes: &mut Notes) -> Filters {
    notes.at_most((said.len(), MAX_FILTERS), "filters", field, "Leave some out.");
    let mut filters = Filters::default();
    let mut seen = Vec::new();
    for (index, said) in said.iter().enumerate().take(MAX_FILTERS) {
        let field = field.item(index);
        let Some(kind) = kind(said, field, notes) else { continue };
        if seen.contains(&kind) && kind != FilterType::RequestMirror {
            notes.invalid(field, "this filter is there twice", "Put what they do into one.");
        }
        seen.push(kind);
        one(said, prefixed, field, notes, &mut filters);
    }
    let decide = [filters.rewrite.is_some(), filters.redirect.is_some(), filters.respond.is_some()];
    if decide.into_iter().filter(|set| *set).count() > 1 {
        let message = "urlRewrite, requestRedirect and directResponse exclude one another";
        notes.invalid(field, message, "Keep one of them.");
    }
    filters
}

fn one(said: &RouteFilter, prefixed: bool, field: Field<'_>, notes: &mut Notes, filters: &mut Filters) {
    let RouteFilter {
        type_: _,
        request_header_modifier,
        response_header_modifier,
        request_mirror: _, // beside the rule's backends
        request_redirect,
        url_rewrite,
        cors,
        external_auth,
        extension_ref,
        direct_response,
        compression,
        coalesce,
    } = said;
    if let Some(said) = request_header_modifier {
        filters.request_headers = headers(said, field.member("requestHeaderModifier"), notes);
    }
    if let Some(said) = response_header_modifier {
        filters.response_headers = headers(said, field.member("responseHeaderModifier"), notes);
    }
    if let Some(said) = url_rewrite {
        filters.rewrite = Some(rewrite(said, prefixed, field.member("urlRewrite"), notes));
    }
    if let Some(said) = request_redirect {
        filters.redirect = Some(redirect(said, prefixed, field.member("requestRedirect"), notes));
    }
    if let Some(said) = direct_response {
        filters.respond = Some(respond(said, field.member("directResponse"), notes));
    }
    if let Some(said) = cors {
        filters.others.cors = Some(cors::compile(said, field.member("cors"), notes));
    }
    if let Some(said) = compression {
        filters.others.compression = Some(compression::compile(said, field.member("compression"), notes));
    }
    if let Some(said) = coalesce {
        filters.others.coalesce = coalesce::compile(said, field.member("coalesce"), notes);
    }
    notes.unsupported(field.member("externalAuth"), external_auth.as_ref());
    notes.unsupported(field.member("extensionRef"), extension_ref.as_ref());
}

/// Which filter it is: the one field that is set, which `type` must name if it is there.
fn kind(said: &RouteFilter, field: Field<'_>, notes: &mut Notes) -> Option<FilterType> {
    let set = [
        (said.request_header_modifier.is_some(), FilterType::RequestHeaderModifier),
        (said.response_header_modifier.is_some(), FilterType::ResponseHeaderModifier),
        (said.request_mirror.is_some(), FilterType::RequestMirror),
        (said.request_redirect.is_some(), FilterType::RequestRedirect),
        (said.url_rewrite.is_some(), FilterType::UrlRewrite),
        (said.cors.is_some(), FilterType::Cors),
        (said.external_auth.is_some(), FilterType::ExternalAuth),
        (said.extension_ref.is_some(), FilterType::ExtensionRef),
        (said.direct_response.is_some(), FilterType::DirectResponse),
        (said.compression.is_some(), FilterType::Compression),
        (said.coalesce.is_some(), FilterType::Coalesce),
    ];
    let mut set = set.into_iter().filter_map(|(set, kind)| set.then_some(kind));
    match (set.next(), set.next()) {
        (Some(kind), None) if said.type_.is_none_or(|named| named == kind) => Some(kind),
        (Some(_), None) => {
            notes.invalid(field.member("type"), "the type names another filter than the field", "Leave the type out.");
            None
        }
        (None, _) => {
            notes.invalid(field, "the filter does nothing", "Set exactly one field besides the type.");
            None
        }
        (Some(_), Some(_)) => {
            notes.invalid(field, "a filter does one thing", "Set exactly one field besides the type.");
            None
        }
    }
}

fn headers(said: &HeaderModifier, field: Field<'_>, notes: &mut Notes) -> HeaderChanges {
    let HeaderModifier { set, add, remove } = said;
    let set = pairs(set, field.member("set"), notes);
    let add = pairs(add, field.member("add"), notes);
    let field = field.member("remove");
    notes.at_most((remove.len(), MAX_FILTERS), "headers", field, "Leave some out.");
    let names = remove.iter().enumerate().take(MAX_FILTERS);
    let remove = names.filter_map(|(index, name)| grammar::header(name, field.item(index), notes)).collect();
    HeaderChanges { set, add, remove }
}

fn pairs(said: &[HttpHeader], field: Field<'_>, notes: &mut Notes) -> Vec<(String, String)> {
    notes.at_most((said.len(), MAX_FILTERS), "headers", field, "Leave some out.");
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (index, HttpHeader { name, value }) in said.iter().enumerate().take(MAX_FILTERS) {
        let field = field.item(index);
        let Some(name) = grammar::header(name, field.member("name"), notes) else { continue };
        if !grammar::is_field_value(value) {
            let message = format!("{} is no header value", text::shown(value));
            notes.invalid(field.member("value"), message, "Use visible characters, at most 4096.");
        } else if pairs.iter().any(|(known, _)| *known == name) {
            // Gateway API: the first of equal names counts.
            let message = format!("`{name}` is there twice, and only the first counts");
            notes.warning(field.member("name"), Reason::Suspicious, message, "Leave one of them out.");
        } else {
            pairs.push((name, value.clone()));
        }
    }
    pairs
}

fn rewrite(said: &UrlRewrite, prefixed: bool, field: Field<'_>, notes: &mut Notes) -> Rewrite {
    let UrlRewrite { hostname, path } = said;
    Rewrite {
        hostname: hostname.as_ref().and_then(|name| hostname_of(name, field.member("hostname"), notes)),
        path: path.as_ref().and_then(|said| path_of(said, prefixed, field.member("path"), notes)),
    }
}

fn redirect(said: &RequestRedirect, prefixed: bool, field: Field<'_>, notes: &mut Notes) -> Redirect {
    let RequestRedirect { scheme, hostname, path, port, status_code: _ } = said;
    let status = said.status_code();
    if ![301, 302, 303, 307, 308].contains(&status) {
        let message = format!("{status} is no status of a redirect");
        notes.invalid(field.member("statusCode"), message, "Use 301, 302, 303, 307 or 308.");
    }
    if *port == Some(0) {
        notes.invalid(field.member("port"), "0 is no port", "Use 1 to 65535.");
    }
    let scheme = scheme.map(|scheme| match scheme {
        RedirectScheme::Http => "http".to_owned(),
        RedirectScheme::Https => "https".to_owned(),
    });
    let hostname = hostname.as_ref().and_then(|name| hostname_of(name, field.member("hostname"), notes));
    let path = path.as_ref().and_then(|said| path_of(said, prefixed, field.member("path"), notes));
    Redirect { scheme, hostname, port: *port, path, status }
}

fn hostname_of(name: &str, field: Field<'_>, notes: &mut Notes) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    if grammar::is_hostname(&lower) && !lower.starts_with('*') {
        return Some(lower);
    }
    notes.invalid(field, format!("{} is no hostname", text::shown(name)), "Write a DNS name, such as api.example.");
    None
}

fn path_of(said: &PathModifier, prefixed: bool, field: Field<'_>, notes: &mut Notes) -> Option<PathRewrite> {
    let PathModifier { type_, replace_full_path, replace_prefix_match } = said;
    // Gateway API lets both be empty.
    let root = |path: &str| if path.is_empty() { "/".to_owned() } else { path.to_owned() };
    match (type_, replace_full_path, replace_prefix_match) {
        (PathModifierType::ReplaceFullPath, Some(path), None) => {
            normal(&root(path), field.member("replaceFullPath"), notes).map(PathRewrite::Full)
        }
        (PathModifierType::ReplacePrefixMatch, None, Some(path)) if prefixed => {
            let path = normal(&root(path), field.member("replacePrefixMatch"), notes)?;
            Some(PathRewrite::Prefix(without_final_slash(path)))
        }
        (PathModifierType::ReplacePrefixMatch, None, Some(_)) => {
            let message = "there is a match of the rule that is no PathPrefix";
            notes.invalid(field.member("type"), message, "Use ReplaceFullPath, or match prefixes only.");
            None
        }
        _ => {
            let message = "the type asks for the field of its name, and no other";
            notes.invalid(field, message, "Set replaceFullPath or replacePrefixMatch, as the type says.");
            None
        }
    }
}

/// An answer of the gateway's own.
pub(super) fn respond(said: &DirectResponse, field: Field<'_>, notes: &mut Notes) -> route::DirectResponse {
    let DirectResponse { status, content_type, body } = said;
    if !(200..=599).contains(status) {
        notes.invalid(field.member("status"), format!("{status} is no status of an answer"), "Use 200 to 599.");
    }
    if let Some(value) = content_type
        && (value.is_empty() || value.len() > 127 || !grammar::is_field_value(value))
    {
        let message = format!("{} is no media type", text::shown(value));
        notes.invalid(field.member("contentType"), message, "Write it as application/json.");
    }
    let body = body.clone().unwrap_or_default();
    if body.chars().count() > 65_536 {
        notes.invalid(field.member("body"), "the body is longer than 65536 characters", "Serve it from a backend.");
    }
    let plain = (!body.is_empty()).then(|| "text/plain; charset=utf-8".to_owned());
    route::DirectResponse { status: *status, content_type: content_type.clone().or(plain), body }
}
