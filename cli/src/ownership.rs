//! `--hostname-ownership`, of whoever compiles.

use clap::ValueEnum;
use ravelin_controller::compile::HostnameOwnership;

/// Who may use a hostname on the default listeners.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Ownership {
    /// The namespace of the oldest ApiRoute that names it, alone
    Namespace,
    /// Namespaces merge
    Shared,
}

impl From<Ownership> for HostnameOwnership {
    fn from(said: Ownership) -> Self {
        match said {
            Ownership::Namespace => Self::Namespace,
            Ownership::Shared => Self::Shared,
        }
    }
}
