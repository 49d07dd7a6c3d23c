//! What many routes weigh: resident memory of both halves in one process.

use std::fs;

use crate::{config, process::free_address, proxy::start_ravelin, report::Report};

const ROUTES: usize = 5000;

pub(crate) fn measure(report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("routes.yaml"), config::routes(ROUTES, free_address()?))?;
    let (process, _) = start_ravelin(folder.path())?;
    let resident = process.resident()? >> 20;
    report.add(
        format!("resident memory of both halves, {ROUTES} routes"),
        format!("{resident} MiB"),
        String::new(),
        "<= 96 MiB",
    );
    Ok(())
}
