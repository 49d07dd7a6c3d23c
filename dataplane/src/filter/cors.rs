//! What browsers of other origins may do: the Fetch standard's CORS protocol, with the wildcards of Gateway API.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use ravelin_snapshot::filter::{self, Allowed};

use super::vary;
use crate::body::AnswerBody;

/// What depends on the request that asks, and not only on the rule.
const ASKED: [HeaderName; 3] =
    [header::ORIGIN, header::ACCESS_CONTROL_REQUEST_METHOD, header::ACCESS_CONTROL_REQUEST_HEADERS];

/// A backend's word about other origins does not count.
const OURS: [HeaderName; 6] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
];

pub struct Cors {
    origins: Origins,
    methods: Listed,
    headers: Listed,
    exposed: Listed,
    credentials: bool,
    max_age: HeaderValue,
}

enum Origins {
    All,
    These(Vec<Pattern>),
}

enum Pattern {
    Exact(String),
    /// What stands before and after a host, or before and after all labels that a wildcard stands for.
    Wildcard {
        before: String,
        after: String,
    },
}

/// A list as it is answered.
enum Listed {
    All,
    /// `None`: it is empty.
    These(Option<HeaderValue>),
}

impl Cors {
    pub fn compile(said: &filter::Cors) -> Result<Self, String> {
        Ok(Self {
            origins: match &said.origins {
                Allowed::All => Origins::All,
                Allowed::These(origins) => Origins::These(origins.iter().map(|origin| Pattern::of(origin)).collect()),
            },
            methods: Listed::compile(&said.methods)?,
            headers: Listed::compile(&said.headers)?,
            exposed: Listed::compile(&said.exposed)?,
            credentials: said.credentials,
            max_age: said.max_age_s.into(),
        })
    }

    /// Answers a preflight. Who may not come gets an answer that says nothing, which is a refusal to browsers.
    pub fn preflight(&self, asked: &HeaderMap) -> Response<AnswerBody> {
        let mut answer = Response::new(AnswerBody::empty());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        let headers = answer.headers_mut();
        for name in &ASKED {
            vary(headers, name);
        }
        if !self.let_in(one_origin(asked), headers) {
            return answer;
        }
        let echo = |name| asked.get(name).cloned();
        // To a request with credentials, `*` is a name like any other (Fetch, CORS-preflight fetch).
        let list = |listed: &Listed, requested| match listed {
            Listed::All if self.credentials => echo(requested),
            Listed::All => Some(HeaderValue::from_static("*")),
            Listed::These(list) => list.clone(),
        };
        if let Some(methods) = list(&self.methods, header::ACCESS_CONTROL_REQUEST_METHOD) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        }
        if let Some(names) = list(&self.headers, header::ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
        }
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        answer
    }

    /// Puts on the answer to any other request what its browser has to know. `origin` is the request's.
    pub fn tell(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        for name in &OURS {
            headers.remove(name);
        }
        if !self.is_same_for_all() {
            vary(headers, &header::ORIGIN); // for caches, also without an origin
        }
        if !self.let_in(origin, headers) {
            return;
        }
        let exposed = match &self.exposed {
            Listed::All if self.credentials => names(headers),
            Listed::All => Some(HeaderValue::from_static("*")),
            Listed::These(names) => names.clone(),
        };
        if let Some(exposed) = exposed {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
    }

    /// Whether an answer is the same whoever asks.
    fn is_same_for_all(&self) -> bool {
        matches!(self.origins, Origins::All) && !self.credentials
    }

    fn let_in(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) -> bool {
        let allowed = match (&self.origins, origin) {
            (Origins::All, _) if !self.credentials => HeaderValue::from_static("*"),
            (Origins::All, Some(origin)) => origin.clone(),
            (Origins::These(patterns), Some(origin))
                if patterns.iter().any(|pattern| pattern.holds(origin.as_bytes())) =>
            {
                origin.clone()
            }
            (Origins::All | Origins::These(_), _) => return false,
        };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        true
    }
}

/// The method that a preflight asks for; `None`: this is none.
pub fn requested(method: &Method, headers: &HeaderMap) -> Option<Method> {
    if method != Method::OPTIONS || !headers.contains_key(header::ORIGIN) {
        return None;
    }
    let requested = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    Method::from_bytes(requested.as_bytes()).ok()
}

/// The origin, if there is one and not several.
pub fn one_origin(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut all = headers.get_all(header::ORIGIN).iter();
    all.next().filter(|_| all.next().is_none())
}

/// All names but those that browsers show without being told, in a list.
fn names(headers: &HeaderMap) -> Option<HeaderValue> {
    let hidden = |name: &&HeaderName| !OURS.contains(name) && **name != header::SET_COOKIE;
    let names: Vec<&str> = headers.keys().filter(hidden).map(HeaderName::as_str).collect();
    HeaderValue::try_from(names.join(", ")).ok().filter(|names| !names.is_empty())
}

impl Listed {
    fn compile(said: &Allowed) -> Result<Self, String> {
        Ok(match said {
            Allowed::All => Self::All,
            Allowed::These(list) if list.is_empty() => Self::These(None),
            Allowed::These(list) => Self::These(Some(super::value(&list.join(", "))?)),
        })
    }
}

impl Pattern {
    fn of(said: &str) -> Self {
        match said.split_once('*') {
            None => Self::Exact(said.to_owned()),
            Some((before, after)) => Self::Wildcard { before: before.to_owned(), after: after.to_owned() },
        }
    }

    fn holds(&self, origin: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => exact.as_bytes() == origin,
            Self::Wildcard { before, after } => {
                let rest = origin.strip_prefix(before.as_bytes());
                let labels = rest.and_then(|rest| rest.strip_suffix(after.as_bytes()));
                // Labels, and no port: that is the pattern's to say.
                let of_host = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
                labels.is_some_and(|labels| !labels.is_empty() && labels.iter().all(of_host))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_let_in_as_a_whole_or_by_its_last_labels() {
        for (pattern, origin, holds) in [
            ("https://a.example", "https://a.example", true),
            ("https://a.example", "http://a.example", false),
            ("https://a.example", "https://a.example:8443", false),
            ("https://a.example", "https://a.example.evil.example", false),
            ("https://*.a.example", "https://x.a.example", true),
            ("https://*.a.example", "https://x.y.a.example", true),
            ("https://*.a.example", "https://a.example", false),
            ("https://*.a.example", "https://.a.example", false),
            ("https://*.a.example", "https://evila.example", false),
            ("https://*.a.example", "https://evil.example/.a.example", false),
            ("https://*.a.example", "https://evil.example:1@x.a.example", false),
            ("https://*.a.example:8443", "https://x.a.example:8443", true),
            ("https://*.a.example:8443", "https://x.a.example", false),
            ("https://*", "https://anything.example", true),
            ("https://*", "https://anything.example:8443", false),
            ("https://*", "null", false),
        ] {
            // The labels are bounded by a dot of the pattern's own, so an empty one is caught by it.
            let got = Pattern::of(pattern).holds(origin.as_bytes());
            assert_eq!(got, holds, "{pattern} {origin}");
        }
    }
}
