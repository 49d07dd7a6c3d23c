//! Messages whose end two parties could see at different places. Each test sends a second request where the other party
//! would see it, and counts what the backend gets.

use ravelin_echo::client::{End, exchange};

use crate::gateway::{Gateway, all_to, echo};

const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nhost: a\r\n\r\n";

#[tokio::test]
async fn lengths_that_cannot_be_believed_are_refused_and_nothing_behind_them_is_read() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    for fields in [
        "content-length: 3\r\ncontent-length: 4\r\n",
        "content-length: 3, 4\r\n",
        "content-length: +3\r\n",
        "content-length: -1\r\n",
        "content-length: 0x3\r\n",
        "content-length: 3 3\r\n",
        "content-length: \r\n",
        "content-length: 99999999999999999999\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: identity\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: chunked, chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: x\r\n",
        "transfer-encoding: \"chunked\"\r\n",
        "transfer-encoding: chunked;q=1\r\n",
        "transfer-encoding: \x0bchunked\r\n",
        "transfer-encoding : chunked\r\n",
        "transfer-encoding\x0b: chunked\r\n",
        " transfer-encoding: chunked\r\n",
        "x: y\r\n transfer-encoding: chunked\r\n",
        "transfer-encoding:\r\n chunked\r\n",
    ] {
        let bytes = format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n0\r\n\r\n{HIDDEN}");
        let answer = exchange(gateway.http(), &bytes).await.unwrap();
        assert_eq!(answer.statuses(), [400], "{fields:?}");
        assert_ne!(answer.end, End::Silent, "{fields:?}");
    }
    assert_eq!(echo.requests(), 0);
}

#[tokio::test]
async fn a_length_beside_an_encoding_does_not_count_and_the_connection_ends() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    for fields in [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
        "transfer-encoding: CHUNKED\r\ncontent-length: 5\r\n",
    ] {
        let before = echo.requests();
        let bytes = format!("POST /seen HTTP/1.1\r\nhost: a\r\n{fields}\r\n0\r\n\r\n{HIDDEN}");
        let answer = exchange(gateway.http(), &bytes).await.unwrap();
        assert_eq!((answer.statuses(), echo.requests()), (vec![200], before + 1), "{fields:?}");
        let seen = echo.seen().pop().unwrap();
        assert_eq!((seen.path.as_str(), seen.body_bytes), ("/seen", 0), "{fields:?}");
    }
}

#[tokio::test]
async fn chunks_that_are_none_end_the_exchange() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    for body in [
        "x\r\n\r\n",
        "-1\r\na\r\n0\r\n\r\n",
        "+1\r\na\r\n0\r\n\r\n",
        "1\na\n0\n\n",
        "1\r\nab\r\n0\r\n\r\n",
        "1;a\nb\r\na\r\n0\r\n\r\n",
        "fffffffffffffffff\r\na",
        "0\r\nx y: 1\r\n\r\n",
    ] {
        let bytes = format!("POST /body HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{body}{HIDDEN}");
        let answer = exchange(gateway.http(), &bytes).await.unwrap();
        assert!(!answer.statuses().contains(&200), "{body:?}: {}", answer.text());
        assert_ne!(answer.end, End::Silent, "{body:?}");
    }
    assert!(echo.seen().iter().all(|seen| seen.path == "/body"), "what was hidden stayed hidden");
}

#[tokio::test]
async fn a_lengths_repetition_is_one_length() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    let bytes = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc";
    assert_eq!(exchange(gateway.http(), bytes).await.unwrap().statuses(), [200]);
    let seen = echo.seen().pop().unwrap();
    assert_eq!(seen.headers.get_all("content-length").iter().count(), 1);
    assert_eq!(&seen.body[..], b"abc");
}

#[tokio::test]
async fn there_is_no_way_from_http1_to_http2_behind_our_back() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    let bytes = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings, close\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n";
    assert_eq!(exchange(gateway.http(), bytes).await.unwrap().statuses(), [200]);
    let seen = echo.seen().pop().unwrap().headers;
    assert!(["upgrade", "http2-settings", "connection"].iter().all(|name| !seen.contains_key(*name)), "{seen:?}");
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_a_row() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    let one = |path: &str, last: &str| format!("POST /{path} HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n{last}\r\nhi");
    let bytes = one("1", "") + &one("2", "") + &one("3", "connection: close\r\n");
    assert_eq!(exchange(gateway.http(), bytes).await.unwrap().statuses(), [200, 200, 200]);
    let paths: Vec<_> = echo.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, ["/1", "/2", "/3"]);
}
