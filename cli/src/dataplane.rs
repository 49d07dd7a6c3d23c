//! `ravelin dataplane`: the half that serves clients, fed by a controller over a socket.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Args;
use ravelin_dataplane::{Settings, server::Source, start};

use crate::{
    log::{self, LogArgs},
    serve::{self, ServeArgs},
};

/// Serve clients with what the controller at the socket says
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Example:\n  ravelin dataplane --socket /run/ravelin/channel/snapshot.sock --state /var/lib/ravelin \\\n    --http 0.0.0.0:8080 --probe 0.0.0.0:9900\n\nWithout a controller it serves what is kept in --state, and says so in /readyz's log and metrics."
)]
pub(crate) struct DataplaneArgs {
    /// The controller's socket; it may come and go
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    /// Where the last accepted snapshot is kept, for a start without a controller
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// HTTP/1.1 and HTTP/2 without TLS
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// HTTP/1.1 and HTTP/2 with TLS
    #[arg(long, value_name = "ADDR")]
    https: Option<SocketAddr>,
    /// Health, readiness, metrics and no more: for the cluster
    #[arg(long, value_name = "ADDR")]
    probe: Option<SocketAddr>,
    /// Everything that an operator may see and reset; a loopback address
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9901")]
    admin: SocketAddr,
    #[command(flatten)]
    serve: ServeArgs,
    #[command(flatten)]
    log: LogArgs,
}

pub(crate) fn run(args: &DataplaneArgs) -> anyhow::Result<ExitCode> {
    log::init(&args.log)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(serve(args))
}

async fn serve(args: &DataplaneArgs) -> anyhow::Result<ExitCode> {
    let asked_to_end = serve::asked_to_end();
    let settings = Settings {
        http: args.http,
        https: args.https,
        admin: Some(args.admin),
        probe: args.probe,
        state: args.state.clone(),
        quotas: args.state.clone(),
        ..args.serve.settings()?
    };
    let running = start(settings, Source::Unix(args.socket.clone()), Vec::new()).await?;
    tokio::pin!(asked_to_end);
    tokio::select! {
        () = running.served() => serve::say_ready(&running.addresses),
        asked = &mut asked_to_end => {
            asked?;
            return serve::end(running).await;
        }
    }
    asked_to_end.await?;
    serve::end(running).await
}
