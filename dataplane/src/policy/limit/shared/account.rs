//! Shared quotas, for operators to see, to reset and to add to. Each waits for the store: not for a worker's thread.

use std::{sync::Arc, time::SystemTime};

use redis::{Cmd, Value};

use super::{
    Shared,
    rule::Rule,
    store::{Failure, Script, Store},
};
use crate::policy::limit::{
    quota::{self, Account},
    usage::Unreachable,
};

/// The accounts of one shared quota.
pub(in super::super) struct Accounts<'s> {
    shared: &'s Arc<Shared>,
    store: &'s Arc<Store>,
}

impl<'s> Accounts<'s> {
    /// `None`: it is no quota, or there is no store.
    pub(in super::super) fn of(shared: &'s Arc<Shared>) -> Option<Self> {
        let store = shared.store.as_ref()?;
        matches!(shared.rule, Rule::Quota { .. }).then_some(Self { shared, store })
    }

    /// Those of the present term, at most so many, or the one of a key; whether there are more.
    pub(in super::super) fn list(
        &self,
        key: Option<&str>,
        max: usize,
        clock: SystemTime,
    ) -> Result<(Vec<Account>, bool), Unreachable> {
        let mut command = Script::Account.command(1);
        match key {
            Some(key) => command.arg(self.count(&quota::shown(key))).arg("one"),
            None => command.arg(self.index(clock)).arg("list").arg(max),
        };
        let answer = self.ask(command)?;
        let Value::Array(answer) = answer else { return Err(Unreachable) };
        let [Value::Int(more), Value::Array(rows)] = &answer[..] else { return Err(Unreachable) };
        let rows: Option<Vec<Account>> = rows.iter().map(account).collect();
        Ok((rows.ok_or(Unreachable)?, *more == 1))
    }

    /// Whether anything was used.
    pub(in super::super) fn reset(&self, key: &str) -> Result<bool, Unreachable> {
        let mut command = Script::Account.command(1);
        command.arg(self.count(&quota::shown(key))).arg("reset");
        Ok(self.ask(command)? == Value::Int(1))
    }

    pub(in super::super) fn grant(&self, key: &str, requests: u64, clock: SystemTime) -> Result<(), Unreachable> {
        let text = quota::shown(key);
        let [quota, begins, ends, _] = self.shared.rule.numbers(self.store.clock(clock));
        let mut command = Script::Account.command(1);
        command.arg(self.count(&text)).arg("grant").arg(&*text).arg(requests);
        command.arg(quota).arg(begins).arg(ends).arg(self.shared.name.index());
        self.ask(command).map(drop)
    }

    fn count(&self, text: &str) -> String {
        self.shared.name.count(text)
    }

    fn index(&self, clock: SystemTime) -> String {
        let [_, _, ends, _] = self.shared.rule.numbers(self.store.clock(clock));
        format!("{}{ends}", self.shared.name.index())
    }

    fn ask(&self, command: Cmd) -> Result<Value, Unreachable> {
        let answer: Result<Value, Failure> = self.store.block_on(self.store.call(Script::Account, command));
        answer.map_err(|_| Unreachable)
    }
}

fn account(row: &Value) -> Option<Account> {
    let Value::Array(row) = row else { return None };
    let [
        Value::BulkString(key),
        Value::Int(used),
        Value::Int(granted),
        Value::Int(begins),
        Value::Int(ends),
        Value::Int(requests),
    ] = &row[..]
    else {
        return None;
    };
    let number = |number: &i64| u64::try_from(*number).unwrap_or(0);
    Some(Account {
        key: String::from_utf8_lossy(key).into(),
        begins: *begins,
        ends: *ends,
        used: number(used),
        granted: number(granted),
        requests: number(requests),
        changed: false,
    })
}
