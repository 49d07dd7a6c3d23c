//! References of routes to backends and Secrets: kinds, namespaces, grants.

use ravelin_crds::{BackendObjectReference, BackendRef, SecretReference};
use ravelin_snapshot::{
    HostPattern, ObjectKey,
    backend::{BackendKey, BackendKind},
    route::{Broken, Target},
};

use super::{
    certificate::Usable,
    graph::Fact,
    notes::{Field, Notes},
    text,
    work::{Reads, Work},
};
use crate::{object::Kind, verdict::Reason};

/// Why something cannot be used, in words for whoever refers to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) broken: Broken,
    pub(super) reason: Reason,
    /// The member of the reference that is to blame; empty is the reference itself.
    pub(super) member: &'static str,
    pub(super) message: String,
    pub(super) remedy: String,
}

impl Refused {
    pub(super) fn new(
        reason: Reason,
        member: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { broken: Broken::BackendInvalid, reason, member, message: message.into(), remedy: remedy.into() }
    }

    pub(super) fn note(&self, field: Field<'_>, notes: &mut Notes) {
        let inner = field.member(self.member);
        notes.error(if self.member.is_empty() { field } else { inner }, self.reason, &self.message, &self.remedy);
    }
}

/// What all references to backends have.
#[derive(Clone, Copy)]
pub(super) struct BackendReference<'a> {
    group: Option<&'a str>,
    kind: Option<&'a str>,
    name: &'a str,
    namespace: Option<&'a str>,
    port: Option<u16>,
}

impl<'a> From<&'a BackendObjectReference> for BackendReference<'a> {
    fn from(reference: &'a BackendObjectReference) -> Self {
        let BackendObjectReference { group, kind, name, namespace, port } = reference;
        Self { group: group.as_deref(), kind: kind.as_deref(), name, namespace: namespace.as_deref(), port: *port }
    }
}

impl<'a> From<&'a BackendRef> for BackendReference<'a> {
    /// `weight` and `filters` are the rule's business.
    fn from(reference: &'a BackendRef) -> Self {
        let BackendRef { group, kind, name, namespace, port, weight: _, filters: _ } = reference;
        Self { group: group.as_deref(), kind: kind.as_deref(), name, namespace: namespace.as_deref(), port: *port }
    }
}

/// The target of a reference that stands in an ApiRoute of `namespace`; what is wrong with it is noted.
pub(super) fn backend(
    work: &mut Work<'_>,
    reads: &mut Reads,
    notes: &mut Notes,
    field: Field<'_>,
    namespace: &str,
    reference: BackendReference<'_>,
) -> Target {
    let found = backend_key(namespace, reference).and_then(|key| {
        let kind = match key.kind {
            BackendKind::Service => Kind::Service,
            BackendKind::Backend => Kind::Backend,
        };
        granted(work, reads, namespace, kind, &key.object)?;
        work.backend(reads, &key)?;
        Ok(shared(work, key))
    });
    match found {
        Ok(key) => Target::Backend(key),
        Err(refused) => {
            refused.note(field, notes);
            Target::Reject(refused.broken)
        }
    }
}

fn backend_key(namespace: &str, reference: BackendReference<'_>) -> Result<BackendKey, Refused> {
    let BackendReference { group, kind, name, namespace: other, port } = reference;
    let kind = match (kind.unwrap_or("Service"), group) {
        ("Service", None | Some("")) => BackendKind::Service,
        ("Backend", None | Some(ravelin_crds::GROUP)) => BackendKind::Backend,
        (kind, group) => {
            let group = group.map(|group| format!(" of the group {}", text::shown(group))).unwrap_or_default();
            let message = format!("{}{group} is no backend", text::shown(kind));
            return Err(Refused::new(Reason::InvalidKind, "kind", message, "Refer to a Service or a Backend."));
        }
    };
    let port = match (kind, port) {
        (BackendKind::Service, Some(port)) => port,
        (BackendKind::Service, None) => {
            let message = "a Service needs a port";
            return Err(Refused::new(Reason::InvalidReference, "port", message, "Say which port of the Service."));
        }
        // Its endpoints have their own.
        (BackendKind::Backend, _) => 0,
    };
    Ok(BackendKey { kind, object: ObjectKey::new(other.unwrap_or(namespace), name), port })
}

/// The same with the object's own key, whose text is there already: many routes name one backend.
fn shared(work: &Work<'_>, key: BackendKey) -> BackendKey {
    let object = match key.kind {
        BackendKind::Service => work.model.services.get(&key.object).map(|object| object.meta.key.clone()),
        BackendKind::Backend => work.model.backends.get(&key.object).map(|object| object.meta.key.clone()),
    };
    BackendKey { object: object.unwrap_or(key.object), ..key }
}

/// The certificate of a reference in an ApiRoute of `namespace`: its Secret, and the names that it is for. `None` and a note
/// if it cannot be served.
pub(super) fn certificate(
    work: &mut Work<'_>,
    reads: &mut Reads,
    notes: &mut Notes,
    field: Field<'_>,
    namespace: &str,
    reference: &SecretReference,
) -> Option<(ObjectKey, Vec<HostPattern>)> {
    let found = certificate_key(namespace, reference).and_then(|key| {
        granted(work, reads, namespace, Kind::Secret, &key)?;
        Ok((work.certificate(reads, &key)?, key))
    });
    match found {
        Ok((Usable { names, validity, no_staple, broken }, key)) => {
            if no_staple {
                let message =
                    format!("the tls.ocsp-staple of Secret {key} is no successful answer of OCSP and is not sent");
                notes.warning(
                    field,
                    Reason::Suspicious,
                    message,
                    "Put the answer in DER there, or take the entry out.",
                );
            }
            validity.note(work, reads, notes, field, (&format!("Secret {key}"), ": clients refuse it"));
            if let Some(refused) = broken {
                refused.note(field, notes);
            }
            Some((key, names))
        }
        Err(refused) => {
            refused.note(field, notes);
            None
        }
    }
}

/// The Secret that a reference to a certificate means, in `namespace` if it names none.
pub(super) fn certificate_key(namespace: &str, reference: &SecretReference) -> Result<ObjectKey, Refused> {
    let SecretReference { group, kind, name, namespace: other } = reference;
    match (kind.as_deref().unwrap_or("Secret"), group.as_deref()) {
        ("Secret", None | Some("")) => Ok(ObjectKey::new(other.as_deref().unwrap_or(namespace), name)),
        (kind, _) => {
            let message = format!("{} holds no certificate", text::shown(kind));
            Err(Refused::new(Reason::InvalidKind, "kind", message, "Refer to a Secret of type kubernetes.io/tls."))
        }
    }
}

/// Gateway API's ReferenceGrant: the namespace of what is referred to must allow it.
fn granted(work: &Work<'_>, reads: &mut Reads, namespace: &str, kind: Kind, to: &ObjectKey) -> Result<(), Refused> {
    if to.namespace == namespace {
        return Ok(());
    }
    reads.insert(Fact::Grants(to.namespace.clone()));
    let grants = work.index.grants.get(&to.namespace).filter_map(|key| work.model.grants.get(key));
    // What cannot be read of a grant may have narrowed it.
    let mut grants = grants.filter(|grant| grant.faults.is_empty());
    let allowed = grants.any(|grant| {
        let mut from = grant.spec.from.iter();
        let mut entries = grant.spec.to.iter();
        let routes = Kind::ApiRoute;
        from.any(|from| from.group == routes.group() && from.kind == routes.as_str() && from.namespace == namespace)
            && entries.any(|entry| {
                entry.group == kind.group()
                    && entry.kind == kind.as_str()
                    && entry.name.as_deref().is_none_or(|name| name == to.name)
            })
    });
    if allowed {
        return Ok(());
    }
    let message = format!("{kind} {to} is in another namespace, which does not grant its use");
    let remedy = format!(
        "Create a ReferenceGrant in `{}` from ApiRoute of `{namespace}` to {kind}, or move one of them.",
        to.namespace
    );
    Err(Refused::new(Reason::RefNotPermitted, "namespace", message, remedy))
}
