//! The store, as this replica has it: connections that are made again when they are lost, and questions that end in time.
//!
//! A store that does not answer in time is away for all: nobody else waits for it until it has answered a beat again.

use std::{
    fmt,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwapOption;
use redis::{Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{sleep, timeout},
};

use super::{
    address::{Address, Lane},
    seats::{self, Seats},
};
use crate::{metrics::Histogram, policy::limit::keys::lock};

/// How the store is reached.
#[derive(Clone, Debug)]
pub struct Settings {
    pub address: Address,
    /// All keys begin with it: two installations that share a store share no count, unless they have the same.
    pub prefix: String,
    /// For an answer, and for a connection.
    pub timeout: Duration,
}

/// Redis or Valkey.
pub struct Store {
    settings: Settings,
    /// In the set of replicas.
    name: String,
    /// `None`: it is away.
    link: ArcSwapOption<Link>,
    lost: Notify,
    /// Where connections live, which is no worker's.
    runtime: Handle,
    replicas: AtomicU32,
    /// Its clock is so many microseconds ahead of ours.
    ahead: AtomicI64,
    /// Seats that are taken here.
    pub(super) seats: Seats,
    meter: Meter,
    complained: Mutex<Option<Instant>>,
}

/// Connections that were made together.
struct Link {
    lanes: Vec<Lane>,
    next: AtomicUsize,
}

#[derive(Debug, Default)]
struct Meter {
    answered: AtomicU64,
    failed: AtomicU64,
    late: AtomicU64,
    fell_back: AtomicU64,
    took: Mutex<Histogram>,
}

/// For a scrape.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    pub connected: bool,
    /// That were there at the last beat.
    pub replicas: u32,
    pub answered: u64,
    pub failed: u64,
    pub late: u64,
    /// Questions of limits that were decided without the store.
    pub fell_back: u64,
    pub(crate) took: Histogram,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("it is away")]
    Away,
    #[error("it does not answer in time")]
    Late,
    #[error("{0}")]
    Answer(RedisError),
    #[error("its answer is none of ours")]
    Misunderstood,
}

/// What the store is asked by.
#[derive(Clone, Copy, Debug)]
pub(super) enum Script {
    Admit,
    Account,
    Beat,
    Bans,
}

/// The keys of one limit.
pub(super) struct Keys {
    pub(super) count: String,
    pub(super) index: String,
}

/// Between two beats: replicas are counted, and a store that nobody asks is still watched.
const BEAT: Duration = Duration::from_secs(2);
/// Seconds after which a replica that is silent is gone.
const SILENT: u64 = 10;
/// Between two attempts to connect, at first and at most; by chance half as long to as long, so that replicas do not come together.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// Between two complaints.
const COMPLAINTS: Duration = Duration::from_secs(10);

impl Script {
    fn code(self) -> &'static (redis::Script, &'static str) {
        macro_rules! script {
            ($file:literal) => {{
                static CODE: LazyLock<(redis::Script, &str)> =
                    LazyLock::new(|| (redis::Script::new(include_str!($file)), include_str!($file)));
                &CODE
            }};
        }
        match self {
            Self::Admit => script!("admit.lua"),
            Self::Account => script!("account.lua"),
            Self::Beat => script!("beat.lua"),
            Self::Bans => script!("bans.lua"),
        }
    }

    /// Its call, without keys and arguments.
    pub(super) fn command(self, keys: usize) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(self.code().0.get_hash()).arg(keys);
        command
    }
}

impl Lane {
    async fn ask(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::Single(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }

    /// A store that has lost its data has lost its scripts.
    async fn call(&mut self, script: Script, command: &Cmd) -> RedisResult<Value> {
        match self.ask(command).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                let mut load = redis::cmd("SCRIPT");
                load.arg("LOAD").arg(script.code().1);
                self.ask(&load).await?;
                self.ask(command).await
            }
            answer => answer,
        }
    }
}

impl Store {
    pub fn new(settings: Settings, runtime: Handle) -> Arc<Self> {
        // Of no use to anybody: without randomness it is the address of a local.
        let name = random().unwrap_or_else(|| std::ptr::from_ref(&settings).addr() as u64);
        Arc::new(Self {
            settings,
            name: format!("{name:016x}"),
            link: ArcSwapOption::empty(),
            lost: Notify::new(),
            runtime,
            replicas: AtomicU32::new(1),
            ahead: AtomicI64::new(0),
            seats: Seats::default(),
            meter: Meter::default(),
            complained: Mutex::default(),
        })
    }

    /// Connects, and connects again, until it is dropped. Says by `tried` that it has tried once.
    pub async fn keep_connected(self: Arc<Self>, tried: tokio::sync::oneshot::Sender<()>) {
        let (mut tried, mut pause, mut said) = (Some(tried), FIRST_PAUSE, false);
        loop {
            let connected = self.connect().await;
            drop(tried.take());
            match connected {
                Ok(link) => {
                    let connected = Instant::now();
                    said = false;
                    tracing::info!(store = %self.settings.address, "connected to the store of shared limits");
                    self.link.store(Some(link));
                    self.watch().await;
                    self.link.store(None);
                    // One that answers beats and nothing else is not connected all the time.
                    if connected.elapsed() > LAST_PAUSE {
                        pause = FIRST_PAUSE;
                    }
                }
                Err(error) if !said => {
                    said = true;
                    let store = &self.settings.address;
                    tracing::error!(%store, %error, "the store of shared limits is away; it is tried again");
                }
                Err(_) => {}
            }
            sleep(by_chance(pause)).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// New connections, on which the store has answered a beat: one that only reads, or still loads, is as good as none.
    async fn connect(&self) -> Result<Arc<Link>, Failure> {
        let patience = self.settings.timeout.max(Duration::from_secs(1));
        let lanes = timeout(patience * 2, self.settings.address.connect(patience)).await;
        let lanes = lanes.map_err(|_| Failure::Late)?.map_err(Failure::Answer)?;
        let link = Arc::new(Link { lanes, next: AtomicUsize::new(0) });
        for lane in &link.lanes {
            timeout(patience, self.beat(lane.clone())).await.map_err(|_| Failure::Late)??;
        }
        Ok(link)
    }

    /// Returns when the store is lost.
    async fn watch(self: &Arc<Self>) {
        let mut at = 0_usize;
        loop {
            // Who fails has lost the store for all.
            drop(seats::confirm(self).await);
            tokio::select! {
                () = self.lost.notified() => {} // perhaps long ago
                () = sleep(BEAT) => {}
            }
            let Some(link) = self.link.load_full() else { return };
            at = at.wrapping_add(1);
            let lane = link.lanes[at % link.lanes.len()].clone();
            match timeout(self.settings.timeout, self.beat(lane)).await {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => return self.lose(&link, &failure),
                Err(_) => return self.lose(&link, &Failure::Late),
            }
        }
    }

    async fn beat(&self, mut lane: Lane) -> Result<(), Failure> {
        let mut command = Script::Beat.command(1);
        command.arg(format!("{{{}}}:replicas", self.settings.prefix)).arg(&self.name).arg(SILENT);
        let before = micros(SystemTime::now());
        let answer = lane.call(Script::Beat, &command).await.map_err(Failure::Answer)?;
        let after = micros(SystemTime::now());
        let Value::Array(answer) = answer else { return Err(Failure::Misunderstood) };
        let [Value::Int(clock), Value::Int(replicas)] = answer[..] else { return Err(Failure::Misunderstood) };
        self.ahead.store(clock.saturating_sub(before.midpoint(after)), Relaxed);
        self.replicas.store(u32::try_from(replicas).unwrap_or(1).max(1), Relaxed);
        Ok(())
    }

    /// Asks within the time that there is. Nobody is kept waiting for a store that is away.
    pub(super) async fn call(&self, script: Script, command: Cmd) -> Result<Value, Failure> {
        let link = self.link.load_full().ok_or(Failure::Away)?;
        let mut lane = link.lanes[link.next.fetch_add(1, Relaxed) % link.lanes.len()].clone();
        let begun = Instant::now();
        let answer = timeout(self.settings.timeout, lane.call(script, &command)).await;
        lock(&self.meter.took).observe(begun.elapsed());
        let (counter, answer) = match answer {
            Ok(Ok(value)) => (&self.meter.answered, Ok(value)),
            Ok(Err(error)) => (&self.meter.failed, Err(Failure::Answer(error))),
            Err(_) => (&self.meter.late, Err(Failure::Late)),
        };
        counter.fetch_add(1, Relaxed);
        match &answer {
            Err(failure) if failure.is_of_the_store() => self.lose(&link, failure),
            Err(failure) => self.complain(failure),
            Ok(_) => {}
        }
        answer
    }

    /// Of keys that are not as we left them; not of each request that meets one.
    fn complain(&self, failure: &Failure) {
        let mut complained = lock(&self.complained);
        if complained.is_none_or(|at| at.elapsed() > COMPLAINTS) {
            *complained = Some(Instant::now());
            let store = &self.settings.address;
            tracing::error!(%store, error = %failure, "a shared limit cannot be asked; onStoreFailure decides");
        }
    }

    /// An answer of another shape.
    pub(super) fn misunderstood(&self) -> Failure {
        self.meter.failed.fetch_add(1, Relaxed);
        self.complain(&Failure::Misunderstood);
        Failure::Misunderstood
    }

    /// Nobody uses this link any longer.
    fn lose(&self, link: &Arc<Link>, failure: &Failure) {
        let held = Some(Arc::clone(link));
        let before = self.link.compare_and_swap(&held, None);
        if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, link)) {
            tracing::error!(store = %self.settings.address, error = %failure, "the store of shared limits is away");
            self.lost.notify_one();
        }
    }

    pub(super) fn prefix(&self) -> &str {
        &self.settings.prefix
    }

    /// Of this replica, and of no other.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn patience(&self) -> Duration {
        self.settings.timeout
    }

    /// That were there when the store was.
    pub(super) fn replicas(&self) -> u32 {
        self.replicas.load(Relaxed)
    }

    /// The store's clock when ours says this.
    pub(super) fn clock(&self, ours: SystemTime) -> SystemTime {
        let ahead = self.ahead.load(Relaxed);
        let by = Duration::from_micros(ahead.unsigned_abs());
        let theirs = if ahead < 0 { ours.checked_sub(by) } else { ours.checked_add(by) };
        theirs.unwrap_or(ours)
    }

    pub(super) fn fell_back(&self) {
        self.meter.fell_back.fetch_add(1, Relaxed);
    }

    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(work));
    }

    /// Waits for `work`, on a thread that may.
    pub(super) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// For a scrape.
    pub fn standing(&self) -> Standing {
        let Meter { answered, failed, late, fell_back, took } = &self.meter;
        let [answered, failed, late, fell_back] = [answered, failed, late, fell_back].map(|count| count.load(Relaxed));
        let connected = self.link.load().is_some();
        Standing { connected, replicas: self.replicas(), answered, failed, late, fell_back, took: lock(took).clone() }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.settings.address)
    }
}

impl Failure {
    /// Whether others would meet it too; if not, it is of a key.
    fn is_of_the_store(&self) -> bool {
        let error = match self {
            Self::Away | Self::Misunderstood => return false,
            Self::Late => return true,
            Self::Answer(error) => error,
        };
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::ResponseError | ServerErrorKind::ExecAbort) => false,
            // What the library has no kind for: WRONGTYPE is a key's, these are the server's.
            ErrorKind::Extension => {
                matches!(error.code(), Some("NOAUTH" | "OOM" | "MISCONF" | "NOREPLICAS" | "UNKILLABLE" | "BUSY"))
            }
            _ => true,
        }
    }
}

fn micros(clock: SystemTime) -> i64 {
    clock.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

fn random() -> Option<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).ok()?;
    Some(u64::from_ne_bytes(bytes))
}

/// From half of it to all of it.
fn by_chance(pause: Duration) -> Duration {
    let part = random().map_or(1.0, |random| (random >> 11) as f64 / (1_u64 << 53) as f64);
    pause.mul_f64(0.5 + part / 2.0)
}
