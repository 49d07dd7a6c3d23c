//! Who writes statuses: the holder of one Lease.
//!
//! Two leaders for a moment do no harm: statuses are applied whole, and equal worlds give equal statuses. So a clock
//! that is wrong costs writes, not truth, and the data plane needs no leader at all.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime};
use kube::{Api, Client, api::PostParams};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

/// How long a Lease counts that nobody renews.
const DURATION: Duration = Duration::from_secs(15);
/// How long a leader that cannot renew goes on: less than that.
const DEADLINE: Duration = Duration::from_secs(10);
const PERIOD: Duration = Duration::from_secs(2);

/// One replica's part in the election.
pub struct Candidate {
    leases: Api<Lease>,
    lease: String,
    identity: String,
}

/// What was last seen of another holder. Its age is measured here: the clock of another machine says nothing.
struct Rival {
    /// Changes with every renewal.
    version: Option<String>,
    since: Instant,
}

impl Candidate {
    pub fn new(client: Client, namespace: &str, lease: &str, identity: &str) -> Self {
        Self { leases: Api::namespaced(client, namespace), lease: lease.to_owned(), identity: identity.to_owned() }
    }

    /// Runs until nobody asks who leads. `leads` is true while this replica holds the Lease.
    pub async fn run(&self, leads: &watch::Sender<bool>) {
        let mut rival = Rival { version: None, since: Instant::now() };
        let mut renewed = Instant::now();
        while !leads.is_closed() {
            match timeout(DEADLINE, self.attempt(&mut rival, Instant::now())).await {
                Ok(Ok(held)) => {
                    renewed = Instant::now();
                    tell(leads, held);
                }
                Ok(Err(error)) => tracing::warn!(%error, lease = self.lease, "the leader's Lease cannot be renewed"),
                Err(_) => tracing::warn!(lease = self.lease, "the leader's Lease cannot be renewed: no answer"),
            }
            if renewed.elapsed() >= DEADLINE {
                tell(leads, false);
            }
            sleep(PERIOD).await;
        }
    }

    /// Gives the Lease back, so that another replica need not wait for its end.
    pub async fn resign(&self) {
        let resigned = async {
            let mut lease = self.leases.get(&self.lease).await?;
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() == Some(&self.identity) {
                spec.holder_identity = None;
                self.leases.replace(&self.lease, &PostParams::default(), &lease).await?;
            }
            Ok::<_, kube::Error>(())
        };
        if let Ok(Err(error)) = timeout(PERIOD, resigned).await {
            tracing::info!(%error, lease = self.lease, "the leader's Lease was not given back");
        }
    }

    /// Takes or renews the Lease if that is right, and says whether it is held.
    async fn attempt(&self, rival: &mut Rival, now: Instant) -> kube::Result<bool> {
        let mut lease = self.leases.get(&self.lease).await?;
        let version = lease.metadata.resource_version.clone();
        let spec = lease.spec.get_or_insert_default();
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        if !holder.is_empty() && holder != self.identity {
            if rival.version != version {
                *rival = Rival { version, since: now };
            }
            if now.duration_since(rival.since) < DURATION {
                return Ok(false);
            }
        }
        let time = MicroTime(Timestamp::now());
        if holder != self.identity {
            spec.holder_identity = Some(self.identity.clone());
            spec.acquire_time = Some(time.clone());
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or_default() + 1);
        }
        spec.lease_duration_seconds = i32::try_from(DURATION.as_secs()).ok();
        spec.renew_time = Some(time);
        // At the version that was read: of two replicas that try, one succeeds.
        match self.leases.replace(&self.lease, &PostParams::default(), &lease).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn tell(leads: &watch::Sender<bool>, held: bool) {
    leads.send_if_modified(|leads| {
        let changed = *leads != held;
        if changed {
            tracing::info!(
                leads = held,
                "statuses are written by {}",
                if held { "this replica" } else { "another one" }
            );
        }
        *leads = held;
        changed
    });
}

#[cfg(test)]
mod tests;
