//! The world as an API server tells it: one watch a kind, pruned objects, one model.
//!
//! Nothing is sent before every watch has completed its first list, so that a restart never serves part of a world.
//! While the API server is away the last world stays. A change is sent at once when it comes alone, and together with
//! what came meanwhile when it does not.
//!
//! Of Secrets without a type of their own and of ConfigMaps, only key sets of issuers are meant for a gateway: other values are
//! dropped as they come, and never held (`object/prune.rs`).

mod asker;
mod gate;
mod keeper;
mod observed;
mod schemas;
mod stream;

use std::{fmt::Debug, sync::Arc};

use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use kube::{Client, runtime::watcher::Config};
use ravelin_crds as crds;
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinSet,
};

use crate::publish::World;
use asker::Asked;
use keeper::{Keeper, Track};
pub use observed::{Marks, Observed};
use stream::{Desk, Told, Watched};

/// What is watched: every namespace, or these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    pub namespaces: Vec<String>,
}

/// Notes that are taken together, at most.
const BATCH: usize = 4096;

/// Runs until nobody wants worlds any longer.
pub async fn run(client: Client, scope: &Scope, worlds: watch::Sender<Option<Arc<World>>>) {
    let (notes, mut told) = mpsc::channel(BATCH);
    let mut watches = Watches { client: client.clone(), notes, tracks: Vec::new(), tasks: JoinSet::new() };
    watches.start(scope);
    let Watches { tracks, mut tasks, notes: _, client: _ } = watches;
    let mut keeper = Keeper::new(tracks);
    let ask = Arc::new(Notify::new());
    let (marks, mut marked) = mpsc::channel(16);
    let asked = keeper.policies().filter_map(|(track, kind, namespace)| Asked::new(&client, track, kind, namespace));
    tasks.spawn(asker::run(asked.collect(), Arc::clone(&ask), marks));
    let (lacking, mut lacks) = watch::channel(None);
    tasks.spawn(schemas::run(client, lacking));
    let mut batch = Vec::new();
    while !worlds.is_closed() {
        tokio::select! {
            taken = told.recv_many(&mut batch, BATCH) => if taken == 0 { return },
            Some((track, mark)) = marked.recv() => keeper.mark(track, mark),
            Ok(()) = lacks.changed() => if let Some(lacking) = lacks.borrow_and_update().clone() {
                keeper.schemas(lacking);
            },
        }
        for (track, told) in batch.drain(..) {
            keeper.note(track, told);
        }
        if let Some(world) = keeper.world() {
            worlds.send_replace(Some(Arc::new(world)));
        }
        if keeper.asks() {
            ask.notify_one();
        }
    }
}

/// Gathers the watches.
struct Watches {
    client: Client,
    notes: mpsc::Sender<(usize, Told)>,
    tracks: Vec<Track>,
    tasks: JoinSet<()>,
}

impl Watches {
    fn start(&mut self, scope: &Scope) {
        let namespaces = match scope.namespaces.as_slice() {
            [] => vec![None],
            some => some.iter().cloned().map(Some).collect(),
        };
        let all = Config::default();
        self.follow::<crds::ApiRoute>(&namespaces, &all);
        self.follow::<crds::Backend>(&namespaces, &all);
        self.follow::<crds::BackendPolicy>(&namespaces, &all);
        self.follow::<crds::AuthPolicy>(&namespaces, &all);
        self.follow::<crds::RateLimitPolicy>(&namespaces, &all);
        self.follow::<crds::Plan>(&namespaces, &all);
        self.follow::<crds::ReferenceGrant>(&namespaces, &all);
        self.follow::<core::Service>(&namespaces, &all);
        self.follow::<discovery::EndpointSlice>(&namespaces, &Config::default().labels("kubernetes.io/service-name"));
        // Only what can be meant for a gateway: other Secrets are none of its business.
        for type_ in ["kubernetes.io/tls", "ravelin.dev/api-key", "ravelin.dev/hmac-key", "Opaque"] {
            self.follow::<core::Secret>(&namespaces, &Config::default().fields(&format!("type={type_}")));
        }
        // Each namespace has one of this name, which is the cluster's own.
        self.follow::<core::ConfigMap>(&namespaces, &Config::default().fields("metadata.name!=kube-root-ca.crt"));
    }

    fn follow<K>(&mut self, namespaces: &[Option<String>], selected: &Config)
    where
        K: Watched + Debug + 'static,
        K::DynamicType: Debug + Clone + Send + Sync + 'static,
    {
        for namespace in namespaces {
            let desk = Desk { track: self.tracks.len(), notes: self.notes.clone() };
            self.tracks.push(Track::new(K::KIND, namespace.clone()));
            self.tasks.spawn(stream::follow::<K>(self.client.clone(), namespace.clone(), selected.clone(), desk));
        }
    }
}
