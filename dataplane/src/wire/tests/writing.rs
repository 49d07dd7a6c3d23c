use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use proptest::{prelude::*, sample::select};

use super::{
    super::{
        Answer, KnownAnswer, KnownFields, Outgoing, Piece, Size, Told, announced, head_of_answer, head_of_request,
    },
    ANSWER, BOUNDS, Script, answers, requests, settle,
};
use crate::wire::{read_answer, read_request, write::Ending};

const ID: HeaderValue = HeaderValue::from_static("ours");

/// What is given to the kernel.
fn written(outgoing: &mut Outgoing) -> Vec<u8> {
    let mut script = Script::new(b"", false);
    settle(std::future::poll_fn(|cx| outgoing.poll_write(cx, std::pin::Pin::new(&mut script)))).unwrap().unwrap();
    script.written
}

/// All pieces, with as few writes as there can be.
fn send(outgoing: &mut Outgoing, pieces: &[Bytes]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in pieces {
        outgoing.push(piece.clone()).unwrap();
        bytes.extend(written(outgoing));
    }
    outgoing.finish(None).unwrap();
    bytes.extend(written(outgoing));
    bytes
}

fn size(known: bool, pieces: &[Bytes]) -> Size {
    let length = pieces.iter().map(|piece| piece.len() as u64).sum();
    match (pieces.is_empty(), known) {
        (true, _) => Size::Nothing,
        (false, true) => Size::Known(length),
        (false, false) => Size::Unknown,
    }
}

fn pieces() -> impl Strategy<Value = Vec<Bytes>> {
    let piece = prop::collection::vec(any::<u8>(), 1..300).prop_map(Bytes::from);
    prop::collection::vec(piece, 0..4)
}

/// Even if a rule of a route puts them there, nothing but ours speaks of the body.
fn headers() -> impl Strategy<Value = HeaderMap> {
    let lies = [("content-length", "7"), ("transfer-encoding", "gzip"), ("x-mine", "1"), ("content-length", "8")];
    prop::collection::vec(select(lies.to_vec()), 0..4).prop_map(|fields| {
        let field = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        fields.into_iter().map(field).collect()
    })
}

proptest! {
    #[test]
    fn a_request_is_read_as_it_was_meant(pieces in pieces(), known in any::<bool>(), headers in headers()) {
        let mut request = Request::new(());
        (*request.method_mut(), *request.uri_mut()) = (Method::POST, "/a?b".parse().unwrap());
        *request.headers_mut() = headers.clone();
        let mut outgoing = Outgoing::default();
        outgoing.begin(|text| head_of_request(text, &request, size(known, &pieces), |_| {}));
        let sent = send(&mut outgoing, &pieces);
        let seen = requests::by_hyper(&sent);
        prop_assert_eq!(seen.len(), 1);
        prop_assert_eq!((&seen[0].line[..], &seen[0].body), ("POST /a?b HTTP/1.1", &Some(pieces.concat())));
        prop_assert_eq!(seen[0].headers.iter().any(|(name, _)| name == "x-mine"), headers.contains_key("x-mine"));
        let mut bytes = BytesMut::from(&sent[..]);
        let Ok(mut read) = read_request::<()>(&mut bytes, &mut HeaderMap::new(), &mut KnownFields::default(), BOUNDS) else { panic!("{bytes:?}") };
        prop_assert_eq!(read.request.uri(), "/a?b");
        prop_assert_eq!(read.request.headers().get("x-mine").is_some(), headers.contains_key("x-mine"));
        let mut data = Vec::new();
        while let Piece::Data(more) = read.body.decode(&mut bytes).unwrap() {
            data.extend_from_slice(&more);
        }
        prop_assert!(read.body.is_over() && bytes.is_empty());
        prop_assert_eq!(data, pieces.concat());
    }

    #[test]
    fn an_answer_is_read_as_it_was_meant(
        pieces in pieces(),
        known in any::<bool>(),
        headers in headers(),
        status in select(vec![200u16, 204, 304, 404, 599]),
        head in any::<bool>(),
    ) {
        let mut answer = Response::new(());
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        *answer.headers_mut() = headers;
        // What has a length of its own and a body of another is a mismatch, which breaks off.
        let size = size(known, &pieces);
        if size == Size::Unknown {
            answer.headers_mut().remove(header::CONTENT_LENGTH);
        }
        let mut outgoing = Outgoing::default();
        let mut told = Told { head, size, last: false, date: b"Wed, 25 Nov 2026 00:49:07 GMT", id: &ID };
        outgoing.begin(|text| head_of_answer(text, &answer, &mut told));
        let silent = head || matches!(status, 204 | 304);
        prop_assert_eq!(outgoing.is_complete(), silent || pieces.is_empty());
        let none = Vec::new();
        let sent = send(&mut outgoing, if silent { &none } else { &pieces });
        let mut bytes = BytesMut::from(&sent[..]);
        let method = if head { Method::HEAD } else { Method::GET };
        let Answer::Final(mut read) = read_answer(&mut bytes, &mut HeaderMap::new(), &mut KnownAnswer::default(), &method, ANSWER) else {
            panic!("{bytes:?}")
        };
        let seen = answers::by_hyper(&sent, &method).map(|seen| (seen.status, seen.body));
        prop_assert_eq!(seen, Some((status, Some(if silent { none.concat() } else { pieces.concat() }))));
        prop_assert!(read.keep && read.answer.headers().contains_key(header::DATE));
        let mut data = Vec::new();
        while let Piece::Data(more) = read.body.decode(&mut bytes).unwrap() {
            data.extend_from_slice(&more);
        }
        prop_assert!(bytes.is_empty());
        prop_assert_eq!(data, if silent { none.concat() } else { pieces.concat() });
    }
}

#[test]
fn a_body_that_is_not_as_long_as_was_said_is_a_mismatch() {
    let mut outgoing = Outgoing::default();
    let begin = |outgoing: &mut Outgoing| {
        outgoing.begin(|text| head_of_request(text, &Request::new(()), Size::Known(3), |_| {}));
        outgoing.push(Bytes::from_static(b"ab")).unwrap();
        written(outgoing)
    };
    begin(&mut outgoing);
    assert!(outgoing.push(Bytes::from_static(b"cd")).is_err());
    begin(&mut outgoing);
    assert!(outgoing.finish(None).is_err());
}

#[test]
fn a_small_answer_is_one_write_and_a_last_piece_goes_with_its_end() {
    let mut outgoing = Outgoing::default();
    outgoing.begin(|text| head_of_request(text, &Request::new(()), Size::Unknown, |_| {}));
    outgoing.push(Bytes::from_static(b"hello")).unwrap();
    outgoing.finish(None).unwrap();
    let sent = written(&mut outgoing);
    assert!(sent.ends_with(b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "{}", String::from_utf8_lossy(&sent));
}

#[test]
fn only_trailers_that_were_announced_are_sent() {
    let mut headers = HeaderMap::new();
    headers.append(header::TRAILER, HeaderValue::from_static("x-sum, Content-Length"));
    let mut trailers = HeaderMap::new();
    for name in ["x-sum", "x-other", "content-length"] {
        trailers.append(HeaderName::from_static(name), HeaderValue::from_static("1"));
    }
    let mut outgoing = Outgoing::default();
    outgoing.begin(|text| head_of_request(text, &Request::new(()), Size::Unknown, |_| {}));
    written(&mut outgoing);
    outgoing.finish(Some((&trailers, &announced(&headers)))).unwrap();
    assert_eq!(written(&mut outgoing), b"0\r\nx-sum: 1\r\n\r\n");
}

#[test]
fn an_answer_that_says_close_is_the_last() {
    let mut answer = Response::new(());
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    let mut told = Told { head: false, size: Size::Nothing, last: false, date: b"", id: &ID };
    let mut text = Vec::new();
    head_of_answer(&mut text, &answer, &mut told);
    assert!(told.last);
    answer.headers_mut().clear();
    for other in [None, Some("upgrade")] {
        answer.headers_mut().extend(other.map(|other| (header::CONNECTION, HeaderValue::from_static(other))));
        text.clear();
        head_of_answer(&mut text, &answer, &mut told);
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains("\r\nconnection: close\r\n"), "who does not keep it says so: {text}");
    }
}

#[test]
fn an_answer_has_the_id_of_its_request_and_no_other() {
    let mut answer = Response::new(());
    for other in ["theirs", "x"] {
        answer.headers_mut().append("x-request-id", HeaderValue::from_static(other));
    }
    let mut told = Told { head: false, size: Size::Nothing, last: false, date: b"", id: &ID };
    let mut text = Vec::new();
    head_of_answer(&mut text, &answer, &mut told);
    let text = String::from_utf8(text).unwrap();
    let ids: Vec<_> = text.lines().filter(|line| line.starts_with("x-request-id")).collect();
    assert_eq!(ids, ["x-request-id: ours"]);
}

#[test]
fn small_chunks_that_are_there_go_together_and_large_ones_alone() {
    let mut outgoing = Outgoing::default();
    let (mut wanted, mut pushed) = (Vec::new(), 0);
    outgoing.begin(|_| Ending::Chunked);
    while outgoing.has_room() {
        outgoing.push(Bytes::from_static(&[b'x'; 1000])).unwrap();
        wanted.extend([&b"3e8\r\n"[..], &[b'x'; 1000], b"\r\n"].concat());
        pushed += 1;
    }
    assert_eq!(pushed, 17, "as many as reach 16 KiB");
    assert_eq!(written(&mut outgoing), wanted);
    assert!(outgoing.has_room());
    outgoing.push(Bytes::from(vec![b'y'; 16 << 10])).unwrap();
    assert!(!outgoing.has_room());
    outgoing.finish(None).unwrap();
    assert!(written(&mut outgoing).ends_with(b"y\r\n0\r\n\r\n"));
}

#[test]
fn trailers_come_behind_chunks_that_wait() {
    let mut outgoing = Outgoing::default();
    outgoing.begin(|_| Ending::Chunked);
    outgoing.push(Bytes::from_static(b"abc")).unwrap();
    let name = HeaderName::from_static("x-sum");
    let trailers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static("7"))]);
    outgoing.finish(Some((&trailers, &[name]))).unwrap();
    assert_eq!(written(&mut outgoing), b"3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n");
}
