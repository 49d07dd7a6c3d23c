//! Where credentials are looked for in a request.

use ravelin_crds::CredentialSource;
use ravelin_snapshot::auth;

use super::bound;
use crate::compile::{
    grammar,
    notes::{Field, Notes},
    text,
};

/// Places of one method, at most.
const MAX_SOURCES: usize = 8;

/// The places, each with a meaning.
pub(super) fn all(said: &[CredentialSource], field: Field<'_>, notes: &mut Notes) -> Vec<auth::CredentialSource> {
    bound(said.len(), MAX_SOURCES, field, notes);
    if said.is_empty() {
        notes.invalid(field, "a credential is looked for nowhere", "Name a place, or leave the list out.");
    }
    let mut sources = Vec::with_capacity(said.len());
    for (index, said) in said.iter().enumerate() {
        let field = field.item(index);
        let CredentialSource { header, prefix, cookie, query_param } = said;
        let source = match (header, prefix, cookie, query_param) {
            (Some(name), prefix, None, None) => grammar::header(name, field.member("header"), notes)
                .map(|name| auth::CredentialSource::Header { name, prefix: prefix.clone().unwrap_or_default() }),
            (None, None, Some(name), None) if grammar::is_token(name) => {
                Some(auth::CredentialSource::Cookie(name.clone()))
            }
            (None, None, Some(name), None) => {
                let message = format!("{} is no name of a cookie", text::shown(name));
                notes.invalid(field.member("cookie"), message, "Use letters, digits and hyphens.");
                None
            }
            (None, None, None, Some(name)) if !name.is_empty() => {
                Some(auth::CredentialSource::QueryParam(name.clone()))
            }
            _ => {
                let message = "a credential is looked for in one place";
                let remedy = "Set exactly one of header (perhaps with prefix), cookie and queryParam.";
                notes.invalid(field, message, remedy);
                None
            }
        };
        sources.extend(source);
    }
    sources
}
