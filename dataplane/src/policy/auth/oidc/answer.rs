//! What a browser is told in place of the route's answer.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::{
    policy::auth::{Denied, Why, denied},
    reject::{Detail, Passed, Reason},
};

pub(super) struct Answer {
    status: StatusCode,
    location: Option<HeaderValue>,
    pub(super) cookies: Vec<HeaderValue>,
    body: &'static str,
}

impl Answer {
    /// `None`: what is no URL.
    pub(super) fn to(status: StatusCode, location: &str) -> Option<Self> {
        let location = Some(HeaderValue::from_str(location).ok()?);
        Some(Self { status, location, cookies: Vec::new(), body: "" })
    }

    pub(super) fn page(body: &'static str) -> Self {
        Self { status: StatusCode::OK, location: None, cookies: Vec::new(), body }
    }

    /// In place of a 401.
    pub(super) fn instead(self) -> Denied {
        denied(
            Reason::Unauthenticated,
            Detail { answer: Some(Arc::new(self.passed())), ..Detail::default() },
            Why::Judged,
        )
    }

    /// What was asked for, and no refusal.
    pub(super) fn served(self) -> Denied {
        let answer = Some(Arc::new(self.passed()));
        denied(Reason::Unauthenticated, Detail { answer, served: true, ..Detail::default() }, Why::Served)
    }

    fn passed(self) -> Passed {
        let mut headers = HeaderMap::new();
        // States, codes and cookies are for one browser, once; and no other site is told of them.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        if let Some(location) = self.location {
            headers.insert(header::LOCATION, location);
        }
        if !self.body.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        }
        for cookie in self.cookies {
            headers.append(header::SET_COOKIE, cookie);
        }
        Passed { status: self.status, headers, body: Bytes::from_static(self.body.as_bytes()) }
    }
}

/// A refusal that is rendered as all are, and takes cookies back.
pub(super) fn refuse(reason: Reason, cookies: &[HeaderValue]) -> Denied {
    let mut headers = vec![("cache-control", "no-store".to_owned())];
    headers.extend(told(cookies));
    if reason == Reason::Unauthenticated {
        headers.push(("www-authenticate", super::CHALLENGE.to_owned()));
    }
    let retry_after = (reason == Reason::PolicyInvalid).then_some(1);
    denied(reason, Detail { headers, retry_after, ..Detail::default() }, Why::Judged)
}

/// As the headers of a refusal.
pub(in crate::policy::auth) fn told(cookies: &[HeaderValue]) -> impl Iterator<Item = (&'static str, String)> {
    cookies.iter().filter_map(|cookie| Some(("set-cookie", cookie.to_str().ok()?.to_owned())))
}
