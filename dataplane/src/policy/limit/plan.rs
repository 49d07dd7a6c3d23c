//! Plans: the limits of a class of callers.
//!
//! Limits of one name and kind share what they count, whatever plan they are of: who changes plans, or whose plan
//! changes, goes on from what was counted.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use ravelin_snapshot::rate_limit;

use super::{Limit, admit::Limits, count::Owner};
use crate::{
    expression::{Program, Scope},
    metrics::Counter,
};

pub(super) struct Plans {
    said: rate_limit::Plans,
    select: Program,
    key: Option<Program>,
    /// A plan without limits is broken.
    plans: HashMap<String, Option<Limits>>,
    /// Requests whose plan was not there.
    pub(super) unknown: Arc<Counter>,
}

/// What a request's plan comes to.
pub(super) enum Planned<'t> {
    Nothing,
    /// With the key of the counts.
    Limits(&'t Limits, String),
    /// It cannot be enforced.
    Broken,
}

impl Plans {
    pub(super) fn compile(said: &rate_limit::Plans, owner: Owner<'_>, before: Option<&Self>) -> Result<Self, String> {
        let owner = Owner { of_plan: true, ..owner };
        // Counts of one key expression say nothing of another's keys.
        let before = before.filter(|old| old.said.key == said.key);
        let known: Vec<&Limit> = before.into_iter().flat_map(Self::limits).collect();
        let mut plans = HashMap::new();
        let mut fresh: BTreeMap<&str, Vec<Limit>> = BTreeMap::new();
        for (name, plan) in &said.plans {
            let rate_limit::Plan::Limits(limits) = plan else { continue };
            let mut compiled = Vec::with_capacity(limits.len());
            for limit in limits {
                let relatives = known.iter().copied().chain(fresh.values().flatten());
                let relative = relatives.filter(|known| known.said.name == limit.name);
                let relative = relative.max_by_key(|known| known.count.go_on(&limit.count).is_some());
                compiled.push(Limit::of_plan(limit, owner, relative).map_err(|why| format!("plan {name}: {why}"))?);
            }
            fresh.insert(name, compiled);
        }
        for (name, plan) in &said.plans {
            let limits = match plan {
                rate_limit::Plan::Limits(_) => fresh.remove(name.as_str()).map(Limits::new),
                rate_limit::Plan::Broken => None,
            };
            plans.insert(name.clone(), limits);
        }
        let program = |said| Program::compile(said).map_err(|error| error.to_string());
        Ok(Self {
            select: program(&said.select)?,
            key: said.key.as_ref().map(program).transpose()?,
            plans,
            unknown: before.map(|old| Arc::clone(&old.unknown)).unwrap_or_default(),
            said: said.clone(),
        })
    }

    /// Whose plan is not there, has the default.
    pub(super) fn of<'t>(&'t self, scope: &Scope<'_>, count: bool) -> Planned<'t> {
        let selected = self.select.eval_string(scope).unwrap_or_default();
        let plan = self.plans.get(&*selected).or_else(|| {
            if count && !selected.is_empty() {
                self.unknown.add(1);
            }
            self.said.default.as_ref().and_then(|name| self.plans.get(name))
        });
        match plan {
            None => Planned::Nothing,
            Some(None) => Planned::Broken,
            Some(Some(limits)) => {
                let key = self.key.as_ref().and_then(|key| key.eval_string(scope).ok());
                Planned::Limits(limits, key.unwrap_or_default().into_owned())
            }
        }
    }

    pub(super) fn limits(&self) -> impl Iterator<Item = &Limit> {
        self.plans.values().flatten().flat_map(|limits| &limits.all)
    }
}
