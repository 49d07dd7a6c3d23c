//! Which results were computed from which facts: a change is followed to all that it touches, and to nothing else.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
};

use foldhash::fast::RandomState;
use ravelin_snapshot::{
    HostPattern, ObjectKey,
    backend::{BackendKey, BackendKind},
};

use super::{attach::Target, index::Index, route::place::Spot};

/// Something that is computed and kept. In the order in which it is computed: a result depends on earlier ones only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Unit {
    /// An API key, from its Secret.
    Key(ObjectKey),
    Plan(ObjectKey),
    RateLimitPolicy(ObjectKey),
    BackendPolicy(ObjectKey),
    /// What is said about a Backend object, used or not.
    BackendObject(ObjectKey),
    /// A backend that routes or AuthPolicies use.
    Backend(BackendKey),
    AuthPolicy(ObjectKey),
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
    /// The keys of callers of a namespace.
    Keys(String),
    /// The Plans of a namespace.
    Plans(String),
    /// Whether a backend can be used.
    Backend(BackendKey),
    /// Whether a certificate can be used, and for which names.
    Certificate(ObjectKey),
    /// An ApiRoute: whether it is there, and the names of its rules.
    Rules(ObjectKey),
    /// The AuthPolicies and RateLimitPolicies on a target: which, in what state; not what they say.
    PoliciesOn(Target),
    /// Who takes the requests of a host and a match.
    Place(Spot),
    /// Whether this second since the epoch has come.
    Moment(i64),
}

/// The edges, both ways.
#[derive(Debug, Default)]
pub(super) struct Graph {
    reads: HashMap<Arc<Unit>, Box<[Arc<Fact>]>, RandomState>,
    readers: Index<Arc<Fact>, Arc<Unit>>,
    /// That somebody reads.
    moments: BTreeSet<i64>,
}

impl Graph {
    /// Replaces what `unit` was computed from, and returns the facts that nobody reads any more.
    pub(super) fn set(&mut self, unit: Unit, facts: BTreeSet<Fact>) -> Vec<Fact> {
        let unit = Arc::new(unit);
        let before = self.reads.remove(&unit).unwrap_or_default();
        let mut unread = Vec::new();
        for fact in before.iter().filter(|fact| !facts.contains(&***fact)) {
            self.readers.remove(&**fact, &unit);
            if !self.is_read(fact) {
                if let Fact::Moment(moment) = **fact {
                    self.moments.remove(&moment);
                }
                unread.push(Fact::clone(fact));
            }
        }
        let facts: Box<[_]> = facts.into_iter().map(|fact| self.link(fact, &unit)).collect();
        if !facts.is_empty() {
            self.reads.insert(unit, facts);
        }
        unread
    }

    pub(super) fn readers(&self, fact: &Fact) -> impl Iterator<Item = &Unit> {
        self.readers.get(fact).map(|unit| &**unit)
    }

    pub(super) fn is_read(&self, fact: &Fact) -> bool {
        self.readers.key(fact).is_some()
    }

    /// Those that have come between the clock's `before` and `now`, whichever is later; all, if either is not known.
    pub(super) fn moments(&self, before: Option<i64>, now: Option<i64>) -> Vec<i64> {
        match (before, now) {
            (before, now) if before == now => Vec::new(),
            (Some(before), Some(now)) => {
                let (early, late) = (before.min(now), before.max(now));
                self.moments.range((Bound::Excluded(early), Bound::Included(late))).copied().collect()
            }
            (Some(_) | None, Some(_) | None) => self.moments.iter().copied().collect(),
        }
    }

    /// The first that is yet to come.
    pub(super) fn next_moment(&self, now: i64) -> Option<i64> {
        self.moments.range((Bound::Excluded(now), Bound::Unbounded)).next().copied()
    }

    fn link(&mut self, fact: Fact, unit: &Arc<Unit>) -> Arc<Fact> {
        if let Fact::Moment(moment) = fact {
            self.moments.insert(moment);
        }
        let fact = match self.readers.key(&fact) {
            Some(known) => Arc::clone(known),
            None => Arc::new(fact),
        };
        self.readers.insert(Arc::clone(&fact), Arc::clone(unit));
        fact
    }
}
