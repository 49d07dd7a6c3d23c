//! What many routes weigh: resident memory of both halves in one process, and how long it takes until they are served.

use std::time::Instant;

use crate::{config, process::free_address, proxy::start_ravelin, report::Report};

pub(crate) fn measure(report: &mut Report) -> anyhow::Result<()> {
    for (routes, target) in [(0, ""), (5000, "<= 64 MiB"), (10_000, "ready <= 2 s"), (100_000, "<= 400 MiB")] {
        let folder = tempfile::tempdir()?;
        config::write(folder.path(), &config::routes(routes, free_address()?))?;
        let start = Instant::now();
        let process = start_ravelin(folder.path())?.process;
        let ready = start.elapsed().as_secs_f64();
        let resident = process.resident()? >> 20;
        report.add(
            format!("resident memory of both halves, {routes} routes; ready"),
            format!("{resident} MiB; {ready:.1} s"),
            String::new(),
            target,
        );
    }
    Ok(())
}
