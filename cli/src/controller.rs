//! `ravelin controller`: the half that watches the API server, beside a data plane that it reaches over a socket.

mod admin;
mod supervisor;

use std::{env, net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use clap::Args;
use kube::{Client, Config};
use ravelin_controller::{
    compile::{LimitStore, Options},
    leader::Candidate,
    publish,
    replica::{self, Identity, Roster},
    status,
    watch::{self, Scope},
};
use ravelin_snapshot::channel::{Publisher, unix};
use tokio::{
    io::AsyncReadExt,
    sync::watch::{Sender, channel},
    task::JoinSet,
};

use crate::{
    log::{self, LogArgs},
    ownership::Ownership,
};

/// Watch an API server, and tell the data plane at the socket what to serve
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Example:\n  ravelin controller --socket /run/ravelin/channel/snapshot.sock\n\nPOD_NAME, POD_NAMESPACE and POD_UID say which replica this is. Without POD_NAME it reports nothing and writes no\nstatuses. Outside of a cluster, KUBECONFIG says where the API server is."
)]
pub(crate) struct ControllerArgs {
    /// Where the data plane connects; the folder is the controller's
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    /// Health, metrics, /objects; a loopback address
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9902")]
    admin: SocketAddr,
    /// What tells this installation from others in its namespace
    #[arg(long, value_name = "NAME", default_value = "ravelin")]
    installation: String,
    /// The Lease whose holder writes statuses; it has to exist
    #[arg(long, value_name = "NAME", default_value = "ravelin")]
    leader_lease: String,
    /// The labels of this installation's Pods
    #[arg(long, value_name = "LABELS", default_value = "app.kubernetes.io/name=ravelin")]
    pod_selector: String,
    /// Who may use a hostname on the default listeners
    #[arg(long, value_enum, default_value_t = Ownership::Namespace, ignore_case = true)]
    hostname_ownership: Ownership,
    /// Namespaces whose objects count; all, if none is named
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    watch_namespaces: Vec<String>,
    /// The data plane has a store (its --redis) for limits of the scope Shared
    #[arg(long)]
    shared_limits: bool,
    #[command(flatten)]
    log: LogArgs,
    /// Set by the supervisor for the process that it looks after
    #[arg(long, hide = true)]
    supervised: bool,
}

/// An API server that says nothing for longer is as good as away. Longer than a watch call lasts.
const SILENCE: Duration = Duration::from_secs(75);

pub(crate) fn run(args: &ControllerArgs) -> anyhow::Result<ExitCode> {
    log::init(&args.log)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    if args.supervised { runtime.block_on(serve(args)) } else { runtime.block_on(supervisor::run()) }
}

/// Until the supervisor closes standard input.
async fn serve(args: &ControllerArgs) -> anyhow::Result<ExitCode> {
    if !args.admin.ip().is_loopback() {
        bail!("--admin {} is not a loopback address: it shows what everybody declared", args.admin);
    }
    let mut config = Config::infer().await.context("no API server: not in a cluster, and no KUBECONFIG")?;
    config.read_timeout = Some(SILENCE);
    let client = Client::try_from(config).context("the API server's address or credentials cannot be used")?;
    let publisher = unix::listen(&args.socket).with_context(|| format!("--socket {}", args.socket.display()))?;
    let mut tasks = JoinSet::new();
    let candidate = start(args, &client, &publisher, &mut tasks).await?;
    let outcome = tokio::select! {
        () = asked_to_end() => ExitCode::SUCCESS,
        Some(ended) = tasks.join_next() => {
            tracing::error!(?ended, "a part of the controller has ended");
            ExitCode::FAILURE
        }
    };
    tasks.shutdown().await;
    if let Some(candidate) = candidate {
        candidate.resign().await;
    }
    Ok(outcome)
}

/// The parts and what flows between them. Those that need to know which replica this is start only if that is known.
async fn start(
    args: &ControllerArgs,
    client: &Client,
    publisher: &Publisher,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<Option<Arc<Candidate>>> {
    let (worlds, world) = channel(None);
    let (board, published) = channel(None);
    let scope = Scope { namespaces: args.watch_namespaces.clone() };
    let hostname_ownership = args.hostname_ownership.into();
    let limit_store = if args.shared_limits { LimitStore::Configured } else { LimitStore::Missing };
    tasks.spawn(admin::serve(args.admin, published.clone(), publisher.delivery()).await?);
    let watching = client.clone();
    tasks.spawn(async move { watch::run(watching, &scope, worlds).await });
    tasks.spawn(publish::run(world, Options { hostname_ownership, limit_store }, publisher.clone(), board));
    let Some(identity) = identity(args) else {
        tracing::warn!("POD_NAME and POD_NAMESPACE are not set: no statuses are written");
        return Ok(None);
    };
    let candidate = Arc::new(Candidate::new(client.clone(), &identity.namespace, &args.leader_lease, &identity.pod));
    let (leads, leading) = channel(false);
    let (roster, replicas) = channel(Arc::new(Roster::default()));
    tasks.spawn(status::run(client.clone(), published.clone(), replicas, leading));
    tasks.spawn(follow(client.clone(), identity.clone(), args.pod_selector.clone(), roster));
    let (reporting, delivery) = (client.clone(), publisher.delivery());
    tasks.spawn(async move { replica::report(reporting, &identity, published, delivery).await });
    let running = Arc::clone(&candidate);
    tasks.spawn(async move { running.run(&leads).await });
    Ok(Some(candidate))
}

async fn follow(client: Client, identity: Identity, selector: String, roster: Sender<Arc<Roster>>) {
    replica::follow(client, &identity, &selector, &roster).await;
}

fn identity(args: &ControllerArgs) -> Option<Identity> {
    let known = |name| env::var(name).ok().filter(|value| !value.is_empty());
    Some(Identity {
        namespace: known("POD_NAMESPACE")?,
        pod: known("POD_NAME")?,
        uid: known("POD_UID"),
        installation: args.installation.clone(),
    })
}

/// The supervisor holds the other end of standard input: it closes it, or it is gone.
async fn asked_to_end() {
    let mut rest = [0; 64];
    let mut input = tokio::io::stdin();
    while matches!(input.read(&mut rest).await, Ok(1..)) {}
}
