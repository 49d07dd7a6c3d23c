//! Who calls: by the first method that accepts what the request presents. A credential that is there and bad is refused,
//! whatever else is there.

use std::{borrow::Cow, sync::Arc, time::SystemTime};

use http::HeaderMap;
use ravelin_snapshot::auth;

use super::{
    Denied, Why,
    api_key::Keys,
    credential::{Methods, Places, Presented, Several},
    denied,
    jwt::{self, Issuers, Jwt},
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
}

/// Why nobody is known.
enum Unknown {
    Nothing,
    Several,
    ApiKey,
    Jwt(jwt::Failed),
}

impl Authentication {
    /// What is equal to `before`'s goes on with what it knows.
    pub(super) fn compile(
        said: &auth::Authentication,
        before: Option<&Self>,
        issuers: &Issuers,
    ) -> Result<Self, String> {
        let auth::Authentication { keep_credentials, optional, jwt, api_key } = said;
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
        let known = before.and_then(|before| before.jwt.as_ref());
        Ok(Self {
            keep: *keep_credentials,
            optional: *optional,
            places,
            jwt: jwt.as_ref().map(|said| Jwt::compile(said, known, issuers)).transpose()?,
            api_keys: api_key.as_ref().map(|said| Keys::compile(&said.keys)).transpose()?,
        })
    }

    pub(super) fn judge(&self, request: &RequestView<'_>, now: SystemTime) -> Result<Known, Denied> {
        let judged = match self.places.find(request) {
            Ok([None, _]) if self.optional => Ok(Known::default()),
            Ok([None, _]) => Err(Unknown::Nothing),
            Ok([Some(one), None]) => self.caller(&one, now),
            // Both have to be good; a token says more than a key.
            Ok([Some(one), Some(other)]) => self.caller(&one, now).and_then(|first| {
                let second = self.caller(&other, now)?;
                Ok(if first.method == jwt::METHOD { first } else { second })
            }),
            Err(Several) => Err(Unknown::Several),
        };
        judged.map_err(|unknown| {
            let denied = self.denied(&unknown);
            match unknown {
                Unknown::Jwt(failed) => Denied { coming: failed.coming, ..denied },
                Unknown::Nothing | Unknown::Several | Unknown::ApiKey => denied,
            }
        })
    }

    fn caller(&self, presented: &Presented<'_>, now: SystemTime) -> Result<Known, Unknown> {
        let Presented { value, methods } = presented;
        let as_key = || self.api_keys.as_ref().filter(|_| methods.api_key).and_then(|keys| keys.caller(value, now));
        let as_token = self.jwt.as_ref().filter(|_| methods.jwt != 0);
        match (as_token.map(|jwt| jwt.judge(value, methods.jwt, now)), as_key) {
            (Some(Ok(caller)), _) => Ok(caller.into()),
            (Some(Err(failed)), as_key) => as_key().cloned().map(Known::from).ok_or(Unknown::Jwt(failed)),
            (None, as_key) => as_key().cloned().map(Known::from).ok_or(Unknown::ApiKey),
        }
    }

    /// A 401 has a challenge for each method (RFC 9110, 15.5.2).
    fn denied(&self, unknown: &Unknown) -> Denied {
        if let Unknown::Jwt(jwt::Failed { why: why @ (jwt::Refused::NoKeys | jwt::Refused::Unasked(_)), .. }) = unknown
        {
            // Not the caller's fault: nobody can tell whether the token is good.
            let detail = Detail { retry_after: Some(1), ..Detail::default() };
            let unasked = match (why, &self.jwt) {
                (jwt::Refused::Unasked(provider), Some(jwt)) => Some(jwt.issuer(*provider).to_owned()),
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

/// As RFC 6750, section 3, says. Why a token is refused is said in words of ours: nothing of the token is in them.
fn challenge(unknown: &Unknown) -> String {
    const REALM: &str = "Bearer realm=\"ravelin\"";
    match unknown {
        Unknown::Nothing | Unknown::ApiKey => REALM.to_owned(),
        Unknown::Several => {
            format!("{REALM}, error=\"invalid_request\", error_description=\"more than one credential\"")
        }
        Unknown::Jwt(jwt::Failed { why, .. }) => {
            format!("{REALM}, error=\"invalid_token\", error_description=\"{why}\"")
        }
    }
}
