//! What this replica's data plane has acknowledged, written into its Lease: at once, and again as a sign of life.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference},
};
use kube::{
    Api, Client, Resource,
    api::{ObjectMeta, Patch, PatchParams},
};
use ravelin_snapshot::{Revision, channel::Delivery};
use tokio::{
    sync::watch,
    time::{interval, sleep, timeout},
};

use super::{Identity, REFUSED, REPLICA_OF, SERVING, roster::STALE};
use crate::{publish::Published, watch::Marks};

/// Between two signs of life: two may be lost before the report is stale.
const HEARTBEAT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(500);
/// A write that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs until nothing is published any longer. One write at a time: what changes meanwhile goes with the next.
pub async fn report(
    client: Client,
    identity: &Identity,
    mut board: watch::Receiver<Option<Arc<Published>>>,
    mut delivery: watch::Receiver<Delivery>,
) {
    let leases: Api<Lease> = Api::namespaced(client, &identity.namespace);
    let mut ledger = Ledger::default();
    board.mark_changed();
    delivery.mark_changed();
    let mut said: Option<Saying> = None;
    let mut heartbeat = interval(HEARTBEAT);
    loop {
        tokio::select! {
            changed = board.changed() => if changed.is_err() { return },
            changed = delivery.changed() => if changed.is_err() { return },
            _ = heartbeat.tick() => said = None,
        }
        let published = board.borrow_and_update().clone();
        // What comes from outdated CRDs is not served.
        if let Some(published) = published.filter(|published| published.world.observed.lacking.is_empty()) {
            ledger.published(published.revision, &published.world.observed.marks);
        }
        let now = ledger.saying(&delivery.borrow_and_update());
        if said.as_ref() == Some(&now) {
            continue;
        }
        let params = PatchParams::apply("ravelin-replica").force();
        let lease = Patch::Apply(now.lease(identity));
        match timeout(PATIENCE, leases.patch(&identity.pod, &params, &lease)).await {
            Ok(Ok(_)) => said = Some(now),
            Ok(Err(error)) => tracing::warn!(%error, "what this replica serves cannot be reported"),
            Err(_) => tracing::warn!("what this replica serves cannot be reported: no answer"),
        }
        if said.is_none() {
            sleep(PAUSE).await;
            board.mark_changed();
        }
    }
}

/// Which marks come with which revision.
#[derive(Debug, Default)]
struct Ledger {
    /// Published and not known to be acknowledged, in their order.
    open: VecDeque<(Revision, Marks)>,
    acknowledged: Marks,
}

/// What is to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Saying {
    serving: Marks,
    refused: Option<String>,
}

impl Ledger {
    fn published(&mut self, revision: Revision, marks: &Marks) {
        match self.open.back_mut() {
            // Worlds that differ in nothing that is served have one revision: the later one counts.
            Some((last, open)) if *last == revision => open.clone_from(marks),
            _ => self.open.push_back((revision, marks.clone())),
        }
    }

    fn saying(&mut self, delivery: &Delivery) -> Saying {
        while let Some((_, marks)) =
            self.open.pop_front_if(|(revision, _)| delivery.acknowledged.is_some_and(|served| served >= *revision))
        {
            self.acknowledged = marks;
        }
        let refused = delivery.refused.as_ref().map(|(revision, refusal)| format!("revision {revision}: {refusal}"));
        Saying { serving: self.acknowledged.clone(), refused }
    }
}

impl Saying {
    fn lease(&self, identity: &Identity) -> Lease {
        let owner = identity.uid.as_ref().map(|uid| OwnerReference {
            api_version: Pod::api_version(&()).into_owned(),
            kind: Pod::kind(&()).into_owned(),
            name: identity.pod.clone(),
            uid: uid.clone(),
            ..OwnerReference::default()
        });
        let serving = serde_json::to_string(&self.serving).unwrap_or_default();
        let notes = [(SERVING, Some(serving)), (REFUSED, self.refused.clone())];
        let notes = notes.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Lease {
            metadata: ObjectMeta {
                name: Some(identity.pod.clone()),
                labels: Some([(REPLICA_OF.to_owned(), identity.installation.clone())].into()),
                annotations: Some(notes.collect()),
                owner_references: owner.map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(identity.pod.clone()),
                lease_duration_seconds: i32::try_from(STALE.as_secs()).ok(),
                renew_time: Some(MicroTime(Timestamp::now())),
                ..LeaseSpec::default()
            }),
        }
    }
}

/// The Lease of a replica whose data plane stands so, after these marks were published with that revision.
#[cfg(test)]
pub(crate) fn lease_of(identity: &Identity, published: (Revision, &Marks), delivery: &Delivery) -> Lease {
    let mut ledger = Ledger::default();
    ledger.published(published.0, published.1);
    ledger.saying(delivery).lease(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acknowledged(revision: u64) -> Delivery {
        Delivery { acknowledged: Some(Revision(revision)), ..Delivery::default() }
    }

    #[test]
    fn marks_count_once_their_revision_is_acknowledged_and_not_before() {
        let mut ledger = Ledger::default();
        let mark = |version| Marks::only("ApiRoute", version);
        ledger.published(Revision(1), &mark(10));
        ledger.published(Revision(2), &mark(20));
        ledger.published(Revision(2), &mark(21));
        ledger.published(Revision(3), &mark(30));
        assert_eq!(ledger.saying(&Delivery::default()).serving, Marks::default());
        assert_eq!(ledger.saying(&acknowledged(2)).serving, mark(21));
        // An equal snapshot needs no acknowledgement of its own.
        ledger.published(Revision(3), &mark(31));
        assert_eq!(ledger.saying(&acknowledged(3)).serving, mark(31));
        ledger.published(Revision(3), &mark(32));
        assert_eq!(ledger.saying(&acknowledged(3)).serving, mark(32));
    }

    #[test]
    fn a_data_plane_that_comes_back_with_nothing_does_not_take_back_what_was_said() {
        let mut ledger = Ledger::default();
        ledger.published(Revision(1), &Marks::only("ApiRoute", 10));
        ledger.saying(&acknowledged(1));
        assert_eq!(ledger.saying(&Delivery::default()).serving, Marks::only("ApiRoute", 10));
    }
}
