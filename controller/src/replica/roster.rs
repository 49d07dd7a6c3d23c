//! Who is there and what each serves, from the Pods and the Leases of this installation.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::Arc,
    time::Duration,
};

use futures_util::{Stream, StreamExt, pin_mut};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{coordination::v1::Lease, core::v1::Pod},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::watcher::{self, Config, Event, watcher},
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{Identity, REFUSED, REPLICA_OF, SERVING};
use crate::watch::Marks;

/// A report that is older no longer holds others up.
pub(super) const STALE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(1);

/// The replicas, by the names of their Pods.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    pods: BTreeMap<String, Presence>,
    /// Those that a list which is not at its end has named. Until its end nobody is known to be gone.
    listed: BTreeSet<String>,
    reports: BTreeMap<String, Report>,
}

#[derive(Clone, Debug, PartialEq)]
struct Presence {
    ready: bool,
    /// When it was first seen so.
    since: Instant,
}

#[derive(Clone, Debug, PartialEq)]
struct Report {
    serving: Marks,
    refused: Option<String>,
    /// Changes with every sign of life.
    version: Option<String>,
    /// When it was seen here: the clocks of other machines say nothing.
    seen: Instant,
}

/// A ready replica.
#[derive(Clone, Copy, Debug)]
pub struct Replica<'a> {
    pub pod: &'a str,
    presence: &'a Presence,
    report: Option<&'a Report>,
}

/// Where a replica stands with a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Serves,
    Behind,
    /// It does not take the latest snapshot, and says why.
    Refuses(String),
    /// Nothing is known of it for too long.
    Silent,
}

impl Roster {
    /// Those that take traffic.
    pub fn ready(&self) -> impl Iterator<Item = Replica<'_>> {
        self.pods.iter().filter(|(_, presence)| presence.ready).map(|(pod, presence)| Replica {
            pod,
            presence,
            report: self.reports.get(pod),
        })
    }

    fn pods(&mut self, event: Event<Pod>, now: Instant) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(pod) => {
                self.listed.insert(pod.name_any());
                self.pod(&pod, now);
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                self.pods.retain(|name, _| listed.contains(name));
            }
            Event::Apply(pod) => self.pod(&pod, now),
            Event::Delete(pod) => drop(self.pods.remove(&pod.name_any())),
        }
    }

    fn pod(&mut self, pod: &Pod, now: Instant) {
        let (name, ready) = (pod.name_any(), is_ready(pod));
        let old = self.pods.get(&name).filter(|old| old.ready == ready);
        let since = old.map_or(now, |old| old.since);
        self.pods.insert(name, Presence { ready, since });
    }

    fn leases(&mut self, event: Event<Lease>, now: Instant) {
        match event {
            Event::InitApply(lease) | Event::Apply(lease) => {
                let version = lease.resource_version();
                let old = self.reports.get(&lease.name_any()).filter(|old| old.version == version);
                let seen = old.map_or(now, |old| old.seen);
                let serving = lease.annotations().get(SERVING).and_then(|said| serde_json::from_str(said).ok());
                let refused = lease.annotations().get(REFUSED).cloned();
                let report = Report { serving: serving.unwrap_or_default(), refused, version, seen };
                self.reports.insert(lease.name_any(), report);
            }
            Event::Delete(lease) => drop(self.reports.remove(&lease.name_any())),
            // A report that is gone meanwhile goes stale; its Pod is gone too.
            Event::Init | Event::InitDone => {}
        }
    }
}

impl Replica<'_> {
    pub(crate) fn standing(&self, need: &Marks, now: Instant) -> Standing {
        let heard = self.report.map_or(self.presence.since, |report| report.seen.max(self.presence.since));
        match self.report {
            Some(report) if report.serving.covers(need) => Standing::Serves,
            _ if now.duration_since(heard) > STALE => Standing::Silent,
            Some(Report { refused: Some(why), .. }) => Standing::Refuses(why.clone()),
            _ => Standing::Behind,
        }
    }
}

/// A Pod that is on its way out gets no new connections.
fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

/// Follows the Pods that `selector` (labels) selects and their Leases until nobody wants to know.
pub async fn follow(client: Client, identity: &Identity, selector: &str, roster: &watch::Sender<Arc<Roster>>) {
    let pods = events::<Pod>(&client, identity, selector);
    let leases = events::<Lease>(&client, identity, &format!("{REPLICA_OF}={}", identity.installation));
    pin_mut!(pods, leases);
    while !roster.is_closed() {
        tokio::select! {
            Some(event) = pods.next() => match event {
                Ok(event) => roster.send_modify(|roster| Arc::make_mut(roster).pods(event, Instant::now())),
                Err(error) => wait("Pods", &error).await,
            },
            Some(event) = leases.next() => match event {
                Ok(event) => roster.send_modify(|roster| Arc::make_mut(roster).leases(event, Instant::now())),
                Err(error) => wait("Leases", &error).await,
            },
            else => return,
        }
    }
}

fn events<K>(
    client: &Client,
    identity: &Identity,
    labels: &str,
) -> impl Stream<Item = watcher::Result<Event<K>>> + use<K>
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + 'static,
    K::DynamicType: Default,
{
    watcher(Api::namespaced(client.clone(), &identity.namespace), Config::default().labels(labels))
}

async fn wait(what: &str, error: &watcher::Error) {
    tracing::warn!(%error, "the {what} of the replicas cannot be watched; trying again");
    sleep(PAUSE).await;
}

/// Ready replicas that report these marks, seen at `now`.
#[cfg(test)]
pub(crate) fn roster_of<const N: usize>(replicas: [(&str, Marks); N], now: Instant) -> Roster {
    let mut roster = Roster::default();
    for (pod, serving) in replicas {
        roster.pods.insert(pod.to_owned(), Presence { ready: true, since: now });
        roster.reports.insert(pod.to_owned(), Report { serving, refused: None, version: None, seen: now });
    }
    roster
}

/// What these Pods and Leases amount to, seen now.
#[cfg(test)]
pub(crate) fn roster_seen(pods: Vec<Pod>, leases: Vec<Lease>) -> Roster {
    let (mut roster, now) = (Roster::default(), Instant::now());
    pods.into_iter().for_each(|pod| roster.pods(Event::Apply(pod), now));
    leases.into_iter().for_each(|lease| roster.leases(Event::Apply(lease), now));
    roster
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str) -> Pod {
        let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        serde_json::from_value(json!({"metadata": {"name": name}, "status": ready})).unwrap()
    }

    fn names(roster: &Roster) -> Vec<&str> {
        roster.ready().map(|replica| replica.pod).collect()
    }

    #[test]
    fn a_relist_empties_no_roster_and_lets_no_silent_replica_begin_anew() {
        let (start, mut roster) = (Instant::now(), Roster::default());
        for name in ["gone", "hangs"] {
            roster.pods(Event::Apply(pod(name)), start);
        }
        let relisted = start + STALE - Duration::from_secs(1);
        roster.pods(Event::Init, relisted);
        assert_eq!(names(&roster), ["gone", "hangs"], "nothing is known to be gone");
        // A list that breaks off is begun again.
        for _ in 0..2 {
            roster.pods(Event::Init, relisted);
            roster.pods(Event::InitApply(pod("hangs")), relisted);
            assert_eq!(names(&roster), ["gone", "hangs"]);
        }
        roster.pods(Event::InitApply(pod("new")), relisted);
        roster.pods(Event::InitDone, relisted);
        assert_eq!(names(&roster), ["hangs", "new"]);
        let (need, late) = (Marks::only("ApiRoute", 1), start + STALE + Duration::from_secs(1));
        let standings: Vec<_> = roster.ready().map(|replica| replica.standing(&need, late)).collect();
        assert_eq!(standings, [Standing::Silent, Standing::Behind]);
    }
}
