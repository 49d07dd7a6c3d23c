//! The way to the issuer: a redirect that names a state, a nonce and the digest of a verifier (RFC 7636), all of them for this
//! browser alone, whose cookie has them sealed.

use std::time::SystemTime;

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use http::{HeaderValue, Method, StatusCode, header};
use serde::{Deserialize, Serialize};

use super::{Oidc, answer::Answer, cookies::Names, discovery::Metadata, seconds};
use crate::{policy::auth::client::encoded, request::RequestView};

/// Seconds that a log-in may take.
pub(super) const LIVES: u64 = 600;

/// Log-ins of one browser that are under way, at most.
const MOST: usize = 4;

/// Bytes of a URL that a browser comes back to, at most; else it comes back to `/`.
const MAX_BACK: usize = 2 << 10;

/// Characters of the state that tell its cookie from others.
const TAG: usize = 8;

/// A log-in that is under way, as it stands in its cookie.
#[derive(Serialize, Deserialize)]
pub(super) struct Pending {
    #[serde(rename = "s")]
    pub(super) state: String,
    #[serde(rename = "n")]
    pub(super) nonce: String,
    #[serde(rename = "v")]
    pub(super) verifier: String,
    /// Path and query.
    #[serde(rename = "b")]
    pub(super) back: String,
    /// In seconds since the epoch.
    #[serde(rename = "t")]
    begun: u64,
}

/// A browser that shows a page, and no script, picture or program: others have no use for a redirect.
pub(in crate::policy::auth) fn is_page(request: &RequestView<'_>) -> bool {
    let said = |name: &str| request.headers.get(name).map(HeaderValue::as_bytes);
    let navigates = said("sec-fetch-mode").is_none_or(|mode| mode == b"navigate");
    let html = request.headers.get_all(header::ACCEPT).iter().any(|value| accepts_html(value.as_bytes()));
    *request.method == Method::GET && navigates && html && said("x-requested-with").is_none()
}

fn accepts_html(accept: &[u8]) -> bool {
    accept.split(|byte| *byte == b',').any(|range| {
        let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let html = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/html"));
        let never = |part: &[u8]| {
            let quality = part.strip_prefix(b"q=").or_else(|| part.strip_prefix(b"Q="));
            quality.is_some_and(|quality| quality.iter().all(|byte| matches!(byte, b'0' | b'.')))
        };
        html && !parts.any(never)
    })
}

impl Oidc {
    /// `None`: without randomness nobody logs in.
    pub(super) fn begin(
        &self,
        metadata: &Metadata,
        request: &RequestView<'_>,
        back: String,
        now: SystemTime,
    ) -> Option<Answer> {
        let back = if back.len() <= MAX_BACK { back } else { "/".to_owned() };
        let pending = Pending {
            state: random::<16>()?,
            nonce: random::<16>()?,
            verifier: random::<32>()?,
            back,
            begun: seconds(now),
        };
        let challenge = BASE64.encode(digest(&SHA256, pending.verifier.as_bytes()));
        let scopes = self.said.scopes.join(" ");
        let redirect = self.redirect_uri(request);
        let parameters = [
            ("response_type", "code"),
            ("client_id", &self.said.client_id),
            ("redirect_uri", &redirect),
            ("scope", &scopes),
            ("state", &pending.state),
            ("nonce", &pending.nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        let query: Vec<String> =
            parameters.iter().map(|(name, value)| format!("{name}={}", encoded(value.as_bytes()))).collect();
        let text = serde_json::to_vec(&pending).ok()?;
        let sealed = self.seals.as_ref()?.load().seal_text(&self.context("login", request), text).ok()?;
        let names = Names::new(&self.said.cookie, request.scheme);
        let location = with_query(&metadata.authorization, &query.join("&"));
        let mut answer = Answer::to(StatusCode::FOUND, &location)?;
        answer.cookies = names.expire_logins(MOST, request.headers);
        answer.cookies.push(names.set_login(tag(&pending.state), &sealed, LIVES));
        Some(answer)
    }

    /// The log-in of this browser that the state names.
    pub(super) fn pending(&self, state: &str, request: &RequestView<'_>, now: SystemTime) -> Option<Pending> {
        let names = Names::new(&self.said.cookie, request.scheme);
        let sealed = names.login(tag(state), request.headers)?;
        let text = self.seals.as_ref()?.load().open_text(&self.context("login", request), sealed)?;
        let pending: Pending = serde_json::from_slice(&text).ok()?;
        let young = seconds(now).saturating_sub(pending.begun) < LIVES;
        (young && pending.state == state).then_some(pending)
    }

    pub(super) fn redirect_uri(&self, request: &RequestView<'_>) -> String {
        format!("{}{}", origin(request), self.said.redirect_path)
    }
}

/// Which cookie a state belongs to; of what is no state of ours, some other.
pub(super) fn tag(state: &str) -> &str {
    state.get(..TAG).unwrap_or(state)
}

/// How the browser calls us.
pub(super) fn origin(request: &RequestView<'_>) -> String {
    let digits = |port: &&str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = request.authority.rsplit_once(':').map(|(_, port)| port).filter(digits);
    let port = port.map(|port| format!(":{port}"));
    format!("{}://{}{}", request.scheme.as_str(), request.host, port.unwrap_or_default())
}

/// Where the browser wanted to go: a path of this host, whatever it looks like.
pub(super) fn wanted(request: &RequestView<'_>) -> String {
    match request.query {
        "" => request.path.to_owned(),
        query => format!("{}?{query}", request.path),
    }
}

pub(super) fn with_query(url: &str, query: &str) -> String {
    let joint = if url.contains('?') { '&' } else { '?' };
    format!("{url}{joint}{query}")
}

/// In base64url.
pub(super) fn random<const BYTES: usize>() -> Option<String> {
    let mut bytes = [0; BYTES];
    rand::fill(&mut bytes).ok()?;
    Some(BASE64.encode(bytes))
}
