//! `ravelin version`.

use std::io::{self, Write};

use clap::Args;

use crate::output::Output;

/// Show the version
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  ravelin version -o json")]
pub(crate) struct VersionArgs {
    /// text or json
    #[arg(short, long, value_enum, default_value_t = Output::Text, value_name = "FORM")]
    output: Output,
}

pub(crate) fn run(args: &VersionArgs) -> anyhow::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    match args.output {
        Output::Text => writeln!(io::stdout(), "ravelin {version}")?,
        Output::Json => writeln!(io::stdout(), "{}", serde_json::json!({"version": version}))?,
    }
    Ok(())
}
