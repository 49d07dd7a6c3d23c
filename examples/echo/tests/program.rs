//! The program as a cluster sees it: its ready line, its exit codes, and an end that loses nothing.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{net::SocketAddr, process::Stdio};

use http::Method;
use ravelin_echo::{
    Port,
    client::{Answer, Client, DEADLINE, Load, Protocol, body, get, request},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

const BOTH: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ravelin-echo"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn started(drain_delay: &str) -> (Child, SocketAddr) {
    let flags = ["--listen", "127.0.0.1:0", "--name", "orders", "--drain-delay", drain_delay];
    let mut child = program(&flags).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap().unwrap();
    let address = line.strip_prefix("ravelin-echo orders listens on ").expect("the ready line").parse().unwrap();
    (child, address)
}

async fn terminate(child: &Child) {
    let kill = format!("kill -TERM {}", child.id().unwrap());
    assert!(Command::new("sh").args(["-c", &kill]).status().await.unwrap().success());
}

/// The signal is on its way for a while.
async fn draining(address: SocketAddr) {
    timeout(DEADLINE, async { while get(address, "a", "/healthz").await.unwrap().status == 200 {} }).await.unwrap();
}

#[tokio::test]
async fn a_rollout_loses_no_request() {
    let (mut child, address) = started("3600").await;
    let loads = BOTH.map(|protocol| Load::to(address, protocol).host("shop.example").start());
    for load in &loads {
        timeout(DEADLINE, load.more(20)).await.unwrap();
    }
    terminate(&child).await;
    draining(address).await;
    // The endpoint is still in everybody's tables.
    for load in &loads {
        timeout(DEADLINE, load.more(50)).await.unwrap();
    }
    for load in loads {
        timeout(DEADLINE, load.stop()).await.unwrap().assert_no_request_lost();
    }
    // A second signal, instead of an hour.
    terminate(&child).await;
    assert!(timeout(DEADLINE, child.wait()).await.unwrap().unwrap().success());
}

#[tokio::test]
async fn the_last_answers_are_finished_after_the_delay() {
    for protocol in BOTH {
        let (mut child, address) = started("0").await;
        let mut client = Client::connect(address, protocol).await.unwrap();
        let request = request(Method::GET, "/?chunks=50&every=10ms", &[], body(""));
        let begun = client.open(request).await.unwrap();
        terminate(&child).await;
        let events = timeout(DEADLINE, Answer::read(begun)).await.unwrap().unwrap().text();
        assert!(events.ends_with("data: 49\n\n"), "{events}");
        assert!(timeout(DEADLINE, child.wait()).await.unwrap().unwrap().success());
    }
}

#[tokio::test]
async fn a_failed_start_says_why() {
    let taken = Port::reserve().unwrap();
    let _listener = taken.listen().unwrap();
    let address = taken.address().to_string();
    for (arguments, code, says) in
        [(["--listen", "nowhere"], 2, "--listen nowhere: "), (["--listen", &address], 1, address.as_str())]
    {
        let output = timeout(DEADLINE, program(&arguments).output()).await.unwrap().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.contains(says) && output.stdout.is_empty(), "{error}");
    }
}
