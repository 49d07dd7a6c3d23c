//! Which of two AuthPolicies is in force, for every pair of places, ages, overrides and faults, against the sentences of the page
//! about AuthPolicy taken literally.

use ravelin_snapshot::route::Guard;
use serde_json::json;

use super::*;
use crate::verdict::Reason;

/// Where a policy may be attached, as its namespace and its target.
const PLACES: [(&str, Place); 7] = [
    ("shop", Place::Namespace("shop")),
    ("shop", Place::Route),
    ("shop", Place::Rule("one")),
    ("shop", Place::Rule("two")),
    ("bank", Place::Namespace("bank")),
    ("bank", Place::Route),
    ("bank", Place::Namespace("shop")),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Namespace(&'static str),
    /// Of the namespace's route, whose name is the same in both.
    Route,
    Rule(&'static str),
}

#[derive(Clone, Copy, Debug)]
struct Said {
    name: &'static str,
    namespace: &'static str,
    place: Place,
    created: Option<i64>,
    overrides: bool,
    broken: bool,
}

impl Said {
    fn all(name: &'static str) -> Vec<Self> {
        let mut all = Vec::new();
        for (namespace, place) in PLACES {
            for created in [Some(1), Some(2), None] {
                for (overrides, broken) in [(false, false), (false, true), (true, false), (true, true)] {
                    all.push(Self { name, namespace, place, created, overrides, broken });
                }
            }
        }
        all
    }

    fn object(&self) -> AnyObject {
        let target = match self.place {
            Place::Namespace(name) => json!({"kind": "Namespace", "name": name}),
            Place::Route => json!({"kind": "ApiRoute", "name": "orders"}),
            Place::Rule(rule) => json!({"kind": "ApiRoute", "name": "orders", "sectionName": rule}),
        };
        let allow = if self.broken { "no such thing" } else { "true" };
        let spec = json!({"targetRefs": [target], "override": self.overrides,
            "authorization": {"rules": [{"name": "r", "allow": allow}]}});
        let mut object = object(self.namespace, self.name, serde_json::from_value(spec).unwrap());
        object.meta.created = self.created;
        AnyObject::AuthPolicy(object)
    }

    fn key(&self) -> ObjectKey {
        ObjectKey::new(self.namespace, self.name)
    }

    fn seniority(&self) -> (i64, ObjectKey) {
        (self.created.unwrap_or(i64::MAX), self.key())
    }

    /// How near to a rule of a namespace's route it is; `None`: it is not for it.
    fn level(&self, namespace: &str, rule: &str) -> Option<usize> {
        if self.namespace != namespace {
            return None;
        }
        match self.place {
            Place::Namespace(name) => (name == namespace).then_some(0),
            Place::Route => Some(1),
            Place::Rule(named) => (named == rule).then_some(2),
        }
    }

    /// It is for a namespace of others.
    fn trespasses(&self, namespace: &str) -> bool {
        self.namespace == namespace && matches!(self.place, Place::Namespace(name) if name != namespace)
    }
}

/// "A target that cannot be made out closes the namespace." "The most specific policy wins unless an outer one says `override`;
/// ties go to the oldest, then the name." A policy that cannot be compiled closes what it protects.
fn expected(pair: &[Said], namespace: &str, rule: &str) -> Guard {
    let mut lost: Vec<_> = pair.iter().filter(|said| said.trespasses(namespace)).collect();
    lost.sort_by_key(|said| said.seniority());
    if let Some(lost) = lost.first() {
        return Guard::Closed(lost.key());
    }
    let mut levels: [Option<&Said>; 3] = [None; 3];
    for said in pair {
        let Some(level) = said.level(namespace, rule) else { continue };
        if levels[level].is_none_or(|before| said.seniority() < before.seniority()) {
            levels[level] = Some(said);
        }
    }
    let there = || levels.iter().flatten();
    match there().find(|said| said.overrides).or_else(|| there().next_back()) {
        None => Guard::Open,
        Some(said) if said.broken => Guard::Closed(said.key()),
        Some(said) => Guard::Policy(said.key()),
    }
}

#[test]
fn of_every_two_auth_policies_the_page_says_which_is_in_force_and_no_namespace_reaches_into_another() {
    let mut world = Model::default();
    for (namespace, host) in [("shop", "shop.example"), ("bank", "bank.example")] {
        world.set(backend(namespace, "one"));
        let rule = |name: &str, path: &str| json!({"name": name, "matches": [{"path": {"value": path}}], "backendRefs": [{"name": "one", "kind": "Backend"}]});
        let spec = json!({"hostnames": [host], "rules": [rule("one", "/1"), rule("two", "/2")]});
        world.set(AnyObject::ApiRoute(object(namespace, "orders", serde_json::from_value(spec).unwrap())));
    }
    let mut pairs = 0;
    let seconds = Said::all("q");
    for first in Said::all("p") {
        let mut model = world.clone();
        model.set(first.object());
        for second in &seconds {
            model.set(second.object());
            let compiled = compile(&model, Options::default(), None);
            let pair = [first, *second];
            for namespace in ["shop", "bank"] {
                let route = compiled.snapshot.routes.get(&ObjectKey::new(namespace, "orders")).unwrap();
                for (rule, said) in ["one", "two"].into_iter().zip(&route.rules) {
                    assert_eq!(said.auth, expected(&pair, namespace, rule), "{namespace} {rule}: {pair:?}");
                }
            }
            let tie = first.namespace == second.namespace && first.place == second.place && !first.trespasses("bank");
            for said in pair {
                let key = ObjectRef::new(Kind::AuthPolicy, said.key());
                let (_, verdict) = compiled.verdicts.iter().find(|(object, _)| **object == key).unwrap();
                let loses = tie && pair.iter().any(|other| other.seniority() < said.seniority());
                let conflicts = verdict.findings.iter().any(|finding| {
                    finding.reason == Reason::Conflicted && finding.severity == crate::verdict::Severity::Error
                });
                assert_eq!(conflicts, loses, "{said:?} of {pair:?}");
                assert!(
                    !verdict.accepted.status || !(loses || said.broken || said.trespasses("bank")),
                    "{said:?} of {pair:?}"
                );
            }
            model.remove(&ObjectRef::new(Kind::AuthPolicy, second.key()));
            pairs += 1;
        }
    }
    assert_eq!(pairs, 84 * 84);
}
