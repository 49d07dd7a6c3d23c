//! What is used of quotas, for operators to see, to reset and to add to.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use serde::Serialize;

use super::{
    RateLimitPolicy,
    count::Count,
    plan::Plans,
    quota::{self, Book, Quota, seconds},
};

/// What one key has used of one quota in its present term.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// `NAMESPACE/NAME`.
    pub policy: String,
    pub limit: String,
    pub key: String,
    pub used: u64,
    /// The quota when it was asked last: plans differ.
    pub requests: u64,
    /// Requests beyond it, in this term.
    pub granted: u64,
    /// Seconds since the epoch.
    pub begins: i64,
    pub ends: i64,
}

impl RateLimitPolicy {
    /// Adds what is used of its quotas, of those keys and limits that `which` takes, up to `max`; whether there is more.
    pub fn usage(
        &self,
        clock: SystemTime,
        max: usize,
        which: impl Fn(&str, &str) -> bool,
        usage: &mut Vec<Usage>,
    ) -> bool {
        let mut more = false;
        for (name, (_, book)) in self.books() {
            book.accounts.for_each(|account| {
                if account.ends <= seconds(clock) || !which(name, &account.key) {
                    return;
                }
                if usage.len() >= max {
                    more = true;
                    return;
                }
                usage.push(Usage {
                    policy: self.key.to_string(),
                    limit: name.to_owned(),
                    key: account.key.to_string(),
                    used: account.used,
                    requests: account.requests,
                    granted: account.granted,
                    begins: account.begins,
                    ends: account.ends,
                });
            });
        }
        more
    }

    /// Forgets what a key has used; `None`: there is no such quota, `false`: nothing was used.
    pub fn reset_usage(&self, limit: &str, key: &str, clock: SystemTime) -> Option<bool> {
        let books = self.books();
        let (_, book) = books.get(limit)?;
        Some(book.reset(&quota::shown(key), clock))
    }

    /// So many requests more in the key's present term; `false`: there is no such quota.
    pub fn grant_usage(&self, limit: &str, key: &str, requests: u64, clock: SystemTime) -> bool {
        let books = self.books();
        let Some((quota, book)) = books.get(limit) else { return false };
        book.grant(&quota::shown(key), requests, quota, clock);
        true
    }

    /// By the names of limits. Those of one name in several plans have one book if their terms are the same; if not, one of
    /// them is shown.
    fn books(&self) -> BTreeMap<&str, (&Quota, &Arc<Book>)> {
        let all = self.limits.all.iter().chain(self.plans.iter().flat_map(Plans::limits));
        let quotas = all.filter_map(|limit| match &limit.count {
            Count::Quota(quota, book) => Some((limit.said.name.as_str(), (quota, book))),
            Count::Bucket(..) | Count::Window(..) | Count::Gate(..) | Count::Sketch(..) | Count::Adaptive(..) => None,
        });
        quotas.collect()
    }
}
