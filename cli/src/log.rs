//! What the program says while it runs: to stderr, as JSON for machines or as text for people.

use std::fmt;

use clap::{Args, ValueEnum};
use ravelin_dataplane::explain::Plain;
use tracing::field::Field;
use tracing_subscriber::{
    EnvFilter,
    field::MakeExt,
    fmt::format::{Writer, debug_fn},
};

/// Flags of every subcommand that serves.
#[derive(Clone, Debug, Args)]
pub(crate) struct LogArgs {
    /// How logs look: json, one object a line, or text
    #[arg(long, value_enum, default_value_t = Form::Json, value_name = "FORM")]
    log: Form,
    /// What is logged: error, warn, info, debug or trace; also by module, such as info,ravelin_controller=debug
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    log_level: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    Json,
    Text,
}

/// As text has it. What comes from outside must neither begin a line of its own nor command the terminal.
fn field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let value = Plain(format_args!("{value:?}"));
    match field.name() {
        "message" => write!(writer, "{value}"),
        name => write!(writer, "{name}={value}"),
    }
}

/// Once a process, before anything is logged.
pub(crate) fn init(args: &LogArgs) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&args.log_level)
        .map_err(|error| anyhow::anyhow!("--log-level {}: {error}; write info, or MODULE=debug", args.log_level))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let outcome = match args.log {
        Form::Json => builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
        Form::Text => builder.with_target(false).fmt_fields(debug_fn(field).delimited(" ")).try_init(),
    };
    outcome.map_err(|error| anyhow::anyhow!("logs cannot be set up: {error}"))
}
