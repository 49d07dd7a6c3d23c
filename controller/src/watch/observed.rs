//! What the watches know beside the objects themselves.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    model::Shelf,
    object::{Kind, ObjectRef},
    status::Written,
};

/// Empty where the world comes from files.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// How new the model is.
    pub marks: Marks,
    /// What the statuses of our objects say.
    pub written: Shelf<ObjectRef, Written>,
    /// What the installed CRDs lack. Not empty: objects may say less than their users did, and nothing is served from them.
    pub lacking: Arc<[String]>,
}

/// For each watch of a kind of ours, the highest resourceVersion up to which the model holds all changes. By kind, or
/// `kind/namespace` where single namespaces are watched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Marks(BTreeMap<String, u64>);

impl Marks {
    /// The mark that says whether an object of this kind and namespace is in.
    pub fn of(&self, kind: Kind, namespace: &str) -> Option<(&str, u64)> {
        let one = |name: &str| self.0.get_key_value(name).map(|(name, version)| (name.as_str(), *version));
        one(&format!("{kind}/{namespace}")).or_else(|| one(kind.as_str()))
    }

    pub fn set(&mut self, name: String, version: u64) {
        self.0.insert(name, version);
    }

    /// One mark, as a thing to wait for.
    pub fn only(name: &str, version: u64) -> Self {
        Self(BTreeMap::from([(name.to_owned(), version)]))
    }

    /// Whether all that `other` holds is held here.
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|(name, version)| self.0.get(name).is_some_and(|mine| mine >= version))
    }
}
