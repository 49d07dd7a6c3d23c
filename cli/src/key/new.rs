//! `ravelin key new`.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use anyhow::{Context, anyhow, bail};
use base64::Engine;
use clap::Args;
use jiff::{SignedDuration, Timestamp, Unit};
use ravelin_snapshot::Digest;
use serde_json::{Value, json};

use super::SECRET_TYPE;
use crate::output::Output;

/// Make a key: the manifest goes to stdout, the key to stderr, once
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ravelin key new --id acme --namespace shop --label app=shop --plan gold --expires 90d > acme.yaml
  ravelin key new --id acme -o json       # {\"key\": ..., \"manifest\": ...}")]
pub(super) struct NewArgs {
    /// Who calls with this key: caller.id
    #[arg(long)]
    id: String,
    /// Namespace of the AuthPolicy that selects the key
    #[arg(long, default_value = "default")]
    namespace: String,
    /// Name of the Secret. Default: made from the id and the key's digest
    #[arg(long)]
    name: Option<String>,
    /// A label that the AuthPolicy selects by; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// A scope of the caller; may be repeated
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// A group of the caller; may be repeated
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// The caller's plan
    #[arg(long)]
    plan: Option<String>,
    /// When the key ends: 90d, 12h, or a time such as 2027-01-31T00:00:00Z. Default: never
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
    /// text or json
    #[arg(short, long, value_enum, default_value_t = Output::Text, value_name = "FORM")]
    output: Output,
}

pub(super) fn run(args: &NewArgs) -> anyhow::Result<()> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| anyhow!("the system gives no random numbers: {error}"))?;
    let key = format!("rk_{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random));
    let manifest = manifest(args, &key, Timestamp::now())?;
    let mut out = io::stdout().lock();
    match args.output {
        Output::Json => writeln!(out, "{}", json!({"key": key, "manifest": manifest}))?,
        Output::Text => {
            write!(out, "{}", yaml(&manifest))?;
            out.flush()?;
            writeln!(io::stderr(), "The key, shown this once: {key}")?;
        }
    }
    Ok(())
}

fn manifest(args: &NewArgs, key: &str, now: Timestamp) -> anyhow::Result<Value> {
    if args.id.trim().is_empty() {
        bail!("--id is empty; it is the caller's name");
    }
    if args.id.len() > 253 || args.id.contains(char::is_control) {
        bail!("--id: it has at most 253 bytes and no control characters, for it is the caller's name");
    }
    if !is_name(&args.namespace, 63, "-") {
        bail!("--namespace {:?}: write the name of a namespace, such as shop", args.namespace);
    }
    if let Some(name) = args.name.as_ref().filter(|name| !is_name(name, 253, "-.")) {
        bail!("--name {name:?}: write small letters, digits, - and . only");
    }
    let labels = args.labels.iter().map(|label| {
        label.split_once('=').filter(is_label).with_context(|| format!("--label {label}: write KEY=VALUE"))
    });
    let labels = labels.collect::<anyhow::Result<BTreeMap<_, _>>>()?;
    for word in args.scopes.iter().chain(&args.groups) {
        if word.is_empty() || word.contains(char::is_whitespace) {
            bail!("`{word}`: a scope or group is one word; repeat the flag for several");
        }
    }
    let sha256 = Digest::of(key.as_bytes()).to_string();
    let name = args.name.clone().unwrap_or_else(|| name(&args.id, &sha256));
    let mut data = BTreeMap::from([("id", args.id.clone()), ("sha256", sha256)]);
    if !args.scopes.is_empty() {
        data.insert("scopes", args.scopes.join(" "));
    }
    if !args.groups.is_empty() {
        data.insert("groups", args.groups.join(" "));
    }
    if let Some(plan) = &args.plan {
        data.insert("plan", plan.clone());
    }
    if let Some(expires) = &args.expires {
        data.insert("expires", end(expires, now)?.to_string());
    }
    let mut metadata = json!({"name": name, "namespace": args.namespace});
    if !labels.is_empty() {
        metadata["labels"] = json!(labels);
    }
    Ok(json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": SECRET_TYPE, "stringData": data}))
}

/// As Kubernetes wants the names of objects, as far as a letter can tell.
fn is_name(text: &str, longest: usize, marks: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(plain)
        && text.ends_with(plain)
        && text.len() <= longest
        && text.chars().all(|c| plain(c) || marks.contains(c))
}

/// As Kubernetes wants labels: a manifest with others could not be applied, and the key is shown only once.
fn is_label((key, value): &(&str, &str)) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric();
    let word = |text: &str| {
        let marks = |c: char| plain(c) || matches!(c, '-' | '_' | '.');
        text.starts_with(plain) && text.ends_with(plain) && text.len() <= 63 && text.chars().all(marks)
    };
    let (prefix, name) = key.split_once('/').map_or((None, *key), |(prefix, name)| (Some(prefix), name));
    prefix.is_none_or(|prefix| is_name(prefix, 253, "-.")) && word(name) && (value.is_empty() || word(value))
}

/// Two keys of one caller have two names, so that the old one goes on while the new one is handed out.
fn name(id: &str, sha256: &str) -> String {
    let tame = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let id: String = id.chars().take(40).map(tame).collect();
    format!("{}-{}", id.trim_matches('-'), &sha256[..8]).trim_start_matches('-').to_owned()
}

fn end(when: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    if let Ok(time) = when.parse::<Timestamp>() {
        return Ok(time);
    }
    let wrong = || anyhow!("--expires {when}: write 90d, 12h, 30m, or a time such as 2027-01-31T00:00:00Z");
    let (number, unit) = when.split_at_checked(when.len().saturating_sub(1)).ok_or_else(wrong)?;
    let hours_or_minutes = match unit {
        "d" => SignedDuration::from_hours(24),
        "h" => SignedDuration::from_hours(1),
        "m" => SignedDuration::from_mins(1),
        _ => return Err(wrong()),
    };
    let number: i32 = number.parse().map_err(|_| wrong())?;
    let length = hours_or_minutes.checked_mul(number).filter(SignedDuration::is_positive).ok_or_else(wrong)?;
    let end = now.checked_add(length).map_err(|_| wrong())?;
    end.round(Unit::Second).map_err(|_| wrong())
}

/// Every text in quotes: YAML takes JSON's.
fn yaml(manifest: &Value) -> String {
    let mut out = String::new();
    for key in ["apiVersion", "kind", "metadata", "type", "stringData"] {
        block(key, &manifest[key], 0, &mut out);
    }
    out
}

fn block(key: &str, value: &Value, indent: usize, out: &mut String) {
    let space = " ".repeat(indent);
    let key =
        if key.chars().all(|c| c.is_ascii_alphanumeric()) { key.to_owned() } else { Value::from(key).to_string() };
    match value {
        Value::Object(fields) => {
            out.push_str(&format!("{space}{key}:\n"));
            fields.iter().for_each(|(key, value)| block(key, value, indent + 2, out));
        }
        Value::String(text) if indent == 0 => out.push_str(&format!("{space}{key}: {text}\n")),
        value => out.push_str(&format!("{space}{key}: {value}\n")),
    }
}
