//! `ravelin standalone`: both halves in one process, fed from a folder.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::Args;
use ravelin_controller::{
    compile::{LimitStore, Options},
    files::{FollowError, follow},
    publish,
};
use ravelin_dataplane::{Settings, server::Source, start};
use ravelin_snapshot::{Digest, channel::memory};
use tokio::sync::watch;

use crate::{
    log::{self, LogArgs},
    objects,
    serve::{self, ServeArgs},
};

/// Serve what a folder of YAML or JSON says, and follow its changes
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Example:\n  ravelin standalone examples/shop --http 127.0.0.1:8080\n  curl -i http://127.0.0.1:8080/\n\nWhen everything is served, one line of JSON on stdout says where; logs go to stderr."
)]
pub(crate) struct StandaloneArgs {
    /// Every .yaml, .yml and .json below it
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// HTTP/1.1 and HTTP/2 without TLS; port 0 picks one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// HTTP/1.1 and HTTP/2 with TLS; port 0 picks one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8443")]
    https: SocketAddr,
    /// Health, metrics, /objects, /snapshot and resets; a loopback address, port 0 picks one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9901")]
    admin: SocketAddr,
    /// Where what is used of quotas is kept; default: below the user's state folder, by the folder's path
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    #[command(flatten)]
    serve: ServeArgs,
    #[command(flatten)]
    log: LogArgs,
}

pub(crate) fn run(args: &StandaloneArgs) -> anyhow::Result<ExitCode> {
    log::init(&args.log)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(serve(args))
}

async fn serve(args: &StandaloneArgs) -> anyhow::Result<ExitCode> {
    let asked_to_end = serve::asked_to_end();
    tokio::pin!(asked_to_end);
    let (worlds, world) = watch::channel(None);
    let mut following = tokio::spawn(follow(args.folder.clone(), worlds));
    let (publisher, subscriber) = memory();
    let (board, published) = watch::channel(None);
    let pages = vec![objects::page(published, publisher.delivery())];
    let quotas = match &args.state {
        Some(state) => {
            // Who says where it is to be kept wants to hear at once that it cannot be.
            std::fs::create_dir_all(state).with_context(|| format!("--state {}", state.display()))?;
            Some(state.clone())
        }
        None => own_state(&args.folder),
    };
    let settings = Settings {
        http: Some(args.http),
        https: Some(args.https),
        admin: Some(args.admin),
        quotas,
        ..args.serve.settings()?
    };
    let limit_store = if settings.store.is_some() { LimitStore::Configured } else { LimitStore::Missing };
    let options = Options { limit_store, ..Options::default() };
    let running = start(settings, Source::Memory(subscriber), pages).await?;
    let publishing = tokio::spawn(publish::run(world, options, publisher, board));
    tokio::select! {
        () = running.served() => serve::say_ready(&running.addresses),
        ended = &mut following => return Err(why(ended)),
        asked = &mut asked_to_end => {
            asked?;
            return serve::end(running).await;
        }
    }
    let outcome = tokio::select! {
        asked = asked_to_end => asked,
        ended = &mut following => Err(why(ended)),
        ended = publishing => Err(anyhow::anyhow!("the compiler has ended: {ended:?}")),
    };
    let code = serve::end(running).await?;
    outcome.map(|()| code)
}

/// The watched folder's own below the user's state folder (XDG); `None`: there is no such folder.
fn own_state(folder: &Path) -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    let path = std::path::absolute(folder).ok()?;
    let name = Digest::of(path.as_os_str().as_encoded_bytes()).to_string();
    Some(state.join("ravelin").join(name))
}

fn why(ended: Result<Result<(), FollowError>, tokio::task::JoinError>) -> anyhow::Error {
    match ended {
        Ok(Ok(())) => anyhow::anyhow!("nobody listens to the folder any longer"),
        Ok(Err(error)) => error.into(),
        Err(panic) => panic.into(),
    }
}
