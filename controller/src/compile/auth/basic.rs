//! Users and their passwords, as an `htpasswd` file has them.

use std::collections::BTreeMap;

use ravelin_crds::BasicAuthentication;
use ravelin_snapshot::{
    ObjectKey, Secret as Hidden,
    auth::{BasicMethod, BasicUser},
    password::{BadHash, PasswordHash},
};

use super::held;
use crate::{
    compile::{
        notes::{Field, Notes},
        work::{Reads, Work},
    },
    verdict::Reason,
};

/// Where the lines are.
const KEY: &str = "auth";
/// Users of one policy, at most.
const MAX_USERS: usize = 10_000;
/// Lines that do not count and are said to be so, at most: the rest is a number.
const MAX_SAID: usize = 8;

/// `authentication.basic` of a policy; `None` and a note if its users are not there.
pub(super) fn method(
    work: &Work<'_>,
    reads: &mut Reads,
    notes: &mut Notes,
    policy: &ObjectKey,
    said: &BasicAuthentication,
    field: Field<'_>,
) -> Option<BasicMethod> {
    let BasicAuthentication { realm, secret_ref } = said;
    let realm = realm.as_deref().unwrap_or(&policy.name);
    if realm.is_empty() || realm.len() > 256 || !realm.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        let message = "a realm is 1 to 256 printable characters of ASCII";
        notes.invalid(field.member("realm"), message, "Write it so, or leave it out.");
    }
    let field = field.member("secretRef");
    let secret = ObjectKey::new(&policy.namespace, &secret_ref.name);
    let lines = held::in_secret(work, reads, notes, &secret, KEY, field)?;
    let users = users(lines.expose(), field, notes);
    Some(BasicMethod { realm: realm.to_owned(), secret, users })
}

/// Why a line is nobody's.
enum Slip {
    NoUser,
    Twice,
    Hash(BadHash),
}

/// The users that count, by name. A line that does not is named by its number alone: what stands in it may be a password.
fn users(text: &str, field: Field<'_>, notes: &mut Notes) -> Vec<BasicUser> {
    let mut users: BTreeMap<&str, &str> = BTreeMap::new();
    let (mut slips, mut weak) = (Vec::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match entry(line) {
            Ok((name, _, _)) if users.contains_key(name) => slips.push((index + 1, Slip::Twice)),
            Ok((name, text, hash)) => {
                if hash.is_weak() {
                    weak.push(index + 1);
                }
                users.insert(name, text);
            }
            Err(slip) => slips.push((index + 1, slip)),
        }
    }
    say(&slips, &weak, field, notes);
    if users.len() > MAX_USERS {
        let message = format!("{} users are more than {MAX_USERS}", users.len());
        notes.error(field, Reason::InvalidReference, message, "Use tokens, or ask another service.");
    }
    if users.is_empty() {
        let message = "no line counts: nobody passes with a password";
        notes.warning(field, Reason::Suspicious, message, "Make one with `htpasswd -nB -C 12 NAME`.");
    }
    let user = |(name, hash): (&str, &str)| BasicUser { name: name.to_owned(), hash: Hidden::new(hash) };
    users.into_iter().map(user).collect()
}

fn entry(line: &str) -> Result<(&str, &str, PasswordHash), Slip> {
    let (name, text) = line.split_once(':').ok_or(Slip::NoUser)?;
    if name.is_empty() || name.len() > 253 || name.chars().any(char::is_control) {
        return Err(Slip::NoUser);
    }
    Ok((name, text, PasswordHash::parse(text).map_err(Slip::Hash)?))
}

fn say(slips: &[(usize, Slip)], weak: &[usize], field: Field<'_>, notes: &mut Notes) {
    const REMEDY: &str = "Replace it by what `htpasswd -nB -C 12 NAME` prints.";
    for (line, slip) in slips.iter().take(MAX_SAID) {
        let why = match slip {
            Slip::NoUser => "it is no `NAME:HASH`".to_owned(),
            Slip::Twice => "its user is there already".to_owned(),
            Slip::Hash(error) => error.to_string(),
        };
        let message = format!("line {line} of `{KEY}` does not count: {why}");
        notes.warning(field, Reason::Suspicious, message, REMEDY);
    }
    if slips.len() > MAX_SAID {
        let message = format!("{} more lines of `{KEY}` do not count", slips.len() - MAX_SAID);
        notes.warning(field, Reason::Suspicious, message, REMEDY);
    }
    if let Some(first) = weak.first() {
        let message = format!(
            "{} of the hashes in `{KEY}` (the first in line {first}) can be guessed fast by who steals them",
            weak.len()
        );
        notes.warning(field, Reason::Suspicious, message, "Use a cost of 10 or more for bcrypt.");
    }
}
