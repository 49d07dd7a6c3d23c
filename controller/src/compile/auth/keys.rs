//! Keys of callers: Secrets of types of their own, and which of them a policy selects.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::DateTime;
use ravelin_crds::{LabelSelector, LabelSelectorOperator, LabelSelectorRequirement};
use ravelin_snapshot::{ObjectKey, Secret as Hidden, hex};

use crate::{
    compile::{
        graph::Fact,
        index::seniority,
        notes::{Field, Notes},
        work::{Reads, Work},
    },
    object::{Object, Secret},
    verdict::Reason,
};

/// The types of the Secrets that are keys.
const API_KEY: &str = "ravelin.dev/api-key";
const HMAC_KEY: &str = "ravelin.dev/hmac-key";

/// Bytes of a shared key: fewer than its hash has are weaker than it (RFC 2104, 3).
const SHARED_KEY: std::ops::RangeInclusive<usize> = 32..=1024;

/// A key as its Secret has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::compile) struct Key {
    pub(super) proof: Proof,
    pub(super) holder: Holder,
    disabled: bool,
}

/// What a caller shows, or shows that he has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// Of an API key, in lower-case hex.
    Digest(Hidden),
    /// In base64, and what signatures call it.
    Shared { key: Hidden, key_id: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyKind {
    Api,
    Hmac,
}

/// Who has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) id: String,
    pub(super) scopes: Vec<String>,
    pub(super) groups: Vec<String>,
    pub(super) plan: String,
    pub(super) expires: Option<i64>,
}

impl Key {
    fn kind(&self) -> KeyKind {
        match self.proof {
            Proof::Digest(_) => KeyKind::Api,
            Proof::Shared { .. } => KeyKind::Hmac,
        }
    }

    /// What no two keys of a policy have in common.
    fn identity(&self) -> &str {
        match &self.proof {
            Proof::Digest(digest) => digest.expose(),
            Proof::Shared { key_id, .. } => key_id,
        }
    }
}

/// Whether a Secret is meant to be a key.
pub(in crate::compile) fn is_one(secret: &Object<Secret>) -> bool {
    [API_KEY, HMAC_KEY].contains(&secret.spec.type_.as_str())
}

/// The key that a Secret holds. One that is not wholly understood opens nothing.
pub(in crate::compile) fn read(object: &Object<Secret>, notes: &mut Notes) -> Option<Key> {
    let data = Field::Root("data");
    let Secret { type_, data: values, binary } = &object.spec;
    let (what, own): (_, &[&str]) =
        if type_ == HMAC_KEY { ("a signing key", &["key", "keyid"]) } else { ("an API key", &["sha256"]) };
    const KNOWN: [&str; 6] = ["id", "scopes", "groups", "plan", "expires", "disabled"];
    let is_known = |name: &str| KNOWN.contains(&name) || own.contains(&name);
    for name in values.keys().chain(binary).filter(|name| !is_known(name) || binary.contains(name)) {
        // It may be a misspelt `expires`.
        let remedy = format!(
            "Use the entries id, {}, scopes, groups, plan, expires and disabled; put notes into annotations.",
            own.join(", ")
        );
        notes.invalid(data.member(name), format!("{what} has no such entry"), remedy);
    }
    let value = |name: &str| values.get(name).map(|value| value.expose().trim());
    let id = value("id").unwrap_or_default();
    if id.is_empty() || id.len() > 253 || id.chars().any(char::is_control) {
        let message = format!("{what} needs an id of 1 to 253 characters");
        notes.invalid(data.member("id"), message, "Set it: it is caller.id.");
    }
    let proof = match type_ == HMAC_KEY {
        true => shared(value("key").unwrap_or_default(), value("keyid").unwrap_or(id), data, notes),
        false => digest(value("sha256").unwrap_or_default(), data, notes),
    };
    let expires = value("expires").map(DateTime::parse_from_rfc3339);
    if matches!(expires, Some(Err(_))) {
        notes.invalid(data.member("expires"), "it is no time of RFC 3339", "Write it as 2027-01-31T00:00:00Z.");
    }
    let sound = notes.breaks() == 0;
    // Whoever misspells it has meant something: it is none, and no other Secret's either.
    let disabled = value("disabled").unwrap_or("false");
    if !["true", "false"].contains(&disabled) {
        notes.invalid(data.member("disabled"), "it is neither true nor false", "Write true or false.");
    }
    let words = |name| value(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let holder = Holder {
        id: id.to_owned(),
        scopes: words("scopes"),
        groups: words("groups"),
        plan: value("plan").unwrap_or_default().to_owned(),
        expires: expires.and_then(Result::ok).map(|time| time.timestamp()),
    };
    sound.then_some(Key { proof, holder, disabled: disabled != "false" })
}

fn digest(said: &str, data: Field<'_>, notes: &mut Notes) -> Proof {
    let sha256 = said.to_ascii_lowercase();
    if hex::sha256(&sha256).is_none() {
        let remedy = "Make the key with `ravelin key new`, or hash it: printf %s \"$KEY\" | sha256sum.";
        notes.invalid(data.member("sha256"), "it is not the SHA-256 of a key in 64 hex digits", remedy);
    }
    Proof::Digest(Hidden::new(sha256))
}

fn shared(said: &str, key_id: &str, data: Field<'_>, notes: &mut Notes) -> Proof {
    if !BASE64_STANDARD.decode(said).is_ok_and(|key| SHARED_KEY.contains(&key.len())) {
        let remedy = "Make one: openssl rand -base64 32.";
        notes.invalid(data.member("key"), "it is not base64 of 32 to 1024 bytes", remedy);
    }
    // As a text of structured fields has it, and no longer than an id.
    if key_id.is_empty() || key_id.len() > 253 || !key_id.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        let message = "a signature names its key in 1 to 253 characters of ASCII";
        notes.invalid(data.member("keyid"), message, "Set it; without it the id is its name.");
    }
    Proof::Shared { key: Hidden::new(said), key_id: key_id.to_owned() }
}

/// The keys of a kind that are live, with the names of their Secrets, by what they show. Of two Secrets with one digest the
/// more senior counts, and neither if one is disabled: who revokes a key means the key.
pub(super) fn selected<'w>(
    work: &'w Work<'_>,
    reads: &mut Reads,
    notes: &mut Notes,
    namespace: &str,
    (kind, selector): (KeyKind, &LabelSelector),
    field: Field<'_>,
) -> Vec<(&'w str, &'w Key)> {
    check(selector, field, notes);
    reads.insert(Fact::Keys(namespace.to_owned()));
    let secrets = work.index.keys.get(namespace).filter_map(|key| Some((work.model.secrets.get(key)?, key)));
    let mut chosen: Vec<_> = secrets
        .filter(|(secret, _)| selects(selector, &secret.meta.labels))
        .filter_map(|(secret, key)| Some((seniority(&secret.meta), key, work.key(key)?)))
        .filter(|(_, _, key)| key.kind() == kind)
        .collect();
    chosen.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    let mut by_identity: BTreeMap<&str, (&ObjectKey, &Key, bool)> = BTreeMap::new();
    for (_, secret, key) in chosen {
        match by_identity.get_mut(key.identity()) {
            None => drop(by_identity.insert(key.identity(), (secret, key, key.disabled))),
            Some((first, _, disabled)) => {
                *disabled |= key.disabled;
                let (message, remedy) = match kind {
                    KeyKind::Api => ("hold the same key", "Delete one of them."),
                    KeyKind::Hmac => ("have the same keyid", "Give one of them another."),
                };
                let message = format!("the Secrets {first} and {secret} {message}, and only the first counts");
                notes.warning(field, Reason::Conflicted, message, remedy);
            }
        }
    }
    let live = by_identity.into_values().filter(|(_, _, disabled)| !disabled);
    live.map(|(secret, key, _)| (secret.name.as_str(), key)).collect()
}

/// Notes requirements that have no meaning.
fn check(selector: &LabelSelector, field: Field<'_>, notes: &mut Notes) {
    let LabelSelector { match_labels: _, match_expressions } = selector;
    let inner = field.member("matchExpressions");
    for (index, LabelSelectorRequirement { key: _, operator, values }) in match_expressions.iter().enumerate() {
        let field = inner.item(index);
        let field = field.member("values");
        match operator {
            LabelSelectorOperator::In | LabelSelectorOperator::NotIn if values.is_empty() => {
                notes.invalid(field, "there is nothing to compare with", "Name a value.");
            }
            LabelSelectorOperator::Exists | LabelSelectorOperator::DoesNotExist if !values.is_empty() => {
                notes.invalid(field, "the operator compares with no value", "Leave the values out.");
            }
            _ => {}
        }
    }
}

/// Kubernetes' meaning: an absent label is in no set.
fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let LabelSelector { match_labels, match_expressions } = selector;
    let exact = match_labels.iter().all(|(key, value)| labels.get(key) == Some(value));
    exact
        && match_expressions.iter().all(|LabelSelectorRequirement { key, operator, values }| {
            let value = labels.get(key);
            let listed = value.is_some_and(|value| values.contains(value));
            match operator {
                LabelSelectorOperator::In => listed,
                LabelSelectorOperator::NotIn => !listed,
                LabelSelectorOperator::Exists => value.is_some(),
                LabelSelectorOperator::DoesNotExist => value.is_none(),
            }
        })
}
