//! Lines as they come out of a data plane.

use std::{
    io::{self, Write},
    sync::mpsc,
    time::Duration,
};

use ravelin_dataplane::{Settings, access_log::Sink, settings::AccessLog};
use ravelin_echo::{
    client::{Client, DEADLINE, Protocol, exchange, get},
    raw::{Raw, Script},
};
use ravelin_snapshot::{HostPattern, Snapshot};
use serde_json::Value;

use crate::gateway::{Gateway, add_backend, add_route, all_to, echo, forward, say};

struct Sent(mpsc::Sender<Vec<u8>>);

impl Write for Sent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes.to_vec()).ok();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Lines(mpsc::Receiver<Vec<u8>>, Vec<Value>);

impl Lines {
    fn next(&mut self) -> Value {
        while self.1.is_empty() {
            let text = String::from_utf8(self.0.recv_timeout(DEADLINE).unwrap()).unwrap();
            self.1.extend(text.lines().map(|line| serde_json::from_str(line).unwrap()));
        }
        self.1.remove(0)
    }
}

async fn logged(snapshot: Snapshot) -> (Gateway, Lines) {
    let (send, receive) = mpsc::channel();
    let settings = Settings { access_log: AccessLog::To(Sink::new(Sent(send))), ..Settings::default() };
    (Gateway::with(settings, snapshot).await, Lines(receive, Vec::new()))
}

#[tokio::test]
async fn a_line_tells_the_whole_exchange_and_no_credential() {
    let echo = echo();
    let (gateway, mut lines) = logged(all_to(&echo)).await;
    let request = "POST /orders/../pay?token=hidden HTTP/1.1\r\nhost: Shop.example:80\r\nx-request-id: r-1\r\n\
                   user-agent: test/1\r\nauthorization: Bearer hidden\r\ncontent-length: 5\r\nconnection: close\r\n\r\n12345";
    assert_eq!(exchange(gateway.http(), request).await.unwrap().statuses(), [200]);
    let line = lines.next();
    for (field, expected) in [
        ("method", "POST"),
        ("protocol", "HTTP/1.1"),
        ("requestId", "r-1"),
        ("host", "shop.example"),
        ("path", "/pay"),
        ("userAgent", "test/1"),
        ("route", "shop/all"),
        ("rule", "0"),
        ("backend", "Backend/shop/echo"),
    ] {
        assert_eq!(line[field], expected, "{line}");
    }
    assert_eq!(line["endpoint"], echo.address().to_string());
    assert!(line["client"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!((&line["status"], &line["bytesIn"]), (&200.into(), &5.into()));
    assert!(line["bytesOut"].as_u64().unwrap() > 0 && line["durationMs"].as_f64() >= line["backendMs"].as_f64());
    assert!(line.get("broken").is_none() && line.get("reason").is_none());
    assert!(!line.to_string().contains("hidden"));
}

#[tokio::test]
async fn a_refusal_says_why_and_what_breaks_off_says_on_which_side() {
    let (broken, endless) =
        (Raw::start(Script::closes_in_body()).unwrap(), Raw::start(Script::endless_body()).unwrap());
    let mut snapshot = Snapshot::default();
    for (name, raw) in [("broken", &broken), ("endless", &endless)] {
        let backend = add_backend(&mut snapshot, name, raw.address());
        add_route(&mut snapshot, name, HostPattern::parse(&format!("{name}.example")), forward(backend));
    }
    let (gateway, mut lines) = logged(snapshot).await;
    get(gateway.http(), "nobody.example", "/x").await.unwrap();
    let line = lines.next();
    assert_eq!((&line["status"], &line["reason"], &line["path"]), (&404.into(), &"no_route".into(), &"/x".into()));
    get(gateway.http(), "broken.example", "/").await.unwrap_err();
    let line = lines.next();
    assert_eq!((&line["broken"], &line["reason"]), (&"backend".into(), &"backend_refused".into()));
    let stream = tokio::net::TcpStream::connect(gateway.http()).await.unwrap();
    stream.writable().await.unwrap();
    stream.try_write(b"GET / HTTP/1.1\r\nhost: endless.example\r\n\r\n").unwrap();
    stream.readable().await.unwrap();
    drop(stream);
    let line = tokio::task::spawn_blocking(move || lines.next()).await.unwrap();
    assert_eq!((&line["broken"], &line["status"]), (&"client".into(), &200.into()), "{line}");
}

#[tokio::test]
async fn a_head_that_is_none_has_a_line_with_what_is_known() {
    let (gateway, mut lines) = logged(all_to(&echo())).await;
    let answer = exchange(gateway.http(), "garbage\r\n\r\n").await.unwrap();
    let line = tokio::task::spawn_blocking(move || lines.next()).await.unwrap();
    assert_eq!((&line["status"], &line["reason"]), (&400.into(), &"bad_request".into()), "{line}");
    assert!(line["client"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(answer.text().contains(line["requestId"].as_str().unwrap()), "{line}");
    assert!(line.get("method").is_none() && line.get("path").is_none(), "{line}");
    let body = answer.text().split_once("\r\n\r\n").map_or(0, |(_, body)| body.len());
    assert_eq!(line["bytesOut"], body);
}

#[tokio::test]
async fn what_was_logged_before_a_drain_is_written_when_it_has_ended() {
    let mut snapshot = Snapshot::default();
    add_route(&mut snapshot, "hello", HostPattern::Any, say("hello"));
    let (gateway, Lines(lines, _)) = logged(snapshot).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    for _ in 0..100 {
        client.get("/").await.unwrap();
    }
    drop(client);
    gateway.running.drain().await;
    let written: Vec<u8> = lines.try_iter().flatten().collect();
    assert_eq!(written.iter().filter(|byte| **byte == b'\n').count(), 100);
    assert_eq!(lines.recv_timeout(Duration::ZERO).ok(), None);
}
