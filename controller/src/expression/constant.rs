//! What is constant and may be wrong is tried when it is compiled: patterns, zones, times, ranges of addresses.

use ipnet::IpNet;
use ravelin_snapshot::expression::time::{self, Zone};
use ravelin_snapshot::expression::{Function, Node};
use ravelin_snapshot::regex;

/// Message and remedy.
pub(super) type Refusal = (String, &'static str);

pub(super) fn pattern(pattern: &str) -> Result<(), Refusal> {
    let refused = |error: regex::RegexError| match error {
        regex::RegexError::Syntax { .. } => (error.to_string(), "correct the pattern; its syntax is RE2's"),
        _ => (error.to_string(), "write a smaller pattern"),
    };
    regex::build(pattern, false).map(|_| ()).map_err(refused)
}

pub(super) fn zone(text: &str) -> Result<(), Refusal> {
    let unknown = || {
        (
            format!("unknown time zone '{text}'"),
            "write an IANA name such as 'Europe/Paris', or an offset such as '+02:00'",
        )
    };
    Zone::parse(text).map(|_| ()).ok_or_else(unknown)
}

pub(super) fn cidr(text: &str) -> Result<(), Refusal> {
    let wrong = |_| (format!("'{text}' is not a range of addresses"), "write a CIDR such as '10.0.0.0/8'");
    text.parse::<IpNet>().map(|_| ()).map_err(wrong)
}

/// A conversion of a constant: the constant that it is, if that is known here; what cannot be converted is refused.
pub(super) fn convert(function: Function, argument: &Node) -> Result<Option<Node>, Refusal> {
    let Node::String(text) = argument else { return Ok(None) };
    let converted = match function {
        Function::ToTimestamp => time::parse_timestamp(text).map(|(seconds, nanos)| Node::Timestamp(seconds, nanos)),
        Function::ToDuration => time::parse_duration(text).map(Node::Duration),
        Function::ToInt => text.parse().ok().map(Node::Int),
        _ => return Ok(None),
    };
    let (what, remedy) = match function {
        Function::ToTimestamp => ("timestamp", "write RFC 3339, as in timestamp('2030-01-01T00:00:00Z')"),
        Function::ToDuration => ("duration", "write numbers with units, as in duration('1h30m')"),
        _ => ("int", "write a whole number"),
    };
    converted.map(Some).ok_or_else(|| (format!("'{text}' is no {what}"), remedy))
}
