//! The names that an expression may use: docs/src/objects/expressions.md.

use ravelin_snapshot::expression::Attribute;

use super::kind::Kind;

/// Names that have members and are no values themselves.
const GROUPS: [(&str, &[(&str, Attribute)]); 4] = [
    (
        "request",
        &[
            ("method", Attribute::RequestMethod),
            ("path", Attribute::RequestPath),
            ("query", Attribute::RequestQuery),
            ("headers", Attribute::RequestHeaders),
            ("host", Attribute::RequestHost),
            ("scheme", Attribute::RequestScheme),
            ("id", Attribute::RequestId),
        ],
    ),
    ("source", &[("address", Attribute::SourceAddress), ("port", Attribute::SourcePort)]),
    (
        "caller",
        &[
            ("id", Attribute::CallerId),
            ("method", Attribute::CallerMethod),
            ("issuer", Attribute::CallerIssuer),
            ("scopes", Attribute::CallerScopes),
            ("groups", Attribute::CallerGroups),
            ("claims", Attribute::CallerClaims),
            ("plan", Attribute::CallerPlan),
        ],
    ),
    (
        "route",
        &[("namespace", Attribute::RouteNamespace), ("name", Attribute::RouteName), ("rule", Attribute::RouteRule)],
    ),
];

const NOW: &str = "now";

/// `request.path` and its kin.
pub(super) fn members(group: &str) -> Option<&'static [(&'static str, Attribute)]> {
    GROUPS.iter().find(|(name, _)| *name == group).map(|(_, members)| *members)
}

/// A name that is a value itself.
pub(super) fn value(name: &str) -> Option<Attribute> {
    (name == NOW).then_some(Attribute::Now)
}

pub(super) fn kind(attribute: Attribute) -> Kind {
    match attribute {
        Attribute::RequestMethod
        | Attribute::RequestPath
        | Attribute::RequestHost
        | Attribute::RequestScheme
        | Attribute::RequestId
        | Attribute::SourceAddress
        | Attribute::CallerId
        | Attribute::CallerMethod
        | Attribute::CallerIssuer
        | Attribute::CallerPlan
        | Attribute::RouteNamespace
        | Attribute::RouteName
        | Attribute::RouteRule => Kind::String,
        Attribute::SourcePort => Kind::Int,
        Attribute::RequestQuery | Attribute::RequestHeaders => Kind::map(Kind::String, Kind::String),
        Attribute::CallerScopes | Attribute::CallerGroups => Kind::list(Kind::String),
        Attribute::CallerClaims => Kind::map(Kind::String, Kind::Dyn),
        Attribute::Now => Kind::Timestamp,
    }
}

/// Every name, in the order of its page.
pub(super) fn names<'a>() -> impl Iterator<Item = &'a str> {
    GROUPS.iter().map(|(name, _)| *name).chain([NOW])
}

/// `request.method, request.path, ..`
pub(super) fn list_members(group: &str) -> String {
    let members = members(group).unwrap_or_default();
    members.iter().map(|(member, _)| format!("{group}.{member}")).collect::<Vec<_>>().join(", ")
}

/// The one of `known` that `written` was probably meant to be.
pub(super) fn closest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let far = (written.len() / 3).clamp(1, 3);
    let scored = known.into_iter().map(|name| (distance(written, name), name));
    scored.filter(|(distance, _)| *distance <= far).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// Letters to insert, remove or replace, of either case.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<u8> = right.bytes().map(|byte| byte.to_ascii_lowercase()).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, byte) in left.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(byte.to_ascii_lowercase() != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_finds_its_name() {
        let known = ["headers", "method", "path"];
        assert_eq!(closest("header", known), Some("headers"));
        assert_eq!(closest("Methdo", known), Some("method"));
        assert_eq!(closest("body", known), None);
        assert_eq!(closest("foo", ["now", "bool"]), None);
    }
}
