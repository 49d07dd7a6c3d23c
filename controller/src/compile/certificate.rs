//! Certificates of routes, from Secrets of type `kubernetes.io/tls`.

use std::sync::Arc;

use ravelin_snapshot::{ObjectKey, certificate::Certificate};

use super::reference::Refused;
use crate::{
    object::{Object, Secret},
    verdict::Reason,
};

/// A chain with its key, or what to tell those who refer to it.
pub(super) fn compile(key: &ObjectKey, secret: Option<&Arc<Object<Secret>>>) -> Result<Certificate, Refused> {
    let _ = secret;
    let message = format!("there is no Secret {key}");
    Err(Refused::new(Reason::ReferenceNotFound, "name", message, "Create it, or correct the name."))
}
