//! Who calls: by the first method that accepts what the request presents. A credential that is there and bad is refused,
//! whatever else is there.

use std::{borrow::Cow, sync::Arc, time::SystemTime};

use http::{HeaderMap, HeaderValue};
use ravelin_snapshot::{PolicyKey, auth};

use super::{
    Coming, Denied, Evidence, Outside, Why,
    api_key::{self, KeyUse, Keys},
    basic::{self, Basic},
    body::Unread,
    certificate::{self, Certificates},
    credential::{Methods, Places, Presented, Several},
    denied,
    hmac::{self, Hmac},
    introspection::{self, Introspection},
    jwt::{self, Jwt},
    oidc::{self, Oidc},
    unanswered,
};
use crate::{
    reject::{Detail, Reason},
    request::{Known, RequestView},
};

/// The methods of a policy.
pub(super) struct Authentication {
    /// The credential goes on to the backend.
    pub(super) keep: bool,
    optional: bool,
    places: Places,
    jwt: Option<Arc<Jwt>>,
    api_keys: Option<Keys>,
    basic: Option<Arc<Basic>>,
    certificates: Option<Arc<Certificates>>,
    hmac: Option<Arc<Hmac>>,
    introspection: Option<Arc<Introspection>>,
    pub(super) oidc: Option<Arc<Oidc>>,
}

/// Why nobody is known.
enum Unknown {
    Nothing,
    Several,
    ApiKey,
    Password,
    Jwt(jwt::Failed),
    Certificate(certificate::Refused),
    Token,
    Signature(hmac::Outcome),
    /// The cookie of a log-in is no good.
    Session,
    /// Nobody can tell whether it is, here.
    Unasked,
    /// The issuer does not answer; the policy says whether that lets pass.
    Unanswered,
    /// Too many ask to be known.
    Busy,
    /// Nobody can tell before this has come.
    Pending(Coming),
}

impl Authentication {
    /// What is equal to `before`'s goes on with what it knows. `None`: the policy asks nobody who he is.
    pub(super) fn compile(
        key: &PolicyKey,
        policy: &Arc<auth::AuthPolicy>,
        before: Option<&Self>,
        outside: &Outside,
    ) -> Result<Option<Self>, String> {
        let Some(said) = &policy.authentication else { return Ok(None) };
        let auth::Authentication {
            keep_credentials,
            optional,
            jwt,
            api_key,
            basic,
            client_certificate,
            hmac,
            introspection,
            oidc,
        } = said;
        let mut places = Places::default();
        if let Some(method) = jwt {
            for (bit, provider) in method.providers.iter().enumerate() {
                let bit = u32::try_from(bit).ok().and_then(|bit| 1_u16.checked_shl(bit));
                let jwt = bit.ok_or("more than 16 providers of tokens")?;
                places.add(&provider.from, Methods { jwt, ..Methods::default() })?;
            }
        }
        if let Some(method) = api_key {
            places.add(&method.from, Methods { api_key: true, ..Methods::default() })?;
        }
        if basic.is_some() {
            places.add(&[Basic::source()], Methods { basic: true, ..Methods::default() })?;
        }
        if introspection.is_some() {
            places.add(&[Introspection::source()], Methods { introspection: true, ..Methods::default() })?;
        }
        let known = before.and_then(|before| before.jwt.as_ref());
        let shown = before.and_then(|before| before.certificates.as_ref());
        let signed = before.and_then(|before| before.hmac.as_ref());
        let asked = before.and_then(|before| before.introspection.as_ref());
        let logged = before.and_then(|before| before.oidc.as_ref());
        let runtime = outside.runtime.as_ref();
        let users = before.and_then(|before| before.basic.as_ref());
        let passwords = outside.passwords.as_ref();
        let keys = before.and_then(|before| before.api_keys.as_ref());
        Ok(Some(Self {
            keep: *keep_credentials,
            optional: *optional,
            places,
            jwt: jwt.as_ref().map(|said| Jwt::compile(said, known, &outside.issuers)).transpose()?,
            api_keys: api_key.as_ref().map(|_| Keys::compile(policy, keys)).transpose()?,
            basic: basic.as_ref().map(|said| Basic::compile(said, users, passwords)).transpose()?,
            certificates: client_certificate.as_ref().map(|said| Certificates::compile(said, shown)).transpose()?,
            hmac: hmac.as_ref().map(|said| Hmac::compile(said, signed)).transpose()?,
            introspection: introspection
                .as_ref()
                .map(|said| Introspection::compile(said, asked, runtime))
                .transpose()?,
            oidc: oidc.as_ref().map(|said| Oidc::compile(key, said, logged, outside)).transpose()?,
        }))
    }

    /// `None`: nobody can tell, and the policy lets pass all the same, as somebody anonymous. `told`: cookies for the client.
    pub(super) fn judge(
        &self,
        request: &RequestView<'_>,
        now: SystemTime,
        evidence: &Evidence,
        told: &mut Vec<HeaderValue>,
    ) -> Result<Option<Known>, Denied> {
        let known = match self.known(request, now, evidence, told) {
            Err(Unknown::Unanswered) if self.introspection.as_ref().is_some_and(|one| one.fails_open()) => {
                return Ok(None);
            }
            known => known,
        };
        known.map(Some).map_err(|unknown| {
            if let (Some(oidc), Unknown::Nothing | Unknown::Session) = (&self.oidc, &unknown)
                && oidc::is_page(request)
            {
                return oidc.send(request, now, evidence.login.as_ref());
            }
            let mut denied = self.denied(&unknown);
            if let (Some(oidc), Unknown::Session) = (&self.oidc, &unknown) {
                let detail = denied.reject.detail.get_or_insert_default();
                detail.headers.extend(oidc::told(&oidc.expire(request)));
            }
            let coming = match unknown {
                Unknown::Jwt(failed) => failed.coming.filter(|_| !evidence.keys).map(Coming::Keys),
                Unknown::Pending(coming) => Some(coming),
                _ => None,
            };
            Denied { coming: coming.map(Box::new), ..denied }
        })
    }

    /// All that is presented has to be good; the method that says most says who it is.
    fn known(
        &self,
        request: &RequestView<'_>,
        now: SystemTime,
        evidence: &Evidence,
        told: &mut Vec<HeaderValue>,
    ) -> Result<Known, Unknown> {
        let presented = self.places.find(request).map_err(|Several| Unknown::Several)?;
        let mut known: Option<Known> = None;
        for one in presented.iter().map_while(Option::as_ref) {
            known = Some(foremost(known, self.caller(one, request, now, evidence)?));
        }
        if let Some(signed) = self.hmac.as_ref().and_then(|hmac| hmac.judge(request, now, evidence.signature)) {
            let caller = signed.map_err(|refused| match refused {
                hmac::Refused::Is(outcome) => Unknown::Signature(outcome),
                hmac::Refused::Asks(question) => Unknown::Pending(Coming::Signature(question)),
            })?;
            known = Some(foremost(known, caller.into()));
        }
        if let Some(shown) = self.certificates.as_ref().and_then(|certificates| certificates.judge(request, now)) {
            known = Some(match (shown, known) {
                (Ok(caller), None) => caller.into(),
                // Who is known otherwise needs no other connection.
                (Ok(_) | Err(certificate::Refused::Misdirected), Some(before)) => before,
                (Err(refused), _) => return Err(Unknown::Certificate(refused)),
            });
        }
        if let Some(held) = self.oidc.as_ref().and_then(|oidc| oidc.judge(request, now, evidence.login.as_ref())) {
            let held = held.map_err(|refused| match refused {
                oidc::Refused::Bad => Unknown::Session,
                oidc::Refused::Unasked => Unknown::Unasked,
                oidc::Refused::Asks(question) => Unknown::Pending(Coming::LogIn(question)),
            })?;
            *told = held.cookies;
            known = Some(known.filter(|known| rank(known.method) <= rank(oidc::METHOD)).unwrap_or(held.caller.into()));
        }
        match known {
            Some(known) => Ok(known),
            None if self.optional => Ok(Known::default()),
            None => Err(Unknown::Nothing),
        }
    }

    /// By the first method that takes it.
    fn caller(
        &self,
        presented: &Presented<'_>,
        request: &RequestView<'_>,
        now: SystemTime,
        evidence: &Evidence,
    ) -> Result<Known, Unknown> {
        let Presented { value, methods } = presented;
        let mut unknown = None;
        if let Some(jwt) = self.jwt.as_ref().filter(|_| methods.jwt != 0) {
            match jwt.judge(value, methods.jwt, now) {
                Ok(caller) => return Ok(caller.into()),
                Err(failed) => unknown = Some(Unknown::Jwt(failed)),
            }
        }
        if let Some(keys) = self.api_keys.as_ref().filter(|_| methods.api_key) {
            match keys.caller(value, now) {
                Some(caller) => return Ok(Arc::clone(caller).into()),
                None => unknown = unknown.or(Some(Unknown::ApiKey)),
            }
        }
        if let Some(basic) = self.basic.as_ref().filter(|_| methods.basic) {
            match basic.judge(value, request.source.ip(), evidence.password) {
                Ok(caller) => return Ok(caller.into()),
                Err(basic::Refused::Bad) => unknown = unknown.or(Some(Unknown::Password)),
                Err(basic::Refused::Busy) => unknown = Some(Unknown::Busy),
                Err(basic::Refused::Asks(question)) => return Err(Unknown::Pending(Coming::Password(question))),
            }
        }
        if let Some(introspection) = self.introspection.as_ref().filter(|_| methods.introspection) {
            match introspection.judge(value, now, evidence.token.as_ref()) {
                Ok(caller) => return Ok(caller.into()),
                // A token that is somebody's JWT and no good is told so.
                Err(introspection::Refused::Bad) => unknown = unknown.or(Some(Unknown::Token)),
                Err(introspection::Refused::Failed) => unknown = Some(Unknown::Unanswered),
                Err(introspection::Refused::Asks(question)) => return Err(Unknown::Pending(Coming::Token(question))),
            }
        }
        Err(unknown.unwrap_or(Unknown::Nothing))
    }

    /// A 401 has a challenge for each method (RFC 9110, 15.5.2).
    fn denied(&self, unknown: &Unknown) -> Denied {
        match unknown {
            Unknown::Certificate(certificate::Refused::Misdirected) => {
                return denied(Reason::Misdirected, Detail::default(), Why::Judged);
            }
            Unknown::Signature(hmac::Outcome::Unread(Unread::TooLong)) => {
                return denied(Reason::BodyTooLarge, Detail::default(), Why::Judged);
            }
            Unknown::Signature(hmac::Outcome::Unread(Unread::Broken)) => {
                return denied(Reason::BadRequest, Detail::default(), Why::Judged);
            }
            Unknown::Pending(Coming::Signature(_)) => {
                return unanswered(Some("the body and the nonce are not looked at here".to_owned()));
            }
            Unknown::Unanswered | Unknown::Pending(Coming::LogIn(_)) => return unanswered(None),
            Unknown::Unasked => return unanswered(Some("who has logged in is not known here".to_owned())),
            Unknown::Pending(Coming::Token(_)) => {
                let whom = self.introspection.as_ref().map(|one| one.endpoint());
                return unanswered(whom.map(|whom| format!("{whom} is not asked here")));
            }
            _ => {}
        }
        if let Unknown::Busy | Unknown::Pending(_) | Unknown::Signature(hmac::Outcome::Busy) = unknown {
            let detail = Detail { retry_after: Some(1), ..Detail::default() };
            return denied(Reason::Overloaded, detail, Why::NoKeys { unasked: None });
        }
        if let Unknown::Jwt(jwt::Failed { why: why @ (jwt::Refused::NoKeys | jwt::Refused::Unasked(_)), .. }) = unknown
        {
            // Not the caller's fault: nobody can tell whether the token is good.
            let unasked = match (why, &self.jwt) {
                (jwt::Refused::Unasked(provider), Some(jwt)) => {
                    Some(format!("the keys of issuer `{}` are not known here", jwt.issuer(*provider)))
                }
                _ => None,
            };
            return unanswered(unasked);
        }
        let mut headers = Vec::new();
        if self.jwt.is_some() || self.introspection.is_some() {
            headers.push(("www-authenticate", challenge(unknown)));
        }
        if self.api_keys.is_some() {
            // There is no registered scheme for keys; this one says what is missing.
            headers.push(("www-authenticate", "ApiKey".to_owned()));
        }
        if let Some(basic) = &self.basic {
            headers.push(("www-authenticate", basic.challenge()));
        }
        if let Some(hmac) = &self.hmac {
            headers.push(("www-authenticate", format!("Signature{}", hmac::why(unknown.signature()))));
            headers.push(("accept-signature", hmac.wanted()));
        }
        if self.certificates.is_some() {
            // Nor is there one for certificates.
            let why = match unknown {
                Unknown::Certificate(refused) => format!(" error_description=\"{refused}\""),
                _ => String::new(),
            };
            headers.push(("www-authenticate", format!("ClientCertificate{why}")));
        }
        headers.extend(self.oidc.as_ref().map(|_| ("www-authenticate", oidc::CHALLENGE.to_owned())));
        let detail = Detail { headers, ..Detail::default() };
        denied(Reason::Unauthenticated, detail, Why::Judged)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = KeyUse<'_>> {
        self.api_keys.iter().flat_map(Keys::uses)
    }

    pub(super) fn strip(&self, headers: &mut HeaderMap) {
        self.places.strip(headers);
        if self.hmac.is_some() {
            Hmac::strip(headers);
        }
        if let Some(oidc) = &self.oidc {
            oidc.strip(headers);
        }
    }

    pub(super) fn strip_query<'q>(&self, query: &'q str) -> Cow<'q, str> {
        self.places.strip_query(query)
    }
}

impl Unknown {
    fn signature(&self) -> Option<hmac::Bad> {
        match self {
            Self::Signature(hmac::Outcome::Bad(bad)) => Some(*bad),
            _ => None,
        }
    }
}

/// Who says more of himself.
fn foremost(before: Option<Known>, caller: Known) -> Known {
    match before {
        Some(before) if rank(before.method) <= rank(caller.method) => before,
        _ => caller,
    }
}

/// The methods in the order of what they say of a caller, most first.
fn rank(method: &str) -> usize {
    const METHODS: [&str; 6] =
        [jwt::METHOD, introspection::METHOD, oidc::METHOD, basic::METHOD, hmac::METHOD, api_key::METHOD];
    METHODS.iter().position(|known| *known == method).unwrap_or(METHODS.len())
}

/// As RFC 6750, section 3, says. Why a token is refused is said in words of ours: nothing of the token is in them.
fn challenge(unknown: &Unknown) -> String {
    const REALM: &str = "Bearer realm=\"ravelin\"";
    match unknown {
        Unknown::Nothing
        | Unknown::ApiKey
        | Unknown::Password
        | Unknown::Certificate(_)
        | Unknown::Signature(_)
        | Unknown::Session
        | Unknown::Unasked
        | Unknown::Unanswered
        | Unknown::Busy
        | Unknown::Pending(_) => REALM.to_owned(),
        Unknown::Token => {
            format!("{REALM}, error=\"invalid_token\", error_description=\"the token is not active\"")
        }
        Unknown::Several => {
            format!("{REALM}, error=\"invalid_request\", error_description=\"more than one credential\"")
        }
        Unknown::Jwt(jwt::Failed { why, .. }) => {
            format!("{REALM}, error=\"invalid_token\", error_description=\"{why}\"")
        }
    }
}
