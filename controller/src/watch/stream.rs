//! One watch of one kind: what the API server says of it, pruned, as notes to the keeper of the model.

use std::{fmt::Debug, time::Duration};

use futures_util::{StreamExt, pin_mut};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{core::v1 as core, discovery::v1 as discovery},
};
use kube::{
    Api, Client, Resource,
    core::DeserializeGuard,
    runtime::watcher::{self, Config, Event, InitialListStrategy, watcher},
};
use ravelin_crds as crds;
use ravelin_snapshot::ObjectKey;
use serde::de::DeserializeOwned;
use tokio::{sync::mpsc, time::sleep};

use crate::{
    object::{AnyObject, Fault, Kind, Meta, Object, drop_others_values},
    status::Written,
};

/// What a watch has to say.
#[derive(Debug)]
pub(super) enum Told {
    /// A list begins, at the start or anew: what it does not name until `Complete` is gone.
    Listing,
    Complete,
    /// The API server does not know the kind: as an empty list.
    Unknown,
    Is(Box<Seen>),
    Gone {
        key: ObjectKey,
        version: Option<u64>,
    },
}

/// An object and, if the kind is ours, what its status says.
#[derive(Debug)]
pub(super) struct Seen {
    pub object: AnyObject,
    pub written: Option<Written>,
}

/// Where notes go, and under which number this watch is known there.
#[derive(Clone)]
pub(super) struct Desk {
    pub track: usize,
    pub notes: mpsc::Sender<(usize, Told)>,
}

impl Desk {
    /// `false`: nobody listens any more.
    async fn tell(&self, told: Told) -> bool {
        self.notes.send((self.track, told)).await.is_ok()
    }
}

/// A watch call lasts at most this long, in seconds: what a silently dead connection can hide.
const CALL: u32 = 60;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Between two attempts while the API server is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Between two looks for a kind that the API server does not know.
const UNKNOWN_PAUSE: Duration = Duration::from_secs(10);

/// Watches what `selected` selects, in one namespace or in all, until nobody listens. A kind that is unknown is looked for
/// again, under each of its versions in turn.
pub(super) async fn follow<K>(client: Client, namespace: Option<String>, selected: Config, desk: Desk)
where
    K: Watched + Debug + 'static,
    K::DynamicType: Debug + 'static,
{
    let apis = K::apis(&client, namespace.as_deref());
    while !desk.notes.is_closed() {
        for api in &apis {
            follow_one(api, &selected, &desk).await;
        }
        // A kind of ours is not a luxury: without it, nothing is complete.
        if K::OPTIONAL {
            desk.tell(Told::Unknown).await;
        } else {
            tracing::error!(kind = K::KIND.as_str(), "the API server does not know the kind: its CRD is not installed");
        }
        sleep(UNKNOWN_PAUSE).await;
    }
}

/// Until nobody listens or the API server does not know the kind.
async fn follow_one<K>(api: &Guarded<K>, selected: &Config, desk: &Desk)
where
    K: Watched + Debug + 'static,
    K::DynamicType: Debug + 'static,
{
    let mut strategy = InitialListStrategy::StreamingList;
    let mut pause = FIRST_PAUSE;
    'again: loop {
        let config = Config { initial_list_strategy: strategy.clone(), ..selected.clone() }.timeout(CALL);
        let events = watcher(api.clone(), config);
        pin_mut!(events);
        while let Some(event) = events.next().await {
            let error = match event {
                Ok(event) => {
                    pause = FIRST_PAUSE;
                    if !desk.tell(read(event)).await {
                        return;
                    }
                    continue;
                }
                Err(error) => error,
            };
            match code(&error) {
                Some(404) => return,
                Some(400 | 422) if strategy == InitialListStrategy::StreamingList => {
                    tracing::info!(kind = K::KIND.as_str(), "the API server does not stream lists: asking for pages");
                    strategy = InitialListStrategy::ListWatch;
                    continue 'again;
                }
                // The usual end of a watch whose place in history is gone: the list comes anew.
                Some(410) => tracing::info!(kind = K::KIND.as_str(), "listing anew"),
                _ => tracing::warn!(kind = K::KIND.as_str(), %error, "the API server cannot be watched; trying again"),
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn code(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}

fn read<K: Watched>(event: Event<DeserializeGuard<K>>) -> Told {
    match event {
        Event::Init => Told::Listing,
        Event::InitDone => Told::Complete,
        Event::InitApply(object) | Event::Apply(object) => Told::Is(Box::new(seen(object))),
        Event::Delete(object) => {
            let meta = seen(object).object.meta().clone();
            Told::Gone { key: meta.key, version: meta.resource_version }
        }
    }
}

fn seen<K: Watched>(object: DeserializeGuard<K>) -> Seen {
    match object.0 {
        Ok(object) => {
            let (written, mut object) = (object.written(), object.into());
            drop_others_values(&mut object);
            Seen { written, object }
        }
        Err(invalid) => {
            let fault = Fault {
                field: "spec".to_owned(),
                message: invalid.error,
                remedy: "apply the object again, as the installed CRD says it".to_owned(),
            };
            Seen { object: K::unreadable(invalid.metadata.into(), fault), written: None }
        }
    }
}

/// A kind as the API server gives it.
pub(super) trait Watched: Resource + DeserializeOwned + Clone + Send + Into<AnyObject> {
    const KIND: Kind;
    /// Whether a cluster without the kind is whole.
    const OPTIONAL: bool = false;

    /// In one namespace, or in all; one for each version under which a server may offer the kind.
    fn apis(client: &Client, namespace: Option<&str>) -> Vec<Api<DeserializeGuard<Self>>>;

    /// What its status says; `None` for kinds that are not ours.
    fn written(&self) -> Option<Written> {
        None
    }

    /// An object of which only the metadata could be read.
    fn unreadable(meta: Meta, fault: Fault) -> AnyObject;
}

macro_rules! watched {
    ($($kind:ident: $api:ty, $apis:path $(, $written:expr)?;)*) => {$(
        impl Watched for $api {
            const KIND: Kind = Kind::$kind;
            const OPTIONAL: bool = matches!(Kind::$kind, Kind::ReferenceGrant);

            fn apis(client: &Client, namespace: Option<&str>) -> Vec<Api<DeserializeGuard<Self>>> {
                $apis(client, namespace)
            }

            $(fn written(&self) -> Option<Written> {
                let read: fn(&$api) -> Option<Written> = $written;
                read(self)
            })?

            fn unreadable(meta: Meta, fault: Fault) -> AnyObject {
                AnyObject::$kind(Object { meta, spec: Default::default(), faults: vec![fault] })
            }
        }
    )*};
}

watched! {
    ApiRoute: crds::ApiRoute, namespaced, |it| it.status.as_ref().map(|s| Written::read(&s.conditions, &s.parents));
    Backend: crds::Backend, namespaced, |it| plain(it.status.as_ref());
    BackendPolicy: crds::BackendPolicy, namespaced, |it| plain(it.status.as_ref());
    AuthPolicy: crds::AuthPolicy, namespaced, |it| plain(it.status.as_ref());
    RateLimitPolicy: crds::RateLimitPolicy, namespaced, |it| plain(it.status.as_ref());
    Plan: crds::Plan, namespaced, |it| plain(it.status.as_ref());
    Service: core::Service, namespaced;
    EndpointSlice: discovery::EndpointSlice, namespaced;
    Secret: core::Secret, namespaced;
    ConfigMap: core::ConfigMap, namespaced;
    ReferenceGrant: crds::ReferenceGrant, granted;
}

fn plain(status: Option<&crds::ObjectStatus>) -> Option<Written> {
    status.map(|status| Written::read(&status.conditions, &[]))
}

type Guarded<K> = Api<DeserializeGuard<K>>;

fn namespaced<K>(client: &Client, namespace: Option<&str>) -> Vec<Guarded<K>>
where
    K: Resource<Scope = NamespaceResourceScope>,
    K::DynamicType: Default,
{
    vec![match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }]
}

fn granted(client: &Client, namespace: Option<&str>) -> Vec<Guarded<crds::ReferenceGrant>> {
    let api = |version: &crds::ReferenceGrantVersion| match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, version),
        None => Api::all_with(client.clone(), version),
    };
    [crds::ReferenceGrantVersion::V1, crds::ReferenceGrantVersion::V1Beta1].iter().map(api).collect()
}

#[cfg(test)]
mod tests;
