//! Names of endpoints, resolved again and again: as long as an answer says that it holds, and with the last good one kept
//! while there is no better.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hickory_resolver::{Resolver, TokioResolver, config::LookupIpStrategy, net::NetError};
use tokio::{runtime::Handle, sync::watch};

/// However short an answer says that it holds, and how soon a failure is tried again at first.
const SOONEST: Duration = Duration::from_secs(1);
/// However long an answer says that it holds.
const LATEST: Duration = Duration::from_secs(3600);
/// How late a failure is tried again at last.
const RETRY: Duration = Duration::from_secs(30);

/// Whom to ask.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// As `resolv.conf` and `hosts` say.
    System,
    #[cfg(test)]
    Server(SocketAddr),
}

/// A name that is being resolved for as long as somebody holds it.
pub(super) struct Name {
    name: String,
    port: u16,
    addresses: Mutex<Vec<SocketAddr>>,
    /// How many different answers there were.
    answers: AtomicU64,
    asked: watch::Sender<bool>,
}

impl Name {
    /// Resolves in `runtime`, which is not a worker's; without one nobody is asked, and it never has an address.
    pub(super) fn resolve(name: &str, port: u16, source: Source, runtime: Option<&Handle>) -> Arc<Self> {
        let name = Arc::new(Self {
            name: name.to_owned(),
            port,
            addresses: Mutex::default(),
            answers: AtomicU64::new(0),
            asked: watch::Sender::new(false),
        });
        if let Some(runtime) = runtime {
            drop(runtime.spawn(run(Arc::downgrade(&name), source)));
        }
        name
    }

    pub(super) fn is(&self, name: &str, port: u16) -> bool {
        self.port == port && self.name == name
    }

    pub(super) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Acquire)
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns when there was an answer or a failure.
    pub(super) async fn asked(&self) {
        // Invariant: we hold the sender.
        drop(self.asked.subscribe().wait_for(|asked| *asked).await);
    }

    fn take(&self, mut addresses: Vec<SocketAddr>) {
        addresses.sort_unstable();
        addresses.dedup();
        let mut known = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != addresses {
            *known = addresses;
            drop(known);
            self.answers.fetch_add(1, Ordering::Release);
        }
    }
}

async fn run(name: Weak<Name>, source: Source) {
    let Some((text, port)) = name.upgrade().map(|name| (name.name.clone(), name.port)) else { return };
    let mut resolver = None;
    let mut delay = SOONEST;
    loop {
        let answer = ask(&mut resolver, &text, source).await;
        let Some(name) = name.upgrade() else { return };
        let wait = match answer {
            Ok((addresses, until)) => {
                name.take(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect());
                delay = SOONEST;
                until.saturating_duration_since(Instant::now()).clamp(SOONEST, LATEST)
            }
            Err(error) => {
                tracing::warn!(name = text, %error, "a backend's name cannot be resolved; its last addresses are kept");
                let later = (delay * 2).min(RETRY);
                std::mem::replace(&mut delay, later)
            }
        };
        name.asked.send_replace(true);
        drop(name);
        tokio::time::sleep(wait).await;
    }
}

/// The addresses of a name at this moment, for what the gateway itself asks.
pub(crate) async fn addresses(name: &str) -> Result<Vec<std::net::IpAddr>, NetError> {
    ask(&mut None, name, Source::System).await.map(|(addresses, _)| addresses)
}

/// The addresses of a name, of both families, and until when they hold.
async fn ask(
    resolver: &mut Option<TokioResolver>,
    name: &str,
    source: Source,
) -> Result<(Vec<std::net::IpAddr>, Instant), NetError> {
    let resolver = match resolver {
        Some(resolver) => resolver,
        None => resolver.insert(build(source)?),
    };
    let found = resolver.lookup_ip(name).await?;
    Ok((found.iter().collect(), found.valid_until()))
}

fn build(source: Source) -> Result<TokioResolver, NetError> {
    let mut builder = match source {
        Source::System => Resolver::builder_tokio()?,
        #[cfg(test)]
        Source::Server(address) => tests::builder(address),
    };
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // An answer is kept here for as long as it holds.
    builder.options_mut().cache_size = 0;
    builder.build()
}

#[cfg(test)]
mod tests;
