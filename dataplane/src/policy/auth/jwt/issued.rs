//! Tokens that an issuer makes for the gateway itself, as its client: of a log-in, and of a log-out.

use std::time::SystemTime;

use ravelin_snapshot::{
    jwt::{ClaimNames, JwksUri, JwtAlgorithm},
    url::InvalidUrl,
};
use serde_json::{Map, Value};

use super::{Failed, Issuers, MAX_TOKEN, Provider, Refused, Source, claims, token::Token};
use crate::request::Caller;

/// How far the clocks may differ, in seconds.
const SKEW: f64 = 30.0;

/// One issuer, by whose keys they are verified.
pub(in crate::policy::auth) struct Issued(Provider);

/// A token that is good: signed by the issuer, for this client, within its time.
pub(in crate::policy::auth) struct Good {
    /// The header's `typ`.
    pub(in crate::policy::auth) kind: Option<String>,
    pub(in crate::policy::auth) claims: Map<String, Value>,
}

impl Issued {
    /// `client`: the audience. Keys of secrets verify nothing here: the issuer's are public.
    pub(in crate::policy::auth) fn by(
        issuer: &str,
        client: &str,
        keys: &JwksUri,
        issuers: &Issuers,
    ) -> Result<Self, InvalidUrl> {
        let keys = issuers.get(keys)?.map_or(Source::Unasked, Source::Remote);
        Ok(Self(Provider {
            issuer: issuer.to_owned(),
            audiences: vec![client.to_owned()],
            algorithms: JwtAlgorithm::ALL.into_iter().filter(|algorithm| !algorithm.is_symmetric()).collect(),
            keys,
            skew: SKEW,
            claims: names(),
        }))
    }

    pub(in crate::policy::auth) fn verify(&self, token: &[u8], now: SystemTime) -> Result<Good, Failed> {
        if token.len() > MAX_TOKEN {
            return Err(Refused::TooLong.into());
        }
        let read = Token::read(token)?;
        if read.claim("iss").and_then(Value::as_str) != Some(&self.0.issuer) {
            return Err(Refused::Issuer.into());
        }
        match self.0.verify(&read, 0, claims::seconds(now)) {
            Ok(_) => Ok(Good { kind: read.signed.kind.clone(), claims: read.claims().clone() }),
            Err(why) => Err(Failed { why, coming: self.0.keys.coming(why) }),
        }
    }
}

/// Whose a token is that has been verified before; `None`: it does not say.
pub(in crate::policy::auth) fn caller_of(token: &[u8]) -> Option<Caller> {
    claims::caller(&Token::read(token).ok()?, &names()).ok()
}

fn names() -> ClaimNames {
    ClaimNames { id: "sub".to_owned(), scopes: "scope".to_owned(), groups: "groups".to_owned() }
}
