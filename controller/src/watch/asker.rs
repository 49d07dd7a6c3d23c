//! Asks the API server how new the policies are, for routes that wait at the gate.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams},
    core::ApiResource,
};
use ravelin_crds as crds;
use tokio::{
    sync::{Notify, mpsc},
    time::{sleep, timeout},
};

use super::gate::Mark;
use crate::object::Kind;

/// The policies of one watch.
pub(super) struct Asked {
    track: usize,
    kind: Kind,
    api: Api<DynamicObject>,
}

const PAUSE: Duration = Duration::from_millis(200);
/// A list that takes longer is asked for again.
const PATIENCE: Duration = Duration::from_secs(10);

impl Asked {
    /// `None`: the kind protects nothing.
    pub(super) fn new(client: &Client, track: usize, kind: Kind, namespace: Option<&str>) -> Option<Self> {
        let resource = match kind {
            Kind::AuthPolicy => ApiResource::erase::<crds::AuthPolicy>(&()),
            Kind::RateLimitPolicy => ApiResource::erase::<crds::RateLimitPolicy>(&()),
            _ => return None,
        };
        let api = match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        Some(Self { track, kind, api })
    }

    /// A list without a version is consistent; a watch cache answers it where the API server is of this decade. Pages
    /// would send it to etcd.
    async fn mark(&self) -> kube::Result<Option<Mark>> {
        let list = timeout(PATIENCE, self.api.list_metadata(&ListParams::default())).await;
        let list = list.map_err(|elapsed| kube::Error::Service(elapsed.into()))??;
        let number = |version: Option<&String>| version.and_then(|version| version.parse::<u64>().ok());
        let newest = list.items.iter().filter_map(|item| number(item.metadata.resource_version.as_ref())).max();
        let at = number(list.metadata.resource_version.as_ref());
        Ok(at.map(|at| Mark { at, newest: newest.unwrap_or_default() }))
    }
}

/// Answers each call of `ask` with a list that began after it. Calls while one is under way share the next.
pub(super) async fn run(asked: Vec<Asked>, ask: Arc<Notify>, marks: mpsc::Sender<(usize, Mark)>) {
    loop {
        ask.notified().await;
        let answers = join_all(asked.iter().map(|asked| async move { (asked, asked.mark().await) })).await;
        for (asked, answer) in answers {
            match answer {
                Ok(Some(mark)) => {
                    if marks.send((asked.track, mark)).await.is_err() {
                        return;
                    }
                }
                Ok(None) => tracing::error!(kind = asked.kind.as_str(), "a list without a resourceVersion"),
                Err(error) => {
                    tracing::warn!(kind = asked.kind.as_str(), %error, "policies cannot be listed: new routes wait");
                    sleep(PAUSE).await;
                    ask.notify_one();
                }
            }
        }
    }
}
