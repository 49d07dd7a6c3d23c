//! Policies and what they are made of: read first, judged when everything else is known.

use std::collections::{BTreeMap, BTreeSet};

use ravelin_crds::PolicyTargetRef;
use ravelin_snapshot::{ObjectKey, backend::BackendKind, rate_limit::Plan};

use super::{Reads, Work, put};
use crate::{
    compile::{
        attach::{self, Attached, Family, OnRoute, Target, TargetRef},
        auth,
        auth::keys,
        backend::policy::{self, BackendPolicy, Treatment},
        graph::{Fact, Unit},
        index::seniority,
        notes::{Field, Notes, touches},
        rate_limit,
    },
    object::{Fault, Kind, Meta},
    verdict::Reason,
};

/// An AuthPolicy or a RateLimitPolicy that has been read: where it is attached, and what there is to say about it.
#[derive(Debug, PartialEq)]
pub(super) struct Policy {
    targets: Vec<TargetRef>,
    attached: Attached,
    notes: Notes,
}

impl Policy {
    fn new(meta: &Meta, overrides: bool, targets: Vec<TargetRef>, notes: Notes, limits: usize) -> Self {
        let sound = notes.breaks() == 0;
        let attached = Attached { section: None, seniority: seniority(meta), overrides, sound, limits };
        Self { targets, attached, notes }
    }

    fn places(&self) -> impl Iterator<Item = (&Target, Attached)> {
        self.targets.iter().map(|at| (&at.target, Attached { section: at.section.clone(), ..self.attached.clone() }))
    }
}

/// Faults and targets: what both kinds begin with.
fn begin(faults: &[Fault], said: &[PolicyTargetRef], namespace: &str) -> (Notes, Vec<TargetRef>) {
    let mut notes = Notes::of_faults(faults);
    let targets = attach::targets(said, faults, namespace, &mut notes);
    (notes, targets)
}

impl Work<'_> {
    pub(super) fn compute_key(&mut self, key: &ObjectKey) {
        let secret = self.model.secrets.get(key).filter(|secret| keys::is_one(secret));
        let read = secret.map(|secret| {
            let mut notes = Notes::of_faults(&secret.faults);
            let read = keys::read(secret, &mut notes);
            (read, notes.verdict(secret.meta.generation))
        });
        let (read, verdict) = read.unzip();
        match read.flatten() {
            Some(read) => drop(self.cells.keys.insert(key.clone(), read)),
            None => drop(self.cells.keys.remove(key)),
        }
        // Others' objects are spoken of only where there is something to say.
        self.judge(Kind::Secret, key, verdict.filter(|verdict| !verdict.findings.is_empty()));
        self.fire(&Fact::Keys(key.namespace.clone()));
    }

    /// The key that a Secret holds, if it is a good one.
    pub(in crate::compile) fn key(&self, secret: &ObjectKey) -> Option<&keys::Key> {
        self.cells.keys.get(secret)
    }

    pub(super) fn compute_auth(&mut self, key: &ObjectKey) {
        let mut reads = Reads::new();
        let compiled = self.model.auth_policies.get(key).map(|object| {
            let (mut notes, targets) = begin(&object.faults, &object.spec.target_refs, &key.namespace);
            let before = notes.errors();
            let policy = auth::compile(self, &mut reads, &mut notes, object);
            // Elsewhere a reference that leads nowhere concerns itself alone; here it would be a door.
            let whole = notes.errors() == before;
            // One that may override must be taken to do so.
            let unclear = touches(&object.faults, Field::SPEC.member("override"));
            let overrides = object.spec.overrides.unwrap_or(false) || unclear;
            let mut place = Policy::new(&object.meta, overrides, targets, notes, 0);
            place.attached.sound &= whole;
            (policy, place)
        });
        self.read_by(Unit::AuthPolicy(key.clone()), reads);
        let (part, policy) = compiled.unzip();
        let part = part.filter(|_| policy.as_ref().is_some_and(|policy| policy.attached.sound));
        put(&mut self.snapshot.auth, key, part);
        self.attach(Family::Auth, key, policy);
        self.dirty.insert(Unit::AuthVerdict(key.clone()));
    }

    pub(super) fn compute_limits(&mut self, key: &ObjectKey) {
        let mut reads = Reads::new();
        let compiled = self.model.rate_limit_policies.get(key).map(|object| {
            let (mut notes, targets) = begin(&object.faults, &object.spec.target_refs, &key.namespace);
            let rate_limit::Compiled { policy, limits, resolved } = rate_limit::compile(
                object,
                self.options.limit_store,
                || self.plans(&mut reads, &key.namespace),
                &mut notes,
            );
            let mut place = Policy::new(&object.meta, false, targets, notes, limits);
            place.attached.sound &= resolved;
            (policy, place)
        });
        self.read_by(Unit::RateLimitPolicy(key.clone()), reads);
        let (part, policy) = compiled.unzip();
        let part = part.filter(|_| policy.as_ref().is_some_and(|policy| policy.attached.sound));
        put(&mut self.snapshot.limits, key, part);
        self.attach(Family::Limits, key, policy);
        self.dirty.insert(Unit::RateLimitVerdict(key.clone()));
    }

    /// Puts a policy in its places, and marks what is at those that changed.
    fn attach(&mut self, family: Family, key: &ObjectKey, policy: Option<Policy>) {
        let (cells, places) = match family {
            Family::Auth => (&mut self.cells.auth, &mut self.index.auth),
            Family::Limits => (&mut self.cells.limits, &mut self.index.limits),
        };
        let before = cells.remove(key);
        let old: BTreeSet<_> =
            before.iter().flat_map(Policy::places).map(|(target, at)| (target.clone(), at)).collect();
        let new: BTreeSet<_> =
            policy.iter().flat_map(Policy::places).map(|(target, at)| (target.clone(), at)).collect();
        old.difference(&new).for_each(|(target, at)| places.remove(target, at));
        new.difference(&old).for_each(|(target, at)| places.insert(target.clone(), at.clone()));
        if let Some(policy) = policy {
            cells.insert(key.clone(), policy);
        }
        for (target, _) in old.symmetric_difference(&new) {
            self.fire(&Fact::PoliciesOn(target.clone()));
        }
    }

    pub(super) fn judge_policy(&mut self, family: Family, key: &ObjectKey) {
        let (kind, unit, generation) = match family {
            Family::Auth => {
                let found = self.model.auth_policies.get(key).map(|object| object.meta.generation);
                (Kind::AuthPolicy, Unit::AuthVerdict(key.clone()), found)
            }
            Family::Limits => {
                let found = self.model.rate_limit_policies.get(key).map(|object| object.meta.generation);
                (Kind::RateLimitPolicy, Unit::RateLimitVerdict(key.clone()), found)
            }
        };
        let mut reads = Reads::new();
        let verdict = self.policy(family, key).zip(generation).map(|(policy, generation)| {
            let mut notes = Notes::default();
            for at in &policy.targets {
                self.judge_at(family, key, at, &mut reads, &mut notes);
            }
            // Where a policy is comes before what it says.
            notes.append(&policy.notes);
            notes.verdict(generation)
        });
        self.read_by(unit, reads);
        self.judge(kind, key, verdict);
    }

    fn judge_at(&self, family: Family, own: &ObjectKey, at: &TargetRef, reads: &mut Reads, notes: &mut Notes) {
        reads.insert(Fact::PoliciesOn(at.target.clone()));
        let rules = match &at.target {
            Target::Route(route) => {
                reads.insert(Fact::Rules(route.clone()));
                reads.extend(OnRoute::facts(route));
                self.rule_names(route)
            }
            Target::Namespace(_) | Target::Unknown(_) => None,
        };
        let all = match family {
            Family::Auth => &self.index.auth,
            Family::Limits => &self.index.limits,
        };
        attach::judge(family, all, own, at, rules.as_ref(), notes);
        if let (Family::Auth, Target::Route(route)) = (family, &at.target)
            && let Some(object) = self.model.routes.get(route)
            && let Some(part) = self.snapshot.auth.get(own)
            && let Some(log_in) = part.authentication.as_ref().and_then(|said| said.oidc.as_ref())
        {
            auth::reach(log_in, &object.spec, at.section.as_deref(), notes);
        }
    }

    fn policy(&self, family: Family, key: &ObjectKey) -> Option<&Policy> {
        match family {
            Family::Auth => self.cells.auth.get(key),
            Family::Limits => self.cells.limits.get(key),
        }
    }

    /// The names that users gave to a route's rules; `None`: there is no such route.
    fn rule_names(&self, route: &ObjectKey) -> Option<BTreeSet<&str>> {
        let object = self.model.routes.get(route)?;
        Some(object.spec.rules.iter().filter_map(|rule| rule.name.as_deref()).collect())
    }

    pub(super) fn compute_plan(&mut self, key: &ObjectKey) {
        let compiled = self.model.plans.get(key).map(|object| {
            let mut notes = Notes::of_faults(&object.faults);
            let limits = rate_limit::compile_plan(object, &mut notes);
            let plan = if notes.breaks() == 0 { Plan::Limits(limits) } else { Plan::Broken };
            (plan, notes.verdict(object.meta.generation))
        });
        let (plan, verdict) = compiled.unzip();
        match plan {
            Some(plan) => drop(self.cells.plans.insert(key.clone(), plan)),
            None => drop(self.cells.plans.remove(key)),
        }
        self.judge(Kind::Plan, key, verdict);
        self.fire(&Fact::Plans(key.namespace.clone()));
    }

    fn plans(&self, reads: &mut Reads, namespace: &str) -> BTreeMap<String, Plan> {
        reads.insert(Fact::Plans(namespace.to_owned()));
        let first = ObjectKey::new(namespace, "");
        let here = self.cells.plans.range(first..).take_while(|(key, _)| key.namespace == namespace);
        here.map(|(key, plan)| (key.name.clone(), plan.clone())).collect()
    }

    pub(super) fn compute_backend_policy(&mut self, key: &ObjectKey) {
        let mut reads = Reads::new();
        let policy = self.model.backend_policies.get(key).map(|object| policy::compile(self, &mut reads, object));
        self.read_by(Unit::BackendPolicy(key.clone()), reads);
        let before = self.cells.backend_policies.remove(key);
        for at in before.iter().flat_map(|policy| &policy.targets) {
            self.index.backend_policies.remove(&(at.kind, at.key.clone()), key);
            self.fire(&Fact::BackendPolicies(at.kind, at.key.clone()));
        }
        for at in policy.iter().flat_map(|policy| &policy.targets) {
            self.index.backend_policies.insert((at.kind, at.key.clone()), key.clone());
            self.fire(&Fact::BackendPolicies(at.kind, at.key.clone()));
        }
        if let Some(policy) = policy {
            self.cells.backend_policies.insert(key.clone(), policy);
        }
        self.dirty.insert(Unit::BackendPolicyVerdict(key.clone()));
    }

    /// How a backend is treated, by the most senior policy for the port, else for all of it; the name of that policy if it
    /// is broken.
    pub(in crate::compile) fn treatment(
        &self,
        reads: &mut Reads,
        kind: BackendKind,
        key: &ObjectKey,
        port: &str,
    ) -> Result<Treatment, ObjectKey> {
        reads.insert(Fact::BackendPolicies(kind, key.clone()));
        let on_port = (kind == BackendKind::Service).then(|| self.senior(kind, key, Some(port))).flatten();
        match on_port.or_else(|| self.senior(kind, key, None)) {
            None => Ok(Treatment::default()),
            Some(policy) => policy.treatment.clone().ok_or_else(|| policy.seniority.1.clone()),
        }
    }

    fn senior(&self, kind: BackendKind, key: &ObjectKey, section: Option<&str>) -> Option<&BackendPolicy> {
        let here = self.index.backend_policies.get(&(kind, key.clone()));
        let here = here.filter_map(|policy| self.cells.backend_policies.get(policy));
        let here = here.filter(|policy| {
            let mut targets = policy.targets.iter();
            targets.any(|at| at.kind == kind && at.key == *key && at.section.as_deref() == section)
        });
        here.min_by(|a, b| a.seniority.cmp(&b.seniority))
    }

    pub(super) fn judge_backend_policy(&mut self, key: &ObjectKey) {
        let mut reads = Reads::new();
        let object = self.model.backend_policies.get(key);
        let verdict = self.cells.backend_policies.get(key).zip(object).map(|(policy, object)| {
            let mut notes = Notes::default();
            let field = Field::SPEC.member("targetRefs");
            for at in &policy.targets {
                let field = field.item(at.index);
                reads.insert(Fact::BackendPolicies(at.kind, at.key.clone()));
                let (kind, there) = match at.kind {
                    BackendKind::Service => {
                        reads.insert(Fact::Service(at.key.clone()));
                        let port = |name: &str| {
                            let service = self.model.services.get(&at.key);
                            service.is_some_and(|service| service.spec.ports.iter().any(|port| port.name == name))
                        };
                        let there = self.model.services.get(&at.key).is_some();
                        (Kind::Service, there && at.section.as_deref().is_none_or(port))
                    }
                    BackendKind::Backend => {
                        reads.insert(Fact::BackendObject(at.key.clone()));
                        (Kind::Backend, self.model.backends.get(&at.key).is_some())
                    }
                };
                let section = at.section.as_deref();
                if !there {
                    let port = section.map(|port| format!(" with a port `{port}`")).unwrap_or_default();
                    let message = format!("there is no {kind} {}{port}", at.key);
                    notes.error(field, Reason::TargetNotFound, message, "Create it, or correct the name.");
                } else if let Some(senior) = self.senior(at.kind, &at.key, section)
                    && senior.seniority.1 != *key
                {
                    let message = format!("the BackendPolicy {} is older and binds here", senior.seniority.1);
                    notes.error(field, Reason::Conflicted, message, "Merge the two, or attach this one elsewhere.");
                }
            }
            notes.append(&policy.notes);
            notes.verdict(object.meta.generation)
        });
        self.read_by(Unit::BackendPolicyVerdict(key.clone()), reads);
        self.judge(Kind::BackendPolicy, key, verdict);
    }
}
