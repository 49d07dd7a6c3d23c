//! JSON Web Tokens: read strictly ([`token`]), verified with a key of their issuer ([`keys`]), judged by their claims
//! ([`claims`]), and remembered for as long as nothing of that can change.
//!
//! What a token says about itself chooses among the keys that the policy names, and nothing else: no `jku`, `x5u`, `x5c`
//! or `jwk` is ever looked at.

mod claims;
mod issued;
mod keys;
mod remote;
#[cfg(test)]
pub(super) mod tests;
mod token;

use std::{sync::Arc, time::SystemTime};

use ravelin_snapshot::jwt::{ClaimNames, JwtAlgorithm, JwtMethod, JwtProvider, KeySource};

use super::memory::{self, Entry};
use crate::request::Caller;
pub(super) use issued::{Good, Issued, caller_of};
use keys::Keys;
pub(super) use remote::Coming;
pub(super) use remote::Issuers;
use remote::Remote;
use token::Token;

/// `caller.method`.
pub(super) const METHOD: &str = "jwt";

/// Bytes of a token, at most.
const MAX_TOKEN: usize = 16 << 10;

/// Whose tokens a policy takes.
pub(super) struct Jwt {
    said: JwtMethod,
    /// Unique in this process: what is remembered is remembered for this configuration alone.
    id: u64,
    providers: Vec<Provider>,
}

struct Provider {
    issuer: String,
    audiences: Vec<String>,
    algorithms: Vec<JwtAlgorithm>,
    keys: Source,
    /// Seconds.
    skew: f64,
    claims: ClaimNames,
}

enum Source {
    Fixed(Arc<Keys>),
    Remote(Arc<Remote>),
    /// The keys of who is not asked here.
    Unasked,
}

/// Why a token is refused, in words for whoever sent it: they hold nothing of it, and neither quotes nor backslashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("the token is too long")]
    TooLong,
    #[error("the token is malformed")]
    Malformed,
    #[error("the algorithm of the token is not accepted")]
    Algorithm,
    #[error("the token has critical extensions")]
    Critical,
    #[error("the issuer of the token is not accepted")]
    Issuer,
    #[error("the token names no key of its issuer")]
    Key,
    #[error("the signature of the token is wrong")]
    Signature,
    #[error("the token has no lifetime that can be judged")]
    Times,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    Early,
    #[error("the token is for another audience")]
    Audience,
    #[error("the token does not say whose it is")]
    Claims,
    /// Nobody can tell: the keys of the issuer have not come yet, or are too old.
    #[error("the keys of the issuer are not there")]
    NoKeys,
    /// Nobody asks for the keys of the issuer of this provider: a gateway may know them.
    #[error("the keys of the issuer are not known here")]
    Unasked(usize),
}

impl Refused {
    /// Whether the token may be good for all that.
    pub(super) fn is_doubt(self) -> bool {
        matches!(self, Self::NoKeys | Self::Unasked(_))
    }
}

/// A token that is refused for now.
pub(super) struct Failed {
    pub(super) why: Refused,
    /// A newer set of keys that could make it a good one.
    pub(super) coming: Option<Coming>,
}

impl From<Refused> for Failed {
    fn from(why: Refused) -> Self {
        Self { why, coming: None }
    }
}

impl Jwt {
    /// `before` itself if it says the same.
    pub(super) fn compile(
        said: &JwtMethod,
        before: Option<&Arc<Self>>,
        issuers: &Issuers,
    ) -> Result<Arc<Self>, String> {
        if let Some(before) = before.filter(|before| before.said == *said) {
            return Ok(Arc::clone(before));
        }
        let providers =
            said.providers.iter().map(|said| Provider::compile(said, issuers)).collect::<Result<_, String>>()?;
        Ok(Arc::new(Self { said: said.clone(), id: memory::new_owner(), providers }))
    }

    /// Of a provider.
    pub(super) fn issuer(&self, provider: usize) -> &str {
        self.providers.get(provider).map_or("", |provider| &provider.issuer)
    }

    /// Whose token it is. `at`: the providers that look at the place where it is, a bit for each.
    pub(super) fn judge(&self, token: &[u8], at: u16, now: SystemTime) -> Result<Arc<Caller>, Failed> {
        if token.len() > MAX_TOKEN {
            return Err(Refused::TooLong.into());
        }
        let now = claims::seconds(now);
        let known = memory::get(self.id, token, |entry| {
            let provider = self.providers.get(entry.provider).filter(|_| at & (1 << entry.provider) != 0)?;
            // Other keys than those that it was verified with may be all the others but one.
            let good = provider.keys.id() == Some(entry.keys) && now < entry.until;
            good.then(|| Arc::clone(&entry.caller))
        });
        if let Some(caller) = known {
            return Ok(caller);
        }
        let read = Token::read(token)?;
        let mut refused = Refused::Issuer;
        let mut coming = None;
        for (index, provider) in self.providers.iter().enumerate() {
            if at & (1 << index) == 0 || read.claim("iss").and_then(|iss| iss.as_str()) != Some(&provider.issuer) {
                continue;
            }
            match provider.judge(&read, index, now) {
                Ok(judged) => {
                    let caller = Arc::new(judged.caller);
                    let (keys, until) = (judged.keys, judged.until);
                    memory::put(self.id, token, Entry { provider: index, keys, until, caller: Arc::clone(&caller) });
                    return Ok(caller);
                }
                Err(why) => {
                    coming = coming.or_else(|| provider.keys.coming(why));
                    // Of several providers of one issuer, one that cannot tell might have accepted it.
                    refused = if refused.is_doubt() { refused } else { why };
                }
            }
        }
        Err(Failed { why: refused, coming })
    }
}

/// A token that one provider accepts.
struct Judged {
    caller: Caller,
    /// The set of keys that it was verified with.
    keys: u64,
    /// Until when, in seconds since the epoch.
    until: f64,
}

impl Provider {
    #[allow(clippy::cast_precision_loss, reason = "no clock is that far off")]
    fn compile(said: &JwtProvider, issuers: &Issuers) -> Result<Self, String> {
        let JwtProvider { name, issuer, audiences, algorithms, keys, from: _, clock_skew_ms, claims } = said;
        let keys = match keys {
            KeySource::Fixed { secret: _, keys } => Source::Fixed(Arc::new(Keys::new(keys))),
            KeySource::Uri(uri) => {
                let remote = issuers.get(uri).map_err(|error| format!("provider {name}: the keys' URL: {error}"))?;
                remote.map_or(Source::Unasked, Source::Remote)
            }
        };
        Ok(Self {
            issuer: issuer.clone(),
            audiences: audiences.clone(),
            algorithms: algorithms.clone(),
            keys,
            skew: *clock_skew_ms as f64 / 1e3,
            claims: claims.clone(),
        })
    }

    /// Of a token of this issuer.
    fn judge(&self, token: &Token<'_>, index: usize, now: f64) -> Result<Judged, Refused> {
        let (keys, until) = self.verify(token, index, now)?;
        let caller = claims::caller(token, &self.claims)?;
        Ok(Judged { caller, keys, until })
    }

    /// With which keys, and until when it is good. Its claims are believed after its signature alone.
    fn verify(&self, token: &Token<'_>, index: usize, now: f64) -> Result<(u64, f64), Refused> {
        if !self.algorithms.contains(&token.signed.algorithm) {
            return Err(Refused::Algorithm);
        }
        let keys = match &self.keys {
            Source::Fixed(keys) => Arc::clone(keys),
            Source::Remote(remote) => remote.keys().ok_or(Refused::NoKeys)?,
            Source::Unasked => return Err(Refused::Unasked(index)),
        };
        keys.verify(&token.signed).inspect_err(|_| self.keys.ask())?;
        let until = claims::lifetime(token, self.skew, now)?;
        claims::audience(token, &self.audiences)?;
        Ok((keys.id, until))
    }
}

impl Source {
    /// Of the set that counts now.
    fn id(&self) -> Option<u64> {
        match self {
            Self::Fixed(keys) => Some(keys.id),
            Self::Remote(remote) => remote.id(),
            Self::Unasked => None,
        }
    }

    /// A newer set that is on its way, if it could be for want of it that a token is refused.
    fn coming(&self, why: Refused) -> Option<Coming> {
        match (self, why) {
            (Self::Remote(remote), Refused::NoKeys | Refused::Key | Refused::Signature) => remote.coming(),
            _ => None,
        }
    }

    /// Whether there is a newer set, of which a token may know.
    fn ask(&self) {
        if let Self::Remote(remote) = self {
            remote.ask();
        }
    }
}
