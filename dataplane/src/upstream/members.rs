//! The endpoints of a backend, and whose turn it is.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    ops::Deref,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use ravelin_snapshot::backend::{self, Address, Algorithm, Balancing};
use tokio::runtime::Handle;

use super::{
    Pools,
    balance::{Maglev, Rates, Rotation, better_of_two, mixed},
    endpoint::Endpoint,
    health::Health,
    resolve::{Name, Source},
    transport::Transport,
};

/// Endpoints with their weights, at one moment.
pub(super) struct Members {
    endpoints: Vec<(Arc<Endpoint>, u32)>,
    rotation: Rotation,
    /// Of a consistent hash.
    keys: OnceLock<Option<Maglev>>,
    /// Of sessions: who has a share, by address.
    places: OnceLock<Box<[(SocketAddr, usize)]>>,
    /// Of shares by service rate.
    rates: OnceLock<Box<Rates>>,
    /// Of the names' answers and of the endpoints' health, as they were then.
    version: u64,
}

/// What a request wants of its endpoint.
pub(super) struct Wish<'a> {
    pub(super) balancing: &'a Balancing,
    pub(super) pools: &'a Pools,
    /// Of its key, for a consistent hash.
    pub(super) hash: Option<u64>,
    /// Of its client's session.
    pub(super) wanted: Option<SocketAddr>,
    /// Where it has been already, by number.
    pub(super) tried: &'a [u64],
}

/// How often a turn that cannot be taken is drawn again.
const ROUNDS: u64 = 8;

/// Where the members come from.
pub(super) enum Membership {
    Fixed(Members),
    /// Some are names, or may fall ill: they are looked at anew when one of them has a new answer, or another health.
    Watched(Box<Watched>),
}

pub(super) struct Watched {
    said: Vec<backend::Endpoint>,
    transport: Arc<Transport>,
    names: Vec<Arc<Name>>,
    health: Option<Followed>,
    members: ArcSwap<Members>,
    /// Held by who looks anew.
    looking: Mutex<()>,
}

/// The health of the members, who are those of this generation.
#[derive(Clone)]
struct Followed {
    health: Arc<Health>,
    generation: u64,
}

/// The members, for one request.
pub(super) enum Present<'a> {
    Fixed(&'a Members),
    Watched(Arc<Members>),
}

impl Deref for Present<'_> {
    type Target = Members;
    fn deref(&self) -> &Members {
        match self {
            Self::Fixed(members) => members,
            Self::Watched(members) => members,
        }
    }
}

impl Membership {
    /// Endpoints and names that `before` has are the same.
    pub(super) fn new(
        said: &[backend::Endpoint],
        transport: &Arc<Transport>,
        health: Option<&Arc<Health>>,
        before: Option<&Self>,
        source: Source,
        runtime: Option<&Handle>,
    ) -> Self {
        let named = |endpoint| named(endpoint, before, source, runtime);
        let health = health.map(|health| Followed { health: Arc::clone(health), generation: health.join() });
        let names: Vec<Arc<Name>> = said.iter().filter_map(named).collect();
        let known = before.map(Self::present);
        let members = Members::new(said, transport, (&names, health.as_ref()), known.as_deref());
        if names.is_empty() && health.is_none() {
            return Self::Fixed(members);
        }
        let members = ArcSwap::from_pointee(members);
        Self::Watched(Box::new(Watched {
            said: said.to_vec(),
            transport: Arc::clone(transport),
            names,
            health,
            members,
            looking: Mutex::new(()),
        }))
    }

    pub(super) fn present(&self) -> Present<'_> {
        match self {
            Self::Fixed(members) => Present::Fixed(members),
            Self::Watched(watched) => Present::Watched(watched.present()),
        }
    }

    /// Waits until every name has been asked for once, for `limit` at most; false if it took longer.
    pub(super) async fn resolved(&self, limit: Duration) -> bool {
        let Self::Watched(watched) = self else { return true };
        let asked = async {
            for name in &watched.names {
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
        Some(Membership::Watched(before)) => before.names.iter().find(|known| known.is(name, *port)),
        Some(Membership::Fixed(_)) | None => None,
    };
    Some(known.cloned().unwrap_or_else(|| Name::resolve(name, *port, source, runtime)))
}

impl Watched {
    fn present(&self) -> Arc<Members> {
        let members = self.members.load();
        if members.version == version(&self.names, self.health.as_ref()) {
            return Arc::clone(&members);
        }
        let _looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        let members = self.members.load();
        if members.version != version(&self.names, self.health.as_ref()) {
            let (said, transport, watched) = (&self.said, &self.transport, (&*self.names, self.health.as_ref()));
            let members = Members::new(said, transport, watched, Some(&members));
            self.members.store(Arc::new(members));
        }
        self.members.load_full()
    }
}

/// Each only goes up.
fn version(names: &[Arc<Name>], health: Option<&Followed>) -> u64 {
    let answers: u64 = names.iter().map(|name| name.answers()).sum();
    answers + health.map_or(0, |followed| followed.health.version())
}

impl Followed {
    /// Who is not well has no share, unless too few are.
    fn leave_out(&self, endpoints: &mut [(Arc<Endpoint>, u32)]) {
        self.health.follow(self.generation, endpoints.iter().map(|(endpoint, _)| endpoint));
        let is_well = |endpoint: &Endpoint| self.health.standing(endpoint.id).is_well();
        let well = endpoints.iter().filter(|(endpoint, _)| is_well(endpoint)).count();
        if well * 100 < endpoints.len() * usize::from(self.health.panic_percent()) {
            return;
        }
        for (endpoint, weight) in endpoints {
            if !is_well(endpoint) {
                *weight = 0;
            }
        }
    }
}

impl Members {
    /// All addresses of a name are endpoints, each with the weight that is said of the name.
    fn new(
        said: &[backend::Endpoint],
        transport: &Arc<Transport>,
        (names, health): (&[Arc<Name>], Option<&Followed>),
        before: Option<&Self>,
    ) -> Self {
        let version = version(names, health); // before what it is of: at worst that is looked at once more
        let known: HashMap<SocketAddr, &Arc<Endpoint>> =
            before.into_iter().flat_map(Self::iter).map(|endpoint| (endpoint.address, endpoint)).collect();
        let (now, joins) = (Instant::now(), !known.is_empty());
        let mut endpoints: Vec<(Arc<Endpoint>, u32)> = Vec::with_capacity(said.len());
        let mut add = |address: SocketAddr, weight| {
            let endpoint = known
                .get(&address)
                .map_or_else(|| Arc::new(Endpoint::new(address, transport, now, joins)), |known| Arc::clone(known));
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
        if let Some(followed) = health {
            followed.leave_out(&mut endpoints);
            before.into_iter().for_each(|before| before.tell_who_returns(&endpoints, now));
        }
        let turns = before.map_or(0, |before| before.rotation.turns());
        let rotation = Rotation::new(endpoints.iter().map(|(_, weight)| *weight)).after(turns);
        let (keys, places, rates) = Default::default();
        Self { endpoints, rotation, keys, places, rates, version }
    }

    /// Who was left out and is not any longer begins as one who joins does.
    fn tell_who_returns(&self, after: &[(Arc<Endpoint>, u32)], now: Instant) {
        let left_out = self.endpoints.iter().filter(|(_, weight)| *weight == 0).map(|(endpoint, _)| endpoint.id);
        let left_out: HashSet<u64> = left_out.collect();
        let returned = after.iter().filter(|(endpoint, weight)| *weight > 0 && left_out.contains(&endpoint.id));
        returned.for_each(|(endpoint, _)| endpoint.rejoin(now));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.endpoints.iter().map(|(endpoint, _)| endpoint)
    }

    /// An endpoint for one request. It is one that was not tried yet, as long as there is another.
    pub(super) fn choose(&self, wish: &Wish<'_>) -> Option<&Arc<Endpoint>> {
        if let Some(endpoint) = wish.wanted.and_then(|wanted| self.at(wanted))
            && !wish.tried.contains(&endpoint.id)
        {
            return Some(endpoint);
        }
        let first = &self.endpoints[self.place(wish, 0)?].0;
        let Balancing { slow_start_ms, .. } = wish.balancing;
        if wish.tried.is_empty() && slow_start_ms.is_none() {
            return Some(first);
        }
        let now = Instant::now();
        let is_new = |endpoint: &Endpoint| !wish.tried.contains(&endpoint.id);
        let is_welcome = |endpoint: &Endpoint| {
            let is_warm = |millis: u64| endpoint.is_warm(Duration::from_millis(millis), now, wish.pools.random());
            is_new(endpoint) && slow_start_ms.is_none_or(is_warm)
        };
        if is_welcome(first) {
            return Some(first);
        }
        for round in 1..ROUNDS {
            let endpoint = &self.endpoints[self.place(wish, round)?].0;
            if is_welcome(endpoint) {
                return Some(endpoint);
            }
        }
        // Chance did not hit upon one.
        let from = wish.pools.random() as usize % self.endpoints.len();
        let (before, after) = self.endpoints.split_at(from);
        let untried = after.iter().chain(before).find(|(endpoint, weight)| *weight > 0 && is_new(endpoint));
        Some(untried.map_or(first, |(endpoint, _)| endpoint))
    }

    /// The endpoint of this address, if it has a share.
    fn at(&self, address: SocketAddr) -> Option<&Arc<Endpoint>> {
        let places = self.places.get_or_init(|| {
            let shares = self.endpoints.iter().enumerate().filter(|(_, (_, weight))| *weight > 0);
            let mut places: Vec<_> = shares.map(|(place, (endpoint, _))| (endpoint.address, place)).collect();
            places.sort_unstable();
            places.into()
        });
        let at = places.binary_search_by_key(&address, |(address, _)| *address).ok()?;
        Some(&self.endpoints[places[at].1].0)
    }

    /// Whose turn it is; later rounds of one request draw others.
    fn place(&self, wish: &Wish<'_>, round: u64) -> Option<usize> {
        let pools = wish.pools;
        match &wish.balancing.algorithm {
            Algorithm::RoundRobin => self.rotation.turn(),
            Algorithm::Random => self.rotation.draw(pools.random()),
            Algorithm::LeastRequest => better_of_two(&self.rotation, [pools.random(), pools.random()], |place| {
                let (endpoint, weight) = &self.endpoints[place];
                (f64::from(endpoint.counts.in_flight()), *weight)
            }),
            Algorithm::PeakEwma => {
                let now = Instant::now();
                better_of_two(&self.rotation, [pools.random(), pools.random()], |place| {
                    let (endpoint, weight) = &self.endpoints[place];
                    (endpoint.latency.cost(endpoint.counts.in_flight(), now), *weight)
                })
            }
            Algorithm::ServiceRate => {
                let now = Instant::now();
                let rates = self.rates.get_or_init(|| Box::new(Rates::new(now)));
                rates.turn(now, || {
                    self.endpoints.iter().map(|(endpoint, weight)| (endpoint.service.rate(now), *weight)).collect()
                })
            }
            Algorithm::ConsistentHash(_) => match (wish.hash, self.keys()) {
                (Some(hash), Some(keys)) => Some(keys.place(mixed(hash.wrapping_add(round)))),
                (None, _) | (_, None) => self.rotation.draw(pools.random()),
            },
        }
    }

    /// Laid out when it is asked for first.
    pub(super) fn keys(&self) -> Option<&Maglev> {
        let places = || self.endpoints.iter().map(|(endpoint, weight)| (endpoint.address.to_string(), *weight));
        self.keys.get_or_init(|| Maglev::new(places())).as_ref()
    }
}
