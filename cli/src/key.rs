//! `ravelin key`: API keys as the Secrets that AuthPolicies select.

mod list;
mod new;
mod revoke;

use clap::{Args, Subcommand};
use ravelin_controller::{files::Once, verdict::Reason};

/// The type of a Secret that is an API key.
const SECRET_TYPE: &str = "ravelin.dev/api-key";

/// Make, list and revoke API keys
///
/// A key is a Secret of type ravelin.dev/api-key that holds the SHA-256 of the key; the key itself is stored nowhere. These
/// commands work on files. In a cluster, kubectl does the rest:
///
///   ravelin key new --id acme --namespace shop --label app=shop | kubectl apply -f -
///   kubectl get secrets -A --field-selector type=ravelin.dev/api-key -o yaml | ravelin key list -
///   kubectl patch secret NAME -n shop -p '{"stringData":{"disabled":"true"}}'
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    New(new::NewArgs),
    List(list::ListArgs),
    Revoke(revoke::RevokeArgs),
}

/// What could not be read, or not whole: it may hold keys that nobody sees.
fn unread(once: &Once) -> Option<String> {
    let told = once.world.findings.iter().find(|told| told.finding.reason == Reason::Unreadable)?;
    Some(format!("{}: {}", told.file, told.finding.message))
}

pub(crate) fn run(args: &KeyArgs) -> anyhow::Result<()> {
    match &args.command {
        KeyCommand::New(args) => new::run(args),
        KeyCommand::List(args) => list::run(args),
        KeyCommand::Revoke(args) => revoke::run(args),
    }
}
