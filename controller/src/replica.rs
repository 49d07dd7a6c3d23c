//! How replicas tell each other what they serve.
//!
//! Each replica owns a Lease of its own name. It says, for each kind of ours, the highest resourceVersion up to which
//! its data plane has acknowledged all changes; the leader reads them all and so knows what every ready replica serves.
//! The Lease is owned by the Pod and goes with it.

mod report;
mod roster;

pub use report::report;
pub(crate) use roster::Standing;
pub use roster::{Replica, Roster, follow};
#[cfg(test)]
pub(crate) use {
    report::lease_of,
    roster::{roster_of, roster_seen},
};

/// On a replica's Lease: what its data plane has acknowledged, as [`Marks`](crate::watch::Marks).
const SERVING: &str = "ravelin.dev/serving";
/// On a replica's Lease, if its data plane refuses the latest snapshot: why.
const REFUSED: &str = "ravelin.dev/refused";
/// By this label the Leases of replicas are found; its value is the installation's.
const REPLICA_OF: &str = "ravelin.dev/replica-of";

/// This replica, as the cluster knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub namespace: String,
    /// The Pod's name; also that of the replica's Lease.
    pub pod: String,
    /// The Pod's; without it the Lease has no owner and stays behind.
    pub uid: Option<String>,
    /// Tells installations in one namespace apart.
    pub installation: String,
}
