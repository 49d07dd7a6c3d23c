//! Who calls: by the first method that accepts what the request presents. A credential that is there and bad is refused,
//! whatever else is there.

use std::{borrow::Cow, sync::Arc, time::SystemTime};

use http::HeaderMap;
use ravelin_snapshot::auth;

use super::{
    Coming, Denied, Evidence, Outside, Why,
    api_key::{self, Keys},
    basic::{self, Basic},
    credential::{Methods, Places, Presented, Several},
    denied,
    jwt::{self, Jwt},
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
}

/// Why nobody is known.
enum Unknown {
    Nothing,
    Several,
    ApiKey,
    Password,
    Jwt(jwt::Failed),
    /// Too many ask to be known.
    Busy,
    /// Nobody can tell before this has come.
    Pending(Coming),
}

impl Authentication {
    /// What is equal to `before`'s goes on with what it knows.
    pub(super) fn compile(
        said: &auth::Authentication,
        before: Option<&Self>,
        outside: &Outside,
    ) -> Result<Self, String> {
        let auth::Authentication { keep_credentials, optional, jwt, api_key, basic } = said;
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
        let known = before.and_then(|before| before.jwt.as_ref());
        let users = before.and_then(|before| before.basic.as_ref());
        let passwords = outside.passwords.as_ref();
        Ok(Self {
            keep: *keep_credentials,
            optional: *optional,
            places,
            jwt: jwt.as_ref().map(|said| Jwt::compile(said, known, &outside.issuers)).transpose()?,
            api_keys: api_key.as_ref().map(|said| Keys::compile(&said.keys)).transpose()?,
            basic: basic.as_ref().map(|said| Basic::compile(said, users, passwords)).transpose()?,
        })
    }

    pub(super) fn judge(
        &self,
        request: &RequestView<'_>,
        now: SystemTime,
        evidence: &Evidence,
    ) -> Result<Known, Denied> {
        self.known(request, now, evidence).map_err(|unknown| {
            let denied = self.denied(&unknown);
            let coming = match unknown {
                Unknown::Jwt(failed) => failed.coming.filter(|_| !evidence.keys).map(Coming::Keys),
                Unknown::Pending(coming) => Some(coming),
                Unknown::Nothing | Unknown::Several | Unknown::ApiKey | Unknown::Password | Unknown::Busy => None,
            };
            Denied { coming: coming.map(Box::new), ..denied }
        })
    }

    /// All that is presented has to be good; the method that says most says who it is.
    fn known(&self, request: &RequestView<'_>, now: SystemTime, evidence: &Evidence) -> Result<Known, Unknown> {
        let presented = self.places.find(request).map_err(|Several| Unknown::Several)?;
        let mut known: Option<Known> = None;
        for one in presented.iter().map_while(Option::as_ref) {
            let caller = self.caller(one, request, now, evidence)?;
            known = Some(match known {
                Some(before) if rank(before.method) <= rank(caller.method) => before,
                _ => caller,
            });
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
        Err(unknown.unwrap_or(Unknown::Nothing))
    }

    /// A 401 has a challenge for each method (RFC 9110, 15.5.2).
    fn denied(&self, unknown: &Unknown) -> Denied {
        if let Unknown::Busy | Unknown::Pending(_) = unknown {
            let detail = Detail { retry_after: Some(1), ..Detail::default() };
            return denied(Reason::Overloaded, detail, Why::NoKeys { unasked: None });
        }
        if let Unknown::Jwt(jwt::Failed { why: why @ (jwt::Refused::NoKeys | jwt::Refused::Unasked(_)), .. }) = unknown
        {
            // Not the caller's fault: nobody can tell whether the token is good.
            let detail = Detail { retry_after: Some(1), ..Detail::default() };
            let unasked = match (why, &self.jwt) {
                (jwt::Refused::Unasked(provider), Some(jwt)) => {
                    Some(format!("the keys of issuer `{}` are not known here", jwt.issuer(*provider)))
                }
                _ => None,
            };
            return denied(Reason::PolicyInvalid, detail, Why::NoKeys { unasked });
        }
        let mut headers = Vec::new();
        if self.jwt.is_some() {
            headers.push(("www-authenticate", challenge(unknown)));
        }
        if self.api_keys.is_some() {
            // There is no registered scheme for keys; this one says what is missing.
            headers.push(("www-authenticate", "ApiKey".to_owned()));
        }
        if let Some(basic) = &self.basic {
            headers.push(("www-authenticate", basic.challenge()));
        }
        let detail = Detail { headers, ..Detail::default() };
        denied(Reason::Unauthenticated, detail, Why::Judged)
    }

    pub(super) fn strip(&self, headers: &mut HeaderMap) {
        self.places.strip(headers);
    }

    pub(super) fn strip_query<'q>(&self, query: &'q str) -> Cow<'q, str> {
        self.places.strip_query(query)
    }
}

/// The methods in the order of what they say of a caller, most first.
fn rank(method: &str) -> usize {
    const METHODS: [&str; 3] = [jwt::METHOD, basic::METHOD, api_key::METHOD];
    METHODS.iter().position(|known| *known == method).unwrap_or(METHODS.len())
}

/// As RFC 6750, section 3, says. Why a token is refused is said in words of ours: nothing of the token is in them.
fn challenge(unknown: &Unknown) -> String {
    const REALM: &str = "Bearer realm=\"ravelin\"";
    match unknown {
        Unknown::Nothing | Unknown::ApiKey | Unknown::Password | Unknown::Busy | Unknown::Pending(_) => {
            REALM.to_owned()
        }
        Unknown::Several => {
            format!("{REALM}, error=\"invalid_request\", error_description=\"more than one credential\"")
        }
        Unknown::Jwt(jwt::Failed { why, .. }) => {
            format!("{REALM}, error=\"invalid_token\", error_description=\"{why}\"")
        }
    }
}
