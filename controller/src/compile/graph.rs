//! Which results were computed from which facts: a change is followed to all that it touches, and to nothing else.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use foldhash::fast::RandomState;
use ravelin_snapshot::{
    Digest, HostPattern, ObjectKey,
    backend::{BackendKey, BackendKind},
};

use super::attach::Target;

/// Something that is computed and kept. In the order in which it is computed: a result depends on earlier ones only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Unit {
    /// An API key, from its Secret.
    ApiKey(ObjectKey),
    AuthPolicy(ObjectKey),
    Plan(ObjectKey),
    RateLimitPolicy(ObjectKey),
    BackendPolicy(ObjectKey),
    /// What is said about a Backend object, used or not.
    BackendObject(ObjectKey),
    /// A backend that routes use.
    Backend(BackendKey),
    /// A certificate that routes use.
    Certificate(ObjectKey),
    Route(ObjectKey),
    /// What is said about an object once everything else is known.
    RouteVerdict(ObjectKey),
    AuthVerdict(ObjectKey),
    RateLimitVerdict(ObjectKey),
    BackendPolicyVerdict(ObjectKey),
}

/// Something that results are computed from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Fact {
    /// The most senior route that names exactly this hostname.
    Claim(HostPattern),
    /// The ReferenceGrants of a namespace.
    Grants(String),
    Service(ObjectKey),
    /// The EndpointSlices of a Service.
    Slices(ObjectKey),
    BackendObject(ObjectKey),
    /// The BackendPolicies that are for a Service or a Backend.
    BackendPolicies(BackendKind, ObjectKey),
    Secret(ObjectKey),
    ConfigMap(ObjectKey),
    /// The API keys of a namespace.
    ApiKeys(String),
    /// The Plans of a namespace.
    Plans(String),
    /// Whether a backend can be used.
    Backend(BackendKey),
    /// Whether a certificate can be used, and for which names.
    Certificate(ObjectKey),
    /// An ApiRoute: whether it is there, and the names of its rules.
    Rules(ObjectKey),
    /// The AuthPolicies on a target: which, in what state; not what they say.
    AuthOn(Target),
    /// The same of RateLimitPolicies.
    LimitsOn(Target),
    /// Who takes the requests of a host and a match.
    Place(Digest),
}

type Units = HashSet<Arc<Unit>, RandomState>;

/// The edges, both ways.
#[derive(Debug, Default)]
pub(super) struct Graph {
    reads: HashMap<Arc<Unit>, Vec<Arc<Fact>>, RandomState>,
    readers: HashMap<Arc<Fact>, Units, RandomState>,
}

impl Graph {
    /// Replaces what `unit` was computed from, and returns the facts that nobody reads any more.
    pub(super) fn set(&mut self, unit: Unit, facts: BTreeSet<Fact>) -> Vec<Fact> {
        let unit = Arc::new(unit);
        let before = self.reads.remove(&unit).unwrap_or_default();
        let unread: Vec<Fact> = before
            .into_iter()
            .filter(|fact| !facts.contains(&**fact))
            .filter_map(|fact| self.unlink(&fact, &unit))
            .collect();
        let facts: Vec<Arc<Fact>> = facts.into_iter().map(|fact| self.link(fact, &unit)).collect();
        if !facts.is_empty() {
            self.reads.insert(unit, facts);
        }
        unread
    }

    pub(super) fn readers(&self, fact: &Fact) -> impl Iterator<Item = &Unit> {
        self.readers.get(fact).into_iter().flatten().map(|unit| &**unit)
    }

    pub(super) fn is_read(&self, fact: &Fact) -> bool {
        self.readers.contains_key(fact)
    }

    fn link(&mut self, fact: Fact, unit: &Arc<Unit>) -> Arc<Fact> {
        let fact = match self.readers.get_key_value(&fact) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::new(fact),
        };
        self.readers.entry(Arc::clone(&fact)).or_default().insert(Arc::clone(unit));
        fact
    }

    /// The fact, if this was its last reader.
    fn unlink(&mut self, fact: &Arc<Fact>, unit: &Arc<Unit>) -> Option<Fact> {
        let readers = self.readers.get_mut(fact)?;
        readers.remove(unit);
        if !readers.is_empty() {
            return None;
        }
        self.readers.remove(fact);
        Some(Fact::clone(fact))
    }
}
