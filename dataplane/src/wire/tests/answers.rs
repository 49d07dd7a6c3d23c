use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Version};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use proptest::{prelude::*, sample::select};

use super::{
    super::{Answer, AnswerBounds, Bounds, Decoder, KnownAnswer, Piece, read_answer},
    ANSWER, BODIES, BOUNDS, Script, bent, fields, settle, sorted,
};

/// An answer as its reader has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    version: Version,
    pub(super) status: u16,
    headers: Vec<(String, Vec<u8>)>,
    /// `None`: it broke off.
    pub(super) body: Option<Vec<u8>>,
    trailers: Option<Vec<(String, Vec<u8>)>>,
}

pub(super) fn by_hyper(bytes: &[u8], method: &Method) -> Option<Seen> {
    let io = TokioIo::new(Script::new(bytes, true));
    let (mut sender, driver) = settle(http1::Builder::new().max_buf_size(BOUNDS.bytes).handshake(io))?.ok()?;
    let asked = Request::builder().method(method).uri("/").body(Empty::<Bytes>::new()).ok()?;
    settle(async {
        let exchange = async {
            let (head, mut body) = sender.send_request(asked).await.ok()?.into_parts();
            let (mut data, mut trailers) = (Vec::new(), None);
            let whole = loop {
                match body.frame().await {
                    None => break true,
                    Some(Err(_)) => break false,
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(more) => data.extend_from_slice(&more),
                        Err(frame) => trailers = frame.into_trailers().ok().map(|fields| sorted(&fields)),
                    },
                }
            };
            let headers = sorted(&head.headers);
            Some(Seen {
                version: head.version,
                status: head.status.as_u16(),
                headers,
                body: whole.then_some(data),
                trailers,
            })
        };
        let (seen, _) = tokio::join!(exchange, driver);
        seen
    })?
}

/// The third time is as the first.
fn by_us(bytes: &[u8], method: &Method, cuts: &[prop::sample::Index]) -> Option<Seen> {
    let mut known = KnownAnswer::default();
    let seen = once(bytes, method, cuts, &mut known);
    for _ in 0..3 {
        assert_eq!(once(bytes, method, &[], &mut known), seen);
    }
    seen
}

fn once(bytes: &[u8], method: &Method, cuts: &[prop::sample::Index], known: &mut KnownAnswer) -> Option<Seen> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
    cuts.sort_unstable();
    let mut reads = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).filter(|read| !read.is_empty());
    let (mut buffer, mut spare) = (BytesMut::new(), HeaderMap::new());
    let mut head = loop {
        match read_answer(&mut buffer, &mut spare, known, method, ANSWER) {
            Answer::Final(head) => break head,
            Answer::Garbage => return None,
            Answer::Interim => {}
            Answer::Partial => buffer.extend_from_slice(reads.next()?),
        }
    };
    let (mut data, mut trailers) = (Vec::new(), None);
    let whole = loop {
        match head.body.decode(&mut buffer) {
            Ok(Piece::Data(more)) => data.extend_from_slice(&more),
            Ok(Piece::Trailers(fields)) => trailers = Some(sorted(&fields)),
            Ok(Piece::End) => break true,
            Ok(Piece::Wanting) => match reads.next() {
                Some(read) => buffer.extend_from_slice(read),
                None if head.body.closed().is_ok() => {}
                None => break false,
            },
            Err(_) => break false,
        }
    };
    let (status, headers) = (head.answer.status().as_u16(), sorted(head.answer.headers()));
    let version = head.answer.version();
    Some(Seen { version, status, headers, body: whole.then_some(data), trailers: trailers.filter(|_| whole) })
}

/// What hyper lets pass in an answer that has no body, or whose end it takes from one of two statements, and we do not.
fn is_ambiguous(seen: &Seen) -> bool {
    let said = |name: &str| -> Vec<String> {
        let values = seen.headers.iter().filter(|(known, _)| known == name);
        values.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
    };
    let (codings, lengths) = (said("transfer-encoding"), said("content-length"));
    let mut numbers = lengths.iter().flat_map(|value| value.split(',')).map(|number| {
        let number = number.trim();
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        // hyper keeps the two largest numbers for itself.
        number.parse::<u64>().ok().filter(|length| digits && *length < u64::MAX - 1)
    });
    let first = numbers.next();
    let lengths_differ = first == Some(None) || numbers.any(|other| Some(other) != first);
    let coded = match &codings[..] {
        [] => false,
        [one] => {
            let chunked = one.trim().eq_ignore_ascii_case("chunked");
            !chunked || seen.version == Version::HTTP_10 || first.is_some()
        }
        _ => true,
    };
    coded || lengths_differ
}

/// One length, for that is how we tell it on.
fn one_length(mut seen: Seen) -> Seen {
    let length = |(name, _): &(String, Vec<u8>)| name == "content-length";
    let said = seen.headers.iter().find(|field| length(field)).cloned();
    seen.headers.retain(|field| !length(field));
    if let Some((name, value)) = said {
        let text = String::from_utf8_lossy(&value).into_owned();
        let first = text.split(',').next().unwrap_or_default().trim().trim_start_matches('0').to_owned();
        seen.headers.push((name, first.into_bytes()));
        seen.headers.sort();
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn an_answer_is_the_same_to_hyper_or_it_is_none_to_us(
        method in select(vec![Method::GET, Method::HEAD, Method::POST]),
        interim in select(vec!["", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n"]),
        message in bent((
            select(vec![
                "HTTP/1.1 200 OK", "HTTP/1.1 200", "HTTP/1.1 200 Fine", "HTTP/1.1 204 No Content", "HTTP/1.1 304 Not Modified",
                "HTTP/1.0 200 OK", "HTTP/1.1 500 \u{e9}", "HTTP/2 200 OK", "HTTP/1.1 099 No", "HTTP/1.1  200 OK", "ok",
            ]),
            fields(),
            select(&BODIES[..]),
        ).prop_map(|(line, fields, body)| format!("{line}\r\n{fields}\r\n{body}"))),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let bytes = [interim.as_bytes(), &message].concat();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        match (by_us(&bytes, &method, &cuts), by_hyper(&bytes, &method)) {
            (Some(ours), Some(theirs)) => {
                prop_assert!(!is_ambiguous(&theirs), "{text:?} is to us {ours:?}");
                prop_assert_eq!(one_length(ours), one_length(theirs), "{}", text);
            }
            (Some(ours), None) => prop_assert!(false, "hyper refuses {text:?}, and we have {ours:?}"),
            // Stricter: a coding that nobody asked for, two statements about one end.
            (None, Some(theirs)) => prop_assert!(is_ambiguous(&theirs), "{text:?} is {theirs:?}"),
            (None, None) => {}
        }
    }
}

fn head(bytes: &str, method: &Method) -> Answer {
    read_answer(&mut BytesMut::from(bytes), &mut HeaderMap::new(), &mut KnownAnswer::default(), method, ANSWER)
}

#[test]
fn a_connection_is_kept_only_if_the_end_of_the_answer_is_known() {
    for (bytes, keep) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: x, Close\r\nconnection: keep-alive\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive\r\n\r\n", true),
        ("HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n", false),
    ] {
        let Answer::Final(head) = head(bytes, &Method::GET) else { panic!("{bytes}") };
        assert_eq!(head.keep, keep, "{bytes}");
    }
}

#[test]
fn an_answer_with_two_ends_is_none() {
    for fields in [
        "content-length: 1\r\ncontent-length: 2\r\n",
        "content-length: 1\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 1\r\n",
        "transfer-encoding: gzip\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "content-length: 1, x\r\n",
    ] {
        let bytes = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        assert!(matches!(head(&bytes, &Method::GET), Answer::Garbage), "{fields}");
    }
}

#[test]
fn trailers_have_a_bound_of_their_own() {
    let trailers = Bounds { bytes: 100, fields: 2 };
    let bounds = AnswerBounds { head: 64 << 10, trailers };
    let told = |trailers: &str| {
        let long = "a".repeat(1000);
        let bytes = format!("HTTP/1.1 200 OK\r\nx: {long}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n{trailers}\r\n");
        let mut buffer = BytesMut::from(&bytes[..]);
        let Answer::Final(mut head) =
            read_answer(&mut buffer, &mut HeaderMap::new(), &mut KnownAnswer::default(), &Method::GET, bounds)
        else {
            panic!("{bytes}");
        };
        matches!(head.body.decode(&mut buffer), Ok(Piece::Trailers(_)))
    };
    assert!(told("a: 1\r\nb: 2\r\n"));
    assert!(!told("a: 1\r\nb: 2\r\nc: 3\r\n"));
    assert!(!told(&format!("a: {}\r\n", "1".repeat(100))));
}

#[test]
fn equal_lengths_are_told_on_as_one() {
    let bytes = "HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\ncontent-length: 5\r\n\r\n";
    let Answer::Final(head) = head(bytes, &Method::GET) else { panic!() };
    assert!(matches!(head.body, Decoder::Length(5)));
    assert_eq!(sorted(head.answer.headers()), [("content-length".to_owned(), b"5".to_vec())]);
}

#[test]
fn an_answer_that_is_known_is_another_one_to_head() {
    let text = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx: 1\r\n\r\n";
    let mut known = KnownAnswer::default();
    let mut left = |method: &Method| {
        let mut buffer = BytesMut::from(text);
        match read_answer(&mut buffer, &mut HeaderMap::new(), &mut known, method, ANSWER) {
            Answer::Final(head) => (head.body.left(), head.answer.headers().len(), known.is_kept()),
            _ => panic!("{text}"),
        }
    };
    assert_eq!(left(&Method::GET), (Some(5), 2, false));
    assert_eq!(left(&Method::GET), (Some(5), 2, true));
    assert_eq!(left(&Method::GET), (Some(5), 2, true));
    assert_eq!(left(&Method::HEAD), (Some(0), 2, true));
    assert_eq!(left(&Method::GET), (Some(5), 2, true));
}
