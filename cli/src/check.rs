//! `ravelin check`: what the gateway would say about files, before anybody applies them.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::SystemTime,
};

use clap::Args;
use ravelin_controller::{
    compile::{Options, compile, digest},
    files::{Once, read_once},
    object::ObjectRef,
    verdict::{Finding, Severity},
};
use ravelin_dataplane::explain::Plain;
use serde::Serialize;

use crate::{output::Output, ownership::Ownership};

/// Check files as the gateway would: syntax, fields, expressions, references, conflicts
///
/// Exit code: 0 nothing to say, 1 findings, 2 something could not be read.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ravelin check examples/shop\n  kubectl get apiroutes -A -o yaml | ravelin check -o json -"
)]
pub(crate) struct CheckArgs {
    /// Files, folders, or - for the standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// text for people, json for machines
    #[arg(short, long, value_enum, default_value_t = Output::Text, value_name = "FORM")]
    output: Output,
    /// Whether a hostname belongs to one namespace (as the installation's hostnameOwnership)
    #[arg(long, value_enum, default_value_t = Ownership::Namespace, value_name = "WHO")]
    hostname_ownership: Ownership,
}

pub(crate) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let once = read_once(&args.paths);
    let model = once.world.model.clone().at(SystemTime::now());
    // Whether there is a store for shared limits, the files do not say.
    let options = Options { hostname_ownership: args.hostname_ownership.into(), ..Options::default() };
    let compiled = compile(&model, options, None);
    let verdicts = compiled
        .verdicts
        .iter()
        .flat_map(|(object, verdict)| verdict.findings.iter().map(move |finding| (object.clone(), finding.clone())));
    let report = Report { digest: digest(&compiled).to_string(), findings: gather(&once, verdicts) };
    let mut out = io::stdout().lock();
    match args.output {
        Output::Json => writeln!(out, "{}", serde_json::to_string(&report)?)?,
        Output::Text => report.print(&mut out)?,
    }
    Ok(match (once.complete, report.findings.is_empty()) {
        (false, _) => ExitCode::from(2),
        (true, false) => ExitCode::from(1),
        (true, true) => ExitCode::SUCCESS,
    })
}

#[derive(Debug, Serialize)]
struct Report {
    digest: String,
    findings: Vec<Told>,
}

/// A finding with all that it is about. What it is not about is empty.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Told {
    #[serde(skip)]
    order: (String, usize, usize),
    severity: Severity,
    file: String,
    line: usize,
    kind: &'static str,
    namespace: String,
    name: String,
    field: String,
    reason: String,
    message: String,
    remedy: String,
}

/// What the reader said and what the compiler said, each once, in the order of the files.
fn gather(once: &Once, verdicts: impl Iterator<Item = (ObjectRef, Finding)>) -> Vec<Told> {
    let files = once.world.findings.iter();
    let from_files =
        files.map(|f| Told::new(f.finding.clone(), &f.file, (f.place.line, f.place.column), f.object.clone()));
    let told: BTreeSet<_> = once
        .world
        .findings
        .iter()
        .filter_map(|told| Some((told.object.clone()?, region(&told.finding.field).to_owned())))
        .collect();
    // Where the reader found something, the compiler saw what was left: it says the same, or what follows from it.
    let fresh = verdicts.filter(|(object, finding)| {
        [region(&finding.field), ""].iter().all(|region| !told.contains(&(object.clone(), (*region).to_owned())))
    });
    let from_compiler = fresh.map(|(object, finding)| {
        let (file, place) = once.positions.locate(&object, &finding.field).unwrap_or_default();
        Told::new(finding, file, (place.line, place.column), Some(object))
    });
    let all: BTreeSet<_> = from_files.chain(from_compiler).collect();
    all.into_iter().collect()
}

/// The part of an object that stands and falls by itself: a rule of a route; else the whole.
fn region(field: &str) -> &str {
    let rule = field.strip_prefix("spec.rules[").and_then(|rest| rest.find(']'));
    rule.map_or("", |end| &field[.."spec.rules[".len() + end])
}

impl Told {
    fn new(finding: Finding, file: &str, place: (usize, usize), object: Option<ObjectRef>) -> Self {
        let Finding { severity, field, reason, message, remedy } = finding;
        let (kind, key) = object.map(|object| (object.kind.as_str(), object.key)).unwrap_or_default();
        Self {
            order: (file.to_owned(), place.0, place.1),
            severity,
            file: file.to_owned(),
            line: place.0,
            kind,
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            field,
            reason: format!("{reason:?}"),
            message,
            remedy,
        }
    }
}

impl Report {
    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        for told in &self.findings {
            let place = if told.line == 0 { told.file.clone() } else { format!("{}:{}", told.file, told.line) };
            let severity = match told.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            write!(out, "{}: {severity}: ", Plain(place))?;
            if !told.kind.is_empty() {
                write!(out, "{} {}/{}", told.kind, Plain(&told.namespace), Plain(&told.name))?;
                write!(out, "{}", if told.field.is_empty() { ": " } else { " " })?;
            }
            if !told.field.is_empty() {
                write!(out, "{}: ", Plain(&told.field))?;
            }
            writeln!(out, "{} ({})", Plain(&told.message), told.reason)?;
            if !told.remedy.is_empty() {
                writeln!(out, "    {}", Plain(&told.remedy))?;
            }
        }
        let errors = self.findings.iter().filter(|told| told.severity == Severity::Error).count();
        match self.findings.len() {
            0 => writeln!(out, "nothing to say; digest {}", self.digest),
            all => writeln!(out, "{errors} errors, {} warnings", all - errors),
        }
    }
}
