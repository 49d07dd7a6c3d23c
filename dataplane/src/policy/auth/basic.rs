//! User and password (RFC 7617). A password is verified beside the workers ([`verifier`]), for it takes long on purpose; what
//! was found good is remembered by a keyed hash, and what was not, nowhere.

#[cfg(test)]
mod tests;
pub(super) mod verifier;

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use foldhash::quality::RandomState;
use ravelin_snapshot::{
    auth::{BasicMethod, BasicUser, CredentialSource},
    password::PasswordHash,
};

use super::{
    keyed::Scratch,
    memory::{self, Entry},
};
use crate::request::Caller;
pub(super) use verifier::Passwords;
use verifier::{Question, Verdict};

/// `caller.method`.
pub(super) const METHOD: &str = "basic";

/// Bytes of user and password in base64, at most.
const MAX_CREDENTIAL: usize = 2 << 10;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Whose passwords a policy takes.
pub(super) struct Basic {
    said: BasicMethod,
    /// In the memory of what was found good.
    owner: u64,
    users: HashMap<String, User, RandomState>,
    /// All hashes: somebody who is none of the users is verified against one of them, and is found bad.
    hashes: Vec<Arc<PasswordHash>>,
    /// Which one it is for a name stays the same, so that nobody tells by the time.
    seed: RandomState,
    passwords: Option<Arc<Passwords>>,
}

struct User {
    hash: Arc<PasswordHash>,
    caller: Arc<Caller>,
}

/// Why nobody is known by a password.
pub(super) enum Refused {
    Bad,
    /// Too many passwords wait to be verified.
    Busy,
    /// It has to be verified first.
    Asks(Box<Question>),
}

impl Basic {
    /// `before` itself if it says the same.
    pub(super) fn compile(
        said: &BasicMethod,
        before: Option<&Arc<Self>>,
        passwords: Option<&Arc<Passwords>>,
    ) -> Result<Arc<Self>, String> {
        if let Some(before) = before.filter(|before| before.said == *said) {
            return Ok(Arc::clone(before));
        }
        let mut users = HashMap::default();
        let mut hashes = Vec::with_capacity(said.users.len());
        for BasicUser { name, hash } in &said.users {
            let hash =
                PasswordHash::parse(hash.expose()).map_err(|error| format!("the password of {name}: {error}"))?;
            let hash = Arc::new(hash);
            hashes.push(Arc::clone(&hash));
            let caller = Arc::new(Caller { id: name.clone(), method: METHOD, ..Caller::default() });
            users.insert(name.clone(), User { hash, caller });
        }
        let passwords = passwords.cloned();
        let (owner, seed) = (memory::new_owner(), RandomState::default());
        Ok(Arc::new(Self { said: said.clone(), owner, users, hashes, seed, passwords }))
    }

    /// Where its credential is in a request.
    pub(super) fn source() -> CredentialSource {
        CredentialSource::Header { name: "authorization".to_owned(), prefix: "Basic ".to_owned() }
    }

    pub(super) fn challenge(&self) -> String {
        let realm = self.said.realm.replace('\\', "\\\\").replace('"', "\\\"");
        format!("Basic realm=\"{realm}\", charset=\"UTF-8\"")
    }

    /// `verified`: what a question for this very credential has come to.
    pub(super) fn judge(
        &self,
        credential: &[u8],
        from: IpAddr,
        verified: Option<Verdict>,
    ) -> Result<Arc<Caller>, Refused> {
        if credential.len() > MAX_CREDENTIAL {
            return Err(Refused::Bad);
        }
        let known = memory::get(self.owner, credential, |entry| Some(Arc::clone(&entry.caller)));
        if let Some(caller) = known {
            return Ok(caller);
        }
        let decoded = BASE64.decode(credential).map_err(|_| Refused::Bad)?;
        let (name, password) = parts(&decoded).ok_or(Refused::Bad)?;
        let user = self.users.get(name);
        match (verified, user) {
            (Some(Verdict::Good), Some(user)) => {
                let caller = Arc::clone(&user.caller);
                let entry = Entry { provider: 0, keys: 0, until: f64::INFINITY, caller: Arc::clone(&caller) };
                memory::put(self.owner, credential, entry);
                Ok(caller)
            }
            (Some(Verdict::Good | Verdict::Bad), _) => Err(Refused::Bad),
            (Some(Verdict::Busy), _) => Err(Refused::Busy),
            (None, user) => Err(self.question(credential, name, password, user, from)),
        }
    }

    /// It costs the same whether there is such a user or not.
    fn question(&self, credential: &[u8], name: &str, password: &[u8], user: Option<&User>, from: IpAddr) -> Refused {
        let decoy = || {
            let at = std::hash::BuildHasher::hash_one(&self.seed, name) % (self.hashes.len().max(1) as u64);
            // Invariant: an index of a list fits.
            self.hashes.get(at as usize).cloned()
        };
        let Some(hash) = user.map(|user| Arc::clone(&user.hash)).or_else(decoy) else { return Refused::Bad };
        Refused::Asks(Box::new(Question {
            passwords: self.passwords.clone(),
            key: Scratch::default().hash(self.owner, credential),
            hash,
            password: password.to_vec(),
            nobody: user.is_none(),
            from,
        }))
    }
}

/// User and password; a name has no colon. Control characters are in neither (RFC 7617, 2): to bcrypt, a password with NUL
/// may be another one's twin.
fn parts(decoded: &[u8]) -> Option<(&str, &[u8])> {
    let text = std::str::from_utf8(decoded).ok()?;
    let (name, password) = text.split_once(':')?;
    let clean = !text.chars().any(char::is_control);
    (clean && !name.is_empty()).then_some((name, password.as_bytes()))
}
