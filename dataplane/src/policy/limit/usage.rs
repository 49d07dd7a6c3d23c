//! What is used of quotas, for operators to see, to reset and to add to.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use serde::Serialize;

use super::{
    RateLimitPolicy,
    count::Count,
    plan::Plans,
    quota::{self, Account, Book, Quota, seconds},
    shared::{Accounts, Shared},
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

/// The store of a shared quota is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store of shared limits cannot be asked; try again")]
pub struct Unreachable;

/// Where the accounts of a quota are.
enum Where<'a> {
    Here(&'a Quota, &'a Arc<Book>),
    Shared(Accounts<'a>),
}

/// All of it waits for the store of quotas that are shared: it is for threads that may.
impl RateLimitPolicy {
    /// Adds what is used of its quotas, of this limit and key if they are named, up to `max`; whether there is more.
    pub fn usage(
        &self,
        clock: SystemTime,
        max: usize,
        (limit, key): (Option<&str>, Option<&str>),
        usage: &mut Vec<Usage>,
    ) -> Result<bool, Unreachable> {
        let mut more = false;
        for (name, accounts) in self.quotas().into_iter().filter(|(name, _)| limit.is_none_or(|limit| limit == *name)) {
            let mut add = |account: &Account| {
                if account.ends <= seconds(clock) || key.is_some_and(|key| *quota::shown(key) != *account.key) {
                    return;
                }
                if usage.len() >= max {
                    more = true;
                    return;
                }
                usage.push(self.row(name, account));
            };
            match accounts {
                Where::Here(_, book) => book.accounts.for_each(|account| add(account)),
                Where::Shared(accounts) => {
                    let (accounts, rest) = accounts.list(key, max, clock)?;
                    accounts.iter().for_each(add);
                    more |= rest;
                }
            }
        }
        Ok(more)
    }

    /// Forgets what a key has used; `None`: there is no such quota, `false`: nothing was used.
    pub fn reset_usage(&self, limit: &str, key: &str, clock: SystemTime) -> Result<Option<bool>, Unreachable> {
        Ok(match self.quotas().get(limit) {
            None => None,
            Some(Where::Here(_, book)) => Some(book.reset(&quota::shown(key), clock)),
            Some(Where::Shared(accounts)) => Some(accounts.reset(key)?),
        })
    }

    /// So many requests more in the key's present term; `false`: there is no such quota.
    pub fn grant_usage(&self, limit: &str, key: &str, requests: u64, clock: SystemTime) -> Result<bool, Unreachable> {
        match self.quotas().get(limit) {
            None => return Ok(false),
            Some(Where::Here(quota, book)) => book.grant(&quota::shown(key), requests, quota, clock),
            Some(Where::Shared(accounts)) => accounts.grant(key, requests, clock)?,
        }
        Ok(true)
    }

    fn row(&self, limit: &str, account: &Account) -> Usage {
        Usage {
            policy: self.key.to_string(),
            limit: limit.to_owned(),
            key: account.key.to_string(),
            used: account.used,
            requests: account.requests,
            granted: account.granted,
            begins: account.begins,
            ends: account.ends,
        }
    }

    /// By the names of limits. Those of one name in several plans have one book if their terms are the same; if not, one of
    /// them is shown.
    fn quotas(&self) -> BTreeMap<&str, Where<'_>> {
        let all = self.limits.all.iter().chain(self.plans.iter().flat_map(Plans::limits));
        let quotas = all.filter_map(|limit| {
            let accounts = match &limit.count {
                Count::Quota(quota, book) => Where::Here(quota, book),
                Count::Shared(shared) => Where::Shared(Shared::accounts(shared)?),
                Count::Bucket(..) | Count::Window(..) | Count::Gate(..) | Count::Sketch(..) | Count::Adaptive(..) => {
                    return None;
                }
            };
            Some((limit.said.name.as_str(), accounts))
        });
        quotas.collect()
    }
}
