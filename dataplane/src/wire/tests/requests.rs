use std::{cell::RefCell, convert::Infallible, rc::Rc};

use bytes::BytesMut;
use http::{HeaderMap, Response};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use proptest::{prelude::*, sample::select};

use super::{
    super::{Decoder, KnownFields, NotRead, Piece, RequestHead, read_request},
    BODIES, BOUNDS, Script, bent, fields, settle, sorted,
};
use crate::{Bounds, server::http1_builder};

/// A request as its reader has it. `None`: its body broke off, or has not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) line: String,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Option<Vec<u8>>,
    trailers: Option<Vec<(String, Vec<u8>)>>,
}

/// What a server of hyper's sees, in the order of its requests; the last may be incomplete.
pub(super) fn by_hyper(bytes: &[u8]) -> Vec<Seen> {
    let seen = Rc::<RefCell<Vec<Seen>>>::default();
    let service = service_fn(|request: http::Request<Incoming>| {
        let (head, mut body) = request.into_parts();
        let line = format!("{} {} {:?}", head.method, head.uri, head.version);
        seen.borrow_mut().push(Seen { line, headers: sorted(&head.headers), body: None, trailers: None });
        let (at, seen) = (seen.borrow().len() - 1, Rc::clone(&seen));
        async move {
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
            if whole {
                let one = &mut seen.borrow_mut()[at];
                (one.body, one.trailers) = (Some(data), trailers);
            }
            Ok::<_, Infallible>(Response::new(Empty::<bytes::Bytes>::new()))
        }
    });
    let io = TokioIo::new(Script::new(bytes, false));
    drop(settle(http1_builder(&Bounds { max_headers: 100, ..Bounds::default() }).serve_connection(io, service)));
    seen.take()
}

/// What we see until something is not plain, and whether that came. `cuts`: where one read ends and the next begins.
fn by_us(bytes: &[u8], cuts: &[prop::sample::Index]) -> Vec<Seen> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
    cuts.sort_unstable();
    let mut reads = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).filter(|read| !read.is_empty());
    let (mut buffer, mut spare, mut seen) = (BytesMut::new(), HeaderMap::new(), Vec::new());
    let mut known = KnownFields::default();
    loop {
        let RequestHead::<()> { request, mut body, keep } = loop {
            if !buffer.is_empty() {
                let before = buffer.clone();
                match read_request(&mut buffer, &mut spare, &mut known, BOUNDS) {
                    Ok(head) => break head,
                    Err(NotRead::Unusual) => {
                        assert_eq!(buffer, before, "nothing is taken of what is not plain");
                        return seen;
                    }
                    Err(NotRead::Partial) => assert_eq!(buffer, before),
                }
            }
            match reads.next() {
                Some(read) => buffer.extend_from_slice(read),
                None => return seen,
            }
        };
        let line = format!("{} {} {:?}", request.method(), request.uri(), request.version());
        let (data, trailers) = read_body(&mut body, &mut buffer, &mut reads);
        seen.push(Seen { line, headers: sorted(request.headers()), body: data, trailers });
        if !keep || !body.is_over() {
            return seen;
        }
    }
}

type Fields = Vec<(String, Vec<u8>)>;

fn read_body<'a>(
    body: &mut Decoder,
    buffer: &mut BytesMut,
    reads: &mut impl Iterator<Item = &'a [u8]>,
) -> (Option<Vec<u8>>, Option<Fields>) {
    let (mut data, mut trailers) = (Vec::new(), None);
    loop {
        match body.decode(buffer) {
            Ok(Piece::Data(more)) => data.extend_from_slice(&more),
            Ok(Piece::Trailers(fields)) => trailers = Some(sorted(&fields)),
            Ok(Piece::End) => return (Some(data), trailers),
            Ok(Piece::Wanting) => match reads.next() {
                Some(read) => buffer.extend_from_slice(read),
                None => return (None, None),
            },
            Err(_) => return (None, None),
        }
    }
}

/// All that we see, hyper sees too, and where our reading ends well there was no more for it.
fn check(bytes: &[u8], cuts: &[prop::sample::Index]) -> Result<(), TestCaseError> {
    let (ours, theirs) = (by_us(bytes, cuts), by_hyper(bytes));
    prop_assert!(ours.len() <= theirs.len(), "{:?}: {ours:#?} {theirs:#?}", String::from_utf8_lossy(bytes));
    prop_assert_eq!(&ours[..], &theirs[..ours.len()], "{:?}", String::from_utf8_lossy(bytes));
    Ok(())
}

fn request() -> impl Strategy<Value = String> {
    (line(), fields(), select(&BODIES[..])).prop_map(|(line, fields, body)| format!("{line}\r\n{fields}\r\n{body}"))
}

fn line() -> impl Strategy<Value = &'static str> {
    let lines = [
        "GET / HTTP/1.1",
        "POST /a?b HTTP/1.1",
        "HEAD /x HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET http://h/p HTTP/1.1",
        "CONNECT a:1 HTTP/1.1",
        "GET / HTTP/1.0",
        "GET / HTTP/1.2",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "get /\u{e9} HTTP/1.1",
        "GET /\t HTTP/1.1",
        "",
    ];
    prop_oneof![4 => select(lines[..4].to_vec()), 1 => select(lines.to_vec())]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn a_plain_request_is_the_same_request_to_hyper(
        bytes in bent(prop::collection::vec(request(), 1..4).prop_map(|all| all.concat())),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
    ) {
        check(&bytes, &cuts)?;
    }

    #[test]
    fn who_says_the_same_again_and_again_is_read_as_if_it_were_the_first_time(
        bytes in bent((prop::collection::vec(line(), 1..8), fields(), fields()).prop_map(|(lines, fields, others)| {
            let twice = |line: &&str| [format!("{line}\r\n{fields}\r\n"), format!("{line}\r\n{fields}{others}\r\n")];
            let heads = lines.iter().enumerate().map(|(at, line)| twice(line)[usize::from(at == 4)].clone());
            heads.collect::<String>()
        })),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
    ) {
        check(&bytes, &cuts)?;
    }
}

#[test]
fn fields_that_are_known_are_not_parsed_and_others_are() {
    let mut known = KnownFields::default();
    let mut read = |head: &str| {
        let mut buffer = BytesMut::from(head);
        let head = read_request::<()>(&mut buffer, &mut HeaderMap::new(), &mut known, BOUNDS).ok().unwrap();
        let uri = head.request.uri().to_string();
        (uri, head.request.headers()["x"].to_str().unwrap().to_owned(), known.is_kept())
    };
    let is = |uri: &str, x: &str, known| (uri.to_owned(), x.to_owned(), known);
    assert_eq!(read("GET /1 HTTP/1.1\r\nhost: a\r\nx: 1\r\n\r\n"), is("/1", "1", false));
    assert_eq!(read("GET /2 HTTP/1.1\r\nhost: a\r\nx: 1\r\n\r\n"), is("/2", "1", true));
    assert_eq!(read("PUT /3?a HTTP/1.1\r\nhost: a\r\nx: 1\r\n\r\n"), is("/3?a", "1", true));
    assert_eq!(read("GET /4 HTTP/1.1\r\nhost: a\r\nx: 2\r\n\r\n"), is("/4", "2", false));
    assert_eq!(read("GET /5 HTTP/1.1\r\nhost: a\r\nx: 2\r\ny: 3\r\n\r\n"), is("/5", "2", false));
    let long = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(3000));
    assert!((0..4).all(|_| !read(&long).2), "nor is it kept");
}

#[test]
fn what_is_plain_is_read_by_us() {
    let bytes = b"GET /a?b HTTP/1.1\r\nhost: a\r\naccept: */*\r\n\r\n\
        POST /c HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
        PUT /d HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n\r\n";
    let seen = by_us(bytes, &[]);
    assert_eq!(seen.len(), 3);
    assert_eq!(seen, by_hyper(bytes));
    assert_eq!(seen[2].body.as_deref(), Some(&b"hello"[..]));
    assert_eq!(seen[2].trailers, Some(vec![("x".to_owned(), b"y".to_vec())]));
}

#[test]
fn what_two_readers_could_disagree_about_is_not_plain() {
    for fields in [
        "content-length: 3\r\ncontent-length: 3\r\n",
        "content-length: 3\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "content-length: +3\r\n",
        "content-length: 3, 3\r\n",
        "content-length: \r\n",
        "upgrade: h2c\r\n",
        "expect: 100-continue\r\n",
        "te: trailers\r\n",
        "connection: upgrade\r\n",
    ] {
        let bytes = format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\nabc");
        assert!(by_us(bytes.as_bytes(), &[]).is_empty(), "{fields:?}");
    }
    let many = "x: 1\r\n".repeat(101);
    assert!(by_us(format!("GET / HTTP/1.1\r\n{many}\r\n").as_bytes(), &[]).is_empty());
    let long = "x".repeat(20 << 10);
    assert!(by_us(format!("GET / HTTP/1.1\r\nx: {long}").as_bytes(), &[]).is_empty(), "nor is it waited for");
}
