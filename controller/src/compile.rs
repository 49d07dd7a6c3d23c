//! From a model to a snapshot and verdicts. Pure: no clock, no client, no `async`.

use ravelin_snapshot::Snapshot;

use crate::{
    model::{Model, Shelf},
    object::ObjectRef,
    verdict::Verdict,
};

/// What the installation decides, not the objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub hostname_ownership: HostnameOwnership,
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
}

/// `previous` is a cache and nothing else: whatever it holds, the result is that of compiling `model` from nothing.
pub fn compile(_model: &Model, _options: Options, _previous: Option<&Compiled>) -> Compiled {
    Compiled::default()
}
