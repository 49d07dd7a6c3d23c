//! One pass of the compiler: from what changed to what depends on it, in the order of [`Unit`].

mod follow;
mod parts;
mod policies;
mod routes;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::Hash,
};

use ravelin_snapshot::{
    ObjectKey, Part, Parts, Snapshot,
    backend::{BackendKey, Protocol},
    rate_limit::Plan,
};
use serde::Serialize;

use super::{
    Options,
    attach::Family,
    auth::keys,
    backend::policy::BackendPolicy,
    certificate,
    graph::{Fact, Graph, Unit},
    index::Indexes,
    reference::Refused,
};
use crate::{
    model::{Model, Shelf},
    object::{Kind, ObjectRef},
    verdict::Verdict,
};
use policies::Policy;
use routes::RouteNotes;

/// The facts that a unit was computed from.
pub(super) type Reads = BTreeSet<Fact>;

/// What is kept from one pass for the next.
#[derive(Debug, Default)]
pub(super) struct Memo {
    model: Model,
    options: Options,
    index: Indexes,
    graph: Graph,
    cells: Cells,
}

type Cell<T> = HashMap<ObjectKey, T, foldhash::fast::RandomState>;

/// Results that are no part of the snapshot by themselves.
#[derive(Debug, Default)]
pub(super) struct Cells {
    /// The backends that routes refer to: in the snapshot, or refused.
    backends: HashMap<BackendKey, Result<Protocol, Refused>, foldhash::fast::RandomState>,
    /// The certificates that routes refer to, or why they are refused.
    certificates: Cell<Result<certificate::Usable, Refused>>,
    routes: Cell<RouteNotes>,
    keys: Cell<keys::Key>,
    auth: Cell<Policy>,
    limits: Cell<Policy>,
    /// Plans by namespace and name.
    plans: BTreeMap<ObjectKey, Plan>,
    backend_policies: Cell<BackendPolicy>,
}

/// A pass that is under way.
pub(super) struct Work<'m> {
    pub(super) model: &'m Model,
    pub(super) options: Options,
    pub(super) index: Indexes,
    cells: Cells,
    graph: Graph,
    dirty: BTreeSet<Unit>,
    /// Facts that nobody read at some time of this pass.
    unread: Vec<Fact>,
    pub(super) snapshot: Snapshot,
    pub(super) verdicts: Shelf<ObjectRef, Verdict>,
    /// Units that were computed in this pass.
    pub(super) computed: usize,
}

impl<'m> Work<'m> {
    /// Goes on from what `memo` was left by, with that snapshot and those verdicts.
    pub(super) fn resume(
        model: &'m Model,
        options: Options,
        memo: Memo,
        snapshot: Snapshot,
        verdicts: Shelf<ObjectRef, Verdict>,
    ) -> Self {
        if memo.options != options {
            return Self::resume(
                model,
                options,
                Memo { options, ..Memo::default() },
                Snapshot::default(),
                Shelf::default(),
            );
        }
        let Memo { model: before, options: _, index, graph, cells } = memo;
        let (dirty, unread) = (BTreeSet::new(), Vec::new());
        let mut work = Self { model, options, index, cells, graph, dirty, unread, snapshot, verdicts, computed: 0 };
        work.follow(&before);
        work
    }

    pub(super) fn run(&mut self) {
        while let Some(unit) = self.dirty.pop_first() {
            self.compute(&unit);
        }
        self.drop_unread();
    }

    /// When something else is to be said, though no object changes.
    pub(super) fn next_moment(&self) -> Option<i64> {
        self.graph.next_moment(self.model.clock?)
    }

    pub(super) fn finish(self) -> (Memo, Snapshot, Shelf<ObjectRef, Verdict>, usize) {
        let Self { model, options, index, cells, graph, dirty: _, unread: _, snapshot, verdicts, computed } = self;
        (Memo { model: model.clone(), options, index, graph, cells }, snapshot, verdicts, computed)
    }

    /// Marks what was computed from `fact`.
    fn fire(&mut self, fact: &Fact) {
        self.dirty.extend(self.graph.readers(fact).cloned());
    }

    fn compute(&mut self, unit: &Unit) {
        self.computed += 1;
        match unit {
            Unit::Key(key) => self.compute_key(key),
            Unit::AuthPolicy(key) => self.compute_auth(key),
            Unit::RateLimitPolicy(key) => self.compute_limits(key),
            Unit::BackendPolicy(key) => self.compute_backend_policy(key),
            Unit::Plan(key) => self.compute_plan(key),
            Unit::BackendObject(key) => self.compute_backend_object(key),
            Unit::Backend(key) => self.compute_backend(key),
            Unit::Certificate(key) => self.compute_certificate(key),
            Unit::Route(key) => self.compute_route(key),
            Unit::RouteVerdict(key) => self.judge_route(key),
            Unit::AuthVerdict(key) => self.judge_policy(Family::Auth, key),
            Unit::RateLimitVerdict(key) => self.judge_policy(Family::Limits, key),
            Unit::BackendPolicyVerdict(key) => self.judge_backend_policy(key),
        }
    }

    fn read_by(&mut self, unit: Unit, reads: Reads) {
        self.unread.extend(self.graph.set(unit, reads));
    }

    fn judge(&mut self, kind: Kind, key: &ObjectKey, verdict: Option<Verdict>) {
        let object = ObjectRef::new(kind, key.clone());
        match verdict {
            Some(verdict) => self.verdicts.set(object, verdict),
            None => self.verdicts.remove(&object),
        }
    }

    /// Backends and certificates that no route uses any more are not served.
    fn drop_unread(&mut self) {
        while let Some(fact) = self.unread.pop() {
            if self.graph.is_read(&fact) {
                continue;
            }
            match fact {
                Fact::Backend(key) => {
                    self.cells.backends.remove(&key);
                    self.snapshot.backends.remove(&key);
                    self.read_by(Unit::Backend(key), Reads::new());
                }
                Fact::Certificate(key) => {
                    self.cells.certificates.remove(&key);
                    self.snapshot.certificates.remove(&key);
                    self.read_by(Unit::Certificate(key), Reads::new());
                }
                _ => {}
            }
        }
    }
}

/// What comes to the same keeps its part, and whoever holds a copy knows it by the pointer.
fn put<K: Clone + Ord + Hash + Serialize, T: PartialEq + Serialize>(
    parts: &mut Parts<K, T>,
    key: &K,
    value: Option<T>,
) {
    match value {
        Some(value) if parts.get(key).is_some_and(|part| **part == value) => {}
        Some(value) => parts.insert(key.clone(), Part::new(value)),
        None => drop(parts.remove(key)),
    }
}
