//! `ravelin crds`.

use std::io::{self, Write};

use clap::Args;

/// Print the CustomResourceDefinitions of this version
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  ravelin crds | kubectl apply --server-side -f -")]
pub(crate) struct CrdsArgs {}

pub(crate) fn run() -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    for crd in ravelin_crds::generate::all() {
        write!(out, "---\n{}", ravelin_crds::generate::yaml(&crd))?;
    }
    Ok(())
}
