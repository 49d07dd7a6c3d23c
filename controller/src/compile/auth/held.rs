//! What a policy refers to in a Secret or a ConfigMap of its namespace. One that is missing closes what the policy protects.

use ravelin_snapshot::{ObjectKey, Secret as Hidden};

use crate::{
    compile::{
        graph::Fact,
        notes::{Field, Notes},
        work::{Reads, Work},
    },
    object::Kind,
    verdict::Reason,
};

/// A value of a Secret; `None` and a note if it is not there.
pub(super) fn in_secret<'w>(
    work: &Work<'w>,
    reads: &mut Reads,
    notes: &mut Notes,
    object: &ObjectKey,
    key: &str,
    field: Field<'_>,
) -> Option<&'w Hidden> {
    reads.insert(Fact::Secret(object.clone()));
    let secret = work.model.secrets.get(object).filter(|secret| secret.faults.is_empty());
    let value = secret.map(|secret| secret.spec.data.get(key));
    found(value, Kind::Secret, object, key, field, notes)
}

/// A value of a ConfigMap; `None` and a note if it is not there.
pub(super) fn in_config_map<'w>(
    work: &Work<'w>,
    reads: &mut Reads,
    notes: &mut Notes,
    object: &ObjectKey,
    key: &str,
    field: Field<'_>,
) -> Option<&'w str> {
    reads.insert(Fact::ConfigMap(object.clone()));
    let map = work.model.config_maps.get(object).filter(|map| map.faults.is_empty());
    let value = map.map(|map| map.spec.data.get(key).map(String::as_str));
    found(value, Kind::ConfigMap, object, key, field, notes)
}

fn found<T>(
    value: Option<Option<T>>,
    kind: Kind,
    object: &ObjectKey,
    key: &str,
    field: Field<'_>,
    notes: &mut Notes,
) -> Option<T> {
    match value {
        Some(Some(value)) => return Some(value),
        Some(None) => {
            let message = format!("{kind} {object} has no text under the key `{key}`");
            notes.error(field.member("key"), Reason::ReferenceNotFound, message, "Add it, or correct the key.");
        }
        None => {
            let message = format!("there is no {kind} {object} that can be read");
            notes.error(field.member("name"), Reason::ReferenceNotFound, message, "Create it, or correct the name.");
        }
    }
    None
}
