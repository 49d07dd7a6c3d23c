//! JSON Web Key sets (RFC 7517): which keys of one can verify tokens. The controller reads them where they stand in an
//! object, the data plane where it fetches them; both by this code.
//!
//! A key that is weak, not for signatures, of a kind that is not known or malformed is left out and named: the others count.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    Secret,
    json::{self, JsonError},
    jwt::JwtAlgorithm,
};

/// Bytes of a set, at most.
pub const MAX_BYTES: usize = 1 << 20;
/// Keys of a set, at most.
pub const MAX_KEYS: usize = 256;
/// Bytes of a `kid`, at most: a key with a longer one is found by no token.
pub const MAX_KID: usize = 512;

/// A key that verifies tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Jwk {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// The only one that it is for, if it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<JwtAlgorithm>,
    pub material: Material,
}

/// Numbers and points are base64url without padding, as in the set; numbers without leading zeros.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Material {
    /// 2048 to 8192 bits.
    Rsa {
        n: String,
        e: String,
    },
    /// A point of the curve.
    P256 {
        x: String,
        y: String,
    },
    P384 {
        x: String,
        y: String,
    },
    Ed25519(String),
    /// At least 256 bits.
    Shared(Secret),
}

/// A set, and what of it is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet {
    pub keys: Vec<Jwk>,
    pub ignored: Vec<Ignored>,
}

/// A key that does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// Its place in the set.
    pub index: usize,
    pub why: &'static str,
}

/// Why a text is no key set. It carries nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    #[error("it is longer than {MAX_BYTES} bytes")]
    TooLong,
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error("it is no object with a list `keys`")]
    NoKeys,
    #[error("it has {0} keys, and at most {MAX_KEYS} are taken")]
    TooMany(usize),
}

/// Reads a set. It may come to no key at all.
pub fn parse(text: &[u8]) -> Result<KeySet, KeySetError> {
    if text.len() > MAX_BYTES {
        return Err(KeySetError::TooLong);
    }
    let set = json::read(text)?;
    let keys = set.get("keys").and_then(Value::as_array).ok_or(KeySetError::NoKeys)?;
    if keys.len() > MAX_KEYS {
        return Err(KeySetError::TooMany(keys.len()));
    }
    let mut read = KeySet::default();
    for (index, key) in keys.iter().enumerate() {
        match key.as_object().ok_or("it is no object").and_then(self::key) {
            Ok(key) => read.keys.push(key),
            Err(why) => read.ignored.push(Ignored { index, why }),
        }
    }
    Ok(read)
}

fn key(said: &Map<String, Value>) -> Result<Jwk, &'static str> {
    if said.get("use").is_some_and(|value| value != "sig") {
        return Err("it is not for signatures (`use`)");
    }
    let verifies = |value: &Value| value.as_array().is_some_and(|ops| ops.iter().any(|op| op == "verify"));
    if said.get("key_ops").is_some_and(|ops| !verifies(ops)) {
        return Err("it is not for signatures (`key_ops`)");
    }
    let kid = match said.get("kid") {
        None => None,
        Some(Value::String(kid)) if kid.len() <= MAX_KID => Some(kid.clone()),
        Some(_) => return Err("its `kid` is no text of a bearable length"),
    };
    let algorithm = match said.get("alg") {
        None => None,
        Some(Value::String(name)) => {
            Some(JwtAlgorithm::named(name).ok_or("it is for an algorithm that is not known (`alg`)")?)
        }
        Some(_) => return Err("its `alg` is no text"),
    };
    let key = Jwk { kid, algorithm, material: material(said)? };
    match algorithm {
        Some(algorithm) if !key.fits(algorithm) => Err("its `alg` does not fit its type or its length"),
        _ => Ok(key),
    }
}

fn material(said: &Map<String, Value>) -> Result<Material, &'static str> {
    let text = |name: &str| said.get(name).and_then(Value::as_str);
    let bytes = |name: &str| {
        let text = text(name).ok_or("a part of it is missing")?;
        BASE64.decode(text).map_err(|_| "a part of it is not base64url without padding")
    };
    match (text("kty"), text("crv")) {
        (Some("RSA"), _) => rsa(&bytes("n")?, &bytes("e")?),
        (Some("EC"), Some("P-256")) => {
            let (x, y) = point(&bytes("x")?, &bytes("y")?, 32, &ECDSA_P256_SHA256_FIXED)?;
            Ok(Material::P256 { x, y })
        }
        (Some("EC"), Some("P-384")) => {
            let (x, y) = point(&bytes("x")?, &bytes("y")?, 48, &ECDSA_P384_SHA384_FIXED)?;
            Ok(Material::P384 { x, y })
        }
        (Some("OKP"), Some("Ed25519")) => {
            let x = bytes("x")?;
            UnparsedPublicKey::new(&ED25519, &x).parse().map_err(|_| "it is no point of its curve")?;
            Ok(Material::Ed25519(BASE64.encode(x)))
        }
        (Some("EC" | "OKP"), _) => Err("its curve is not known (`crv`)"),
        (Some("oct"), _) => {
            let shared = bytes("k")?;
            if shared.len() < 32 { Err("it is shorter than 256 bits") } else { Ok(Material::Shared(encoded(&shared))) }
        }
        (_, _) => Err("its type is not known (`kty`)"),
    }
}

fn encoded(shared: &[u8]) -> Secret {
    Secret::new(BASE64.encode(shared))
}

fn rsa(n: &[u8], e: &[u8]) -> Result<Material, &'static str> {
    let number = |bytes: &[u8]| {
        let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
        bytes[first..].to_vec()
    };
    let (n, e) = (number(n), number(e));
    let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
    match bits {
        ..2048 => return Err("it is shorter than 2048 bits"),
        8193.. => return Err("it is longer than 8192 bits"),
        _ => {}
    }
    let odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
    // With the exponent 1 everything is its own signature. Beyond 32 bits nobody has one, and it would cost.
    if !odd(&n) || !odd(&e) || e == [1] || e.len() > 4 {
        return Err("its modulus or its exponent is none");
    }
    if is_factored(&n) {
        return Err("its modulus is of a weak make (CVE-2017-15361)");
    }
    Ok(Material::Rsa { n: BASE64.encode(n), e: BASE64.encode(e) })
}

/// Whether a modulus has the mark of a library that made its primes of powers of 65537 (ROCA): modulo each small prime it
/// is such a power. By chance one in 2^27 is.
fn is_factored(n: &[u8]) -> bool {
    const PRIMES: [u32; 17] = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157];
    PRIMES.into_iter().all(|prime| {
        let rest = n.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
        let powers = std::iter::successors(Some(1), |power| Some(power * 65_537 % prime));
        powers.take(prime as usize).any(|power| power == rest)
    })
}

fn point(
    x: &[u8],
    y: &[u8],
    length: usize,
    curve: &'static dyn VerificationAlgorithm,
) -> Result<(String, String), &'static str> {
    if x.len() != length || y.len() != length {
        return Err("a coordinate is not of its curve's length");
    }
    let point = [&[4], x, y].concat();
    UnparsedPublicKey::new(curve, &point).parse().map_err(|_| "it is no point of its curve")?;
    Ok((BASE64.encode(x), BASE64.encode(y)))
}

impl Jwk {
    /// Whether it may verify a token of that algorithm: the type of a key decides, never the token alone.
    pub fn fits(&self, algorithm: JwtAlgorithm) -> bool {
        if self.algorithm.is_some_and(|only| only != algorithm) {
            return false;
        }
        match (&self.material, algorithm) {
            (
                Material::Rsa { .. },
                JwtAlgorithm::RS256
                | JwtAlgorithm::RS384
                | JwtAlgorithm::RS512
                | JwtAlgorithm::PS256
                | JwtAlgorithm::PS384
                | JwtAlgorithm::PS512,
            )
            | (Material::P256 { .. }, JwtAlgorithm::ES256)
            | (Material::P384 { .. }, JwtAlgorithm::ES384)
            | (Material::Ed25519(_), JwtAlgorithm::EdDSA)
            | (Material::Shared(_), JwtAlgorithm::HS256) => true,
            // Not shorter than the hash (RFC 7518, 3.2): 48 and 64 bytes, in base64url.
            (Material::Shared(shared), JwtAlgorithm::HS384) => shared.expose().len() >= 64,
            (Material::Shared(shared), JwtAlgorithm::HS512) => shared.expose().len() >= 86,
            (
                Material::Rsa { .. }
                | Material::P256 { .. }
                | Material::P384 { .. }
                | Material::Ed25519(_)
                | Material::Shared(_),
                _,
            ) => false,
        }
    }
}

#[cfg(test)]
mod tests;
