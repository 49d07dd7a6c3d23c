//! `ravelin explain`: what would become of a request, by files alone.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Instant, SystemTime},
};

use anyhow::{Context, bail};
use clap::Args;
use ravelin_controller::{
    compile::{Options, compile},
    files::read_once,
};
use ravelin_dataplane::{
    explain::{ExplainRequest, explain},
    table::Table,
};

use crate::output::Output;

/// Explain what would become of a request: which rule, why that one, which policies, what they decide
///
/// Nothing is sent. Limits are taken to be full, for no request has come before this one.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ravelin explain examples/shop GET http://shop.example/orders/7\n  ravelin explain examples/shop POST http://shop.example/reports -H 'x-api-key: ...' --source 192.0.2.1 -o json"
)]
pub(crate) struct ExplainArgs {
    /// A file, a folder, or - for the standard input
    #[arg(value_name = "PATH")]
    path: PathBuf,
    #[arg(value_name = "METHOD")]
    method: String,
    /// With its host: http://api.example/path?query
    #[arg(value_name = "URL")]
    url: String,
    /// A header of the request; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The client's address [default: 127.0.0.1]
    #[arg(long, value_name = "ADDR")]
    source: Option<String>,
    /// text for people, json for machines
    #[arg(short, long, value_enum, default_value_t = Output::Text, value_name = "FORM")]
    output: Output,
}

pub(crate) fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let headers = args.headers.iter().map(String::as_str);
    let request = ExplainRequest::parse(&args.method, &args.url, headers, args.source.as_deref())?;
    let path = args.path.display();
    let once = read_once(std::slice::from_ref(&args.path));
    if !once.complete {
        bail!("{path} could not be read; `ravelin check {path}` says why");
    }
    let model = once.world.model.clone().at(SystemTime::now());
    let compiled = compile(&model, Options::default(), None);
    let findings =
        once.world.findings.len() + compiled.verdicts.iter().map(|(_, said)| said.findings.len()).sum::<usize>();
    let table = Table::build(Arc::new(compiled.snapshot), None)
        .map_err(|refusal| anyhow::anyhow!("{}: {}", refusal.part, refusal.reason))
        .with_context(|| format!("the data plane would refuse what {path} says"))?;
    let explanation = explain(&table, &request, Instant::now(), SystemTime::now());
    let mut out = io::stdout().lock();
    match args.output {
        Output::Json => writeln!(out, "{}", serde_json::to_string(&explanation)?)?,
        Output::Text => write!(out, "{explanation}")?,
    }
    if findings > 0 {
        writeln!(io::stderr(), "note: there are {findings} findings; `ravelin check {path}` prints them")?;
    }
    Ok(ExitCode::SUCCESS)
}
