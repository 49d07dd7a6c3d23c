//! HTTP/2 in the hands of those who want to hurt. Each attack costs its own connection; everybody else is served.

use std::time::Duration;

use ravelin_dataplane::{Bounds, Settings};
use ravelin_echo::client::{Client, DEADLINE, End, Protocol, Received, Wire, exchange};
use tokio::time::timeout;

use crate::gateway::{Gateway, all_to, echo};

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `GET http://a/` in HPACK, without the dynamic table.
const GET: &[u8] = b"\x82\x86\x84\x01\x01a";

fn hello() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    frame(&mut bytes, SETTINGS, 0, 0, b"");
    bytes
}

fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    bytes.extend(&length[1..]);
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
}

/// Kind, flags and payload of each whole frame.
fn frames(received: &Received) -> Vec<(u8, u8, Vec<u8>)> {
    let mut rest = &received.bytes[..];
    let mut frames = Vec::new();
    while let [high, middle, low, kind, flags, _, _, _, _, after @ ..] = rest {
        let length = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
        let Some(payload) = after.get(..length) else { break };
        frames.push((*kind, *flags, payload.to_vec()));
        rest = &after[length..];
    }
    frames
}

fn goaway(received: &Received) -> Option<u32> {
    let all = frames(received);
    let payload = all.iter().rfind(|(kind, ..)| *kind == GOAWAY).map(|(.., payload)| payload)?;
    Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()))
}

async fn others_are_served(gateway: &Gateway) {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut client = Client::connect(gateway.http(), protocol).await.unwrap();
        assert_eq!(client.get("/").await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn a_connection_says_its_bounds_at_once() {
    let echo = echo();
    let settings = Settings { bounds: Bounds { max_streams: 7, ..Bounds::default() }, ..Settings::default() };
    let gateway = Gateway::with(settings, all_to(&echo)).await;
    let mut bytes = hello();
    frame(&mut bytes, GOAWAY, 0, 0, &[0; 8]);
    let received = exchange(gateway.http(), &bytes).await.unwrap();
    let (_, _, settings) = frames(&received).into_iter().find(|(kind, ..)| *kind == SETTINGS).unwrap();
    let settings: Vec<_> =
        settings.chunks(6).map(|one| (one[1], u32::from_be_bytes(one[2..].try_into().unwrap()))).collect();
    assert!(settings.contains(&(3, 7)), "MAX_CONCURRENT_STREAMS: {settings:?}");
    assert!(settings.contains(&(6, 64 << 10)), "MAX_HEADER_LIST_SIZE: {settings:?}");
    assert!(settings.contains(&(8, 1)), "ENABLE_CONNECT_PROTOCOL: {settings:?}");
}

#[tokio::test]
async fn streams_that_are_opened_to_be_reset_end_their_connection() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    let mut bytes = hello();
    for stream in (1..20_000).step_by(2) {
        frame(&mut bytes, HEADERS, END_STREAM | END_HEADERS, stream, GET);
        frame(&mut bytes, RST_STREAM, 0, stream, &8u32.to_be_bytes());
    }
    let received = exchange(gateway.http(), &bytes).await.unwrap();
    assert_ne!(received.end, End::Silent);
    assert!(echo.requests() < 10_000, "{}", echo.requests());
    others_are_served(&gateway).await;
}

#[tokio::test]
async fn more_streams_than_are_allowed_are_refused_one_by_one_and_then_all() {
    let echo = echo();
    let settings = Settings { bounds: Bounds { max_streams: 4, ..Bounds::default() }, ..Settings::default() };
    let gateway = Gateway::with(settings, all_to(&echo)).await;
    let mut bytes = hello();
    let slow = b"\x82\x86\x04\x0b/?delay=10m\x01\x01a";
    for stream in (1..20_000).step_by(2) {
        frame(&mut bytes, HEADERS, END_STREAM | END_HEADERS, stream, slow);
    }
    let received = exchange(gateway.http(), &bytes).await.unwrap();
    assert_ne!(received.end, End::Silent);
    assert!(echo.requests() <= 4, "{}", echo.requests());
    others_are_served(&gateway).await;
}

#[tokio::test]
async fn a_stream_whose_client_takes_nothing_is_reset_and_the_others_go_on() {
    let echo = echo();
    let bounds = Bounds { idle_timeout: Duration::from_millis(200), ..Bounds::default() };
    let gateway = Gateway::with(Settings { bounds, ..Settings::default() }, all_to(&echo)).await;
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    frame(&mut bytes, SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]); // no window for any stream
    let large = b"\x82\x86\x04\x0a/?size=9Mi\x01\x01a";
    let steady = b"\x82\x86\x04\x19/?chunks=1000&every=100ms\x01\x01a";
    frame(&mut bytes, HEADERS, END_STREAM | END_HEADERS, 1, large);
    let mut wire = Wire::connect(gateway.http()).await.unwrap();
    wire.send(&bytes).await.unwrap();
    timeout(DEADLINE, echo.wait_until(|counts| counts.requests == 1)).await.unwrap();
    let mut more = Vec::new();
    frame(&mut more, HEADERS, END_STREAM | END_HEADERS, 3, steady);
    frame(&mut more, 8, 0, 3, &(1u32 << 20).to_be_bytes()); // a window for this one
    wire.send(&more).await.unwrap();
    // RST_STREAM of the first, CANCEL; its backend is free again.
    wire.until([0, 0, 4, RST_STREAM, 0, 0, 0, 0, 1, 0, 0, 0, 8]).await.unwrap();
    wire.until("data: ").await.unwrap();
    timeout(DEADLINE, echo.wait_until(|counts| counts.connections_open == 1)).await.unwrap();
}

#[tokio::test]
async fn a_head_without_end_ends_its_connection() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    for piece in [&b""[..], &[0; 1][..], &[b'x'; 16 << 10][..]] {
        let mut bytes = hello();
        frame(&mut bytes, HEADERS, END_STREAM, 1, GET);
        for _ in 0..20_000.min((64 << 20) / piece.len().max(1)) {
            frame(&mut bytes, CONTINUATION, 0, 1, piece);
        }
        let received = exchange(gateway.http(), &bytes).await.unwrap();
        assert_ne!(received.end, End::Silent, "pieces of {}", piece.len());
        others_are_served(&gateway).await;
    }
    assert_eq!(echo.requests(), 6);
}

#[tokio::test]
async fn a_small_head_that_unpacks_to_a_large_one_is_refused() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    let mut head = GET.to_vec();
    // One field of 4000 bytes goes into the dynamic table and is named a thousand times: 4 MB.
    head.extend(b"\x40\x01x\x7f\xa1\x1e");
    head.extend([b'x'; 4000]);
    head.extend([0xbe; 1000]);
    let mut bytes = hello();
    frame(&mut bytes, HEADERS, END_STREAM | END_HEADERS, 1, &head);
    frame(&mut bytes, GOAWAY, 0, 0, &[0; 8]);
    let received = exchange(gateway.http(), &bytes).await.unwrap();
    assert_ne!(received.end, End::Silent);
    assert_eq!(echo.requests(), 0);
    others_are_served(&gateway).await;
}

#[tokio::test]
async fn pings_and_settings_are_answered_and_hold_nobody_up() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    for (kind, payload) in [(PING, &[7; 8][..]), (SETTINGS, &[0, 4, 0, 0, 255, 255][..])] {
        let mut bytes = hello();
        for _ in 0..20_000 {
            frame(&mut bytes, kind, 0, 0, payload);
        }
        frame(&mut bytes, GOAWAY, 0, 0, &[0; 8]);
        let (flood, ()) = tokio::join!(exchange(gateway.http(), &bytes), others_are_served(&gateway));
        let flood = flood.unwrap();
        assert_ne!(flood.end, End::Silent);
        let acknowledged = frames(&flood).iter().filter(|(answer, flags, _)| *answer == kind && *flags == 1).count();
        assert!(acknowledged > 0 || goaway(&flood).is_some(), "{kind}");
    }
}

#[tokio::test]
async fn what_breaks_the_protocol_ends_the_connection() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    for (head, why) in [
        (&b"\x82\x86\x84\x01\x01a\x00\x0aconnection\x05close"[..], "a connection's header"),
        (b"\x82\x86\x84\x01\x01a\x00\x11transfer-encoding\x07chunked", "an encoding"),
        (b"\x82\x86\x84\x01\x01a\x00\x02te\x04gzip", "another te than trailers"),
        (b"\x82\x86\x84\x01\x01a\x00\x01X\x01y", "upper case"),
        (b"\x82\x86\x84\x01\x01a\x00\x03a b\x01y", "a space in a name"),
        (b"\x82\x86\x84\x01\x01a\x00\x01x\x03a\r\n", "a line's end in a value"),
        (b"\x82\x86\x01\x01a", "no path"),
        (b"\x82\x86\x84\x84\x01\x01a", "two paths"),
        (b"\x82\x86\x84\x01\x01a\x00\x0econtent-length\x013", "a length without a body"),
    ] {
        let mut bytes = hello();
        frame(&mut bytes, HEADERS, END_STREAM | END_HEADERS, 1, head);
        frame(&mut bytes, GOAWAY, 0, 0, &[0; 8]);
        let received = exchange(gateway.http(), &bytes).await.unwrap();
        assert_ne!(received.end, End::Silent, "{why}");
        let refused = frames(&received).iter().any(|(kind, ..)| *kind == RST_STREAM)
            || goaway(&received).is_some_and(|code| code != 0);
        assert!(refused, "{why}: {:?}", frames(&received));
    }
    assert_eq!(echo.requests(), 0);
}

/// The library that undoes HPACK gives the target without it. So it is cut off for everybody: for routes, policies, log and
/// backend alike.
#[tokio::test]
async fn a_fragment_is_cut_off_before_anybody_reads_the_target() {
    let echo = echo();
    let gateway = Gateway::start(all_to(&echo)).await;
    let mut bytes = hello();
    frame(&mut bytes, HEADERS, END_STREAM | END_HEADERS, 1, b"\x82\x86\x04\x0a/a?b#/../c\x01\x01a");
    frame(&mut bytes, GOAWAY, 0, 0, &[0; 8]);
    let received = exchange(gateway.http(), &bytes).await.unwrap();
    assert_eq!(goaway(&received), Some(0), "it is no fault of the connection");
    let seen = echo.seen().pop().unwrap();
    assert_eq!((seen.path.as_str(), seen.query.as_deref()), ("/a", Some("b")));
}
