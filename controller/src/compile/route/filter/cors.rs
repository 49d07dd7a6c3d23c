//! What browsers of other origins may do.

use ravelin_crds::{Cors, CorsMethod};
use ravelin_snapshot::filter::{self, Allowed};

use crate::{
    compile::{
        grammar,
        notes::{Field, Notes},
        text,
    },
    verdict::Reason,
};

/// Entries of one list, at most.
const MAX_ENTRIES: usize = 64;

/// Gateway API: how long a browser may remember what it was told, in seconds.
const MAX_AGE: u32 = 5;

pub(super) fn compile(said: &Cors, field: Field<'_>, notes: &mut Notes) -> filter::Cors {
    let Cors { allow_origins, allow_credentials, allow_methods, allow_headers, expose_headers, max_age } = said;
    if *max_age == Some(0) {
        notes.invalid(field.member("maxAge"), "0 is no time", "Use at least 1, in seconds.");
    }
    if allow_origins.is_empty() {
        let message = "no origin is let in: browsers refuse every answer to other origins";
        notes.warning(field.member("allowOrigins"), Reason::Suspicious, message, "Name an origin, or * for all.");
    }
    let credentials = allow_credentials.unwrap_or(false);
    if credentials && allow_origins.iter().any(|origin| origin == "*") {
        let message = "every site may act in the name of whoever visits it";
        notes.warning(field.member("allowOrigins"), Reason::Suspicious, message, "Name the origins that may.");
    }
    let methods: Vec<String> = allow_methods.iter().map(|method| method_name(*method).to_owned()).collect();
    filter::Cors {
        origins: list(allow_origins, field.member("allowOrigins"), notes, origin),
        methods: list(&methods, field.member("allowMethods"), notes, |method, _, _| Some(method.to_owned())),
        headers: list(allow_headers, field.member("allowHeaders"), notes, header),
        exposed: list(expose_headers, field.member("exposeHeaders"), notes, header),
        credentials,
        max_age_s: max_age.unwrap_or(MAX_AGE),
    }
}

fn list(
    said: &[String],
    field: Field<'_>,
    notes: &mut Notes,
    one: impl Fn(&str, Field<'_>, &mut Notes) -> Option<String>,
) -> Allowed {
    if said.iter().any(|entry| entry == "*") {
        if said.len() > 1 {
            notes.invalid(field, "* stands for all, and there is more beside it", "Leave * alone, or leave it out.");
        }
        return Allowed::All;
    }
    notes.at_most((said.len(), MAX_ENTRIES), "entries", field, "Leave some out.");
    let entries = said.iter().enumerate().take(MAX_ENTRIES);
    Allowed::These(entries.filter_map(|(index, entry)| one(entry, field.item(index), notes)).collect())
}

/// As browsers write it (the URL standard's serialization): a scheme's own port is left out.
fn origin(said: &str, field: Field<'_>, notes: &mut Notes) -> Option<String> {
    let lower = said.to_ascii_lowercase();
    let read = lower.split_once("://").and_then(|(scheme, rest)| {
        let own = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let (host, port) = match rest.split_once(':') {
            None => (rest, None),
            Some((host, port)) => (host, Some(port.parse::<u16>().ok().filter(|port| *port > 0)?)),
        };
        let port = port.filter(|port| *port != own).map(|port| format!(":{port}")).unwrap_or_default();
        (host == "*" || grammar::is_hostname(host)).then(|| format!("{scheme}://{host}{port}"))
    });
    if read.is_none() {
        let message = format!("{} is no origin", text::shown(said));
        notes.invalid(field, message, "Write it as https://app.example, https://*.example or *.");
    }
    read
}

fn header(said: &str, field: Field<'_>, notes: &mut Notes) -> Option<String> {
    if grammar::is_token(said) {
        return Some(said.to_ascii_lowercase());
    }
    notes.invalid(field, format!("{} is no name of a header", text::shown(said)), "Write it as x-request-id.");
    None
}

fn method_name(method: CorsMethod) -> &'static str {
    match method {
        CorsMethod::Get => "GET",
        CorsMethod::Head => "HEAD",
        CorsMethod::Post => "POST",
        CorsMethod::Put => "PUT",
        CorsMethod::Delete => "DELETE",
        CorsMethod::Connect => "CONNECT",
        CorsMethod::Options => "OPTIONS",
        CorsMethod::Trace => "TRACE",
        CorsMethod::Patch => "PATCH",
        CorsMethod::Any => "*",
    }
}
