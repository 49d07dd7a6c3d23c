//! Which requests a rule is for.

use ravelin_crds::{HeaderMatch, HeaderMatchType, PathMatchType, QueryParamMatch, RouteMatch};
use ravelin_snapshot::{
    path,
    route::{FieldMatch, Match, PathMatch, ValueMatch},
};

use crate::{
    compile::{
        grammar,
        notes::{Field, Notes},
        text,
    },
    verdict::Reason,
};

/// Matches of one rule, at most.
const MAX_MATCHES: usize = 64;
/// Headers or query parameters of one match, at most.
const MAX_FIELDS: usize = 16;

/// What a rule without matches is for.
fn everything() -> Match {
    Match { path: PathMatch::Prefix("/".to_owned()), method: None, headers: Vec::new(), query: Vec::new(), when: None }
}

/// The matches of a rule, never empty. What has no meaning is noted, and the place is then as wide as what is left of it:
/// the rule is broken and must not let its requests fall through to a wider one.
pub(super) fn compile(said: &[RouteMatch], field: Field<'_>, notes: &mut Notes) -> Vec<Match> {
    notes.at_most((said.len(), MAX_MATCHES), "matches", field, "Split the rule.");
    if said.is_empty() {
        return vec![everything()];
    }
    let said = said.iter().enumerate().take(MAX_MATCHES);
    said.map(|(index, said)| one(said, field.item(index), notes)).collect()
}

fn one(said: &RouteMatch, field: Field<'_>, notes: &mut Notes) -> Match {
    let RouteMatch { path, method, headers, query_params, when } = said;
    let path = match path {
        Some(said) => self::path(said, field.member("path"), notes),
        None => PathMatch::Prefix("/".to_owned()),
    };
    let headers_field = field.member("headers");
    count(headers.len(), headers_field, notes);
    let headers = headers.iter().enumerate().take(MAX_FIELDS);
    let headers = headers.filter_map(|(index, said)| header(said, headers_field.item(index), notes)).collect();
    let query_field = field.member("queryParams");
    count(query_params.len(), query_field, notes);
    let query = query_params.iter().enumerate().take(MAX_FIELDS);
    let query = query.filter_map(|(index, said)| query_param(said, query_field.item(index), notes)).collect();
    let when = when.as_ref().map(|source| Box::new(text::condition(source, field.member("when"), notes)));
    Match {
        path,
        method: method.map(|method| method.as_str().to_owned()),
        headers: first_of_each(headers, headers_field, notes),
        query: first_of_each(query, query_field, notes),
        when,
    }
}

fn count(fields: usize, field: Field<'_>, notes: &mut Notes) {
    if fields > MAX_FIELDS {
        notes.invalid(field, format!("{fields} are more than {MAX_FIELDS}"), "Ask for less, or use `when`.");
    }
}

/// Gateway API: of several entries for one name the first counts.
fn first_of_each(fields: Vec<FieldMatch>, field: Field<'_>, notes: &mut Notes) -> Vec<FieldMatch> {
    let mut kept: Vec<FieldMatch> = Vec::with_capacity(fields.len());
    for entry in fields {
        if kept.iter().any(|kept| kept.name == entry.name) {
            let message = format!("{} is there twice, and only the first counts", text::shown(&entry.name));
            notes.warning(field, Reason::Suspicious, message, "Leave one of them out.");
        } else {
            kept.push(entry);
        }
    }
    kept
}

/// A path in the gateway's normal form. One without meaning becomes a prefix that holds all that it may have been for.
pub(in crate::compile) fn path(said: &ravelin_crds::PathMatch, field: Field<'_>, notes: &mut Notes) -> PathMatch {
    let ravelin_crds::PathMatch { type_: _, value: _ } = said;
    let inner = field.member("value");
    let value = said.value();
    let everywhere = || PathMatch::Prefix("/".to_owned());
    match said.match_type() {
        PathMatchType::Exact => normal(value, inner, notes).map_or_else(everywhere, PathMatch::Exact),
        PathMatchType::PathPrefix => {
            normal(value, inner, notes).map_or_else(everywhere, |path| PathMatch::Prefix(without_final_slash(path)))
        }
        PathMatchType::RegularExpression if text::is_regex(value, inner, notes) => PathMatch::Regex(value.to_owned()),
        PathMatchType::RegularExpression => PathMatch::Prefix(literal_prefix(value)),
    }
}

/// `value` in normal form; `None` and a note if it has none.
pub(in crate::compile) fn normal(value: &str, field: Field<'_>, notes: &mut Notes) -> Option<String> {
    let remedy = "Write an absolute path without query and fragment, such as /orders.";
    if value.len() > 1024 || value.contains(['?', '#']) {
        notes.invalid(field, format!("{} is no path", text::shown(value)), remedy);
        return None;
    }
    match path::normalize(value) {
        Ok(path) => Some(path.into_owned()),
        Err(error) => {
            notes.invalid(field, format!("{}: {error}", text::shown(value)), remedy);
            None
        }
    }
}

pub(super) fn without_final_slash(mut path: String) -> String {
    while path.len() > 1 && path.ends_with('/') {
        path.pop();
    }
    path
}

/// The whole segments that every path of a regular expression begins with, as far as its text shows: the place of a rule
/// whose expression is broken.
fn literal_prefix(pattern: &str) -> String {
    let end = pattern.find(|c: char| !c.is_ascii_alphanumeric() && !"/-_~".contains(c)).unwrap_or(pattern.len());
    // What may be repeated may be absent.
    let end = if pattern[end..].starts_with(['?', '*', '{']) { end.saturating_sub(1) } else { end };
    let folder = pattern[..end].rfind('/').map_or("", |slash| &pattern[..slash]);
    if pattern.contains('|') || !folder.starts_with('/') {
        return "/".to_owned();
    }
    path::normalize(folder).map_or_else(|_| "/".to_owned(), |path| without_final_slash(path.into_owned()))
}

fn header(said: &HeaderMatch, field: Field<'_>, notes: &mut Notes) -> Option<FieldMatch> {
    let HeaderMatch { type_: _, name, value } = said;
    if !grammar::is_token(name) {
        let message = format!("{} is no header name", text::shown(name));
        notes.invalid(field.member("name"), message, "Use letters, digits and hyphens.");
        return None;
    }
    let value = self::value(said.match_type(), value.as_deref(), field, notes);
    Some(FieldMatch { name: name.to_ascii_lowercase(), value })
}

fn query_param(said: &QueryParamMatch, field: Field<'_>, notes: &mut Notes) -> Option<FieldMatch> {
    let QueryParamMatch { type_: _, name, value } = said;
    if name.is_empty() || name.len() > 256 {
        notes.invalid(field.member("name"), "a query parameter has a name of 1 to 256 characters", "Name it.");
        return None;
    }
    let value = self::value(said.match_type(), value.as_deref(), field, notes);
    Some(FieldMatch { name: name.clone(), value })
}

/// A value without meaning is noted, and any will do: the rule is broken and keeps its place.
fn value(kind: HeaderMatchType, value: Option<&str>, field: Field<'_>, notes: &mut Notes) -> ValueMatch {
    let field = field.member("value");
    match (kind, value) {
        (HeaderMatchType::Present, None) => return ValueMatch::Present,
        (HeaderMatchType::Present, Some(_)) => {
            notes.invalid(field, "the type Present compares with no value", "Leave the value out.");
        }
        (HeaderMatchType::Exact, Some(value)) if value.len() <= 4096 => return ValueMatch::Exact(value.to_owned()),
        (HeaderMatchType::RegularExpression, Some(value)) if text::is_regex(value, field, notes) => {
            return ValueMatch::Regex(value.to_owned());
        }
        (HeaderMatchType::RegularExpression, Some(_)) => {}
        (HeaderMatchType::Exact, Some(_)) => {
            notes.invalid(field, "the value is longer than 4096 bytes", "Shorten it.");
        }
        (HeaderMatchType::Exact | HeaderMatchType::RegularExpression, None) => {
            notes.invalid(field, "there is nothing to compare with", "Set the value, or use the type Present.");
        }
    }
    ValueMatch::Present
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_regular_expression_keeps_the_whole_segments_before_its_first_operator() {
        for (pattern, place) in [
            ("/admin/[a-z", "/admin"),
            ("/admin/users(", "/admin"),
            ("/a/b/c?(", "/a/b"),
            ("/a/b/?(", "/a"),
            ("/a|/b(", "/"),
            ("?(", "/"),
            ("(/admin", "/"),
            ("", "/"),
            ("admin/(", "/"),
            ("/x(", "/"),
        ] {
            assert_eq!(literal_prefix(pattern), place, "{pattern}");
        }
    }
}
