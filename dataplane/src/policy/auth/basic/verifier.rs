//! Where passwords are verified: on threads that serve nobody, a few at once for the whole process. So many may wait, of one
//! client fewer; beyond, a request is told to come again. Requests with one credential wait for one verification.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use argon2::{Algorithm, Argon2, Params, Version};
use ravelin_snapshot::password::{Argon2Hash, Argon2Variant, PasswordHash};
use subtle::ConstantTimeEq;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, watch},
    task::spawn_blocking,
    time::timeout,
};

use super::super::keyed::Hash;

/// Passwords that wait to be verified, at most; and such of one client.
const MAX_WAITING: usize = 64;
const MAX_OF_ONE: usize = 16;
/// How long a request waits.
const PATIENCE: Duration = Duration::from_secs(10);
/// What bcrypt reads of a password.
const MAX_BCRYPT: usize = 72;

/// The place where passwords are verified, for all policies.
pub(in crate::policy::auth) struct Passwords {
    /// Not a worker's.
    runtime: Handle,
    /// One for each that may be verified at once.
    threads: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
    bounds: (usize, usize),
    patience: Duration,
    #[cfg(test)]
    verified: Arc<std::sync::atomic::AtomicUsize>,
}

#[derive(Default)]
struct Waiting {
    by_key: HashMap<Hash, watch::Receiver<Option<Verdict>>>,
    of_client: HashMap<IpAddr, usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy::auth) enum Verdict {
    Good,
    Bad,
    /// Nobody has looked, for too many wait.
    Busy,
}

/// A password that is to be verified.
pub struct Question {
    pub(super) passwords: Option<Arc<Passwords>>,
    /// Of the credential.
    pub(super) key: Hash,
    pub(super) hash: Arc<PasswordHash>,
    pub(super) password: Vec<u8>,
    /// There is no such user: it takes as long, and is bad.
    pub(super) nobody: bool,
    /// Who asks.
    pub(super) from: IpAddr,
}

impl Question {
    /// Beside the workers; without such a place, nobody looks.
    pub(in crate::policy::auth) async fn answer(self) -> Verdict {
        match self.passwords.clone() {
            Some(passwords) => passwords.answer(self).await,
            None => Verdict::Busy,
        }
    }

    /// Here and now.
    pub(in crate::policy::auth) fn verify(&self) -> Verdict {
        let good = verify(&self.hash, &self.password) && !self.nobody;
        if good { Verdict::Good } else { Verdict::Bad }
    }
}

impl Passwords {
    /// Verified on threads of `runtime` that may block: half as many at once as there are cores.
    pub(in crate::policy::auth) fn verified_on(runtime: Handle) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::bounded(runtime, (cores / 2).max(1), (MAX_WAITING, MAX_OF_ONE), PATIENCE)
    }

    pub(super) fn bounded(runtime: Handle, threads: usize, bounds: (usize, usize), patience: Duration) -> Self {
        let threads = Arc::new(Semaphore::new(threads));
        Self {
            runtime,
            threads,
            waiting: Mutex::default(),
            bounds,
            patience,
            #[cfg(test)]
            verified: Arc::default(),
        }
    }

    async fn answer(self: Arc<Self>, question: Question) -> Verdict {
        let Some(mut verdict) = self.join(question) else { return Verdict::Busy };
        let verdict = timeout(self.patience, verdict.wait_for(Option::is_some)).await;
        verdict.ok().and_then(Result::ok).and_then(|verdict| *verdict).unwrap_or(Verdict::Busy)
    }

    /// `None`: too many wait.
    fn join(self: &Arc<Self>, question: Question) -> Option<watch::Receiver<Option<Verdict>>> {
        let mut waiting = self.waiting();
        let Waiting { by_key, of_client } = &mut *waiting;
        let count = by_key.len();
        let place = match by_key.entry(question.key) {
            Entry::Occupied(known) => return Some(known.get().clone()),
            Entry::Vacant(place) => place,
        };
        let from = client(question.from);
        let (most, most_of_one) = self.bounds;
        let mine = of_client.get(&from).copied().unwrap_or_default();
        if count >= most || mine >= most_of_one {
            return None;
        }
        of_client.insert(from, mine + 1);
        let (tell, told) = watch::channel(None);
        place.insert(told.clone());
        drop(waiting);
        let left = Left { passwords: Arc::clone(self), key: question.key, from };
        let threads = Arc::clone(&self.threads);
        #[cfg(test)]
        let verified = Arc::clone(&self.verified);
        drop(self.runtime.spawn(async move {
            let _left = left;
            // Invariant: nobody closes it.
            let Ok(thread) = threads.acquire_owned().await else { return };
            // One receiver is in the map. Whoever is gone needs no answer, and costs no more than his place.
            if tell.receiver_count() > 1
                && let Ok(verdict) = spawn_blocking(move || question.verify()).await
            {
                #[cfg(test)]
                verified.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                tell.send_replace(Some(verdict));
            }
            drop(thread);
        }));
        Some(told)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Passwords {
    pub(super) fn give_threads(&self, count: usize) {
        self.threads.add_permits(count);
    }

    pub(super) fn verified(&self) -> usize {
        self.verified.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Returns when nobody waits.
    pub(super) async fn emptied(&self) {
        while !self.waiting().by_key.is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(self.waiting().of_client.is_empty());
    }
}

/// Who counts as one client: an address, or the network that one client mostly has whole.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        address => address,
    }
}

/// A place among those who wait, until it is dropped.
struct Left {
    passwords: Arc<Passwords>,
    key: Hash,
    from: IpAddr,
}

impl Drop for Left {
    fn drop(&mut self) {
        let mut waiting = self.passwords.waiting();
        waiting.by_key.remove(&self.key);
        if let Entry::Occupied(mut mine) = waiting.of_client.entry(self.from) {
            *mine.get_mut() -= 1;
            if *mine.get() == 0 {
                mine.remove();
            }
        }
    }
}

/// Takes as long for a good password as for a bad one.
fn verify(hash: &PasswordHash, password: &[u8]) -> bool {
    match hash {
        PasswordHash::Bcrypt { cost, salt, hash } => {
            // It reads so much, and a NUL behind what is shorter. What is longer is no password of it, or every password
            // with the same beginning would be.
            let read = &password[..password.len().min(MAX_BCRYPT)];
            let mut with_end = [0; MAX_BCRYPT];
            with_end[..read.len()].copy_from_slice(read);
            let end = (read.len() + 1).min(MAX_BCRYPT);
            let ours = bcrypt::bcrypt(*cost, *salt, &with_end[..end]);
            with_end.fill(0); // no password stays
            bool::from(ours[..hash.len()].ct_eq(hash)) && password.len() <= MAX_BCRYPT
        }
        PasswordHash::Argon2(said) => argon2(said, password).is_some_and(|ours| ours.ct_eq(&said.hash).into()),
    }
}

/// `None`: what it says was not what the parser of hashes lets pass.
fn argon2(said: &Argon2Hash, password: &[u8]) -> Option<Vec<u8>> {
    let Argon2Hash { variant, version, memory, passes, lanes, salt, hash } = said;
    let algorithm = match variant {
        Argon2Variant::D => Algorithm::Argon2d,
        Argon2Variant::I => Algorithm::Argon2i,
        Argon2Variant::Id => Algorithm::Argon2id,
    };
    let version = if *version == 16 { Version::V0x10 } else { Version::V0x13 };
    let params = Params::new(*memory, *passes, *lanes, Some(hash.len())).ok()?;
    let mut ours = vec![0; hash.len()];
    Argon2::new(algorithm, version, params).hash_password_into(password, salt, &mut ours).ok()?;
    Some(ours)
}
