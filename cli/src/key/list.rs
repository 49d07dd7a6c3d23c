//! `ravelin key list`.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use anyhow::bail;
use clap::Args;
use comfy_table::{Table, presets};
use jiff::Timestamp;
use ravelin_controller::{
    files::read_once,
    object::{Kind, Object, ObjectRef, Secret},
};
use ravelin_dataplane::explain::Plain;
use serde::Serialize;

use super::{SECRET_TYPE, unread};
use crate::output::Output;

/// List the keys that are in files
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  ravelin key list examples/shop")]
pub(super) struct ListArgs {
    /// Files, folders, or - for the standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// text or json
    #[arg(short, long, value_enum, default_value_t = Output::Text, value_name = "FORM")]
    output: Output,
}

/// What may be shown of a key.
#[derive(Debug, Serialize)]
struct Row {
    namespace: String,
    name: String,
    id: String,
    plan: String,
    scopes: String,
    groups: String,
    expires: String,
    state: &'static str,
    file: String,
    line: usize,
}

pub(super) fn run(args: &ListArgs) -> anyhow::Result<()> {
    let once = read_once(&args.paths);
    if let Some(unread) = unread(&once) {
        bail!("not all could be read: {unread}");
    }
    let now = Timestamp::now();
    let secrets = once.world.model.secrets.iter().filter(|(_, secret)| secret.spec.type_ == SECRET_TYPE);
    let mut rows: Vec<_> = secrets
        .map(|(key, secret)| {
            let reference = ObjectRef::new(Kind::Secret, key.clone());
            let (file, place) = once.positions.locate(&reference, "").unwrap_or_default();
            row(secret, file.to_owned(), place.line, now)
        })
        .collect();
    rows.sort_by(|a, b| (&a.namespace, &a.id, &a.name).cmp(&(&b.namespace, &b.id, &b.name)));
    let mut out = io::stdout().lock();
    match args.output {
        Output::Json => writeln!(out, "{}", serde_json::json!({"keys": rows}))?,
        Output::Text => writeln!(out, "{}", table(&rows))?,
    }
    Ok(())
}

fn row(secret: &Object<Secret>, file: String, line: usize, now: Timestamp) -> Row {
    let value = |key: &str| secret.spec.data.get(key).map(|value| value.expose().trim().to_owned()).unwrap_or_default();
    let expires = value("expires");
    let disabled = value("disabled");
    let state = if is_disabled(&disabled) {
        "revoked"
    } else if value("id").is_empty()
        || value("sha256").is_empty()
        || !secret.faults.is_empty()
        || !matches!(disabled.as_str(), "" | "false")
    {
        "broken"
    } else {
        match expires.parse::<Timestamp>() {
            Ok(end) if end <= now => "expired",
            Err(_) if !expires.is_empty() => "broken",
            _ => "live",
        }
    };
    Row {
        namespace: secret.meta.key.namespace.clone(),
        name: secret.meta.key.name.clone(),
        id: value("id"),
        plan: value("plan"),
        scopes: value("scopes"),
        groups: value("groups"),
        expires,
        state,
        file,
        line,
    }
}

pub(super) fn is_disabled(value: &str) -> bool {
    value == "true"
}

fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["NAMESPACE", "NAME", "ID", "STATE", "PLAN", "SCOPES", "GROUPS", "EXPIRES", "WHERE"]);
    for row in rows {
        let place = format!("{}:{}", row.file, row.line);
        let words = [&row.namespace, &row.name, &row.id].map(String::as_str);
        let more = [row.state, &row.plan, &row.scopes, &row.groups, &row.expires, &place];
        table.add_row(words.into_iter().chain(more).map(|word| Plain(word).to_string()));
    }
    table.trim_fmt()
}
