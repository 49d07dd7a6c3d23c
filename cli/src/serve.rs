//! What `standalone` and `dataplane` have in common: flags, the ready line, the end.

use std::{io::Write, net::SocketAddr, ops::RangeInclusive, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::{Args, ValueEnum};
use ipnet::IpNet;
use ravelin_crds::{duration, quantity};
use ravelin_dataplane::{
    Addresses, Bounds, Running, Settings,
    settings::{AccessLog, Address, StoreSettings},
};
use ravelin_snapshot::Secret;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

/// Where the URL of the store is looked for if no flag has it: arguments are seen by everybody on the machine.
const REDIS: &str = "RAVELIN_REDIS";

/// How clients are served, and within which bounds.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServeArgs {
    /// Threads that serve clients; default: the cgroup's CPU quota, else the cores and at most 4
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
    /// Where the access log goes
    #[arg(long, value_enum, default_value_t = Where::Stderr, value_name = "WHERE")]
    access_log: Where,
    /// Where a line for each refusal by an AuthPolicy goes
    #[arg(long, value_enum, default_value_t = Where::Stderr, value_name = "WHERE")]
    audit_log: Where,
    /// Proxies whose X-Forwarded-For, -Proto, -Host and Forwarded are believed
    #[arg(long, value_name = "CIDR,...", value_delimiter = ',', value_parser = range)]
    trusted_proxies: Vec<IpNet>,
    /// Peers that begin each connection with PROXY protocol, version 1 or 2
    #[arg(long, value_name = "CIDR,...", value_delimiter = ',', value_parser = range)]
    proxy_protocol: Vec<IpNet>,
    /// Keys of session persistence, one a line, the newest first; the same for all replicas. Default: one of its own, kept where
    /// quotas are
    #[arg(long, value_name = "FILE")]
    session_key: Option<PathBuf>,
    /// Time for the TLS handshake and the head of the first request, and for each head after its first byte
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = some_time)]
    header_timeout: Duration,
    /// How long a connection may be kept without a request
    #[arg(long, value_name = "TIME", default_value = "75s", value_parser = some_time)]
    idle_timeout: Duration,
    /// How long a client may be silent within a request's body
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = some_time)]
    body_idle_timeout: Duration,
    /// Of a request's head
    #[arg(long, value_name = "SIZE", default_value = "64Ki", value_parser = head)]
    max_header_bytes: usize,
    /// Of a request's head
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..))]
    max_headers: u16,
    /// Of all clients; the next is closed at once
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: u32,
    /// Concurrent HTTP/2 streams of a connection
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    max_streams: u32,
    /// After SIGTERM: how long accepting goes on while readiness is down already
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = time)]
    drain_delay: Duration,
    /// After that: how long open requests and tunnels may take to finish
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    drain: Duration,
    /// Redis or Valkey, for limits that replicas share: redis://USER:PASSWORD@HOST:PORT/DB, rediss://..., redis-cluster://HOST:PORT,...,
    /// redis-sentinel://HOST:PORT,.../MASTER; better by the environment variable RAVELIN_REDIS, for arguments are no secret
    #[arg(long, value_name = "URL", value_parser = secret)]
    redis: Option<Secret>,
    /// Certificates (PEM) of those who may vouch for the store; default: the system's
    #[arg(long, value_name = "FILE")]
    redis_ca: Option<PathBuf>,
    /// What the store's keys begin with: installations with different ones share no limit
    #[arg(long, value_name = "TEXT", default_value = "ravelin", value_parser = prefix)]
    redis_prefix: String,
    /// How long a request waits for the store, and then no other does until it answers
    #[arg(long, value_name = "TIME", default_value = "250ms", value_parser = some_time)]
    redis_timeout: Duration,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Where {
    Stderr,
    Off,
}

impl From<Where> for AccessLog {
    fn from(said: Where) -> Self {
        match said {
            Where::Stderr => Self::Stderr,
            Where::Off => Self::Off,
        }
    }
}

/// An address alone is a range of one.
fn range(text: &str) -> Result<IpNet, String> {
    let alone = text.parse::<std::net::IpAddr>().map(IpNet::from);
    let range: IpNet = alone
        .or_else(|_| text.parse())
        .map_err(|_| format!("`{text}` is no range: write one such as 10.0.0.0/8 or fd00::/8"))?;
    // Whoever is in it is believed: nobody is to guess whether one address was meant or all of them.
    if range.trunc() != range {
        let (all, one) = (range.trunc(), range.addr());
        return Err(format!(
            "`{text}` has bits beyond its length: write {all} for the whole range, or {one} for the one"
        ));
    }
    Ok(range)
}

fn time(text: &str) -> Result<Duration, String> {
    text.parse::<duration::Duration>().map(duration::Duration::get).map_err(|error| error.to_string())
}

/// Of what would be cut off at once if it took no time.
fn some_time(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("nothing is done in no time: write one such as 10s".to_owned()),
        time => Ok(time),
    }
}

/// Of a head, in bytes: below it few requests have room, and memory is taken by whoever sends one.
const HEAD: RangeInclusive<u64> = 1024..=16 << 20;

fn head(text: &str) -> Result<usize, String> {
    let size: quantity::Quantity = text.parse().map_err(|error: quantity::InvalidQuantity| error.to_string())?;
    let bytes = Some(size.bytes()).filter(|bytes| HEAD.contains(bytes)).and_then(|bytes| usize::try_from(bytes).ok());
    bytes.ok_or_else(|| format!("`{text}` is no size for a head: write 1Ki to 16Mi"))
}

fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text)) // a password must not come back in an error
}

fn prefix(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    if text.is_empty() || text.len() > 128 || !text.bytes().all(plain) {
        return Err("use 1 to 128 letters, digits, -, _, . and /".to_owned());
    }
    Ok(text.to_owned())
}

impl ServeArgs {
    /// `None`: no store is configured.
    fn store(&self) -> anyhow::Result<Option<StoreSettings>> {
        let variable = || std::env::var(REDIS).ok().filter(|url| !url.is_empty()).map(Secret::new);
        let (flag, url) = match self.redis.clone() {
            Some(url) => ("--redis", url),
            None => match variable() {
                Some(url) => (REDIS, url),
                None => return Ok(None),
            },
        };
        let authorities = match &self.redis_ca {
            Some(path) => Some(std::fs::read(path).with_context(|| format!("--redis-ca {}", path.display()))?),
            None => None,
        };
        let address =
            Address::parse(url.expose(), authorities).with_context(|| format!("{flag} is no URL of a store"))?;
        Ok(Some(StoreSettings { address, prefix: self.redis_prefix.clone(), timeout: self.redis_timeout }))
    }

    /// Without listeners and state, which the two subcommands have of their own.
    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        Ok(Settings {
            http: None,
            https: None,
            admin: None,
            probe: None,
            workers: self.workers.map(usize::from),
            state: None,
            quotas: None,
            store: self.store()?,
            session_key: self.session_key.clone(),
            trusted_proxies: self.trusted_proxies.clone(),
            proxy_protocol: self.proxy_protocol.clone(),
            drain_delay: self.drain_delay,
            drain: self.drain,
            access_log: self.access_log.into(),
            audit_log: self.audit_log.into(),
            bounds: Bounds {
                header_timeout: self.header_timeout,
                idle_timeout: self.idle_timeout,
                body_idle_timeout: self.body_idle_timeout,
                max_header_bytes: self.max_header_bytes,
                max_headers: usize::from(self.max_headers),
                max_connections: self.max_connections as usize,
                max_streams: self.max_streams,
            },
        })
    }
}

#[derive(Serialize)]
struct Ready {
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    https: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    admin: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probe: Option<SocketAddr>,
}

/// Whoever started us reads one line to know that we serve, and where. He may have gone since.
pub(crate) fn say_ready(addresses: &Addresses) {
    let Addresses { http, https, admin, probe } = *addresses;
    // Plain data with string keys always encodes. (invariant)
    let line = serde_json::to_string(&Ready { event: "ready", http, https, admin, probe }).unwrap_or_default();
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Returns at SIGTERM or SIGINT.
pub(crate) async fn asked_to_end() -> anyhow::Result<()> {
    let mut term = signal(SignalKind::terminate()).context("signals cannot be received")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("signals cannot be received")?;
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// As a shell says it of a process that SIGINT has ended.
const INTERRUPTED: u8 = 130;

/// Drains. SIGTERM may come twice, of a Pod's end and of whoever passes signals on, and cuts nothing off; SIGINT is somebody at
/// a terminal who does not want to wait.
pub(crate) async fn end(running: Running) -> anyhow::Result<ExitCode> {
    let mut term = signal(SignalKind::terminate()).context("signals cannot be received")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("signals cannot be received")?;
    tracing::info!("draining");
    let drained = running.drain();
    tokio::pin!(drained);
    loop {
        tokio::select! {
            () = &mut drained => break,
            _ = term.recv() => tracing::info!("draining already: SIGTERM changes nothing, SIGINT would end it at once"),
            _ = interrupt.recv() => {
                tracing::warn!("interrupted while draining: open requests are cut off");
                return Ok(ExitCode::from(INTERRUPTED));
            }
        }
    }
    tracing::info!("ended");
    Ok(ExitCode::SUCCESS)
}
