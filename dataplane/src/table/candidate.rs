//! One match of one rule, in the order of Gateway API's precedence.

use std::{cmp::Reverse, sync::Arc, time::SystemTime};

use http::{HeaderMap, HeaderName, Method};
use ravelin_snapshot::{
    ObjectKey, regex,
    route::{FieldMatch, Match, Route, ValueMatch},
};
use regex_automata::meta::Regex;

use super::{Rule, number, trace::Why};
use crate::{
    expression::{Program, Scope},
    query,
    request::{Caller, RequestView},
};

/// A match and the rule that it leads to.
pub(super) struct Candidate {
    pub(super) rank: Rank,
    pub(super) rule: Arc<Rule>,
    /// Most have none.
    conditions: Option<Box<Conditions>>,
}

/// Among matches of one path, smaller is tried first (Gateway API, HTTPRouteRule): with a method, most headers, most
/// query parameters; then ours: with an expression; then the oldest route, by name, in the order of its rules.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    method: Reverse<bool>,
    headers: Reverse<u32>,
    query: Reverse<u32>,
    when: Reverse<bool>,
    /// Seconds since the epoch; absent is newest.
    created: i64,
    route: ObjectKey,
    rule: u32,
    one: u32,
}

/// All that must hold besides host and path.
struct Conditions {
    method: Option<Method>,
    headers: Vec<(HeaderName, Value)>,
    query: Vec<(String, Value)>,
    when: Option<Program>,
}

enum Value {
    Exact(String),
    Regex(Regex),
    Present,
}

impl Candidate {
    /// Of the match at `one` of the rule at `at`. The error is for a refusal of the snapshot.
    pub(super) fn compile(
        key: &ObjectKey,
        route: &Route,
        (at, one): (u32, u32),
        rule: &Arc<Rule>,
    ) -> Result<Self, String> {
        let said = &route.rules[at as usize].matches[one as usize];
        let rank = Rank {
            method: Reverse(said.method.is_some()),
            headers: Reverse(number(said.headers.len())),
            query: Reverse(number(said.query.len())),
            when: Reverse(said.when.is_some()),
            created: route.created.unwrap_or(i64::MAX),
            route: key.clone(),
            rule: at,
            one,
        };
        Ok(Self { rank, rule: Arc::clone(rule), conditions: Conditions::compile(said)? })
    }

    pub(super) fn route(&self) -> &ObjectKey {
        &self.rank.route
    }

    pub(super) fn holds(&self, request: &RequestView<'_>, now: SystemTime) -> bool {
        let Some(conditions) = &self.conditions else { return true };
        let Conditions { method, headers, query: parameters, when } = &**conditions;
        method.as_ref().is_none_or(|method| method == request.method)
            && headers.iter().all(|(name, value)| value.holds_header(request.headers, name))
            && parameters.iter().all(|(name, value)| value.holds_query(request.query, name))
            && when.as_ref().is_none_or(|when| self.when_holds(when, request, now))
    }

    fn when_holds(&self, when: &Program, request: &RequestView<'_>, now: SystemTime) -> bool {
        let caller = Caller::default();
        let scope = Scope { request, caller: &caller, route: &self.rule.name, now };
        when.eval_bool(&scope).unwrap_or(false) // an error in a `when` is false
    }

    /// As [`Candidate::holds`], with what does not hold.
    pub(super) fn why_not(&self, request: &RequestView<'_>, now: SystemTime) -> Option<Why> {
        let Conditions { method, headers, query: parameters, when } = self.conditions.as_deref()?;
        if method.as_ref().is_some_and(|method| method != request.method) {
            return Some(Why::Method);
        }
        if let Some((name, _)) = headers.iter().find(|(name, value)| !value.holds_header(request.headers, name)) {
            return Some(Why::Header(name.to_string()));
        }
        if let Some((name, _)) = parameters.iter().find(|(name, value)| !value.holds_query(request.query, name)) {
            return Some(Why::Query(name.clone()));
        }
        let when = when.as_ref().filter(|when| !self.when_holds(when, request, now));
        when.map(|_| Why::When)
    }
}

impl Conditions {
    /// `None`: host and path are all.
    fn compile(said: &Match) -> Result<Option<Box<Self>>, String> {
        if said.method.is_none() && said.headers.is_empty() && said.query.is_empty() && said.when.is_none() {
            return Ok(None);
        }
        let method = said.method.as_deref().map(|method| method.parse().map_err(|_| format!("method {method}")));
        let header = |said: &FieldMatch| {
            let name = said.name.parse().map_err(|_| format!("header {}", said.name))?;
            Ok::<_, String>((name, Value::compile(&said.value)?))
        };
        let parameter = |said: &FieldMatch| Ok::<_, String>((said.name.clone(), Value::compile(&said.value)?));
        Ok(Some(Box::new(Self {
            method: method.transpose()?,
            headers: said.headers.iter().map(header).collect::<Result<_, _>>()?,
            query: said.query.iter().map(parameter).collect::<Result<_, _>>()?,
            when: said.when.as_deref().map(Program::compile).transpose().map_err(|error| error.to_string())?,
        })))
    }
}

impl Value {
    fn compile(said: &ValueMatch) -> Result<Self, String> {
        Ok(match said {
            ValueMatch::Exact(value) => Self::Exact(value.clone()),
            ValueMatch::Regex(pattern) => {
                Self::Regex(regex::build(pattern, true).map_err(|error| format!("{pattern}: {error}"))?)
            }
            ValueMatch::Present => Self::Present,
        })
    }

    fn holds(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(expected) => expected.as_bytes() == value,
            Self::Regex(regex) => regex.is_match(value),
            Self::Present => true,
        }
    }

    /// Several values of one name are one list, joined by commas (RFC 9110, 5.3): what policies and expressions see.
    fn holds_header(&self, headers: &HeaderMap, name: &HeaderName) -> bool {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => false,
            (Some(one), None) => self.holds(one.as_bytes()),
            (Some(_), Some(_)) => {
                let all: Vec<&[u8]> = headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect();
                self.holds(&all.join(&b','))
            }
        }
    }

    /// The first of a repeated name counts (Gateway API).
    fn holds_query(&self, text: &str, name: &str) -> bool {
        query::first(text, name).is_some_and(|raw| self.holds(&query::decode_bytes(raw)))
    }
}
