//! Answers that are compressed, and those that are not.

use std::{
    io::{Read, Write},
    time::Duration,
};

use http::Method;
use http_body_util::BodyExt;
use ravelin_echo::client::{Answer, Client, Protocol, body, request};
use ravelin_snapshot::{
    HostPattern, ObjectKey, Part, Snapshot,
    filter::{Algorithm, Compression, Filters},
    route::{Action, Route},
};

use tokio::time::timeout;

use crate::gateway::{Gateway, add_backend, echo, forward, route, say};

fn compressing(snapshot: &mut Snapshot, name: &str, host: &str, action: Action) {
    let said = Compression {
        algorithms: vec![Algorithm::Zstd, Algorithm::Br, Algorithm::Gzip],
        types: vec!["application/*".into(), "text/plain".into()],
        min_size: 100,
    };
    let Route { mut rules, .. } = route(HostPattern::Any, action);
    rules[0].filters = Some(Box::new(Filters { compression: Some(said), ..Filters::default() }));
    let all = Route { rules, ..route(HostPattern::parse(host), say("")) };
    snapshot.routes.insert(ObjectKey::new("shop", name), Part::new(all));
}

fn plain(answer: &Answer) -> Vec<u8> {
    let mut read = Vec::new();
    match answer.header("content-encoding") {
        Some("gzip") => drop(flate2::read::GzDecoder::new(&answer.body[..]).read_to_end(&mut read).unwrap()),
        Some("br") => drop(brotli::Decompressor::new(&answer.body[..], 4096).read_to_end(&mut read).unwrap()),
        Some("zstd") => read = zstd::decode_all(&answer.body[..]).unwrap(),
        other => panic!("{other:?}"),
    }
    read
}

/// Generous: nothing is measured by it.
const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn what_is_compressed_is_the_same_and_says_so() {
    let echo = echo();
    let mut snapshot = Snapshot::default();
    let backend = add_backend(&mut snapshot, "echo", echo.address());
    compressing(&mut snapshot, "all", "a.example", forward(backend));
    compressing(&mut snapshot, "own", "own.example", say(&"words ".repeat(1000)));
    let gateway = Gateway::start(snapshot).await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        for accepts in ["gzip", "br", "zstd"] {
            let mut client = Client::connect(gateway.http(), protocol).await.unwrap().with_host("a.example");
            for size in [1024, 1 << 20] {
                let path = format!("/?size={size}&header=etag:%22x%22&header=accept-ranges:bytes");
                let as_it_is = client.get(&path).await.unwrap();
                assert_eq!((as_it_is.header("content-encoding"), as_it_is.body.len()), (None, size));
                assert_eq!(as_it_is.header("vary"), Some("accept-encoding"), "others get another one");
                assert_eq!(as_it_is.header("etag"), Some("\"x\""));
                let answer = client.get_with(&path, &[("accept-encoding", accepts)]).await.unwrap();
                assert_eq!(answer.header("content-encoding"), Some(accepts), "{protocol:?}");
                assert_eq!((answer.header("content-length"), answer.header("accept-ranges")), (None, None));
                assert_eq!((answer.header("vary"), answer.header("etag")), (Some("accept-encoding"), Some("W/\"x\"")));
                assert!(plain(&answer) == as_it_is.body, "{protocol:?} {accepts} {size}");
                let asked = request(Method::HEAD, &path, &[("accept-encoding", accepts)], body(""));
                let head = client.send(asked).await.unwrap();
                assert_eq!((head.header("content-encoding"), head.body.len()), (Some(accepts), 0));
                assert_eq!((head.header("content-length"), head.header("etag")), (None, Some("W/\"x\"")));
            }
            let mut client = client.with_host("own.example");
            let answer = client.get_with("/", &[("accept-encoding", accepts)]).await.unwrap();
            assert_eq!(plain(&answer), "words ".repeat(1000).into_bytes());
            assert!(answer.body.len() < 200);
        }
    }
}

#[tokio::test]
async fn what_must_stay_as_it_is_does() {
    let echo = echo();
    let mut snapshot = Snapshot::default();
    let backend = add_backend(&mut snapshot, "echo", echo.address());
    compressing(&mut snapshot, "all", "a.example", forward(backend));
    let gateway = Gateway::start(snapshot).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap().with_host("a.example");
    for (why, path) in [
        ("too short", "/?size=99".to_owned()),
        ("of another type", "/?chunks=100".to_owned()),
        ("compressed already", "/?size=1024&header=content-encoding:gzip".to_owned()),
        ("not to be transformed", "/?size=1024&header=cache-control:public,%20No-Transform".to_owned()),
        ("a part", "/?size=1024&status=206&header=content-range:bytes%200-1023/2000".to_owned()),
        ("signed", "/?size=1024&header=content-digest:sha-256=:AA==:".to_owned()),
        ("nothing", "/?status=204".to_owned()),
        ("not modified", "/?status=304".to_owned()),
    ] {
        let before = client.get(&path).await.unwrap();
        let answer = client.get_with(&path, &[("accept-encoding", "gzip, br, zstd")]).await.unwrap();
        assert_eq!(answer.header("content-encoding"), before.header("content-encoding"), "{why}");
        assert_eq!(answer.body, before.body, "{why}");
        assert_eq!(answer.header("content-length"), before.header("content-length"), "{why}");
        assert_eq!(answer.header("vary"), None, "{why}");
    }
    let path = "/?size=1024";
    let answer = client.get_with(path, &[("accept-encoding", "gzip;q=0, *;q=0")]).await.unwrap();
    assert_eq!((answer.header("content-encoding"), answer.body.len()), (None, 1024));
}

#[tokio::test]
async fn a_stream_is_not_held_up() {
    let (mut snapshot, echo) = (Snapshot::default(), echo());
    let backend = add_backend(&mut snapshot, "echo", echo.address());
    compressing(&mut snapshot, "all", "a.example", forward(backend));
    let gateway = Gateway::start(snapshot).await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut client = Client::connect(gateway.http(), protocol).await.unwrap().with_host("a.example");
        let (feed, upload) = ravelin_echo::client::upload();
        let said = [("accept-encoding", "gzip"), ("x-echo", "body=back"), ("content-type", "text/plain")];
        let mut stream = client.open(request(Method::POST, "/", &said, upload)).await.unwrap().into_body();
        let mut decoder = flate2::write::GzDecoder::new(Vec::new());
        for word in ["one ", "two ", "three "] {
            assert!(feed.send(word).await);
            let before = decoder.get_ref().len();
            while decoder.get_ref().len() < before + word.len() {
                let piece = timeout(DEADLINE, stream.frame()).await.unwrap().unwrap().unwrap().into_data().unwrap();
                decoder.write_all(&piece).unwrap();
                decoder.flush().unwrap();
            }
            assert!(
                decoder.get_ref().ends_with(word.as_bytes()),
                "{protocol:?}: each piece comes before the next is sent"
            );
        }
    }
}
