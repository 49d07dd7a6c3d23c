//! Passwords as `htpasswd` files keep them: hashed, by bcrypt or Argon2. What can be verified at a bounded cost counts, and
//! nothing else. Both halves read the hashes with this code.

use base64::{
    Engine,
    alphabet::BCRYPT,
    engine::general_purpose::{GeneralPurpose, NO_PAD, STANDARD_NO_PAD},
};

/// Rounds of bcrypt, as a power of two: 14 take about a second.
pub const MAX_BCRYPT_COST: u32 = 14;
/// Memory of Argon2, in KiB.
pub const MAX_ARGON2_MEMORY: u32 = 64 << 10;
/// Passes of Argon2 over its memory; and its lanes.
pub const MAX_ARGON2_PASSES: u32 = 16;
pub const MAX_ARGON2_LANES: u32 = 16;
/// Bytes of a salt or of a hash of Argon2.
const MAX_ARGON2_BYTES: usize = 64;

/// A hash that can be verified.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PasswordHash {
    Bcrypt { cost: u32, salt: [u8; 16], hash: [u8; 23] },
    Argon2(Argon2Hash),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Argon2Hash {
    pub variant: Argon2Variant,
    /// 16 or 19.
    pub version: u32,
    /// KiB.
    pub memory: u32,
    pub passes: u32,
    pub lanes: u32,
    pub salt: Vec<u8>,
    pub hash: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Argon2Variant {
    D,
    I,
    Id,
}

/// Why a hash does not count. It says nothing of it: what stands there may be the password itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHash {
    #[error("SHA-1 is guessed too fast")]
    Sha1,
    #[error("MD5 is guessed too fast")]
    Md5,
    #[error("SHA-256 and SHA-512 of crypt are not accepted")]
    Crypt,
    #[error("it is no hash of bcrypt or Argon2: perhaps the password itself")]
    Plain,
    #[error("it begins as a hash of bcrypt or Argon2, and is none")]
    Malformed,
    #[error("to verify it would take too long or too much memory")]
    TooDear,
}

impl PasswordHash {
    /// Reads `$2y$10$...` (bcrypt: 2a, 2b, 2y) and `$argon2id$v=19$m=19456,t=2,p=1$...$...` (the PHC form).
    pub fn parse(text: &str) -> Result<Self, BadHash> {
        let of = |prefixes: &[&str]| prefixes.iter().find_map(|prefix| text.strip_prefix(prefix));
        if let Some(rest) = of(&["$2a$", "$2b$", "$2y$"]) {
            return bcrypt(rest);
        }
        if let Some(rest) = of(&["$argon2"]) {
            return argon2(rest).map(Self::Argon2);
        }
        Err(match text {
            _ if text.starts_with("{SHA}") || text.starts_with("{SSHA}") => BadHash::Sha1,
            _ if text.starts_with("$apr1$") || text.starts_with("$1$") => BadHash::Md5,
            _ if text.starts_with("$5$") || text.starts_with("$6$") => BadHash::Crypt,
            _ => BadHash::Plain,
        })
    }

    /// Whether who steals it can guess many passwords a second.
    pub fn is_weak(&self) -> bool {
        match self {
            Self::Bcrypt { cost, .. } => *cost < 10,
            Self::Argon2(Argon2Hash { memory, passes, .. }) => u64::from(*memory) * u64::from(*passes) < 12 << 10,
        }
    }
}

fn bcrypt(rest: &str) -> Result<PasswordHash, BadHash> {
    const RADIX_64: GeneralPurpose = GeneralPurpose::new(&BCRYPT, NO_PAD.with_decode_allow_trailing_bits(true));
    let (cost, rest) = rest.split_once('$').ok_or(BadHash::Malformed)?;
    let (salt, hash) = rest.split_at_checked(22).ok_or(BadHash::Malformed)?;
    let bytes = |text: &str| RADIX_64.decode(text).map_err(|_| BadHash::Malformed);
    let salt = bytes(salt)?.try_into().map_err(|_| BadHash::Malformed)?;
    let hash = bytes(hash)?.try_into().map_err(|_| BadHash::Malformed)?;
    let cost = number(Some(cost).filter(|cost| cost.len() == 2))?;
    match cost {
        0..4 => Err(BadHash::Malformed),
        4..=MAX_BCRYPT_COST => Ok(PasswordHash::Bcrypt { cost, salt, hash }),
        _ => Err(BadHash::TooDear),
    }
}

fn argon2(rest: &str) -> Result<Argon2Hash, BadHash> {
    let mut parts = rest.split('$');
    let mut next = || parts.next().ok_or(BadHash::Malformed);
    let variant = match next()? {
        "d" => Argon2Variant::D,
        "i" => Argon2Variant::I,
        "id" => Argon2Variant::Id,
        _ => return Err(BadHash::Malformed),
    };
    let mut costs = next()?;
    let version = match costs.strip_prefix("v=") {
        Some(version) => {
            costs = next()?;
            number(Some(version))?
        }
        None => 16, // who names none is of the first
    };
    let (salt, hash) = (next()?, next()?);
    let mut costs = costs.split(',');
    let mut cost = |name: &str| number(costs.next().and_then(|cost| cost.strip_prefix(name)));
    let (memory, passes, lanes) = (cost("m=")?, cost("t=")?, cost("p=")?);
    if costs.next().is_some() || parts.next().is_some() || !matches!(version, 16 | 19) {
        return Err(BadHash::Malformed);
    }
    let bytes = |text: &str| STANDARD_NO_PAD.decode(text).map_err(|_| BadHash::Malformed);
    let (salt, hash) = (bytes(salt)?, bytes(hash)?);
    if salt.len() < 8 || hash.len() < 16 || passes == 0 || lanes == 0 || memory < 8 * lanes.min(MAX_ARGON2_LANES) {
        return Err(BadHash::Malformed);
    }
    let long = salt.len().max(hash.len()) > MAX_ARGON2_BYTES;
    if long || memory > MAX_ARGON2_MEMORY || passes > MAX_ARGON2_PASSES || lanes > MAX_ARGON2_LANES {
        return Err(BadHash::TooDear);
    }
    Ok(Argon2Hash { variant, version, memory, passes, lanes, salt, hash })
}

/// Digits alone: no sign.
fn number(text: Option<&str>) -> Result<u32, BadHash> {
    let text = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    text.and_then(|text| text.parse().ok()).ok_or(BadHash::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BCRYPT: &str = "$2y$10$WvvTPHKwdBJ3uk0Z37EMR.hLA2W6N9AEBhEgrAOljy2Ae5MtaSIUi";
    const ARGON2: &str =
        "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    #[test]
    fn what_htpasswd_and_argon2_write_is_read() {
        assert!(matches!(PasswordHash::parse(BCRYPT), Ok(PasswordHash::Bcrypt { cost: 10, .. })));
        assert!(PasswordHash::parse(&BCRYPT.replace("2y", "2b")).is_ok());
        let Ok(PasswordHash::Argon2(read)) = PasswordHash::parse(ARGON2) else { panic!() };
        assert_eq!(
            (read.variant, read.version, read.memory, read.passes, read.lanes),
            (Argon2Variant::Id, 19, 19456, 2, 1)
        );
        assert_eq!((read.salt, read.hash.len()), (b"somesaltsomesalt".to_vec(), 32));
        assert!(PasswordHash::parse(&ARGON2.replace("v=19$", "")).is_ok(), "the first version names none");
        assert!(PasswordHash::parse(&BCRYPT.replace("$10$", "$05$")).unwrap().is_weak(), "htpasswd's default");
        assert!(!PasswordHash::parse(BCRYPT).unwrap().is_weak() && !PasswordHash::parse(ARGON2).unwrap().is_weak());
    }

    #[test]
    fn what_is_fast_to_guess_is_no_hash_or_takes_for_ever_does_not_count() {
        for (text, why) in [
            ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", BadHash::Sha1),
            ("{SSHA}abcd", BadHash::Sha1),
            ("$apr1$ZjTqBB3f$IF9gdYAGlMrs2fuINjHsz.", BadHash::Md5),
            ("$1$a$b", BadHash::Md5),
            ("$5$a$b", BadHash::Crypt),
            ("$6$a$b", BadHash::Crypt),
            ("hunter2", BadHash::Plain),
            ("", BadHash::Plain),
            ("rqXexS6ZhobKA", BadHash::Plain),
            ("$2x$10$WvvTPHKwdBJ3uk0Z37EMR.hLA2W6N9AEBhEgrAOljy2Ae5MtaSIUi", BadHash::Plain),
            ("$2y$10$", BadHash::Malformed),
            ("$2y$10$WvvTPHKwdBJ3uk0Z37EMR.hLA2W6N9AEBhEgrAOljy2Ae5MtaSIU", BadHash::Malformed),
            ("$2y$10$WvvTPHKwdBJ3uk0Z37EMR.hLA2W6N9AEBhEgrAOljy2Ae5MtaSIU=", BadHash::Malformed),
            ("$argon2x$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", BadHash::Malformed),
            ("$argon2id$v=19$m=8,t=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", BadHash::Malformed),
            ("$argon2id$v=19$m=+8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", BadHash::Malformed),
            ("$argon2id$v=19$m=8,t=0,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", BadHash::Malformed),
            ("$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAA", BadHash::Malformed),
            ("$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA$x", BadHash::Malformed),
            ("$argon2id$v=19$m=65537,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", BadHash::TooDear),
            ("$argon2id$v=19$m=8,t=17,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", BadHash::TooDear),
            ("$argon2id$v=19$m=4294967295,t=1,p=4294967295$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", BadHash::TooDear),
        ] {
            assert_eq!(PasswordHash::parse(text), Err(why), "{text}");
        }
        for (cost, why) in
            [("15", BadHash::TooDear), ("31", BadHash::TooDear), ("03", BadHash::Malformed), ("+9", BadHash::Malformed)]
        {
            let text = BCRYPT.replace("$10$", &format!("${cost}$"));
            assert_eq!(PasswordHash::parse(&text), Err(why), "{text}");
        }
    }
}
