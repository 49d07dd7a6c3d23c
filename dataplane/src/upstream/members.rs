//! The endpoints of a backend, and whose turn it is.

use std::{
    collections::HashMap,
    net::SocketAddr,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use ravelin_snapshot::backend::{self, Address, Algorithm};
use tokio::runtime::Handle;

use super::{
    Pools,
    balance::{Rotation, better_of_two},
    endpoint::Endpoint,
    resolve::{Name, Source},
};

/// Endpoints with their weights, at one moment.
pub(super) struct Members {
    endpoints: Vec<(Arc<Endpoint>, u32)>,
    rotation: Rotation,
    /// How often the names had been answered then, all together.
    answers: u64,
}

/// Where the members come from.
pub(super) enum Membership {
    Fixed(Members),
    /// Some are names: they are looked at anew when one of them has a new answer.
    Named(Box<Named>),
}

pub(super) struct Named {
    said: Vec<backend::Endpoint>,
    names: Vec<Arc<Name>>,
    members: ArcSwap<Members>,
    /// Held by who looks anew.
    looking: Mutex<()>,
}

/// The members, for one request.
pub(super) enum Present<'a> {
    Fixed(&'a Members),
    Named(Arc<Members>),
}

impl Deref for Present<'_> {
    type Target = Members;
    fn deref(&self) -> &Members {
        match self {
            Self::Fixed(members) => members,
            Self::Named(members) => members,
        }
    }
}

impl Membership {
    /// Endpoints and names that `before` has are the same.
    pub(super) fn new(
        said: &[backend::Endpoint],
        before: Option<&Self>,
        source: Source,
        runtime: Option<&Handle>,
    ) -> Self {
        let named = |endpoint| named(endpoint, before, source, runtime);
        let names: Vec<Arc<Name>> = said.iter().filter_map(named).collect();
        let known = before.map(Self::present);
        let members = Members::new(said, &names, known.as_deref());
        if names.is_empty() {
            return Self::Fixed(members);
        }
        let members = ArcSwap::from_pointee(members);
        Self::Named(Box::new(Named { said: said.to_vec(), names, members, looking: Mutex::new(()) }))
    }

    pub(super) fn present(&self) -> Present<'_> {
        match self {
            Self::Fixed(members) => Present::Fixed(members),
            Self::Named(named) => Present::Named(named.present()),
        }
    }

    /// Waits until every name has been asked for once, for `limit` at most; false if it took longer.
    pub(super) async fn resolved(&self, limit: Duration) -> bool {
        let Self::Named(named) = self else { return true };
        let asked = async {
            for name in &named.names {
                name.asked().await;
            }
        };
        tokio::time::timeout(limit, asked).await.is_ok()
    }
}

/// The name of an endpoint, if it has one.
fn named(
    endpoint: &backend::Endpoint,
    before: Option<&Membership>,
    source: Source,
    runtime: Option<&Handle>,
) -> Option<Arc<Name>> {
    let Address::Dns { name, port } = &endpoint.address else { return None };
    let known = match before {
        Some(Membership::Named(before)) => before.names.iter().find(|known| known.is(name, *port)),
        Some(Membership::Fixed(_)) | None => None,
    };
    Some(known.cloned().unwrap_or_else(|| Name::resolve(name, *port, source, runtime)))
}

impl Named {
    fn present(&self) -> Arc<Members> {
        let members = self.members.load();
        if members.answers == answers(&self.names) {
            return Arc::clone(&members);
        }
        let _looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        let members = self.members.load();
        if members.answers != answers(&self.names) {
            self.members.store(Arc::new(Members::new(&self.said, &self.names, Some(&members))));
        }
        self.members.load_full()
    }
}

fn answers(names: &[Arc<Name>]) -> u64 {
    names.iter().map(|name| name.answers()).sum()
}

impl Members {
    /// All addresses of a name are endpoints, each with the weight that is said of the name.
    fn new(said: &[backend::Endpoint], names: &[Arc<Name>], before: Option<&Self>) -> Self {
        let answers = answers(names); // before the addresses: at worst they are looked at once more
        let known: HashMap<SocketAddr, &Arc<Endpoint>> =
            before.into_iter().flat_map(Self::iter).map(|endpoint| (endpoint.address, endpoint)).collect();
        let mut endpoints: Vec<(Arc<Endpoint>, u32)> = Vec::with_capacity(said.len());
        let mut add = |address: SocketAddr, weight| {
            let endpoint =
                known.get(&address).map_or_else(|| Arc::new(Endpoint::new(address)), |known| Arc::clone(known));
            endpoints.push((endpoint, weight));
        };
        for endpoint in said {
            match &endpoint.address {
                Address::Ip(address) => add(*address, endpoint.weight),
                Address::Dns { name, port } => {
                    let addresses = names.iter().find(|one| one.is(name, *port)).map(|name| name.addresses());
                    addresses.unwrap_or_default().into_iter().for_each(|address| add(address, endpoint.weight));
                }
            }
        }
        let turns = before.map_or(0, |before| before.rotation.turns());
        let rotation = Rotation::new(endpoints.iter().map(|(_, weight)| *weight)).after(turns);
        Self { endpoints, rotation, answers }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.endpoints.iter().map(|(endpoint, _)| endpoint)
    }

    pub(super) fn choose(&self, algorithm: Algorithm, pools: &Pools) -> Option<&Arc<Endpoint>> {
        let place = match algorithm {
            Algorithm::RoundRobin => self.rotation.turn(),
            Algorithm::LeastRequest => better_of_two(&self.rotation, [pools.random(), pools.random()], |place| {
                let (endpoint, weight) = &self.endpoints[place];
                (endpoint.counts.in_flight(), *weight)
            }),
        };
        place.map(|place| &self.endpoints[place].0)
    }
}
