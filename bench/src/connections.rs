//! Connections rather than requests: what one weighs that is kept and rests, and what two workers do beside one.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    backend::{self, Body},
    config,
    load::{self, Kept, Target},
    process::Process,
    proxy,
    report::Report,
};

const ROUTES: usize = 1000;

pub(crate) fn measure(report: &mut Report) -> anyhow::Result<()> {
    resting(report)?;
    workers(report)
}

/// They rest after a quarter of the time for which an idle connection is kept.
fn resting(report: &mut Report) -> anyhow::Result<()> {
    const CONNECTIONS: usize = 3000;
    const IDLE: Duration = Duration::from_secs(100);
    const UNTIL_REST: Duration = Duration::from_secs(30);
    let folder = tempfile::tempdir()?;
    config::write(folder.path(), &config::routes(ROUTES, backend::start(Body::Whole(1 << 10), false)?))?;
    let mut command = std::process::Command::new(proxy::program()?);
    command.arg("standalone").arg(folder.path()).args(["--workers", "1"]);
    command.args(["--idle-timeout", &format!("{}s", IDLE.as_secs())]);
    let started = proxy::start(&mut command)?;
    let target = proxy::target(started.http, ROUTES);
    // What is there once, however many there are.
    load::exactly(&target, 64, 10)?;
    let before = started.process.resident()?;
    let one = target.paths[..1].to_vec();
    let mut kept = Kept::open(&Target { paths: one.into(), ..target }, CONNECTIONS)?;
    let busy = started.process.resident()?;
    let least = lowest(&started.process, UNTIL_REST)?;
    let each = |after: u64| after.saturating_sub(before) as f64 / CONNECTIONS as f64 / 1024.0;
    kept.ask_again()?;
    report.add(
        format!("resident memory of a kept connection, of {CONNECTIONS}: after its request, at rest"),
        format!("{:.1}, {:.1} KiB", each(busy), each(least)),
        String::new(),
        "<= 6 KB at rest",
    );
    Ok(())
}

/// Resident memory within that time.
fn lowest(process: &Process, time: Duration) -> anyhow::Result<u64> {
    let start = Instant::now();
    let mut least = process.resident()?;
    while start.elapsed() < time {
        #[expect(clippy::disallowed_methods, reason = "memory that is given back tells nobody")]
        thread::sleep(Duration::from_millis(200));
        least = least.min(process.resident()?);
    }
    Ok(least)
}

/// The load is made on the same processors, so that two workers never have both to themselves: what counts is how much CPU
/// time a request costs when both work. Two workers with two free processors do as much more as that allows.
fn workers(report: &mut Report) -> anyhow::Result<()> {
    const ROUNDS: usize = 3;
    const TIME: Duration = Duration::from_secs(4);
    let folder = tempfile::tempdir()?;
    config::write(folder.path(), &config::routes(ROUTES, backend::start(Body::Whole(1 << 10), false)?))?;
    let mut least = [f64::MAX; 2];
    for _ in 0..ROUNDS {
        for (workers, least) in (1..).zip(&mut least) {
            let mut command = std::process::Command::new(proxy::program()?);
            let started = proxy::start_with(&mut command, folder.path(), workers)?;
            let target = proxy::target(started.http, ROUTES);
            load::run(&target, 64, TIME / 4)?;
            let before = started.process.cpu()?;
            let answered = load::run(&target, 64, TIME)?;
            let spent = started.process.cpu()?.saturating_sub(before);
            *least = least.min(spent.as_secs_f64() * 1e6 / answered as f64);
        }
    }
    let [one, two] = least;
    report.add(
        "CPU a request with one worker, with two; what two do beside one where each has a processor",
        format!("{one:.1}, {two:.1} us; {:.2}x", 2.0 * one / two),
        String::new(),
        ">= 1.85x",
    );
    Ok(())
}
