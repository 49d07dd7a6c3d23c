//! `ravelin key revoke`.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Args;
use ravelin_controller::{
    files::{Once, Place, STANDARD_INPUT, read_once},
    object::{Kind, ObjectRef},
};
use ravelin_dataplane::explain::Plain;

use super::{SECRET_TYPE, list::is_disabled, unread};

/// Revoke keys that are in files: sets `disabled` in their manifests
///
/// The manifest stays, so that everybody sees that the key was revoked; delete it whenever you like.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  ravelin key revoke acme --namespace shop examples/shop")]
pub(super) struct RevokeArgs {
    /// The caller's id, or the name of one Secret
    #[arg(value_name = "ID|NAME")]
    key: String,
    /// Files or folders with the manifests
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Namespace of the keys
    #[arg(long, default_value = "default")]
    namespace: String,
}

pub(super) fn run(args: &RevokeArgs) -> anyhow::Result<()> {
    let mut revoked = Vec::new();
    // Each change moves the lines below it, so everything is read again after each.
    while let Some((reference, file, text)) = next(args)? {
        if revoked.contains(&reference) {
            bail!("{file}: the Secret {} is not revoked; add `disabled: \"true\"` to it by hand", reference.key);
        }
        replace(Path::new(&file), &text).with_context(|| format!("{file} cannot be written"))?;
        writeln!(io::stdout(), "revoked {} in {}", Plain(&reference.key), Plain(&file))?;
        revoked.push(reference);
    }
    let once = read_once(&args.paths);
    if let Some(unread) = unread(&once) {
        bail!("not all could be read, and there may be more of these keys: {unread}");
    }
    if revoked.is_empty() && found(args, &once).is_empty() {
        bail!(
            "no key of `{}` in namespace {}; `ravelin key list PATH` shows which there are",
            args.key,
            args.namespace
        );
    }
    if revoked.is_empty() {
        writeln!(io::stdout(), "already revoked")?;
    }
    Ok(())
}

/// A key that is still to be revoked, its file, and the file's new text.
fn next(args: &RevokeArgs) -> anyhow::Result<Option<(ObjectRef, String, String)>> {
    let once = read_once(&args.paths);
    for reference in found(args, &once) {
        let secret =
            once.world.model.secrets.get(&reference.key).context("a key that was there is gone (invariant)")?;
        if secret.spec.data.get("disabled").is_some_and(|value| is_disabled(value.expose().trim())) {
            continue;
        }
        let (file, _) =
            once.positions.locate(&reference, "").context("a key that was read has no place (invariant)")?;
        if file == STANDARD_INPUT {
            bail!("the standard input cannot be changed; name the file");
        }
        let text = fs::read_to_string(file).with_context(|| format!("{file} cannot be read"))?;
        let at = |field: &str| once.positions.locate(&reference, field).map(|(_, place)| place);
        let Some(text) = disable(&text, at) else {
            bail!("{file}: the Secret {} is not in block style; add `disabled: \"true\"` to it by hand", reference.key);
        };
        return Ok(Some((reference, file.to_owned(), text)));
    }
    Ok(None)
}

fn found(args: &RevokeArgs, once: &Once) -> Vec<ObjectRef> {
    let keys = once.world.model.secrets.iter().filter(|(key, secret)| {
        let id = secret.spec.data.get("id").map(|id| id.expose().trim());
        secret.spec.type_ == SECRET_TYPE
            && key.namespace == args.namespace
            && (key.name == args.key || id == Some(args.key.as_str()))
    });
    let mut found: Vec<_> = keys.map(|(key, _)| ObjectRef::new(Kind::Secret, key.clone())).collect();
    found.sort();
    found
}

/// Sets the entry in the text, which is otherwise left as it is. `None` if an entry has no line of its own.
fn disable(text: &str, at: impl Fn(&str) -> Option<Place>) -> Option<String> {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    for (holder, value) in [("stringData", "\"true\""), ("data", "dHJ1ZQ==")] {
        let holder_place = at(holder)?;
        let own_line = |key: &str| {
            let place = at(&format!("{holder}.{key}")).filter(|place| *place != holder_place)?;
            let line = lines.get(place.line - 1)?.trim_end();
            let (indent, rest) = line.split_at_checked(place.column - 1)?;
            let is_alone = indent.chars().all(|c| c == ' ') && rest.trim_start_matches(['"', '\'']).starts_with(key);
            is_alone.then(|| (place.line - 1, indent.to_owned()))
        };
        if let Some((line, indent)) = own_line("disabled") {
            lines[line] = format!("{indent}disabled: {value}\n");
            return Some(lines.concat());
        }
        if let Some((line, indent)) = own_line("sha256") {
            lines.insert(line, format!("{indent}disabled: {value}\n"));
            return Some(lines.concat());
        }
    }
    None
}

/// At once or not at all, with the permissions that the file has.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let file = file.canonicalize()?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let draft = file.with_file_name(format!(".{name}.{}", std::process::id()));
    let outcome = fs::write(&draft, text)
        .and_then(|()| fs::set_permissions(&draft, fs::metadata(&file)?.permissions()))
        .and_then(|()| fs::rename(&draft, &file));
    if outcome.is_err() {
        // Whatever went wrong is told; the draft is of no use to anybody.
        let _ = fs::remove_file(&draft);
    }
    outcome
}
