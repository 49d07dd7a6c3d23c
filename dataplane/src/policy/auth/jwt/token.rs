//! A token as it is written: the compact form of a JSON Web Signature (RFC 7515, 7.1), read so strictly that it has one
//! reading alone.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use ravelin_snapshot::{json, jwk::MAX_KID, jwt::JwtAlgorithm};
use serde_json::{Map, Value};

use super::Refused;

/// Something signed; nobody has looked at the signature yet.
pub(super) struct Signed<'t> {
    pub(super) algorithm: JwtAlgorithm,
    pub(super) kid: Option<String>,
    /// `typ`, as it is written.
    pub(super) kind: Option<String>,
    /// What the signature is over.
    pub(super) message: &'t [u8],
    pub(super) signature: Vec<u8>,
    payload: Vec<u8>,
}

/// A token: claims, signed.
pub(super) struct Token<'t> {
    pub(super) signed: Signed<'t>,
    claims: Map<String, Value>,
}

impl<'t> Signed<'t> {
    pub(super) fn read(token: &'t [u8]) -> Result<Self, Refused> {
        let mut dots = token.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at);
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err(Refused::Malformed);
        };
        let header = object(&decode(&token[..first])?)?;
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(Refused::Critical);
        }
        let algorithm = match header.get("alg") {
            Some(Value::String(name)) => JwtAlgorithm::named(name).ok_or(Refused::Algorithm)?,
            _ => return Err(Refused::Malformed),
        };
        let kid = match header.get("kid") {
            None => None,
            Some(Value::String(kid)) if kid.len() <= MAX_KID => Some(kid.clone()),
            Some(_) => return Err(Refused::Malformed),
        };
        let kind = header.get("typ").and_then(Value::as_str).map(str::to_owned);
        let (payload, signature) = (decode(&token[first + 1..second])?, decode(&token[second + 1..])?);
        if signature.is_empty() {
            return Err(Refused::Malformed);
        }
        Ok(Self { algorithm, kid, kind, message: &token[..second], signature, payload })
    }
}

impl<'t> Token<'t> {
    pub(super) fn read(token: &'t [u8]) -> Result<Self, Refused> {
        let signed = Signed::read(token)?;
        Ok(Self { claims: object(&signed.payload)?, signed })
    }

    pub(super) fn claim(&self, name: &str) -> Option<&Value> {
        self.claims.get(name)
    }

    pub(super) fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }
}

fn object(text: &[u8]) -> Result<Map<String, Value>, Refused> {
    match json::read(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) | Err(_) => Err(Refused::Malformed),
    }
}

/// Without padding, without spaces, without bits that mean nothing.
fn decode(part: &[u8]) -> Result<Vec<u8>, Refused> {
    BASE64.decode(part).map_err(|_| Refused::Malformed)
}
