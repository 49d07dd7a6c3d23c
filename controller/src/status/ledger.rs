//! Which statuses are open: they do not say yet what they should, or wait for replicas.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ravelin_crds::ParentReference;
use tokio::time::Instant;

use super::{
    conditions::{Wanted, Written},
    programmed::{Programmed, judge, not_accepted},
};
use crate::{
    model::{Model, Shelf},
    object::{Kind, Meta, ObjectRef},
    publish::Published,
    replica::Roster,
    verdict::Verdict,
    watch::Marks,
};

/// How long a status waits for the replicas before it says that they do not serve the object yet: replicas are mostly
/// faster, and then one write says it all.
const GRACE: Duration = Duration::from_millis(500);

/// A status that has to be written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    pub object: ObjectRef,
    pub wanted: Wanted,
    pub written: Written,
    pub parents: Vec<ParentReference>,
}

#[derive(Default)]
pub(super) struct Ledger {
    latest: Option<Arc<Published>>,
    /// Of `latest`; empty before.
    verdicts: Shelf<ObjectRef, Verdict>,
    written: Shelf<ObjectRef, Written>,
    open: BTreeMap<ObjectRef, Open>,
    /// Those of `open` to look at.
    queue: BTreeSet<ObjectRef>,
}

/// What an open status waits for.
struct Open {
    /// The marks at which a replica serves the object as it was judged.
    need: Marks,
    since: Instant,
    /// What was written last, over what: until its echo comes, it is not written again.
    sent: Option<(Wanted, Written)>,
    writing: bool,
}

impl Ledger {
    pub(super) fn published(&mut self, published: Arc<Published>, now: Instant) {
        let (verdicts, written) = (&published.compiled.verdicts, &published.world.observed.written);
        let judged: Vec<_> = verdicts.changes(&self.verdicts).map(|change| change.key.clone()).collect();
        let said: Vec<_> = written.changes(&self.written).map(|change| change.key.clone()).collect();
        (self.verdicts, self.written) = (verdicts.clone(), written.clone());
        for object in judged.into_iter().filter(|object| object.kind.is_ours()) {
            let need = need(&object, &published);
            let open = self.open.entry(object.clone()).or_insert_with(|| Open::new(now));
            (open.need, open.since) = (need, now);
            self.queue.insert(object);
        }
        for object in said {
            if self.verdicts.get(&object).is_some() && !self.open.contains_key(&object) {
                let open = Open { need: need(&object, &published), ..Open::new(now) };
                self.open.insert(object.clone(), open);
            }
            self.queue.insert(object);
        }
        self.latest = Some(published);
    }

    /// The replicas or the time have moved on.
    pub(super) fn look_at_all(&mut self) {
        self.queue.extend(self.open.keys().cloned());
    }

    /// A write has ended; `taken`: well.
    pub(super) fn done(&mut self, object: &ObjectRef, taken: bool) {
        if let Some(open) = self.open.get_mut(object) {
            open.writing = false;
            if !taken {
                open.sent = None; // looked at again with the next tick
                return;
            }
            self.queue.insert(object.clone());
        }
    }

    /// The next status to write, if there is one now.
    pub(super) fn next(&mut self, roster: &Roster, now: Instant) -> Option<Step> {
        while let Some(object) = self.queue.pop_first() {
            if let Some(step) = self.look(&object, roster, now) {
                return Some(step);
            }
        }
        None
    }

    fn look(&mut self, object: &ObjectRef, roster: &Roster, now: Instant) -> Option<Step> {
        let latest = self.latest.as_ref()?;
        let Some(verdict) = latest.compiled.verdicts.get(object) else {
            self.open.remove(object);
            return None;
        };
        let open = self.open.get_mut(object).filter(|open| !open.writing)?;
        let written = latest.world.observed.written.get(object).map(|written| (**written).clone()).unwrap_or_default();
        let programmed = match verdict.accepted.status {
            true => Some(judge(&open.need, roster, now)),
            false => None,
        };
        let settled = match &programmed {
            None => true,
            Some(Programmed::Yes { except }) => except.is_empty(),
            // Once every replica has served it, a replica that is new or behind has it in its first snapshot.
            Some(Programmed::NotYet(_)) if written.is_programmed(verdict.generation) => true,
            Some(Programmed::NotYet(_)) if now.duration_since(open.since) < GRACE => return None,
            Some(Programmed::NotYet(_) | Programmed::Refused(_)) => false,
        };
        let said = match programmed {
            None => not_accepted(),
            Some(Programmed::NotYet(_)) if settled => Programmed::Yes { except: Vec::new() }.said(),
            Some(programmed) => programmed.said(),
        };
        let wanted = Wanted::new(verdict, said);
        let parents = parents_of(&latest.world.model, object);
        if written.fits(&wanted, &parents) {
            if settled {
                self.open.remove(object);
            }
            return None;
        }
        let sent = (wanted, written);
        if open.sent.as_ref() == Some(&sent) {
            return None;
        }
        open.sent = Some(sent.clone());
        open.writing = true;
        let (wanted, written) = sent;
        Some(Step { object: object.clone(), wanted, written, parents })
    }
}

impl Open {
    fn new(since: Instant) -> Self {
        Self { need: Marks::default(), since, sent: None, writing: false }
    }
}

/// A replica serves an object as it is once it has seen the object. If the object itself is not what changed its
/// verdict, something else did: then it has to have seen all that was seen here.
fn need(object: &ObjectRef, published: &Published) -> Marks {
    let world = &published.world;
    let marks = &world.observed.marks;
    let Some(meta) = meta(&world.model, object) else { return marks.clone() };
    let refused_before = world.observed.written.get(object).is_some_and(|written| written.was_refused(meta.generation));
    match (marks.of(object.kind, &object.key.namespace), meta.resource_version) {
        (Some((name, _)), Some(version)) if !refused_before => Marks::only(name, version),
        _ => marks.clone(),
    }
}

fn meta<'a>(model: &'a Model, object: &ObjectRef) -> Option<&'a Meta> {
    let key = &object.key;
    match object.kind {
        Kind::ApiRoute => model.routes.get(key).map(|object| &object.meta),
        Kind::Backend => model.backends.get(key).map(|object| &object.meta),
        Kind::BackendPolicy => model.backend_policies.get(key).map(|object| &object.meta),
        Kind::AuthPolicy => model.auth_policies.get(key).map(|object| &object.meta),
        Kind::RateLimitPolicy => model.rate_limit_policies.get(key).map(|object| &object.meta),
        Kind::Plan => model.plans.get(key).map(|object| &object.meta),
        Kind::Service
        | Kind::EndpointSlice
        | Kind::Secret
        | Kind::ConfigMap
        | Kind::Namespace
        | Kind::ReferenceGrant => None,
    }
}

fn parents_of(model: &Model, object: &ObjectRef) -> Vec<ParentReference> {
    match object.kind {
        Kind::ApiRoute => model.routes.get(&object.key).map(|route| route.spec.parent_refs.clone()).unwrap_or_default(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
