//! Which headers go on to a backend and back to a client.

use std::{borrow::Cow, sync::Arc, time::SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};

use crate::{
    body::AnswerBody,
    filter::HeaderEdits,
    policy::auth::{Admitted, AuthPolicy, Forwarded, looks_like},
    request::{Ours, RequestView, Target},
    table::{
        Table,
        rule::{Guard, Rule},
    },
    wire,
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Its method is always POST.
pub(super) fn is_grpc<B>(request: &Request<B>) -> bool {
    let kind = || request.headers().get(header::CONTENT_TYPE);
    request.method() == Method::POST && kind().is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

pub(super) fn empty(status: StatusCode) -> Response<AnswerBody> {
    let mut answer = Response::new(AnswerBody::empty());
    *answer.status_mut() = status;
    answer
}

/// Cookies for the client alone: nobody on the way keeps an answer that has them.
pub(super) fn tell(cookies: Option<Arc<[HeaderValue]>>, answer: &mut Response<AnswerBody>) {
    let Some(cookies) = cookies else { return };
    let headers = answer.headers_mut();
    for cookie in cookies.iter() {
        headers.append(header::SET_COOKIE, cookie.clone());
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// An answer to HEAD says how long its body would be and has none; 204 and 304 have none and say nothing.
pub(super) fn without_content(answer: &mut Response<AnswerBody>, head: bool) {
    if let AnswerBody::Own(body) = answer.body_mut() {
        let length = body.take().map(|body| body.len());
        if let Some(length) = length.filter(|_| head) {
            answer.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        }
    }
}

/// What a policy tells the backend about the caller, found out while the request is still as the client sent it.
pub(super) struct CallerHeaders<'t> {
    policy: Option<(&'t AuthPolicy, Forwarded<'t>)>,
    /// The query without credentials; `None`: it stays as it is.
    pub(super) query: Option<String>,
}

impl<'t> CallerHeaders<'t> {
    pub(super) fn of(
        table: &'t Table,
        rule: &Rule,
        admitted: &Admitted,
        view: &RequestView<'_>,
        clock: SystemTime,
    ) -> Self {
        let Guard::Policy(slot) = &rule.auth else { return Self { policy: None, query: None } };
        let policy = table.auth(*slot);
        let forwarded = policy.forwarded(admitted, view, &rule.name, clock);
        let query = match policy.upstream_query(admitted, view.query) {
            Cow::Borrowed(_) => None,
            Cow::Owned(query) => Some(query),
        };
        Self { policy: Some((policy, forwarded)), query }
    }

    fn apply(&self, headers: &mut HeaderMap) {
        if let Some((policy, forwarded)) = &self.policy {
            policy.forward(forwarded, headers);
        }
    }

    /// Whether the policy alone says what stands under this name.
    fn owns(&self, name: &HeaderName) -> bool {
        self.policy.as_ref().is_some_and(|(_, forwarded)| forwarded.owns(name))
    }
}

/// Headers that each request gets from us.
const ADDED: usize = 6;

/// Takes off what was for us, and puts on what is for the backend. What the rule changes, its `edits`, comes after. If nothing
/// else has a say in what `ours` are, they are left out and returned: as text they cost less than in a map.
pub(super) fn onward<'a, B>(
    request: &mut Request<B>,
    target: &Target,
    ours: Ours<'a>,
    caller: &CallerHeaders<'_>,
    edits: [Option<&HeaderEdits>; 2],
) -> Option<Ours<'a>> {
    let headers = request.headers_mut();
    let rare = Rare::among(headers);
    if rare.hop {
        hop_by_hop(headers, true);
    }
    if rare.expect {
        // The client has been told to go on as soon as its body was wanted; the backend gets the body at once.
        headers.remove(header::EXPECT);
    }
    if rare.disguised {
        drop_disguised(headers);
    }
    if rare.alleged && !ours.heed_the_client() {
        drop_all(headers, is_alleged);
    }
    if rare.cookie {
        join_cookies(headers);
    }
    // A trailer is judged by the names in the map.
    let apart = !rare.ours && !rare.trailer && !ours.heed_the_client();
    let apart = apart && !Ours::NAMES.iter().any(|name| caller.owns(name));
    let apart = apart && edits.iter().flatten().all(|edits| edits.is_empty());
    if !apart {
        headers.reserve(ADDED); // at once, not by doubling
        ours.insert(headers);
    }
    // What a connection's own headers name is gone, be it the host.
    if rare.hop || !target.is_host_said() {
        headers.insert(header::HOST, target.authority().clone());
    }
    caller.apply(headers);
    if rare.trailer {
        restrict_trailers(headers, |name| {
            caller.owns(name)
                || edits.iter().flatten().any(|edits| edits.names().any(|edited| looks_like(name, edited)))
        });
    }
    apart.then_some(ours)
}

/// What few heads have, found in one pass: a look-up of each would cost more than all the rest.
#[derive(Default)]
struct Rare {
    /// Something that is for one connection only.
    hop: bool,
    expect: bool,
    cookie: bool,
    trailer: bool,
    /// One of [`Ours`].
    ours: bool,
    /// What could be one of ours in disguise.
    disguised: bool,
    /// What only a proxy may say of its client.
    alleged: bool,
}

impl Rare {
    fn among(headers: &HeaderMap) -> Self {
        let mut rare = Self::default();
        for name in headers.keys() {
            // What nearly every head has.
            if matches!(
                *name,
                header::ACCEPT
                    | header::ACCEPT_ENCODING
                    | header::CONTENT_LENGTH
                    | header::CONTENT_TYPE
                    | header::DATE
                    | header::HOST
                    | header::USER_AGENT
            ) {
                continue;
            }
            let name = name.as_str().as_bytes();
            match name.len() {
                2 => rare.hop |= name == b"te",
                6 => match name {
                    b"expect" => rare.expect = true,
                    b"cookie" => rare.cookie = true,
                    _ => {}
                },
                7 => match name {
                    b"upgrade" => rare.hop = true,
                    b"trailer" => rare.trailer = true,
                    _ => {}
                },
                10 => rare.hop |= name == b"connection" || name == b"keep-alive",
                14 => rare.hop |= name == b"http2-settings",
                16 => rare.hop |= name == b"proxy-connection",
                17 => rare.hop |= name == b"transfer-encoding",
                _ => {}
            }
            // As long as one of ours.
            if matches!(name.len(), 9 | 12 | 14..=17) {
                rare.disguised |= name.contains(&b'_');
                rare.ours |= matches!(name, b"forwarded" | b"x-request-id") || name.starts_with(b"x-forwarded-");
            }
            rare.alleged |= is_alleged(name);
        }
        rare
    }
}

/// Takes off an answer what is for one connection only.
pub(super) fn homeward(headers: &mut HeaderMap) {
    if Rare::among(headers).hop {
        hop_by_hop(headers, false);
    }
}

/// Takes off what is for one connection only (RFC 9110, 7.6.1), in either direction. An upgrade stays if both sides know of
/// it: it is tunnelled.
fn hop_by_hop(headers: &mut HeaderMap, request: bool) {
    let upgrade = upgrade(headers);
    let trailers = request && headers.get_all(header::TE).iter().any(|value| has_token(value, "trailers"));
    if headers.contains_key(header::CONNECTION) {
        let lines: Vec<HeaderValue> = headers.get_all(header::CONNECTION).iter().cloned().collect();
        for token in lines.iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b',')) {
            if let Ok(name) = HeaderName::from_bytes(token.trim_ascii()) {
                headers.remove(name);
            }
        }
        headers.remove(header::CONNECTION);
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, HTTP2_SETTINGS, header::TE, header::TRANSFER_ENCODING, header::UPGRADE] {
        headers.remove(name);
    }
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
    } else if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// The protocol that is asked for or agreed to. HTTP/2 is never reached this way (RFC 9113, 3.1): a backend that would do it
/// could be spoken to behind our back.
fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let protocol = headers.get(header::UPGRADE)?;
    let connection = headers.get_all(header::CONNECTION).iter().any(|value| has_token(value, "upgrade"));
    let plain = headers.get_all(header::UPGRADE).iter().count() == 1
        && protocol.to_str().is_ok_and(|text| {
            !text.split(',').any(|one| {
                let name = one.trim().split('/').next().unwrap_or_default();
                matches!(name.to_ascii_lowercase().as_str(), "" | "h2c" | "h2" | "http" | "tls")
            })
        });
    (connection && plain).then(|| protocol.clone())
}

/// Whether the protocol that an answer changes to is one of those that were asked for. Of an answer that has come [`homeward`].
pub(super) fn agrees(answer: &HeaderMap, asked: &HeaderValue) -> bool {
    let list = |value: &HeaderValue| value.to_str().unwrap_or_default().to_ascii_lowercase();
    let asked = list(asked);
    let is_asked = |one: &str| asked.split(',').any(|asked| asked.trim() == one.trim());
    answer.get(header::UPGRADE).is_some_and(|chosen| list(chosen).split(',').all(is_asked))
}

fn has_token(value: &HeaderValue, token: &str) -> bool {
    let list = value.to_str().unwrap_or_default();
    list.split(',').any(|one| one.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(token))
}

/// HTTP/2 cuts a cookie header into several, which are one to everybody else (RFC 9113, 8.2.3): no backend need know of it.
fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    // Invariant: values and `; ` make a value.
    if lines.len() > 1
        && let Ok(mut whole) = HeaderValue::from_bytes(&lines.join(&b"; "[..]))
    {
        whole.set_sensitive(headers.get_all(header::COOKIE).iter().any(HeaderValue::is_sensitive));
        headers.insert(header::COOKIE, whole);
    }
}

/// Leaves in `Trailer` what may come behind the body; no other trailers are sent. Some backends put them among the headers:
/// there they must not say what the head says already, or what others alone decide (`owned`).
fn restrict_trailers(headers: &mut HeaderMap, owned: impl Fn(&HeaderName) -> bool) {
    let mut names = wire::announced(headers);
    names.retain(|name| !owned(name) && !headers.keys().any(|said| looks_like(name, said)));
    headers.remove(header::TRAILER);
    for name in names {
        headers.append(header::TRAILER, name.into());
    }
}

/// Backends that read `_` as `-` (CGI and its heirs) must not take a client's word for ours.
fn drop_disguised(headers: &mut HeaderMap) {
    const OURS: [&str; 7] = [
        "x-request-id",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-real-ip",
        "content-length",
        "transfer-encoding",
    ];
    drop_all(headers, |name| name.contains(&b'_') && OURS.iter().any(|ours| looks_like(name, ours.as_bytes())));
}

/// `X-Forwarded-Port`, `-Prefix` and the like, which frameworks act on. Those that we set are set after.
fn is_alleged(name: &[u8]) -> bool {
    let begins = |with: &[u8]| name.get(..with.len()).is_some_and(|begin| looks_like(begin, with));
    name.first() == Some(&b'x') && (begins(b"x-forwarded") || looks_like(name, b"x-real-ip"))
}

fn drop_all(headers: &mut HeaderMap, is_meant: impl Fn(&[u8]) -> bool) {
    let meant: Vec<_> = headers.keys().filter(|name| is_meant(name.as_str().as_bytes())).cloned().collect();
    for name in meant {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(said: &[(&'static str, &'static str)]) -> HeaderMap {
        let value = |value: &&'static str| HeaderValue::from_bytes(value.as_bytes()).unwrap();
        said.iter().map(|(name, said)| (HeaderName::from_static(name), value(said))).collect()
    }

    #[test]
    fn what_only_a_proxy_may_say_is_known_however_it_is_spelled() {
        for name in ["x-forwarded-port", "x-forwarded_prefix", "x_forwarded_ssl", "x-forwarded", "x-real_ip"] {
            assert!(Rare::among(&headers(&[(name, "1")])).alleged, "{name}");
            let mut said = headers(&[(name, "1"), ("x-forward", "1")]);
            drop_all(&mut said, is_alleged);
            assert_eq!(said, headers(&[("x-forward", "1")]), "{name}");
        }
    }

    #[test]
    fn what_is_for_one_connection_does_not_go_on() {
        let mut said = headers(&[
            ("connection", "close, X-Secret"),
            ("connection", "x-other ,"),
            ("connection", "x-third, é"),
            ("x-secret", "1"),
            ("x-third", "1"),
            ("x-other", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "gzip, trailers;q=0.5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("http2-settings", "AAMAAABkAAQAAP__"),
            ("x-kept", "1"),
        ]);
        hop_by_hop(&mut said, true);
        assert_eq!(said, headers(&[("x-kept", "1"), ("te", "trailers")]));
    }

    #[test]
    fn an_upgrade_goes_on_if_it_is_one_and_never_to_http2() {
        for (connection, protocol, stays) in [
            ("Upgrade", "websocket", true),
            ("keep-alive, upgrade", "foo/2", true),
            ("keep-alive", "websocket", false),
            ("upgrade, http2-settings", "h2c", false),
            ("upgrade", "websocket, H2C", false),
            ("upgrade", "TLS/1.2", false),
            ("upgrade", "", false),
        ] {
            let mut said = headers(&[("connection", connection), ("upgrade", protocol)]);
            hop_by_hop(&mut said, true);
            let expected = headers(&[("connection", "upgrade"), ("upgrade", protocol)]);
            assert_eq!(said, if stays { expected } else { HeaderMap::new() }, "{connection}: {protocol}");
        }
    }

    #[test]
    fn ours_in_disguise_is_dropped_and_other_underscores_stay() {
        let mut said =
            headers(&[("x_request_id", "1"), ("x-forwarded_for", "1"), ("x_real_ip", "1"), ("my_header", "1")]);
        drop_disguised(&mut said);
        assert_eq!(said, headers(&[("my_header", "1")]));
    }
}
