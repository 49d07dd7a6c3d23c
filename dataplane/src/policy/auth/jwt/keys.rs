//! The keys of an issuer, ready to verify.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use aws_lc_rs::{
    hmac,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
        RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
        RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    },
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use ravelin_snapshot::{
    jwk::{Jwk, Material},
    jwt::JwtAlgorithm,
};

use super::{Refused, token::Signed};

/// Keys that one token is tried with, at most: each costs tens of microseconds.
const MAX_TRIES: usize = 8;

/// A set of keys, as it was at one moment.
pub(super) struct Keys {
    /// Unique in this process.
    pub(super) id: u64,
    keys: Vec<Key>,
}

struct Key {
    kid: Option<String>,
    algorithm: JwtAlgorithm,
    verifier: Verifier,
}

enum Verifier {
    Public(ParsedPublicKey),
    Shared(Box<hmac::Key>),
}

impl Keys {
    /// Each key once for each algorithm that it fits.
    pub(super) fn new(said: &[Jwk]) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let each = said.iter().flat_map(|key| JwtAlgorithm::ALL.into_iter().map(move |algorithm| (key, algorithm)));
        let keys = each.filter(|(key, algorithm)| key.fits(*algorithm)).filter_map(|(key, algorithm)| {
            // What does not parse here did not come from our own reader: it verifies nothing.
            let verifier = Verifier::new(&key.material, algorithm)?;
            Some(Key { kid: key.kid.clone(), algorithm, verifier })
        });
        Self { id: NEXT.fetch_add(1, Relaxed), keys: keys.collect() }
    }

    /// By the keys that it names; if none is called so, or it names none, by those that it may mean.
    pub(super) fn verify(&self, token: &Signed<'_>) -> Result<(), Refused> {
        let fitting = || self.keys.iter().filter(|key| key.algorithm == token.algorithm);
        let named = |key: &&Key| key.kid.is_some() && key.kid == token.kid;
        let known = token.kid.is_some() && self.keys.iter().any(|key| named(&key));
        let meant = |key: &&Key| match (&token.kid, known) {
            (Some(_), true) => named(key),
            (Some(_), false) => key.kid.is_none(),
            (None, _) => true,
        };
        let mut tried = 0;
        for key in fitting().filter(meant) {
            tried += 1;
            if tried > MAX_TRIES {
                break;
            }
            if key.verifier.verify(token.message, &token.signature) {
                return Ok(());
            }
        }
        Err(if tried == 0 || tried > MAX_TRIES { Refused::Key } else { Refused::Signature })
    }
}

impl Verifier {
    fn new(material: &Material, algorithm: JwtAlgorithm) -> Option<Self> {
        let bytes = |text: &str| BASE64.decode(text).ok();
        let public = match material {
            Material::Rsa { n, e } => {
                let components = RsaPublicKeyComponents { n: bytes(n)?, e: bytes(e)? };
                components.to_parsed_public_key(rsa(algorithm)?).ok()?
            }
            Material::P256 { x, y } => {
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, [vec![4], bytes(x)?, bytes(y)?].concat()).ok()?
            }
            Material::P384 { x, y } => {
                ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, [vec![4], bytes(x)?, bytes(y)?].concat()).ok()?
            }
            Material::Ed25519(x) => ParsedPublicKey::new(&ED25519, bytes(x)?).ok()?,
            Material::Shared(shared) => {
                let hash = match algorithm {
                    JwtAlgorithm::HS256 => hmac::HMAC_SHA256,
                    JwtAlgorithm::HS384 => hmac::HMAC_SHA384,
                    JwtAlgorithm::HS512 => hmac::HMAC_SHA512,
                    _ => return None,
                };
                return Some(Self::Shared(Box::new(hmac::Key::new(hash, &bytes(shared.expose())?))));
            }
        };
        Some(Self::Public(public))
    }

    /// In constant time where the key is a shared one.
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Public(key) => key.verify_sig(message, signature).is_ok(),
            Self::Shared(key) => hmac::verify(key, message, signature).is_ok(),
        }
    }
}

fn rsa(algorithm: JwtAlgorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        JwtAlgorithm::RS256 => &RSA_PKCS1_2048_8192_SHA256,
        JwtAlgorithm::RS384 => &RSA_PKCS1_2048_8192_SHA384,
        JwtAlgorithm::RS512 => &RSA_PKCS1_2048_8192_SHA512,
        JwtAlgorithm::PS256 => &RSA_PSS_2048_8192_SHA256,
        JwtAlgorithm::PS384 => &RSA_PSS_2048_8192_SHA384,
        JwtAlgorithm::PS512 => &RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}
