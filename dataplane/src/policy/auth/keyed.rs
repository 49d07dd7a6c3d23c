//! Credentials by a keyed hash: what is remembered is none, and nobody can make two of them meet.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};

pub(super) type Hash = [u8; 32];

const KEY: usize = 32;

/// Memory to hash in. It begins with the process's secret, and holds no credential when nothing is hashed.
pub(super) struct Scratch(Vec<u8>);

impl Default for Scratch {
    fn default() -> Self {
        static SECRET: LazyLock<[u8; KEY]> = LazyLock::new(|| {
            let mut secret = [0; KEY];
            // Without randomness from the system nothing here is safe, TLS included.
            getrandom::fill(&mut secret).expect("the system has random bytes (invariant)");
            secret
        });
        Self(SECRET.to_vec())
    }
}

impl Scratch {
    /// `owner`: for whom it is; see [`super::memory::new_owner`].
    pub(super) fn hash(&mut self, owner: u64, credential: &[u8]) -> Hash {
        self.0.extend_from_slice(&owner.to_ne_bytes());
        self.0.extend_from_slice(credential);
        // Invariant: SHA-256 is 32 bytes.
        let hash = digest(&SHA256, &self.0).as_ref().try_into().expect("32 bytes (invariant)");
        self.0[KEY..].fill(0); // no credential stays
        self.0.truncate(KEY);
        hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_of_one_owner_and_one_process_and_nothing_of_the_credential_stays() {
        let (mut one, mut other) = (Scratch::default(), Scratch::default());
        assert_eq!(one.hash(1, b"secret"), other.hash(1, b"secret"));
        assert_ne!(one.hash(1, b"secret"), one.hash(2, b"secret"));
        assert_ne!(one.hash(1, b"secret"), one.hash(1, b"secres"));
        assert!(one.0.len() == KEY && one.0 == other.0);
    }
}
