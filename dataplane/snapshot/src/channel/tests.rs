//! Claims that hold for both carriers, over real sockets where there is one.

use std::{path::Path, sync::Arc};

use proptest::prelude::*;

use super::{Delivery, Publisher, Refusal, Subscriber, memory, unix};
use crate::{
    ObjectKey, Part, Rare, Revision, Snapshot,
    host::HostPattern,
    route::{Action, Broken, Guard, Match, PathMatch, Route, Rule},
};

/// A world of `routes` routes, each of which says `stamp`: a mixture of two worlds has two stamps.
fn world(routes: u8, stamp: u32) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for number in 0..routes {
        let rule = Rule {
            name: stamp.to_string(),
            matches: vec![Match {
                path: PathMatch::Prefix("/".to_owned()),
                method: None,
                headers: Vec::new(),
                query: Vec::new(),
                when: None,
            }],
            auth: Guard::Open,
            limits: Vec::new(),
            request_headers: Rare::default(),
            response_headers: Rare::default(),
            filters: None,
            action: Action::Reject(Broken::RouteInvalid),
            timeouts: Rare::default(),
        };
        let route = Route { created: None, hosts: vec![HostPattern::Any], certificates: Vec::new(), rules: vec![rule] };
        snapshot.routes.insert(ObjectKey::new("shop", format!("route-{number}")), Part::new(route));
    }
    snapshot
}

fn is_no_mixture(snapshot: &Snapshot) -> bool {
    let mut stamps = snapshot.routes.iter().map(|(_, route)| route.rules[0].name.clone());
    let first = stamps.next();
    stamps.all(|stamp| Some(&stamp) == first.as_ref())
}

/// Takes what comes, accepts it, and returns it once it has the content of `wanted`.
async fn receive(subscriber: &mut Subscriber, wanted: &Snapshot) -> Arc<Snapshot> {
    loop {
        let snapshot = subscriber.next().await.expect("the publisher is here");
        assert!(is_no_mixture(&snapshot), "a receiver never holds a mixture");
        subscriber.accept(snapshot.revision);
        if snapshot.digest() == wanted.digest() {
            return snapshot;
        }
    }
}

async fn until(publisher: &Publisher, holds: impl FnMut(&Delivery) -> bool) -> Delivery {
    publisher.delivery().wait_for(holds).await.expect("the publisher is here").clone()
}

async fn accepts_refuses_and_conflates(publisher: Publisher, mut subscriber: Subscriber) {
    let first = publisher.publish(world(3, 1));
    let got = receive(&mut subscriber, &world(3, 1)).await;
    assert_eq!(got.revision, first);
    until(&publisher, |delivery| delivery.acknowledged == Some(first)).await;

    for stamp in 2..50 {
        publisher.publish(world(3, stamp));
    }
    let last = publisher.publish(world(4, 50));
    receive(&mut subscriber, &world(4, 50)).await;
    until(&publisher, |delivery| delivery.acknowledged == Some(last)).await;

    let bad = publisher.publish(world(5, 51));
    let offered = subscriber.next().await.expect("a snapshot");
    assert_eq!(offered.revision, bad);
    let refusal = Refusal { part: "route shop/route-4".to_owned(), reason: "too large".to_owned() };
    subscriber.refuse(bad, refusal.clone());
    let delivery = until(&publisher, |delivery| delivery.refused.is_some()).await;
    assert_eq!(delivery.refused, Some((bad, refusal)));
    assert_eq!(delivery.acknowledged, Some(last), "what it serves is still the one before");

    let good = publisher.publish(world(5, 52));
    receive(&mut subscriber, &world(5, 52)).await;
    until(&publisher, |delivery| delivery.acknowledged == Some(good)).await;
}

#[tokio::test]
async fn in_memory_latest_wins_and_a_refusal_keeps_the_old() {
    let (publisher, subscriber) = memory();
    accepts_refuses_and_conflates(publisher, subscriber).await;
}

#[tokio::test]
async fn over_a_socket_latest_wins_and_a_refusal_keeps_the_old() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let publisher = unix::listen(&path).unwrap();
    accepts_refuses_and_conflates(publisher, unix::connect(path, None)).await;
}

#[tokio::test]
async fn revisions_go_on_from_the_one_that_the_data_plane_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let kept = Arc::new(Snapshot { revision: Revision(41), ..world(2, 1) });
    let publisher = unix::listen(&path).unwrap();
    let mut subscriber = unix::connect(path, Some(kept));
    until(&publisher, |delivery| delivery.connected).await;
    let revision = publisher.publish(world(2, 2));
    assert_eq!(revision, Revision(42));
    assert_eq!(receive(&mut subscriber, &world(2, 2)).await.revision, revision);
}

#[derive(Clone, Debug)]
enum Step {
    Publish(u8),
    Receive,
    RestartDataPlane { keeps: bool },
    RestartController,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6u8).prop_map(Step::Publish),
        3 => Just(Step::Receive),
        1 => any::<bool>().prop_map(|keeps| Step::RestartDataPlane { keeps }),
        1 => Just(Step::RestartController),
    ]
}

/// Both halves, and what each would know after a restart.
struct Pair<'a> {
    path: &'a Path,
    publisher: Publisher,
    subscriber: Subscriber,
    published: Snapshot,
    serving: Option<Arc<Snapshot>>,
}

impl Pair<'_> {
    async fn take(&mut self, step: Step, stamp: u32) {
        match step {
            Step::Publish(routes) => {
                self.published = world(routes, stamp);
                self.publisher.publish(self.published.clone());
            }
            Step::Receive => self.serving = Some(receive(&mut self.subscriber, &self.published).await),
            Step::RestartDataPlane { keeps } => {
                let kept = self.serving.take().filter(|_| keeps);
                self.subscriber = unix::connect(self.path.to_owned(), kept.clone());
                // What was received is offered again to a data plane that has lost it, and only to that one.
                self.serving = kept;
                self.publisher.publish(self.published.clone());
            }
            Step::RestartController => {
                self.publisher = unix::listen(self.path).unwrap();
                self.publisher.publish(self.published.clone());
            }
        }
    }

    /// Publishes a last world and waits until it is served and known to be served.
    async fn settle(mut self, stamp: u32) {
        let last = world(3, stamp);
        self.publisher.publish(last.clone());
        let served = receive(&mut self.subscriber, &last).await;
        until(&self.publisher, |delivery| delivery.acknowledged == Some(served.revision)).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn any_interleaving_of_sends_and_restarts_converges(steps in prop::collection::vec(step(), 0..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("socket");
            let publisher = unix::listen(&path).unwrap();
            let subscriber = unix::connect(path.clone(), None);
            let mut pair = Pair { path: &path, publisher, subscriber, published: world(0, 0), serving: None };
            let count = u32::try_from(steps.len()).unwrap();
            for (stamp, step) in (1..).zip(steps) {
                // Nothing new to receive is no step: it would wait for ever, rightly.
                let current = pair.serving.as_ref().is_some_and(|serving| serving.digest() == pair.published.digest());
                let silent = current || pair.published.routes.is_empty();
                if !(matches!(step, Step::Receive) && silent) {
                    pair.take(step, stamp).await;
                }
            }
            pair.settle(count + 1).await;
        });
    }
}
