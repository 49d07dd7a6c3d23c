//! Side-by-side benchmarks. Every figure is beside its target and, where there is one, beside a peer's of the same run.
//!
//! [`proxy`] is what a request costs, as CPU time of the whole process tree; [`lookup`] what it takes to find a rule;
//! [`change`] what one edit among many routes takes until it is served; [`memory`] what many routes weigh; [`counts`] what a request costs in
//! instructions, allocations and system calls.

mod backend;
mod change;
mod config;
mod counts;
mod load;
mod lookup;
mod memory;
mod process;
mod proxy;
mod report;

use clap::Parser;
use report::Report;

#[derive(Parser)]
struct Options {
    /// Rounds of each proxy; the least counts.
    #[arg(long, env = "ROUNDS", default_value_t = 5)]
    rounds: usize,
    /// How long each round of a proxy takes.
    #[arg(long, env = "SECONDS_PER_ROUND", default_value_t = 4)]
    seconds: u64,
    /// Only these parts: proxy, lookup, change, memory, counts (the last only if it is named).
    only: Vec<String>,
    /// What the counts are compared with; it fails if they are more.
    #[arg(long)]
    baseline: Option<std::path::PathBuf>,
    /// Write the baseline instead.
    #[arg(long)]
    write: bool,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let wanted = |part: &str| options.only.is_empty() || options.only.iter().any(|only| only == part);
    let mut report = Report::default();
    if wanted("proxy") {
        proxy::measure(options.rounds, options.seconds, &mut report)?;
    }
    if wanted("lookup") {
        lookup::measure(&mut report)?;
    }
    if wanted("change") {
        change::measure(&mut report)?;
    }
    if wanted("memory") {
        memory::measure(&mut report)?;
    }
    let judged = match options.only.iter().any(|only| only == "counts") {
        true => counts::measure(&mut report, options.baseline.as_deref(), options.write),
        false => Ok(()),
    };
    report.print();
    judged
}
