//! Names of things, as Kubernetes names them.

use std::{fmt, ops::Deref, sync::Arc};

use serde::{Deserialize, Serialize};

/// A namespaced object: `namespace/name`. Which kind it is, the place says where the key stands. It stands in many places for
/// one object, so a copy shares the text.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ObjectKey(Arc<ObjectName>);

/// What a key says.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectName {
    pub namespace: String,
    pub name: String,
}

impl ObjectKey {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self(Arc::new(ObjectName { namespace: namespace.into(), name: name.into() }))
    }
}

impl Deref for ObjectKey {
    type Target = ObjectName;
    fn deref(&self) -> &ObjectName {
        &self.0
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The key of a policy's part in a snapshot: `namespace/name`.
pub type PolicyKey = ObjectKey;
