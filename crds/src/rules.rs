//! CEL rules that several types share or that need explaining; short ones stand at their types.
//!
//! The API server estimates what a rule costs at worst: its steps, times the largest number of places where it is
//! evaluated (`maxItems` of the lists above it), for the longest strings (four bytes for each of `maxLength`). One rule may
//! cost 10 million, all rules of a CRD 100 million. A rule of ours must also hold for what Gateway API accepts in an
//! HTTPRoute.

use schemars::Schema;
use serde_json::{Value, json};

/// A reference to a Service names its port; other kinds may do without.
pub(crate) const SERVICE_HAS_PORT: &str =
    "has(self.port) || (has(self.kind) && self.kind != 'Service') || (has(self.group) && self.group != '')";

/// The fields of a filter and what `type` calls them.
const FILTERS: [(&str, &str); 11] = [
    ("requestHeaderModifier", "RequestHeaderModifier"),
    ("responseHeaderModifier", "ResponseHeaderModifier"),
    ("requestMirror", "RequestMirror"),
    ("requestRedirect", "RequestRedirect"),
    ("urlRewrite", "URLRewrite"),
    ("cors", "CORS"),
    ("externalAuth", "ExternalAuth"),
    ("extensionRef", "ExtensionRef"),
    ("directResponse", "DirectResponse"),
    ("compression", "Compression"),
    ("coalesce", "Coalesce"),
];

/// Exactly one of the filters is set.
pub(crate) fn one_filter() -> String {
    format!("[{}].exists_one(x, x)", FILTERS.map(|(field, _)| format!("has(self.{field})")).join(", "))
}

/// `type`, if it is there, names the filter that is set.
pub(crate) fn filter_type() -> String {
    let cases = FILTERS.map(|(field, name)| format!("self.type == '{name}' ? has(self.{field})")).join(" : ");
    format!("!has(self.type) || ({cases} : false)")
}

/// On a list of filters: each occurs once, since the second would undo the first. Mirrors add up, extensions are their own.
pub(crate) fn filters_once() -> Value {
    let once = FILTERS
        .iter()
        .filter(|(field, _)| !matches!(*field, "requestMirror" | "extensionRef"))
        .map(|(field, _)| format!("self.filter(f, has(f.{field})).size() <= 1"));
    json!([{
        "rule": once.collect::<Vec<_>>().join(" && "),
        "message": "a filter may occur only once in the list, except requestMirror and extensionRef",
    }])
}

/// On a rule of a route: what answers by itself leaves nothing for a backend to do.
pub(crate) fn answers_alone() -> String {
    let filters = |fields: &[&str]| {
        let set = fields.iter().map(|field| format!("has(f.{field})")).collect::<Vec<_>>();
        format!("self.filters.filter(f, {}).size()", set.join(" || "))
    };
    format!(
        "!has(self.filters) || {answers} == 0 || ({all} == 1 && !has(self.fallback) && (!has(self.backendRefs) || \
         self.backendRefs.size() == 0))",
        answers = filters(&["requestRedirect", "directResponse"]),
        all = filters(&["requestRedirect", "directResponse", "urlRewrite"]),
    )
}

/// On a rule of a route: `ReplacePrefixMatch` replaces what a `PathPrefix` matched, so every match must be one. A match
/// without a path, and a rule without a match, is the prefix `/`.
pub(crate) fn prefix_is_matched() -> String {
    let replaced = |of: &str| {
        let path = |field: &str| {
            format!("has(f.{field}) && has(f.{field}.path) && f.{field}.path.type == 'ReplacePrefixMatch'")
        };
        format!(
            "(has({of}.filters) && {of}.filters.exists(f, ({}) || ({})))",
            path("urlRewrite"),
            path("requestRedirect")
        )
    };
    format!(
        "!has(self.matches) || self.matches.all(m, !has(m.path) || !has(m.path.type) || m.path.type == 'PathPrefix') || \
         !({} || (has(self.backendRefs) && self.backendRefs.exists(b, {})))",
        replaced("self"),
        replaced("b"),
    )
}

/// On the list of a route's rules.
pub(crate) fn rule_names_unique() -> Value {
    json!([{
        "rule": "self.all(a, !has(a.name) || self.exists_one(b, has(b.name) && a.name == b.name))",
        "message": "the names of rules must be unique in a route",
    }])
}

/// On a list of limits.
pub(crate) fn parents_are_there() -> Value {
    json!([{
        "rule": "self.all(l, !has(l.parent) || (l.parent != l.name && self.exists(p, p.name == l.parent)))",
        "message": "parent must be the name of another limit in this list",
    }])
}

/// On a rule of a route: the regular expressions of its first `matches`, in the first `entries` of `list` there, are valid.
///
/// Evaluating one tells, whatever the result; the error then says what is wrong with it. It costs a byte of the longest value each, which for
/// all 64 rules of all 64 matches of all 16 entries is far beyond what an API server allows: the compiler judges the rest.
pub(crate) fn regular_expressions(list: &str, matches: usize, entries: usize) -> String {
    let indexes = |count: usize| (0..count).map(|index| index.to_string()).collect::<Vec<_>>().join(",");
    let entry = format!("self.matches[m].{list}[i]");
    format!(
        "!has(self.matches) || [{}].all(m, m >= self.matches.size() || !has(self.matches[m].{list}) || [{}].all(i, \
         i >= self.matches[m].{list}.size() || !has({entry}.type) || {entry}.type != 'RegularExpression' || \
         !has({entry}.value) || ''.matches({entry}.value) in [true, false]))",
        indexes(matches),
        indexes(entries),
    )
}

/// On the schema of a retry: the field `true` is `on` as kubectl reads it when it stands there without quotes (YAML 1.1).
pub(crate) fn on_or_true(schema: &mut Schema) {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut)
        && let Some(on) = properties.get("on").cloned()
    {
        let mut alias = on;
        alias["description"] = "The same as on, which YAML reads so when it stands without quotes.".into();
        properties.insert("true".to_owned(), alias);
    }
}
