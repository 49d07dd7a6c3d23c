//! What keeps a client on its endpoint between requests: a value that is sealed, so that it tells the client nothing and nobody
//! else can make one. Replicas that have the same keys read each other's. Log-ins have their cookies sealed in the same way,
//! by keys of their own.
//!
//! A value is a nonce, the sealed [`Ticket`] or text and its tag, in base64url. The cipher is AES-256-GCM-SIV (RFC 8452): a nonce that comes up
//! twice by chance gives nothing away but that two tickets are equal.

use std::{
    fmt, fs,
    io::{self, Write},
    net::{IpAddr, Ipv6Addr, SocketAddr},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest::{Context, SHA256},
    rand,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// Of a ticket before it is sealed: two times, the arm, the address, the port.
const TICKET: usize = 4 + 4 + 8 + 16 + 2;

const TAG: usize = 16;

/// Characters of a value.
pub(crate) const VALUE: usize = (NONCE_LEN + TICKET + TAG) * 4 / 3 + 1;

/// Between two looks at the file of keys.
const EVERY: Duration = Duration::from_secs(2);

/// Bytes of a key as somebody writes it, at least.
const SHORTEST: usize = 32;

/// The file within the state folder where a process keeps a key of its own.
const OWN: &str = "session-key";

/// Whose a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// Which of the rule's backends: a hash of its name.
    pub(crate) arm: u64,
    pub(crate) endpoint: SocketAddr,
    /// Seconds since the epoch.
    pub(crate) begun: u32,
    /// The last request.
    pub(crate) seen: u32,
}

/// The first key seals, all open: so keys are replaced without an end of sessions.
pub struct Seals {
    keys: Vec<Arc<Key>>,
    /// Of them those that are said; the others are those that were said before.
    said: usize,
    /// Of the text that says them.
    digest: [u8; 32],
}

struct Key {
    tickets: LessSafeKey,
    /// The same for texts: no value of one kind is ever one of the other.
    texts: LessSafeKey,
}

/// Seals that may be replaced at any time.
pub(crate) type Current = ArcSwap<Seals>;

#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("line {line} has {bytes} characters, a key has at least {SHORTEST}")]
    Short { line: usize, bytes: usize },
    #[error("has no key: write one a line, the newest first, such as `openssl rand -hex 32` makes")]
    Empty,
}

impl Seals {
    /// Nobody else has it, and nobody will have had it after this process.
    pub(crate) fn random() -> Result<Self, SealError> {
        let random = random()?;
        Ok(Self { keys: vec![key(&random)], said: 1, digest: digest(&random) })
    }

    /// One key a line, the newest first.
    pub(crate) fn read(path: &Path) -> Result<Self, SealError> {
        Self::parse(&fs::read_to_string(path)?)
    }

    fn parse(text: &str) -> Result<Self, SealError> {
        let mut keys = Vec::new();
        for (at, line) in text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty()) {
            if line.len() < SHORTEST {
                return Err(SealError::Short { line: at + 1, bytes: line.len() });
            }
            keys.push(key(line.as_bytes()));
        }
        match keys.len() {
            0 => Err(SealError::Empty),
            said => Ok(Self { keys, said, digest: digest(text.as_bytes()) }),
        }
    }

    /// What `before` sealed is opened still, until the next time: other replicas may learn of it later.
    fn after(mut self, before: &Self) -> Self {
        self.keys.extend_from_slice(&before.keys[..before.said]);
        self
    }

    /// The key that is kept in the folder; it is made if there is none.
    pub(crate) fn kept_in(folder: &Path) -> Result<Self, SealError> {
        fs::create_dir_all(folder)?;
        let path = folder.join(OWN);
        if !path.exists() {
            write_new(folder, &path)?;
        }
        Self::read(&path)
    }

    pub(crate) fn seal(&self, ticket: Ticket) -> Result<String, SealError> {
        seal(&self.keys[0].tickets, b"", ticket.write()) // Invariant: there is one.
    }

    /// `None`: nobody with one of these keys made it.
    pub(crate) fn open(&self, value: &[u8]) -> Option<Ticket> {
        if value.len() > VALUE {
            return None;
        }
        open(self.keys.iter().map(|key| &key.tickets), b"", value).and_then(|opened| Ticket::read(&opened))
    }

    /// A text that is opened for the same purpose alone.
    pub(crate) fn seal_text(&self, purpose: &[u8], text: Vec<u8>) -> Result<String, SealError> {
        seal(&self.keys[0].texts, purpose, text) // Invariant: there is one.
    }

    /// `None`: nobody with one of these keys made it, or it was made for another purpose.
    pub(crate) fn open_text(&self, purpose: &[u8], value: &[u8]) -> Option<Vec<u8>> {
        open(self.keys.iter().map(|key| &key.texts), purpose, value)
    }
}

fn seal(key: &LessSafeKey, purpose: &[u8], mut text: Vec<u8>) -> Result<String, SealError> {
    let mut nonce = [0; NONCE_LEN];
    rand::fill(&mut nonce).map_err(io::Error::other)?;
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(purpose), &mut text)
        .map_err(|_| io::Error::other("it cannot be sealed"))?;
    Ok(URL_SAFE_NO_PAD.encode([&nonce[..], &text].concat()))
}

fn open<'k>(mut keys: impl Iterator<Item = &'k LessSafeKey>, purpose: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(value).ok()?;
    let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
    let nonce: [u8; NONCE_LEN] = nonce.try_into().ok()?;
    keys.find_map(|key| {
        let mut sealed = sealed.to_vec();
        let opened = key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(purpose), &mut sealed).ok()?;
        let length = opened.len();
        sealed.truncate(length);
        Some(sealed)
    })
}

/// Reads the file again and again, for a Secret in a volume is replaced without a sign to whoever has the file open. A file that
/// cannot be used changes nothing.
pub(crate) async fn follow(path: PathBuf, seals: Arc<Current>) {
    let mut told = None; // of the file as it is
    loop {
        tokio::time::sleep(EVERY).await;
        let read = tokio::fs::read_to_string(&path).await;
        let found = read.as_ref().ok().map(|text| digest(text.as_bytes()));
        let before = seals.load_full();
        if found == Some(before.digest) {
            told = None;
            continue;
        }
        match read.map_err(SealError::from).and_then(|text| Seals::parse(&text)) {
            Ok(read) => {
                tracing::info!(path = %path.display(), keys = read.said, "the keys of sessions were replaced");
                seals.store(Arc::new(read.after(&before)));
            }
            Err(_) if told == Some(found) => {}
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the keys of sessions stay what they were");
                told = Some(found);
            }
        }
    }
}

impl fmt::Debug for Seals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seals({} keys)", self.keys.len())
    }
}

impl Ticket {
    fn write(self) -> Vec<u8> {
        let address = match self.endpoint.ip() {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        let mut bytes = Vec::with_capacity(TICKET + TAG);
        bytes.extend_from_slice(&self.begun.to_be_bytes());
        bytes.extend_from_slice(&self.seen.to_be_bytes());
        bytes.extend_from_slice(&self.arm.to_be_bytes());
        bytes.extend_from_slice(&address.octets());
        bytes.extend_from_slice(&self.endpoint.port().to_be_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (begun, rest) = bytes.split_first_chunk()?;
        let (seen, rest) = rest.split_first_chunk()?;
        let (arm, rest) = rest.split_first_chunk()?;
        let (address, rest) = rest.split_first_chunk::<16>()?;
        let port = rest.try_into().ok()?;
        let address = Ipv6Addr::from(*address).to_canonical();
        Some(Self {
            arm: u64::from_be_bytes(*arm),
            endpoint: SocketAddr::new(address, u16::from_be_bytes(port)),
            begun: u32::from_be_bytes(*begun),
            seen: u32::from_be_bytes(*seen),
        })
    }
}

/// A hash of a name that is the same in every process.
pub(crate) fn arm(name: &str) -> u64 {
    let mut context = Context::new(&SHA256);
    context.update(name.as_bytes());
    let digest = context.finish();
    let (first, _) = digest.as_ref().split_first_chunk().expect("a digest of 32 bytes (invariant)");
    u64::from_be_bytes(*first)
}

/// Whatever was written, the key has 256 bits.
fn key(written: &[u8]) -> Arc<Key> {
    let derived = |label: &[u8]| {
        let mut context = Context::new(&SHA256);
        context.update(label);
        context.update(written);
        let digest = context.finish();
        let unbound = UnboundKey::new(&AES_256_GCM_SIV, digest.as_ref()).expect("a key of 32 bytes (invariant)");
        LessSafeKey::new(unbound)
    };
    Arc::new(Key { tickets: derived(b"ravelin session key 1\0"), texts: derived(b"ravelin log-in key 1\0") })
}

fn digest(text: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(text);
    context.finish().as_ref().try_into().expect("a digest of 32 bytes (invariant)")
}

fn random() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// Whole or not at all: another process may do the same, and then the first one's is kept.
fn write_new(folder: &Path, path: &PathBuf) -> io::Result<()> {
    let text: String = random()?.iter().map(|byte| format!("{byte:02x}")).collect();
    let aside = folder.join(format!("{OWN}.{}", std::process::id()));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let linked = fs::hard_link(&aside, path);
    fs::remove_file(&aside)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn ticket(endpoint: &str) -> Ticket {
        Ticket { arm: arm("Service/shop/orders:80#0"), endpoint: endpoint.parse().unwrap(), begun: 7, seen: 9 }
    }

    #[test]
    fn a_ticket_comes_back_as_it_was_and_its_value_tells_nothing_of_it() {
        let seals = Seals::random().unwrap();
        for endpoint in ["10.0.0.7:8080", "[fd00::7]:443"] {
            let value = seals.seal(ticket(endpoint)).unwrap();
            assert_eq!(value.len(), VALUE);
            assert_eq!(seals.open(value.as_bytes()), Some(ticket(endpoint)));
            let bytes = URL_SAFE_NO_PAD.decode(&value).unwrap();
            let plain = ticket(endpoint).write();
            assert!(!bytes.windows(4).any(|part| plain.windows(4).any(|other| part == other && part != [0; 4])));
            assert_ne!(seals.seal(ticket(endpoint)).unwrap(), value, "nor whether two are equal");
        }
    }

    #[test]
    fn what_was_changed_cut_or_made_by_others_is_not_opened() {
        let seals = Seals::random().unwrap();
        let value = seals.seal(ticket("10.0.0.7:8080")).unwrap();
        for at in 0..value.len() {
            let mut forged = value.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(seals.open(&forged), None, "{at}");
            assert_eq!(seals.open(&value.as_bytes()[..at]), None, "{at}");
        }
        assert_eq!(Seals::random().unwrap().open(value.as_bytes()), None);
        assert_eq!(seals.open(b""), None);
        assert_eq!(seals.open(&[b'A'; 10_000]), None);
    }

    #[test]
    fn keys_are_replaced_without_an_end_of_sessions() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let with = |text: &str| {
            fs::write(&path, text).unwrap();
            Seals::read(&path)
        };
        let (old, new) = ("a".repeat(32), "b".repeat(32));
        let before = with(&old).unwrap().seal(ticket("10.0.0.7:1")).unwrap();
        let both = with(&format!("{new}\n\n{old}\n")).unwrap();
        assert_eq!(both.open(before.as_bytes()), Some(ticket("10.0.0.7:1")));
        let after = both.seal(ticket("10.0.0.7:2")).unwrap();
        let only_new = with(&new).unwrap();
        assert_eq!(only_new.open(after.as_bytes()), Some(ticket("10.0.0.7:2")));
        assert_eq!(only_new.open(before.as_bytes()), None);
        assert!(matches!(with("short").unwrap_err(), SealError::Short { line: 1, bytes: 5 }));
        assert!(matches!(with("\n \n").unwrap_err(), SealError::Empty));
    }

    #[test]
    fn keys_that_are_replaced_outright_open_until_the_next_time() {
        let said = |of: &str| Seals::parse(&of.repeat(32)).unwrap();
        let sealed = ["a", "b", "c"].map(|of| said(of).seal(ticket("10.0.0.7:1")).unwrap());
        let opened = |seals: &Seals| sealed.each_ref().map(|value| seals.open(value.as_bytes()).is_some());
        let second = said("b").after(&said("a"));
        assert_eq!(opened(&second), [true, true, false]);
        assert_eq!(opened(&said("c").after(&second)), [false, true, true]);
    }

    #[test]
    fn a_process_that_starts_again_has_the_key_that_it_kept() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let value = Seals::kept_in(&state).unwrap().seal(ticket("10.0.0.7:1")).unwrap();
        assert_eq!(Seals::kept_in(&state).unwrap().open(value.as_bytes()), Some(ticket("10.0.0.7:1")));
        let mode = fs::metadata(state.join(OWN)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&state).unwrap().count(), 1, "nothing else is left there");
    }
}
