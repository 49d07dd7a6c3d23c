//! What a request asks of its answer.

use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode, request};

/// A header that says the same as the query, and goes before it.
const HEADER: &str = "x-echo";

/// The table at [`Echo`](super::Echo), parsed.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Switches {
    pub(super) status: StatusCode,
    pub(super) delay: Duration,
    pub(super) kind: Kind,
    pub(super) request_body: RequestBody,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) fail: Option<Fail>,
}

#[derive(Debug, Default, PartialEq)]
pub(super) enum Kind {
    /// JSON that says what was seen.
    #[default]
    Seen,
    Size(u64),
    Events {
        count: u64,
        every: Duration,
    },
}

#[derive(Debug, Default, PartialEq)]
pub(super) enum RequestBody {
    #[default]
    Read,
    Back,
    Ignore,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fail {
    Head,
    Body,
}

impl Switches {
    /// A switch that cannot be read is an error that names it. Parameters of other names are the request's own.
    pub(super) fn of(head: &request::Parts) -> Result<Self, String> {
        let query = head.uri.query().unwrap_or_default();
        let header = match head.headers.get(HEADER) {
            None => "",
            Some(value) => value.to_str().map_err(|_| format!("{HEADER}: it is not text"))?,
        };
        let mut switches = Self::default();
        let (mut chunks, mut every) = (None, Duration::ZERO);
        for pair in query.split('&').chain(header.split('&')) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value);
            let read = match name {
                "status" => status(&value).map(|status| switches.status = status),
                "delay" => duration(&value).map(|delay| switches.delay = delay),
                "size" => size(&value).map(|size| switches.kind = Kind::Size(size)),
                "chunks" => value.parse().ok().map(|count: u64| chunks = Some(count)),
                "every" => duration(&value).map(|interval| every = interval),
                "body" => request_body(&value).map(|what| switches.request_body = what),
                "header" => field(&value).map(|field| switches.headers.push(field)),
                "fail" => fail(&value).map(|when| switches.fail = Some(when)),
                _ => Some(()),
            };
            read.ok_or_else(|| format!("{name}={value}: this switch cannot be read"))?;
        }
        if let Some(count) = chunks {
            switches.kind = Kind::Events { count, every };
        }
        Ok(switches)
    }
}

/// No interim answers: the protocol sends those.
fn status(text: &str) -> Option<StatusCode> {
    text.parse().ok().filter(|status: &StatusCode| !status.is_informational())
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        _ => None,
    }
}

fn size(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = match unit {
        "" => 1,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

fn request_body(text: &str) -> Option<RequestBody> {
    match text {
        "back" => Some(RequestBody::Back),
        "ignore" => Some(RequestBody::Ignore),
        _ => None,
    }
}

fn fail(text: &str) -> Option<Fail> {
    match text {
        "head" => Some(Fail::Head),
        "body" => Some(Fail::Body),
        _ => None,
    }
}

fn field(text: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = text.split_once(':')?;
    Some((name.parse().ok()?, value.trim_start().parse().ok()?))
}

/// `%41` is `A`; what is no such thing stands for itself.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn read(uri: &str, header: Option<&str>) -> Result<Switches, String> {
        let mut request = Request::builder().uri(uri);
        if let Some(header) = header {
            request = request.header(HEADER, header);
        }
        Switches::of(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn the_header_goes_before_the_query_and_other_parameters_are_left_alone() {
        let switches = read("/?status=503&page=x&delay=1s&every=3ms&chunks=2", Some("status=204&delay=20ms")).unwrap();
        assert_eq!(switches.status, StatusCode::NO_CONTENT);
        assert_eq!(switches.delay, Duration::from_millis(20));
        assert_eq!(switches.kind, Kind::Events { count: 2, every: Duration::from_millis(3) });
    }

    #[test]
    fn values_are_decoded_and_repeated_headers_kept_in_order() {
        let switches = read("/?header=x-a:%20one%26&header=x-a:two&size=2Ki", None).unwrap();
        let values: Vec<_> = switches.headers.iter().map(|(_, value)| value.to_str().unwrap()).collect();
        assert_eq!(values, ["one&", "two"]);
        assert_eq!(switches.kind, Kind::Size(2048));
    }

    #[test]
    fn a_switch_that_cannot_be_read_is_named() {
        for bad in [
            "status=abc",
            "status=100",
            "delay=5",
            "size=1Zi",
            "chunks=-1",
            "every=",
            "body=twice",
            "header=none",
            "fail=never",
        ] {
            let error = read(&format!("/?{bad}"), None).unwrap_err();
            assert!(error.starts_with(bad), "{error}");
        }
    }
}
