//! Side-by-side benchmarks. Every figure is beside its target and, where there is one, beside a peer's of the same run.
//!
//! [`grid`] is what a request costs, as CPU time of the whole process tree; [`lookup`] what it takes to find a rule, [`auth`] to judge a request;
//! [`change`] what one edit among many routes takes until it is served; [`memory`] what many routes weigh, and [`halves`] in which
//! half; [`connections`] what a kept connection weighs, and what a second worker does; [`counts`] what a request costs in
//! instructions, allocations and system calls.

mod auth;
mod backend;
mod change;
mod config;
mod connections;
mod counts;
mod grid;
mod halves;
mod load;
mod lookup;
mod memory;
mod page;
mod process;
mod proxy;
mod report;
mod soak;

use std::{fs, io::Write, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context;
use clap::Parser;
use grid::Rounds;
use proxy::Peer;
use report::Report;

#[derive(Parser)]
struct Options {
    /// Rounds of each proxy; the least counts. Of the grid, half as many.
    #[arg(long, env = "ROUNDS", default_value_t = 6)]
    rounds: usize,
    /// How long each round of a proxy takes.
    #[arg(long, env = "SECONDS_PER_ROUND", default_value_t = 4)]
    seconds: u64,
    /// Only these parts: usual, grid, lookup, auth, change, memory, halves, connections, counts, and soak (these two only if they are named). Of
    /// the counts, those of the cases that are named too.
    only: Vec<String>,
    /// What the counts are compared with; it fails if they are more.
    #[arg(long)]
    baseline: Option<PathBuf>,
    /// Write the baseline instead.
    #[arg(long)]
    write: bool,
    /// How long the soak takes.
    #[arg(long, env = "SOAK_MINUTES", default_value_t = 60.0)]
    minutes: f64,
    /// Where all figures go, with the machine and the versions, as JSON.
    #[arg(long)]
    results: Option<PathBuf>,
    /// Print such a file as a page of the book instead of measuring.
    #[arg(long)]
    page: Option<PathBuf>,
    /// Peers besides nginx and HAProxy, as NAME=COMMAND with {listen} and {backend} in it.
    #[arg(long, env = "PEERS", value_delimiter = ';')]
    peers: Vec<Peer>,
    /// Only publish a snapshot of so many routes at the socket below: a half of its own.
    #[arg(long, hide = true, requires = "publish_at")]
    publish: Option<usize>,
    #[arg(long, hide = true)]
    publish_at: Option<PathBuf>,
    /// Only forward bytes to this address: the floor.
    #[arg(long, hide = true)]
    forward_to: Option<SocketAddr>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let Some(backend) = options.forward_to {
        return backend::forward(backend);
    }
    if let (Some(routes), Some(socket)) = (options.publish, &options.publish_at) {
        return halves::publish(socket, routes);
    }
    if let Some(results) = &options.page {
        let text = fs::read_to_string(results).with_context(|| results.display().to_string())?;
        let page = page::render(&serde_json::from_str(&text)?);
        return Ok(std::io::stdout().write_all(page.as_bytes())?);
    }
    let mut report = Report::new();
    let judged = measure(&options, &mut report);
    report.print();
    if let Some(results) = &options.results {
        let text = serde_json::to_string_pretty(&report)? + "\n";
        fs::write(results, text).with_context(|| results.display().to_string())?;
    }
    judged
}

fn measure(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let wanted = |part: &str| options.only.is_empty() || options.only.iter().any(|only| only == part);
    let time = Duration::from_secs(options.seconds);
    if wanted("usual") {
        grid::usual(&Rounds { count: options.rounds, time }, &options.peers, report)?;
    }
    if wanted("grid") {
        grid::grid(&Rounds { count: options.rounds.div_ceil(2), time: time / 2 }, report)?;
    }
    if wanted("lookup") {
        lookup::measure(report)?;
    }
    if wanted("auth") {
        auth::measure(report)?;
    }
    if wanted("change") {
        change::measure(report)?;
    }
    if wanted("memory") {
        memory::measure(report)?;
    }
    if wanted("halves") {
        halves::measure(report)?;
    }
    if wanted("connections") {
        connections::measure(report)?;
    }
    if options.only.iter().any(|only| only == "soak") {
        soak::measure(Duration::from_secs_f64(options.minutes * 60.0), report)?;
    }
    match options.only.iter().any(|only| only == "counts") {
        true => counts::measure(&options.only, report, options.baseline.as_deref(), options.write),
        false => Ok(()),
    }
}
