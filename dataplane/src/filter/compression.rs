//! Compresses answers for clients that accept it (RFC 9110, 8.4 and 12.5.3).

mod accept;
mod body;

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::Body;
use ravelin_snapshot::filter::{self, Algorithm};

use super::vary;
use crate::body::AnswerBody;
pub use body::Compressed;

/// Whoever says one of these says it of the very bytes that he sent.
const OF_THE_BYTES: [HeaderName; 5] = [
    header::CONTENT_RANGE,
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

pub struct Compression {
    algorithms: Vec<Algorithm>,
    types: Vec<Type>,
    min_size: u64,
}

/// `text/*` or `application/json`, in lower case.
struct Type {
    kind: String,
    /// `None`: all of the kind.
    subtype: Option<String>,
}

impl Compression {
    pub fn compile(said: &filter::Compression) -> Result<Self, String> {
        let types = said.types.iter().map(|said| Type::of(said).ok_or_else(|| format!("`{said}` is no media type")));
        Ok(Self {
            algorithms: said.algorithms.clone(),
            types: types.collect::<Result<_, _>>()?,
            min_size: said.min_size,
        })
    }

    /// What the client is served with; `None`: as it is.
    pub fn choose(&self, request: &HeaderMap) -> Option<Algorithm> {
        accept::choose(&self.algorithms, request)
    }

    /// `chosen` is for the request; `head`: its method is HEAD, so that the answer says the same and has no body.
    pub fn apply(
        &self,
        chosen: Option<Algorithm>,
        head: bool,
        mut answer: Response<AnswerBody>,
    ) -> Response<AnswerBody> {
        if !self.may_be(&answer) {
            return answer;
        }
        let headers = answer.headers_mut();
        vary(headers, &header::ACCEPT_ENCODING); // whatever this client accepts
        let Some(algorithm) = chosen else { return answer };
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(accept::name(algorithm)));
        headers.remove(header::CONTENT_LENGTH);
        headers.remove(header::ACCEPT_RANGES);
        weaken(headers);
        answer.map(|body| match head {
            true => AnswerBody::empty(),
            false => AnswerBody::Compressed(Box::new(Compressed::new(algorithm, body))),
        })
    }

    fn may_be(&self, answer: &Response<AnswerBody>) -> bool {
        let headers = answer.headers();
        let none = matches!(
            answer.status(),
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::PARTIAL_CONTENT | StatusCode::RESET_CONTENT
        );
        let said = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let size = said.or_else(|| answer.body().size_hint().exact());
        !answer.status().is_informational()
            && !none
            && size.is_none_or(|size: u64| size >= self.min_size)
            && headers.get_all(header::CONTENT_ENCODING).iter().all(|coding| coding.as_bytes() == b"identity")
            && !OF_THE_BYTES.iter().any(|name| headers.contains_key(name))
            && !is_not_to_be_transformed(headers)
            && self.is_of_type(headers)
    }

    fn is_of_type(&self, headers: &HeaderMap) -> bool {
        let said = headers.get(header::CONTENT_TYPE).and_then(|said| said.to_str().ok());
        let Some((kind, subtype)) = said.and_then(essence) else { return false };
        self.types.iter().any(|known| {
            known.kind.eq_ignore_ascii_case(kind)
                && known.subtype.as_deref().is_none_or(|known| known.eq_ignore_ascii_case(subtype))
        })
    }
}

impl Type {
    fn of(said: &str) -> Option<Self> {
        let (kind, subtype) = essence(said)?;
        let subtype = (subtype != "*").then(|| subtype.to_ascii_lowercase());
        Some(Self { kind: kind.to_ascii_lowercase(), subtype })
    }
}

/// Type and subtype, without parameters.
fn essence(said: &str) -> Option<(&str, &str)> {
    said.split(';').next()?.trim().split_once('/')
}

/// RFC 9110, 5.2.2.6 of RFC 9111: nobody between may change the content.
fn is_not_to_be_transformed(headers: &HeaderMap) -> bool {
    headers.get_all(header::CACHE_CONTROL).iter().any(|value| {
        let list = value.to_str().unwrap_or_default();
        list.split(',').any(|one| one.trim().eq_ignore_ascii_case("no-transform"))
    })
}

/// Other bytes of the same meaning (RFC 9110, 8.8.1).
fn weaken(headers: &mut HeaderMap) {
    if let Some(tag) = headers.get(header::ETAG)
        && !tag.as_bytes().starts_with(b"W/")
        && let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat())
    {
        headers.insert(header::ETAG, weak);
    }
}
