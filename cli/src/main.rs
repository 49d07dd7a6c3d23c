//! `ravelin`: one program, a subcommand for each of its parts. A module a subcommand.

mod check;
mod controller;
mod crds;
mod dataplane;
mod effective;
mod explain;
mod key;
mod log;
mod objects;
mod output;
mod ownership;
mod serve;
mod standalone;
mod usage;
mod version;

use std::{io::Write, process::ExitCode};

use clap::{Parser, Subcommand};
use ravelin_dataplane::explain::Plain;

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// An API gateway for Kubernetes, and without it
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, after_help = "Every subcommand has its own --help with an example.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Standalone(Box<standalone::StandaloneArgs>),
    Controller(controller::ControllerArgs),
    Dataplane(Box<dataplane::DataplaneArgs>),
    Check(check::CheckArgs),
    Explain(explain::ExplainArgs),
    Effective(effective::EffectiveArgs),
    Key(key::KeyArgs),
    Usage(usage::UsageArgs),
    Crds(crds::CrdsArgs),
    Version(version::VersionArgs),
}

fn main() -> ExitCode {
    // Whoever comes first decides for the process, so it is us. It fails only if somebody was before us. (invariant)
    rustls::crypto::aws_lc_rs::default_provider().install_default().expect("no crypto provider is installed yet");
    let outcome = match Arguments::parse().command {
        Command::Standalone(args) => standalone::run(&args),
        Command::Controller(args) => controller::run(&args),
        Command::Dataplane(args) => dataplane::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Effective(args) => effective::run(&args),
        Command::Usage(args) => usage::run(&args),
        Command::Key(args) => key::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Crds(_) => crds::run().map(|()| ExitCode::SUCCESS),
        Command::Version(args) => version::run(&args).map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|error| {
        // Whoever closed our output wants no more of it, this included.
        let _ = writeln!(std::io::stderr(), "error: {}", Plain(format_args!("{error:#}")));
        ExitCode::from(2)
    })
}
