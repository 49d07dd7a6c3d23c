//! Digests of bodies (RFC 9530).

use aws_lc_rs::digest::{Algorithm, SHA256, SHA512, digest};

use super::structured::{self, Bare, Item, Member};

/// Whether `Content-Digest` says what the body is: by every algorithm here that counts, and by at least one.
pub(super) fn is_of(field: &[u8], body: &[u8]) -> bool {
    let Some(members) = structured::dictionary(field) else { return false };
    let algorithm = |name: &str| -> Option<&'static Algorithm> {
        match name {
            "sha-256" => Some(&SHA256),
            "sha-512" => Some(&SHA512),
            // MD5, CRC and their like vouch for nothing, and of others nothing is known.
            _ => None,
        }
    };
    let mut known = members.iter().filter_map(|(name, member)| Some((algorithm(name)?, member))).peekable();
    let is = |(algorithm, member): (&'static Algorithm, &Member)| match member {
        Member::Item(Item { value: Bare::Bytes(said), .. }) => digest(algorithm, body).as_ref() == said.as_slice(),
        _ => false,
    };
    known.peek().is_some() && known.all(is)
}
