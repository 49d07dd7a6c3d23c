//! What many routes weigh: resident memory of both halves in one process, and how long it takes until they are served.

use std::{fs, time::Instant};

use crate::{config, process::free_address, proxy::start_ravelin, report::Report};

/// Objects of one file: larger ones are refused.
const PER_FILE: usize = 5000;

pub(crate) fn measure(report: &mut Report) -> anyhow::Result<()> {
    for (routes, target) in [(0, ""), (5000, "<= 64 MiB"), (10_000, "ready <= 2 s"), (100_000, "<= 400 MiB")] {
        let folder = tempfile::tempdir()?;
        let text = config::routes(routes, free_address()?);
        let documents: Vec<&str> = text.split("---\n").collect();
        for (number, documents) in documents.chunks(PER_FILE).enumerate() {
            fs::write(folder.path().join(format!("routes-{number}.yaml")), documents.join("---\n"))?;
        }
        let start = Instant::now();
        let (process, _) = start_ravelin(folder.path())?;
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
