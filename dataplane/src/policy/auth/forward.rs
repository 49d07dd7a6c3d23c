//! What the backend is told about the caller, and what it is not: credentials.

use std::{borrow::Cow, time::SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Admitted, AuthPolicy};
use crate::{
    expression::{Program, Scope},
    request::{RequestView, RuleName},
};

/// Headers about the caller, ready to be set; without a value where its expression has none.
#[derive(Debug)]
pub struct Forwarded<'p> {
    strip: bool,
    /// A name may be there several times.
    headers: Vec<(&'p HeaderName, Option<HeaderValue>)>,
    /// Headers that the backend does not get.
    gone: Vec<HeaderName>,
}

impl Forwarded<'_> {
    /// Whether this is one of them, under any spelling that a backend may take for the same.
    pub(crate) fn owns(&self, name: &HeaderName) -> bool {
        let mut ours = self.headers.iter().map(|(ours, _)| *ours).chain(&self.gone);
        ours.any(|ours| looks_like(name, ours))
    }
}

impl AuthPolicy {
    /// What the backend is told about the caller: found out while the request is still as the client sent it.
    pub fn forwarded<'p>(
        &'p self,
        admitted: &Admitted,
        request: &RequestView<'_>,
        route: &RuleName,
        now: SystemTime,
    ) -> Forwarded<'p> {
        let scope = Scope { request, caller: &admitted.caller, route, now };
        let value =
            |program: &Program| program.eval_string(&scope).ok().and_then(|value| HeaderValue::from_str(&value).ok());
        let mut headers: Vec<_> = self.forward.iter().map(|(name, program)| (name, value(program))).collect();
        if let Some(external) = &self.external {
            // What a client sends under these names never passes, whatever the service says.
            headers.extend(external.copy.iter().map(|name| (name, None)));
            let copied = admitted.word.iter().flat_map(|word| word.copied.iter());
            headers.extend(copied.filter_map(|(name, value)| {
                let name = external.copy.iter().find(|known| *known == name)?;
                Some((name, Some(value.clone())))
            }));
        }
        let gone = admitted.word.as_ref().map(|word| word.gone.clone()).unwrap_or_default();
        Forwarded { strip: admitted.strip, headers, gone }
    }

    /// Takes credentials off the upstream request and sets the headers that tell the backend about the caller: always
    /// over what the client sent, under any spelling that a backend may take for the same.
    pub fn forward(&self, forwarded: &Forwarded<'_>, upstream: &mut HeaderMap) {
        if let Some(authentication) = self.authentication.as_ref().filter(|_| forwarded.strip) {
            authentication.strip(upstream);
        }
        if forwarded.headers.is_empty() && forwarded.gone.is_empty() {
            return;
        }
        let names: Vec<HeaderName> = upstream.keys().filter(|name| forwarded.owns(name)).cloned().collect();
        for name in names {
            upstream.remove(name);
        }
        for (name, value) in &forwarded.headers {
            if let Some(value) = value {
                upstream.append(*name, value.clone());
            }
        }
    }

    /// The query without the credentials in it; borrowed if it stays as it is.
    pub fn upstream_query<'q>(&self, admitted: &Admitted, query: &'q str) -> Cow<'q, str> {
        match self.authentication.as_ref().filter(|_| admitted.strip) {
            Some(authentication) => authentication.strip_query(query),
            None => Cow::Borrowed(query),
        }
    }
}

/// CGI and its heirs read `_` and `-` in a header's name as the same, and some of them every mark.
pub(crate) fn looks_like(name: &(impl AsRef<[u8]> + ?Sized), ours: &(impl AsRef<[u8]> + ?Sized)) -> bool {
    let same = |a: u8, b: u8| a == b || !(a.is_ascii_alphanumeric() || b.is_ascii_alphanumeric());
    let (name, ours): (&[u8], &[u8]) = (name.as_ref(), ours.as_ref());
    name.len() == ours.len() && name.iter().zip(ours).all(|(a, b)| same(*a, *b))
}
