//! From a model to a snapshot and verdicts. Pure: no client, no `async`, and the time is the model's.
//!
//! [`work`] is the pass: from the objects that changed to all that was computed from them (its order and its edges are in
//! [`graph`]). What is computed is in a file each: [`route`], [`backend`], [`certificate`]; [`reference`] says what a
//! route may use, [`attach`] which policy binds where, [`notes`] gathers what there is to say about an object.

mod attach;
mod auth;
mod backend;
mod balancing;
mod certificate;
mod grammar;
mod graph;
mod held;
mod index;
mod notes;
mod rate_limit;
mod reference;
mod route;
mod text;
mod work;

use std::sync::{Arc, Mutex};

use ravelin_snapshot::{Digest, ObjectKey, Part, Parts, Snapshot, auth::AuthPolicy, jwt::KeySource, route::Route};

use crate::{
    model::{Model, Shelf},
    object::{AnyObject, Object, ObjectRef, Secret},
    verdict::{Finding, Reason, Severity, Verdict},
};
use work::{Memo, Work};

/// What the installation decides, not the objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub hostname_ownership: HostnameOwnership,
    pub limit_store: LimitStore,
}

/// Whether the data plane has a store for limits of the scope `Shared`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitStore {
    /// Or nobody knows, as where objects are only checked.
    #[default]
    Configured,
    /// Policies of that scope cannot be enforced.
    Missing,
}

/// Whether namespaces may share a hostname on the default listeners.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostnameOwnership {
    /// A hostname belongs to the namespace of the oldest route that names it.
    #[default]
    Namespace,
    /// Namespaces merge.
    Shared,
}

/// What a model came to, with all that is needed to compile the next one in proportion to what changes.
#[derive(Clone, Debug, Default)]
pub struct Compiled {
    /// Without a revision: the channel numbers it.
    pub snapshot: Snapshot,
    /// Of every object of ours, and of others where there is something to say.
    pub verdicts: Shelf<ObjectRef, Verdict>,
    /// The second since the epoch from which on the same objects come to something else, after the model's own.
    pub next_moment: Option<i64>,
    /// How many results were computed, rather than taken from the compilation before.
    pub computed: usize,
    /// Whoever compiles on from here first takes it along; whoever comes later starts from nothing, and comes to the same.
    memo: Arc<Mutex<Option<Memo>>>,
}

/// `previous` is a cache and nothing else: whatever it holds, the result is that of compiling `model` from nothing.
pub fn compile(model: &Model, options: Options, previous: Option<&Compiled>) -> Compiled {
    let memo = previous.and_then(|previous| {
        // A memo that a panic left behind is as good as none.
        let memo = previous.memo.lock().ok()?.take()?;
        Some((memo, previous.snapshot.clone(), previous.verdicts.clone()))
    });
    let (memo, snapshot, verdicts) = memo.unwrap_or_default();
    let mut work = Work::resume(model, options, memo, snapshot, verdicts);
    work.run();
    let next_moment = work.next_moment();
    let (memo, snapshot, verdicts, computed) = work.finish();
    Compiled { snapshot, verdicts, next_moment, computed, memo: Arc::new(Mutex::new(Some(memo))) }
}

/// Whether a Secret holds a certificate that can be served.
pub(crate) fn holds_certificate(key: &ObjectKey, secret: Option<&Arc<Object<Secret>>>) -> bool {
    certificate::compile(key, secret).is_ok()
}

/// What is wrong with an object by itself: expressions, regular expressions, fields without a meaning. References are no
/// matter here. A file that holds such an object is not taken over.
pub fn check_object(object: &AnyObject) -> Vec<Finding> {
    let mut model = Model::default();
    model.set(object.clone());
    let alone = compile(&model, Options::default(), None);
    let findings = alone.verdicts.get(&object.reference()).map(|verdict| verdict.findings.clone()).unwrap_or_default();
    let is_its_own = |finding: &Finding| {
        finding.severity == Severity::Error && matches!(finding.reason, Reason::Invalid | Reason::Unsupported)
    };
    findings.into_iter().filter(is_its_own).collect()
}

/// Of hosts, routes and policies, with backends and secrets by name: equal wherever the same objects are applied, whatever
/// their age, their endpoints and their keys. It is what `check -o json` prints.
pub fn digest(compiled: &Compiled) -> Digest {
    let Snapshot { revision: _, routes, backends: _, auth, limits, certificates: _ } = &compiled.snapshot;
    let routes: Parts<_, _> = routes
        .iter()
        .map(|(key, route)| (key.clone(), Part::new(Route { created: None, ..Route::clone(route) })))
        .collect();
    let auth: Parts<_, _> = auth
        .iter()
        .map(|(key, policy)| {
            let mut policy = AuthPolicy::clone(policy);
            if let Some(said) = &mut policy.authentication {
                said.api_key.iter_mut().for_each(|method| method.keys.clear());
                said.hmac.iter_mut().for_each(|method| method.keys.clear());
                for provider in said.jwt.iter_mut().flat_map(|method| &mut method.providers) {
                    if let KeySource::Fixed { secret: Some(_), keys } = &mut provider.keys {
                        keys.clear();
                    }
                }
            }
            (key.clone(), Part::new(policy))
        })
        .collect();
    let sums = [routes.digest(), auth.digest(), limits.digest()].map(|sum| sum.to_string());
    Digest::of(sums.concat().as_bytes())
}

#[cfg(test)]
mod tests;
