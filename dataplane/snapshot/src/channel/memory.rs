//! Both halves in one process: nothing is copied, parts are shared.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::Snapshot;

use super::{
    Publisher, Subscriber,
    delivery::{Desk, Greeting, Name},
    subscriber::{Link, holdings},
};

/// A channel inside this process.
pub fn memory() -> (Publisher, Subscriber) {
    let publisher = Publisher::new(Arc::default(), None);
    let subscriber = attach(&publisher.desk, None);
    (publisher, subscriber)
}

/// Connects a data plane that serves `serving`.
pub(super) fn attach(desk: &Arc<Desk>, serving: Option<Arc<Snapshot>>) -> Subscriber {
    let name = serving.as_deref().map(Name::of);
    let session = desk.greet(Greeting { serving: name, seen: name });
    let mut offers = desk.latest.subscribe();
    offers.mark_changed(); // what was published before counts as news
    let (flag, connected) = watch::channel(true);
    let link = Link::Memory { desk: Arc::downgrade(desk), session, _connected: flag };
    Subscriber::new(offers, Arc::new(Mutex::new(holdings(serving))), connected, link)
}
