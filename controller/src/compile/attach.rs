//! Which policy binds where, and who wins: settled here, once, and never per request.
//!
//! A policy attaches to its namespace, to a route or to a rule of one. Of AuthPolicies the innermost binds, unless an outer
//! one overrides; of several at one place the most senior. RateLimitPolicies all bind, outermost first.

use std::collections::BTreeSet;

use ravelin_crds::PolicyTargetRef;
use ravelin_snapshot::{ObjectKey, route::Guard};

use super::{
    graph::Fact,
    index::Index,
    notes::{Field, Notes, touches},
    text,
};
use crate::{
    object::{Fault, Kind},
    verdict::Reason,
};

/// Limits of all policies on one rule, at most.
const MAX_LIMITS: usize = 1_000;
/// Targets of one policy, at most.
const MAX_TARGETS: usize = 16;

/// When an object was made (seconds; absent is last) and what it is called: the least is the most senior.
pub(super) type Seniority = (i64, ObjectKey);

/// What an AuthPolicy or a RateLimitPolicy is attached to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Target {
    Namespace(String),
    /// A route, or a rule of it.
    Route(ObjectKey),
    /// Something in that namespace that cannot be made out: everything in it is closed.
    Unknown(String),
}

/// The two kinds that attach to routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Auth,
    Limits,
}

/// A policy at one place; in the order of age within each section.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Attached {
    /// The rule that is meant; absent: all of them.
    pub(super) section: Option<String>,
    pub(super) seniority: Seniority,
    /// No policy nearer to the request may replace it.
    pub(super) overrides: bool,
    /// It can be enforced.
    pub(super) sound: bool,
    /// How many limits it has.
    pub(super) limits: usize,
}

impl Attached {
    fn key(&self) -> &ObjectKey {
        &self.seniority.1
    }

    fn guard(&self) -> Guard {
        let key = self.key().clone();
        if self.sound { Guard::Policy(key) } else { Guard::Closed(key) }
    }
}

/// All that is attached, by target.
pub(super) type Attachments = Index<Target, Attached>;

/// One entry of a policy's `targetRefs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TargetRef {
    pub(super) target: Target,
    pub(super) section: Option<String>,
    /// Its place in the list.
    pub(super) index: usize,
}

/// Reads `spec.targetRefs` of a policy in `namespace`. What cannot be made out is noted, and closes the namespace.
pub(super) fn targets(
    said: &[PolicyTargetRef],
    faults: &[Fault],
    namespace: &str,
    notes: &mut Notes,
) -> Vec<TargetRef> {
    let field = Field::SPEC.member("targetRefs");
    let unknown = |index| TargetRef { target: Target::Unknown(namespace.to_owned()), section: None, index };
    let remedy = "Attach the policy to the namespace, or write several.";
    notes.at_most((said.len(), MAX_TARGETS), "targets", field, remedy);
    if touches(faults, field) {
        return vec![unknown(0)];
    }
    if said.is_empty() {
        notes.invalid(field, "the policy is for nothing", "Name an ApiRoute, or the Namespace itself.");
        return vec![unknown(0)];
    }
    let read = said.iter().enumerate().map(|(index, said)| {
        target(said, namespace, field.item(index), notes)
            .map_or_else(|| unknown(index), |(target, section)| TargetRef { target, section, index })
    });
    read.collect()
}

fn target(
    said: &PolicyTargetRef,
    namespace: &str,
    field: Field<'_>,
    notes: &mut Notes,
) -> Option<(Target, Option<String>)> {
    let PolicyTargetRef { group, kind, name, section_name } = said;
    match (kind.as_str(), group.as_deref()) {
        ("ApiRoute", None | Some(ravelin_crds::GROUP)) => {
            Some((Target::Route(ObjectKey::new(namespace, name)), section_name.clone()))
        }
        ("Namespace", None | Some("")) if section_name.is_some() => {
            notes.invalid(field.member("sectionName"), "a Namespace has no sections", "Leave it out.");
            None
        }
        ("Namespace", None | Some("")) if name == namespace => Some((Target::Namespace(namespace.to_owned()), None)),
        ("Namespace", None | Some("")) => {
            let message = format!("a policy is for its own namespace, `{namespace}`, and for no other");
            notes.invalid(field.member("name"), message, "Write the policy into the namespace that it is for.");
            None
        }
        (kind, _) => {
            let message = format!("the policy cannot be attached to {}", text::shown(kind));
            notes.invalid(field.member("kind"), message, "Use ApiRoute or Namespace.");
            None
        }
    }
}

/// The policies of one family that may bind a route.
pub(super) struct OnRoute<'a> {
    unknown: Option<&'a Attached>,
    namespace: Vec<&'a Attached>,
    /// With and without sections.
    route: Vec<&'a Attached>,
    /// The first that names a rule which is not there.
    lost: Option<&'a Attached>,
}

impl<'a> OnRoute<'a> {
    /// `rules` are the names that users gave.
    pub(super) fn new(all: &'a Attachments, route: &ObjectKey, rules: &BTreeSet<&str>) -> Self {
        let on_route: Vec<&Attached> = all.get(&Target::Route(route.clone())).collect();
        let is_lost = |policy: &&&Attached| policy.section.as_deref().is_some_and(|section| !rules.contains(section));
        Self {
            unknown: all.get(&Target::Unknown(route.namespace.clone())).next(),
            namespace: all.get(&Target::Namespace(route.namespace.clone())).collect(),
            lost: on_route.iter().find(is_lost).copied(),
            route: on_route,
        }
    }

    /// What a route's policies depend on.
    pub(super) fn facts(route: &ObjectKey) -> [Fact; 3] {
        let namespace = &route.namespace;
        [
            Fact::PoliciesOn(Target::Unknown(namespace.clone())),
            Fact::PoliciesOn(Target::Namespace(namespace.clone())),
            Fact::PoliciesOn(Target::Route(route.clone())),
        ]
    }

    /// Who may call the rule of that name.
    pub(super) fn auth(&self, rule: Option<&str>) -> Guard {
        if let Some(closing) = self.unknown.or(self.lost) {
            return Guard::Closed(closing.key().clone());
        }
        self.winner(rule).map_or(Guard::Open, Attached::guard)
    }

    fn winner(&self, rule: Option<&str>) -> Option<&'a Attached> {
        let levels =
            [self.namespace.first().copied(), self.senior(None), rule.and_then(|rule| self.senior(Some(rule)))];
        let mut outermost = levels.into_iter().flatten();
        outermost.clone().find(|policy| policy.overrides).or_else(|| outermost.next_back())
    }

    /// The most senior on the route, or on that rule of it.
    fn senior(&self, section: Option<&str>) -> Option<&'a Attached> {
        self.route.iter().copied().find(|policy| policy.section.as_deref() == section)
    }

    /// How much of the rule of that name may be called. What is beyond [`MAX_LIMITS`] is closed.
    pub(super) fn limits(&self, rule: Option<&str>) -> Vec<Guard> {
        if let Some(closing) = self.unknown.or(self.lost) {
            return vec![Guard::Closed(closing.key().clone())];
        }
        let whole = self.route.iter().filter(|policy| policy.section.is_none());
        let named = self.route.iter().filter(|policy| rule.is_some() && policy.section.as_deref() == rule);
        let mut sum = 0;
        let mut guards: Vec<Guard> = Vec::new();
        for policy in self.namespace.iter().chain(whole).chain(named) {
            sum += policy.limits;
            let guard = if sum > MAX_LIMITS { Guard::Closed(policy.key().clone()) } else { policy.guard() };
            // A policy that names the route and its rule binds the rule once.
            if !guards.contains(&guard) {
                guards.push(guard);
            }
        }
        guards
    }
}

/// What becomes of a policy at one of its targets, if it is not simply in force there.
pub(super) fn judge(
    family: Family,
    all: &Attachments,
    own: &ObjectKey,
    at: &TargetRef,
    rules: Option<&BTreeSet<&str>>,
    notes: &mut Notes,
) {
    let field = Field::SPEC.member("targetRefs");
    let field = field.item(at.index);
    let route = match &at.target {
        Target::Unknown(_) => return,
        Target::Namespace(_) => None,
        Target::Route(key) => {
            let Some(rules) = rules else {
                let message = format!("there is no {} {key}", Kind::ApiRoute);
                notes.error(field, Reason::TargetNotFound, message, "Create it, or correct the name.");
                return;
            };
            if let Some(section) = at.section.as_deref().filter(|section| !rules.contains(section)) {
                let message = format!("{key} has no rule {}: the policy closes the whole route", text::shown(section));
                let field = field.member("sectionName");
                notes.error(field, Reason::TargetNotFound, message, "Give the rule that name, or correct it here.");
                return;
            }
            Some(OnRoute::new(all, key, rules))
        }
    };
    if family == Family::Limits {
        return;
    }
    let senior = all.get(&at.target).find(|policy| policy.section == at.section);
    if let Some(senior) = senior.filter(|senior| senior.key() != own) {
        let message = format!("the AuthPolicy {} is older and binds here", senior.key());
        notes.error(field, Reason::Conflicted, message, "Merge the two, or attach this one elsewhere.");
    } else if let Some(winner) = route.and_then(|route| route.winner(at.section.as_deref()))
        && winner.key() != own
        && winner.overrides
    {
        let message = format!("the AuthPolicy {} overrides this one here", winner.key());
        notes.warning(field, Reason::Conflicted, message, "Ask its owner, or leave the target out.");
    }
}
