//! One pass of the compiler: from what changed to what depends on it, in the order of [`Unit`].

use std::collections::{BTreeSet, HashMap};

use ravelin_snapshot::{HostPattern, ObjectKey, Part, Snapshot, backend::BackendKey};

use super::{
    Options, backend, certificate,
    graph::{Fact, Graph, Unit},
    index::{Indexes, seniority},
    notes::Notes,
    reference::Refused,
    route,
};
use crate::{
    model::{Model, Shelf},
    object::{Kind, ObjectRef},
    verdict::Verdict,
};

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

/// Results that are no part of the snapshot by themselves.
#[derive(Debug, Default)]
pub(super) struct Cells {
    /// The backends that routes refer to: in the snapshot, or refused.
    backends: HashMap<BackendKey, Result<(), Refused>, foldhash::fast::RandomState>,
    /// The same of certificates.
    certificates: HashMap<ObjectKey, Result<(), Refused>, foldhash::fast::RandomState>,
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
        work.follow_changes(&before);
        work
    }

    pub(super) fn run(&mut self) {
        while let Some(unit) = self.dirty.pop_first() {
            self.compute(unit);
        }
        self.drop_unread();
    }

    pub(super) fn finish(self) -> (Memo, Snapshot, Shelf<ObjectRef, Verdict>, usize) {
        let Self { model, options, index, cells, graph, dirty: _, unread: _, snapshot, verdicts, computed } = self;
        (Memo { model: model.clone(), options, index, graph, cells }, snapshot, verdicts, computed)
    }

    /// Keeps the indexes and marks what is to be computed again.
    fn follow_changes(&mut self, before: &Model) {
        let model = self.model;
        self.follow_slices(before);
        self.follow_routes(before);
        for change in model.backends.changes(&before.backends) {
            self.dirty.insert(Unit::BackendObject(change.key.clone()));
            self.fire(&Fact::BackendObject(change.key.clone()));
        }
        for change in model.services.changes(&before.services) {
            self.fire(&Fact::Service(change.key.clone()));
        }
        for change in model.secrets.changes(&before.secrets) {
            self.fire(&Fact::Secret(change.key.clone()));
        }
        for change in model.grants.changes(&before.grants) {
            let namespace = &change.key.namespace;
            match change.after {
                Some(_) => self.index.grants.insert(namespace.clone(), change.key.clone()),
                None => self.index.grants.remove(namespace, change.key),
            }
            self.fire(&Fact::Grants(namespace.clone()));
        }
    }

    fn follow_slices(&mut self, before: &Model) {
        let model = self.model;
        for change in model.endpoint_slices.changes(&before.endpoint_slices) {
            let service = |service: &str| ObjectKey::new(&change.key.namespace, service);
            if let Some(old) = change.before {
                self.index.slices.remove(&service(&old.spec.service), change.key);
                self.fire(&Fact::Slices(service(&old.spec.service)));
            }
            if let Some(new) = change.after {
                self.index.slices.insert(service(&new.spec.service), change.key.clone());
                self.fire(&Fact::Slices(service(&new.spec.service)));
            }
        }
    }

    fn follow_routes(&mut self, before: &Model) {
        let model = self.model;
        for change in model.routes.changes(&before.routes) {
            let mut hosts: BTreeSet<HostPattern> = BTreeSet::new();
            if let Some(old) = change.before {
                for host in route::host::claims(old) {
                    self.index.claims.remove(&host, &seniority(&old.meta));
                    hosts.insert(host);
                }
            }
            if let Some(new) = change.after {
                for host in route::host::claims(new) {
                    self.index.claims.insert(host.clone(), seniority(&new.meta));
                    hosts.insert(host);
                }
            }
            hosts.into_iter().for_each(|host| self.fire(&Fact::Claim(host)));
            self.dirty.insert(Unit::Route(change.key.clone()));
            self.fire(&Fact::Rules(change.key.clone()));
        }
    }

    /// Marks what was computed from `fact`.
    fn fire(&mut self, fact: &Fact) {
        self.dirty.extend(self.graph.readers(fact).cloned());
    }

    fn compute(&mut self, unit: Unit) {
        self.computed += 1;
        match &unit {
            Unit::BackendObject(key) => self.compute_backend_object(key),
            Unit::Backend(key) => self.compute_backend(key),
            Unit::Certificate(key) => self.compute_certificate(key),
            Unit::Route(key) => self.compute_route(key),
            Unit::ApiKey(_)
            | Unit::AuthPolicy(_)
            | Unit::RateLimitPolicy(_)
            | Unit::BackendPolicy(_)
            | Unit::Plan(_)
            | Unit::RouteVerdict(_)
            | Unit::AuthVerdict(_)
            | Unit::RateLimitVerdict(_)
            | Unit::BackendPolicyVerdict(_) => {}
        }
    }

    fn read_by(&mut self, unit: Unit, reads: Reads) {
        self.unread.extend(self.graph.set(unit, reads));
    }

    fn compute_route(&mut self, key: &ObjectKey) {
        let mut reads = Reads::new();
        let object = self.model.routes.get(key);
        let result = object.map(|object| route::compile(self, &mut reads, object));
        self.read_by(Unit::Route(key.clone()), reads);
        let (part, verdict) = match result {
            Some((route, verdict)) => (route, Some(verdict)),
            None => (None, None),
        };
        self.judge(Kind::ApiRoute, key, verdict);
        match part {
            Some(part) => self.snapshot.routes.insert(key.clone(), Part::new(part)),
            None => drop(self.snapshot.routes.remove(key)),
        }
    }

    fn compute_backend_object(&mut self, key: &ObjectKey) {
        let verdict = self.model.backends.get(key).map(|object| {
            let mut notes = Notes::of_faults(&object.faults);
            // Only what is said counts here; whether it can be used is asked by whoever uses it.
            let _ = backend::object(object, &mut notes);
            notes.verdict(object.meta.generation)
        });
        self.judge(Kind::Backend, key, verdict);
    }

    /// Whether a backend can be used; it is compiled when the first route asks for it.
    pub(super) fn backend(&mut self, reads: &mut Reads, key: &BackendKey) -> Result<(), Refused> {
        reads.insert(Fact::Backend(key.clone()));
        if !self.cells.backends.contains_key(key) {
            self.computed += 1;
            self.compute_backend(key);
        }
        // Invariant: what was computed is there.
        self.cells.backends.get(key).cloned().unwrap_or(Ok(()))
    }

    fn compute_backend(&mut self, key: &BackendKey) {
        let mut reads = Reads::new();
        let (part, state) = match backend::compile(self, &mut reads, key) {
            Ok(backend) => (Some(backend), Ok(())),
            Err(refused) => (None, Err(refused)),
        };
        self.read_by(Unit::Backend(key.clone()), reads);
        match part {
            Some(backend) => self.snapshot.backends.insert(key.clone(), Part::new(backend)),
            None => drop(self.snapshot.backends.remove(key)),
        }
        if self.cells.backends.insert(key.clone(), state.clone()) != Some(state) {
            self.fire(&Fact::Backend(key.clone()));
        }
    }

    /// Whether a certificate can be served; it is read when the first route asks for it.
    pub(super) fn certificate(&mut self, reads: &mut Reads, key: &ObjectKey) -> Result<(), Refused> {
        reads.insert(Fact::Certificate(key.clone()));
        if !self.cells.certificates.contains_key(key) {
            self.computed += 1;
            self.compute_certificate(key);
        }
        // Invariant: what was computed is there.
        self.cells.certificates.get(key).cloned().unwrap_or(Ok(()))
    }

    fn compute_certificate(&mut self, key: &ObjectKey) {
        let (part, state) = match certificate::compile(key, self.model.secrets.get(key)) {
            Ok(certificate) => (Some(certificate), Ok(())),
            Err(refused) => (None, Err(refused)),
        };
        self.read_by(Unit::Certificate(key.clone()), Reads::from([Fact::Secret(key.clone())]));
        match part {
            Some(certificate) => self.snapshot.certificates.insert(key.clone(), Part::new(certificate)),
            None => drop(self.snapshot.certificates.remove(key)),
        }
        if self.cells.certificates.insert(key.clone(), state.clone()) != Some(state) {
            self.fire(&Fact::Certificate(key.clone()));
        }
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
