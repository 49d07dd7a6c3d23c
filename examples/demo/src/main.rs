//! The demo: two sample backends, the gateway on the folder `examples/shop`, and real requests that show what it does.
//! Everything is on free ports and in a temporary folder; nothing is left running. `--stay` leaves it up instead.

mod gateway;
mod show;
mod steps;

use std::process::ExitCode;

use gateway::Gateway;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let stay = std::env::args().any(|argument| argument == "--stay");
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            show::trouble(&anyhow::Error::new(error));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(stay)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            show::trouble(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(stay: bool) -> anyhow::Result<()> {
    let gateway = Gateway::start().await?;
    if stay {
        show::invitation(&gateway)?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            asked = tokio::signal::ctrl_c() => asked?,
            _ = terminate.recv() => {}
        }
        return gateway.stop().await;
    }
    steps::all(&gateway).await?;
    gateway.stop().await?;
    show::end();
    Ok(())
}
