//! `/usage`: what is used of quotas, with resets and grants.

use std::time::SystemTime;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use serde::Serialize;

use super::page::{json, not_allowed, text};
use crate::{
    policy::limit::{Unreachable, Usage},
    query::{decode, first},
    table::Table,
};

/// Rows of an answer, at most.
const MAX_ROWS: usize = 10_000;

#[derive(Serialize)]
pub(super) struct Usages {
    usage: Vec<Usage>,
    /// There is more than fits: ask for a policy, a limit or a key.
    more: bool,
}

/// All of it, or what the query asks for: `policy=NAMESPACE/NAME`, `limit=NAME`, `key=KEY`.
pub(super) fn list(query: &str, table: &Table) -> Response<Bytes> {
    match usages(query, table) {
        Ok(usages) => json(StatusCode::OK, &usages),
        Err(unreachable) => text(StatusCode::SERVICE_UNAVAILABLE, &unreachable.to_string()),
    }
}

fn usages(query: &str, table: &Table) -> Result<Usages, Unreachable> {
    let asked = |name| first(query, name).and_then(decode);
    let (policy, limit, key) = (asked("policy"), asked("limit"), asked("key"));
    let (mut usage, mut more) = (Vec::new(), false);
    for one in table.limits().filter(|one| policy.as_ref().is_none_or(|policy| *policy == one.key.to_string())) {
        more |= one.usage(SystemTime::now(), MAX_ROWS, (limit.as_deref(), key.as_deref()), &mut usage)?;
    }
    usage.sort_by(|a, b| (&a.policy, &a.limit, &a.key).cmp(&(&b.policy, &b.limit, &b.key)));
    Ok(Usages { usage, more })
}

/// `POST /usage/NAMESPACE/POLICY/LIMIT/reset?key=KEY`, `POST /usage/NAMESPACE/POLICY/LIMIT/grant?key=KEY&requests=N`.
pub(super) fn change(path: &str, request: &Request<()>, table: &Table) -> Option<Response<Bytes>> {
    let parts: Vec<&str> = path.strip_prefix("/usage/")?.split('/').collect();
    let [namespace, policy, limit, what @ ("reset" | "grant")] = parts[..] else { return None };
    if request.method() != Method::POST {
        return Some(not_allowed());
    }
    let query = request.uri().query().unwrap_or_default();
    let Some(key) = first(query, "key").and_then(decode) else {
        return Some(text(StatusCode::BAD_REQUEST, "say whose: ?key=KEY, which may be empty"));
    };
    let found = table.limits().find(|one| one.key.namespace == namespace && one.key.name == policy);
    let clock = SystemTime::now();
    let done = match what {
        "reset" => found
            .map_or(Ok(None), |policy| policy.reset_usage(limit, &key, clock))
            .map(|reset| reset.map(|used| if used { "reset" } else { "nothing was used" })),
        _ => {
            let requests = first(query, "requests").and_then(|number| number.parse().ok());
            let Some(requests) = requests else {
                return Some(text(StatusCode::BAD_REQUEST, "say how many: &requests=N"));
            };
            let granted = found.map_or(Ok(false), |policy| policy.grant_usage(limit, &key, requests, clock));
            granted.map(|granted| granted.then_some("granted"))
        }
    };
    if matches!(done, Ok(Some(_))) {
        // An operator's word outlives a crash.
        table.ledger().write();
    }
    Some(match done {
        Ok(Some(said)) => text(StatusCode::OK, said),
        Err(unreachable) => text(StatusCode::SERVICE_UNAVAILABLE, &unreachable.to_string()),
        Ok(None) => {
            let message = format!("there is no quota {limit} in a RateLimitPolicy {namespace}/{policy}");
            text(StatusCode::NOT_FOUND, &message)
        }
    })
}
