//! Lines that parse whatever a client sends, and a sink that stalls.

use std::{
    io::{self, Write},
    sync::{Arc, mpsc},
    time::{Duration, SystemTime},
};

use http::{Method, StatusCode, Version};
use ravelin_snapshot::ObjectKey;
use serde_json::{Value, json};

use super::*;
use crate::{metrics::Metrics, reject::Reason, request::RuleName};

/// Hands on what is written; the first piece waits until it is let through.
struct Gated {
    gate: mpsc::Receiver<()>,
    written: mpsc::Sender<Vec<u8>>,
    open: bool,
}

impl Write for Gated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.open {
            self.gate.recv().ok();
            self.open = true;
        }
        self.written.send(bytes.to_vec()).ok();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn gated() -> (Sink, mpsc::Sender<()>, mpsc::Receiver<Vec<u8>>) {
    let ((open, gate), (written, read)) = (mpsc::channel(), mpsc::channel());
    (Sink::new(Gated { gate, written, open: false }), open, read)
}

#[test]
fn a_stalled_sink_holds_up_no_worker_and_every_line_is_written_or_counted_as_dropped() {
    let (sink, open, read) = gated();
    let metrics = Arc::<Metrics>::default();
    let log = Log::start(Journal::Access, sink, Arc::clone(&metrics)).unwrap();
    const LINES: usize = 20_000;
    let workers: Vec<_> = (0..2)
        .map(|worker: usize| {
            let feed = log.feed();
            std::thread::spawn(move || {
                for at in 0..LINES {
                    feed.put(format!("{worker} {at:0>200}\n").as_bytes());
                }
            })
        })
        .collect();
    // They come to their end although nothing was written yet.
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    let dropped = metrics.dropped_lines.get();
    assert!(dropped > 0, "8 MB do not fit");
    open.send(()).unwrap();
    drop(log);
    let text: Vec<u8> = read.iter().flatten().collect();
    let text = String::from_utf8(text).unwrap();
    assert!(text.lines().all(|line| line.len() == 202), "lines are whole");
    assert_eq!(text.lines().count() as u64 + dropped, 2 * LINES as u64);
}

#[test]
fn a_line_that_comes_alone_is_written_and_none_is_lost_at_the_end() {
    let (sink, open, read) = gated();
    open.send(()).unwrap();
    let log = Log::start(Journal::Access, sink, Arc::default()).unwrap();
    let feed = log.feed();
    for at in 0..3 {
        feed.put(format!("{at}\n").as_bytes());
        let line = read.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(line, format!("{at}\n").into_bytes());
    }
    feed.put(b"last\n");
    drop((feed, log));
    assert_eq!(read.iter().flatten().collect::<Vec<u8>>(), b"last\n");
}

fn parse(line: &[u8]) -> Value {
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1, "one line");
    serde_json::from_slice(line).unwrap()
}

#[test]
fn a_line_says_who_asked_for_what_and_what_came_of_it() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_709_210_096_007);
    let mut line = Line::begin(b"left over".to_vec(), now, &Stamp::default(), &Method::GET, Version::HTTP_2);
    line.client(([192, 0, 2, 1], 5000).into());
    line.target(b"r-1", "shop.example", "/orders/7");
    line.user_agent(b"curl/8");
    let name = RuleName { route: ObjectKey::new("shop", "orders"), rule: "read".into() };
    line.rule(&Fields::rule(&name));
    line.caller("acme");
    line.backend(&Fields::backend("Service/shop/orders:80"), Duration::from_micros(1_002));
    line.endpoint(([10, 0, 0, 1], 8080).into());
    line.answered(StatusCode::GATEWAY_TIMEOUT, Some(Reason::BackendTimeout));
    let expected = json!({
        "time": "2024-02-29T12:34:56.007Z", "method": "GET", "protocol": "HTTP/2", "client": "192.0.2.1:5000",
        "requestId": "r-1", "host": "shop.example", "path": "/orders/7", "userAgent": "curl/8", "route": "shop/orders",
        "rule": "read", "caller": "acme", "backend": "Service/shop/orders:80", "backendMs": 1.002,
        "endpoint": "10.0.0.1:8080", "status": 504, "reason": "backend_timeout", "durationMs": 12.0, "bytesIn": 1,
        "bytesOut": 2, "broken": "client",
    });
    assert_eq!(parse(&line.finish(Duration::from_millis(12), (1, 2), End::ClientGone)), expected);
}

#[test]
fn nothing_that_a_client_sends_leaves_its_field() {
    let mut hostile: Vec<u8> = (0..=255).collect();
    hostile.extend("\u{2028}\u{85}ä\",\"status\":200,\"x\":\"".as_bytes());
    let mut line = Line::begin(Vec::new(), SystemTime::UNIX_EPOCH, &Stamp::default(), &Method::GET, Version::HTTP_11);
    line.user_agent(&hostile);
    line.target(b"", &"h".repeat(10_000), "/");
    let line = line.finish(Duration::ZERO, (0, 0), End::Complete);
    assert!(line[..line.len() - 1].iter().all(|byte| *byte >= 0x20), "no control character");
    let value = parse(&line);
    assert_eq!(value["userAgent"], String::from_utf8_lossy(&hostile).into_owned());
    assert_eq!(value["host"].as_str().unwrap().len(), 2048);
    assert!(value.get("status").is_none());
}
