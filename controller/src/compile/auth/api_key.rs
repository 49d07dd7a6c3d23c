//! API keys: Secrets of type `ravelin.dev/api-key`, and which of them a policy selects.

use std::collections::BTreeMap;

use chrono::DateTime;
use ravelin_crds::{ApiKeyAuthentication, LabelSelector, LabelSelectorOperator, LabelSelectorRequirement};
use ravelin_snapshot::{
    ObjectKey, Secret as Hidden,
    auth::{self, ApiKeyMethod},
    hex,
};

use crate::{
    compile::{
        auth::source,
        graph::Fact,
        index::seniority,
        notes::{Field, Notes},
        work::{Reads, Work},
    },
    object::{Object, Secret},
    verdict::Reason,
};

/// The type of the Secrets that are API keys.
const SECRET_TYPE: &str = "ravelin.dev/api-key";

/// A key as its Secret has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::compile) struct Key {
    key: auth::ApiKey,
    disabled: bool,
}

/// Whether a Secret is meant to be an API key.
pub(in crate::compile) fn is_one(secret: &Object<Secret>) -> bool {
    secret.spec.type_ == SECRET_TYPE
}

/// The key that a Secret holds. One that is not wholly understood opens nothing.
pub(in crate::compile) fn read(object: &Object<Secret>, notes: &mut Notes) -> Option<Key> {
    let data = Field::Root("data");
    let before = notes.breaks();
    let Secret { type_: _, data: values, binary } = &object.spec;
    const KNOWN: [&str; 7] = ["id", "sha256", "scopes", "groups", "plan", "expires", "disabled"];
    let unknown = values.keys().chain(binary).filter(|name| !KNOWN.contains(&name.as_str()) || binary.contains(name));
    for name in unknown {
        // It may be a misspelt `expires`.
        let remedy =
            "Use the entries id, sha256, scopes, groups, plan, expires and disabled; put notes into annotations.";
        notes.invalid(data.member(name), "an API key has no such entry", remedy);
    }
    let value = |name: &str| values.get(name).map(|value| value.expose().trim());
    let id = value("id").unwrap_or_default();
    if id.is_empty() || id.len() > 253 || id.chars().any(char::is_control) {
        notes.invalid(data.member("id"), "an API key needs an id of 1 to 253 characters", "Set it: it is caller.id.");
    }
    let sha256 = value("sha256").unwrap_or_default().to_ascii_lowercase();
    if hex::sha256(&sha256).is_none() {
        let remedy = "Make the key with `ravelin key new`, or hash it: printf %s \"$KEY\" | sha256sum.";
        notes.invalid(data.member("sha256"), "it is not the SHA-256 of a key in 64 hex digits", remedy);
    }
    let expires = value("expires").map(DateTime::parse_from_rfc3339);
    if matches!(expires, Some(Err(_))) {
        notes.invalid(data.member("expires"), "it is no time of RFC 3339", "Write it as 2027-01-31T00:00:00Z.");
    }
    let disabled = value("disabled").unwrap_or("false");
    if !["true", "false"].contains(&disabled) {
        notes.invalid(data.member("disabled"), "it is neither true nor false", "Write true or false.");
    }
    let words = |name| value(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let key = auth::ApiKey {
        sha256: Hidden::new(sha256),
        id: id.to_owned(),
        scopes: words("scopes"),
        groups: words("groups"),
        plan: value("plan").unwrap_or_default().to_owned(),
        expires: expires.and_then(Result::ok).map(|time| time.timestamp()),
    };
    (notes.breaks() == before).then_some(Key { key, disabled: disabled == "true" })
}

/// `authentication.apiKey` of a policy in `namespace`.
pub(super) fn method(
    work: &Work<'_>,
    reads: &mut Reads,
    notes: &mut Notes,
    namespace: &str,
    said: &ApiKeyAuthentication,
    field: Field<'_>,
) -> ApiKeyMethod {
    let ApiKeyAuthentication { from, selector } = said;
    let from = from.as_ref().map(|said| source::all(said, field.member("from"), notes));
    let selector_field = field.member("selector");
    check(selector, selector_field, notes);
    reads.insert(Fact::ApiKeys(namespace.to_owned()));
    let keys = selected(work, namespace, selector, selector_field, notes);
    if keys.is_empty() {
        let message = "no API key is selected: nobody passes with one";
        notes.warning(selector_field, Reason::Suspicious, message, "Make a key with `ravelin key new`.");
    }
    let default = || vec![auth::CredentialSource::Header { name: "x-api-key".to_owned(), prefix: String::new() }];
    ApiKeyMethod { from: from.unwrap_or_else(default), keys }
}

/// The keys that are live, by digest. Of two Secrets with one digest the more senior counts, and neither if one is
/// disabled: who revokes a key means the key.
fn selected(
    work: &Work<'_>,
    namespace: &str,
    selector: &LabelSelector,
    field: Field<'_>,
    notes: &mut Notes,
) -> Vec<auth::ApiKey> {
    let secrets = work.index.api_keys.get(namespace).filter_map(|key| Some((work.model.secrets.get(key)?, key)));
    let mut chosen: Vec<_> = secrets
        .filter(|(secret, _)| selects(selector, &secret.meta.labels))
        .filter_map(|(secret, key)| Some((seniority(&secret.meta), work.api_key(key)?)))
        .collect();
    chosen.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut by_digest: BTreeMap<&Hidden, (ObjectKey, &Key, bool)> = BTreeMap::new();
    for ((_, secret), key) in chosen {
        match by_digest.get_mut(&key.key.sha256) {
            None => drop(by_digest.insert(&key.key.sha256, (secret, key, key.disabled))),
            Some((first, _, disabled)) => {
                *disabled |= key.disabled;
                let message = format!("the Secrets {first} and {secret} hold the same key, and only the first counts");
                notes.warning(field, Reason::Conflicted, message, "Delete one of them.");
            }
        }
    }
    let live = by_digest.into_values().filter(|(_, _, disabled)| !disabled);
    live.map(|(_, key, _)| key.key.clone()).collect()
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
