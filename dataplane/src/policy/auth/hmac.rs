//! Signed requests (RFC 9421, by HMAC with SHA-256): one signature a request, over at least what the policy says, not older than
//! its clock allows, and where the policy says so over the body's digest (RFC 9530) and once only.

mod base;
mod digest;
mod nonces;
mod structured;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_STANDARD};
use foldhash::quality::RandomState;
use http::{HeaderMap, HeaderName, HeaderValue};
use ravelin_snapshot::auth::{HmacKey, HmacMethod, SignatureComponent};

use self::{
    nonces::{Nonces, Used},
    structured::{Bare, Item, Member, Parameters},
};
use super::body::{self, MAX_KEPT, Unread};
use crate::{
    request::{Caller, RequestView},
    upstream::Upload,
};

/// `caller.method`.
pub(super) const METHOD: &str = "hmac";

const SIGNATURE: HeaderName = HeaderName::from_static("signature");
const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// Bytes of either header, at most.
const MAX_HEADER: usize = 8 << 10;
/// Bytes of a nonce, at most.
const MAX_NONCE: usize = 256;

/// Whose signatures a policy takes.
pub(super) struct Hmac {
    said: HmacMethod,
    keys: HashMap<Arc<str>, Holder, RandomState>,
    nonces: Arc<Nonces>,
}

struct Holder {
    id: Arc<str>,
    key: hmac::Key,
    caller: Arc<Caller>,
    /// Seconds since the epoch.
    expires: Option<i64>,
}

/// Why nobody is known by a signature, in words for whoever signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Bad {
    #[error("signature and signature-input are malformed or do not fit together")]
    Malformed,
    #[error("there is more than one signature")]
    Several,
    #[error("a parameter of the signature is missing, not known or of another type")]
    Parameters,
    #[error("the algorithm is not hmac-sha256")]
    Algorithm,
    #[error("the signature is for a purpose that is not known here")]
    Tag,
    #[error("the signature covers something twice, or what cannot be covered here")]
    Component,
    #[error("the signature does not cover all that it has to")]
    Uncovered,
    #[error("the signature is from the future")]
    Early,
    #[error("the signature is too old")]
    Expired,
    #[error("the signature is not good")]
    Wrong,
    #[error("the signature has no nonce")]
    NoNonce,
    #[error("the signature has been used")]
    Used,
    #[error("the digest is not the body's")]
    Digest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Good,
    Bad(Bad),
    Unread(Unread),
    /// No more nonces can be remembered.
    Busy,
}

pub(super) enum Refused {
    Is(Outcome),
    /// The body has to be read, or the nonce to be looked for.
    Asks(Box<Question>),
}

/// What is left to be found out about a signature that is good.
pub struct Question {
    nonces: Arc<Nonces>,
    key: Arc<str>,
    nonce: Option<String>,
    /// In seconds since the epoch.
    until: u64,
    now: u64,
    digest: Option<Digested>,
}

/// What is known of a body's digest.
enum Digested {
    /// No digest is covered: then there must be no body.
    No,
    /// The field, as it is covered.
    Is(Vec<u8>),
}

/// A signature, as a request presents it.
struct Signature {
    covered: Vec<(Item, SignatureComponent)>,
    parameters: Parameters,
    tag: Vec<u8>,
}

/// What its parameters say.
struct Said<'s> {
    created: i64,
    expires: Option<i64>,
    key_id: &'s str,
    nonce: Option<&'s str>,
}

impl Hmac {
    /// `before` itself if it says the same. Nonces that have passed are remembered whatever is changed: no edit of a policy
    /// makes an old signature a new one.
    pub(super) fn compile(said: &HmacMethod, before: Option<&Arc<Self>>) -> Result<Arc<Self>, String> {
        if let Some(before) = before.filter(|before| before.said == *said) {
            return Ok(Arc::clone(before));
        }
        let holder = |said: &HmacKey| {
            let HmacKey { key_id, key, id, scopes, groups, plan, expires } = said;
            let key = BASE64_STANDARD.decode(key.expose()).map_err(|_| format!("the key {key_id} is no base64"))?;
            let caller = Caller {
                id: id.clone(),
                method: METHOD,
                scopes: scopes.clone(),
                groups: groups.clone(),
                plan: plan.clone(),
                ..Caller::default()
            };
            let (key, caller) = (hmac::Key::new(hmac::HMAC_SHA256, &key), Arc::new(caller));
            let id: Arc<str> = key_id.as_str().into();
            Ok::<_, String>((Arc::clone(&id), Holder { id, key, caller, expires: *expires }))
        };
        Ok(Arc::new(Self {
            keys: said.keys.iter().map(holder).collect::<Result<_, _>>()?,
            nonces: before.map(|before| Arc::clone(&before.nonces)).unwrap_or_default(),
            said: said.clone(),
        }))
    }

    /// `None`: the request is not signed. `answered`: what a question about this very request has come to.
    pub(super) fn judge(
        &self,
        request: &RequestView<'_>,
        now: SystemTime,
        answered: Option<Outcome>,
    ) -> Option<Result<Arc<Caller>, Refused>> {
        let headers = request.headers;
        if !headers.contains_key(SIGNATURE) && !headers.contains_key(SIGNATURE_INPUT) {
            return None;
        }
        let (holder, question) = match self.verify(request, now) {
            Ok(verified) => verified,
            Err(bad) => return Some(Err(Refused::Is(Outcome::Bad(bad)))),
        };
        Some(match (question, answered) {
            (None, _) | (Some(_), Some(Outcome::Good)) => Ok(Arc::clone(&holder.caller)),
            (Some(_), Some(outcome)) => Err(Refused::Is(outcome)),
            (Some(question), None) => Err(Refused::Asks(Box::new(question))),
        })
    }

    fn verify(&self, request: &RequestView<'_>, now: SystemTime) -> Result<(&Holder, Option<Question>), Bad> {
        let signature = Signature::read(request.headers)?;
        let said = signature.said()?;
        let covers = |one: &SignatureComponent| signature.covered.iter().any(|(_, covered)| covered == one);
        if !self.said.components.iter().all(covers) {
            return Err(Bad::Uncovered);
        }
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let until = self.until(&said, since)?;
        let now = since.as_secs();
        let holder = self.keys.get(said.key_id).ok_or(Bad::Wrong)?;
        if holder.expires.is_some_and(|expires| i64::try_from(now).unwrap_or(i64::MAX) >= expires) {
            return Err(Bad::Wrong);
        }
        let base = base::base(request, &signature.covered, &signature.parameters).ok_or(Bad::Wrong)?;
        // In constant time.
        hmac::verify(&holder.key, &base, &signature.tag).map_err(|_| Bad::Wrong)?;
        if !self.said.require_digest && !self.said.require_nonce {
            return Ok((holder, None));
        }
        let nonce = match self.said.require_nonce {
            true => Some(said.nonce.ok_or(Bad::NoNonce)?.to_owned()),
            false => None,
        };
        let digest = self.said.require_digest.then(|| {
            let covered = covers(&SignatureComponent::Header(CONTENT_DIGEST.as_str().to_owned()));
            if covered { Digested::Is(joined(request.headers, &CONTENT_DIGEST)) } else { Digested::No }
        });
        let (nonces, key) = (Arc::clone(&self.nonces), Arc::clone(&holder.id));
        Ok((holder, Some(Question { nonces, key, nonce, until, now, digest })))
    }

    /// The last second in which the signature is good.
    fn until(&self, said: &Said<'_>, now: Duration) -> Result<u64, Bad> {
        let millis = |seconds: i64| u64::try_from(seconds).map_or(0, |seconds| seconds.saturating_mul(1000));
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let skew = self.said.clock_skew_ms;
        let created = millis(said.created);
        if created > now.saturating_add(skew) {
            return Err(Bad::Early);
        }
        // The second that it was made in is over only at its end.
        let mut until = created.saturating_add(skew).saturating_add(999);
        if let Some(expires) = said.expires {
            until = until.min(millis(expires).saturating_sub(1));
        }
        if now > until {
            return Err(Bad::Expired);
        }
        Ok(until / 1000 + 1)
    }

    /// How a request has to be signed (RFC 9421, 5.1).
    pub(super) fn wanted(&self) -> String {
        let digest = SignatureComponent::Header(CONTENT_DIGEST.as_str().to_owned());
        let more = Some(&digest).filter(|digest| self.said.require_digest && !self.said.components.contains(digest));
        let names: Vec<_> = self.said.components.iter().chain(more).map(name).collect();
        let nonce = if self.said.require_nonce { ";nonce" } else { "" };
        format!("sig=({});created;keyid{nonce};alg=\"hmac-sha256\"", names.join(" "))
    }

    pub(super) fn strip(headers: &mut HeaderMap) {
        headers.remove(SIGNATURE);
        headers.remove(SIGNATURE_INPUT);
    }
}

impl Signature {
    fn read(headers: &HeaderMap) -> Result<Self, Bad> {
        let field = |name| {
            let text = joined(headers, name);
            (text.len() <= MAX_HEADER).then(|| structured::dictionary(&text)).flatten().ok_or(Bad::Malformed)
        };
        let (inputs, signatures) = (field(&SIGNATURE_INPUT)?, field(&SIGNATURE)?);
        // Of two, gateway and backend may each believe another.
        if inputs.len() > 1 || signatures.len() > 1 {
            return Err(Bad::Several);
        }
        let (Some((label, Member::List(items, parameters))), Some((other, Member::Item(signature)))) =
            (inputs.into_iter().next(), signatures.into_iter().next())
        else {
            return Err(Bad::Malformed);
        };
        let Bare::Bytes(tag) = signature.value else { return Err(Bad::Malformed) };
        if label != other || !signature.parameters.is_empty() {
            return Err(Bad::Malformed);
        }
        let mut covered: Vec<(Item, SignatureComponent)> = Vec::with_capacity(items.len());
        for item in items {
            let component = base::component(&item).ok_or(Bad::Component)?;
            if covered.iter().any(|(_, known)| *known == component) {
                return Err(Bad::Component);
            }
            covered.push((item, component));
        }
        Ok(Self { covered, parameters, tag })
    }

    /// Each of its type, and none that nobody knows here: it may say that the signature is for something else.
    fn said(&self) -> Result<Said<'_>, Bad> {
        let (mut created, mut key_id, mut expires, mut nonce) = (None, None, None, None);
        for (name, value) in &self.parameters {
            match (name.as_str(), value) {
                ("created", Bare::Integer(time)) if *time >= 0 => created = Some(*time),
                ("expires", Bare::Integer(time)) if *time >= 0 => expires = Some(*time),
                ("keyid", Bare::Text(id)) => key_id = Some(id.as_str()),
                ("nonce", Bare::Text(text)) if (1..=MAX_NONCE).contains(&text.len()) => nonce = Some(text.as_str()),
                ("alg", Bare::Text(alg)) if alg == "hmac-sha256" => {}
                ("alg", _) => return Err(Bad::Algorithm),
                ("tag", _) => return Err(Bad::Tag),
                _ => return Err(Bad::Parameters),
            }
        }
        match (created, key_id) {
            (Some(created), Some(key_id)) => Ok(Said { created, expires, key_id, nonce }),
            _ => Err(Bad::Parameters),
        }
    }
}

impl Question {
    /// The body first: a request that is no good for its body does not use up its nonce.
    pub(super) async fn answer(self, body: &Upload) -> Outcome {
        if let Some(digested) = &self.digest {
            let read = if body.is_empty() { Ok(bytes::Bytes::new()) } else { body::read(body, MAX_KEPT).await };
            let body = match read {
                Ok(body) => body,
                Err(unread) => return Outcome::Unread(unread),
            };
            match digested {
                Digested::No if body.is_empty() => {}
                Digested::No => return Outcome::Bad(Bad::Uncovered),
                Digested::Is(field) if digest::is_of(field, &body) => {}
                Digested::Is(_) => return Outcome::Bad(Bad::Digest),
            }
        }
        let Some(nonce) = &self.nonce else { return Outcome::Good };
        match self.nonces.take(&self.key, nonce, self.until, self.now) {
            Used::Now => Outcome::Good,
            Used::Before => Outcome::Bad(Bad::Used),
            Used::Full => Outcome::Busy,
        }
    }
}

/// For a challenge. There is no registered scheme for signatures.
pub(super) fn why(bad: Option<Bad>) -> String {
    bad.map(|bad| format!(" error_description=\"{bad}\"")).unwrap_or_default()
}

/// All values of a field, as one.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Vec<u8> {
    headers.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b", "[..])
}

fn name(component: &SignatureComponent) -> String {
    match component {
        SignatureComponent::Method => "\"@method\"".to_owned(),
        SignatureComponent::TargetUri => "\"@target-uri\"".to_owned(),
        SignatureComponent::Authority => "\"@authority\"".to_owned(),
        SignatureComponent::Scheme => "\"@scheme\"".to_owned(),
        SignatureComponent::RequestTarget => "\"@request-target\"".to_owned(),
        SignatureComponent::Path => "\"@path\"".to_owned(),
        SignatureComponent::Query => "\"@query\"".to_owned(),
        SignatureComponent::QueryParam(name) => format!("\"@query-param\";name=\"{name}\""),
        SignatureComponent::Header(name) => format!("\"{name}\""),
    }
}
