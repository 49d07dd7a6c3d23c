//! API keys, and when each was used last.

use chrono::{DateTime, SecondsFormat};
use serde::Serialize;

use crate::table::Table;

#[derive(Serialize)]
pub(super) struct Keys<'t> {
    keys: Vec<Key<'t>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Key<'t> {
    policy: String,
    /// Of its Secret.
    name: &'t str,
    id: &'t str,
    /// RFC 3339. Absent: not since this process has known it.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used: Option<String>,
}

impl<'t> Keys<'t> {
    pub(super) fn of(table: &'t Table) -> Self {
        let keys = table.auth_policies().flat_map(|policy| {
            policy.keys().map(|key| Key {
                policy: policy.key.to_string(),
                name: key.name,
                id: key.id,
                last_used: key.last.and_then(rfc3339),
            })
        });
        let mut keys: Vec<_> = keys.collect();
        keys.sort_by(|a, b| (&a.policy, a.name).cmp(&(&b.policy, b.name)));
        Self { keys }
    }
}

fn rfc3339(seconds: u64) -> Option<String> {
    let time = DateTime::from_timestamp(i64::try_from(seconds).ok()?, 0)?;
    Some(time.to_rfc3339_opts(SecondsFormat::Secs, true))
}
