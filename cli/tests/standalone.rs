//! The program as a process: what it says, how it starts with broken files, how it ends, what it keeps to itself.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "standalone/broken.rs"]
mod broken;
#[path = "standalone/end.rs"]
mod end;
#[path = "process/gateway.rs"]
mod gateway;
#[path = "standalone/kept.rs"]
mod kept;
#[path = "standalone/quota.rs"]
mod quota;
#[path = "standalone/secret.rs"]
mod secret;

use std::{fs, net::SocketAddr};

use gateway::{Gateway, is_access};
use ravelin_echo::{Echo, client};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

/// A route for every host to a backend at `address`.
fn site(address: SocketAddr) -> String {
    format!(
        "apiVersion: ravelin.dev/v1alpha1\nkind: ApiRoute\nmetadata: {{name: all}}\n\
         spec:\n  rules:\n  - backendRefs: [{{kind: Backend, name: echo}}]\n---\n\
         apiVersion: ravelin.dev/v1alpha1\nkind: Backend\nmetadata: {{name: echo}}\n\
         spec:\n  endpoints: [{{address: 127.0.0.1, port: {}}}]\n",
        address.port()
    )
}

const GOOD: &str = "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}";

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

#[tokio::test]
async fn stdout_has_the_ready_line_alone_and_stderr_has_json_lines() {
    let echo = Echo::on_thread("echo").unwrap();
    let folder = folder(&[("all.yaml", &site(echo.address()))]);
    let gateway = Gateway::standalone(folder.path(), &[]).await;
    let [http, https, admin] = ["http", "https", "admin"].map(|name| gateway.address(name));
    let line = format!(r#"{{"event":"ready","http":"{http}","https":"{https}","admin":"{admin}"}}"#);
    assert_eq!(gateway.ready_line, line);
    assert!([http, https, admin].iter().all(|address| address.port() != 0 && address.ip().is_loopback()));
    assert_eq!(gateway.page("/readyz").await.status, 200);
    // It is ready: the first request is served.
    assert_eq!(client::get(http, "any.example", "/").await.unwrap().status, 200);
    gateway.page_until("/metrics", |page| page.text().contains("ravelin_requests_total{")).await;
    let ended = gateway.stop().await;
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(ended.stdout, Vec::<String>::new());
    assert_eq!(ended.log.iter().filter(|line| is_access(line)).count(), 1, "{:#?}", ended.log);
    for line in &ended.log {
        assert!(serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object()), "no JSON: {line}");
    }
}

#[tokio::test]
async fn every_subcommand_shows_an_example() {
    let ravelin = |arguments: Vec<String>| async move {
        let output = Command::new(env!("CARGO_BIN_EXE_ravelin")).args(&arguments).arg("--help").output().await.unwrap();
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let mut open: Vec<Vec<String>> =
        subcommands(&ravelin(Vec::new()).await).into_iter().map(|name| vec![name]).collect();
    assert!(open.len() >= 7, "{open:?}");
    while let Some(path) = open.pop() {
        let help = ravelin(path.clone()).await;
        let below = subcommands(&help);
        assert!(!below.is_empty() || help.contains("Example"), "{path:?}: {help}");
        open.extend(below.into_iter().map(|name| [path.clone(), vec![name]].concat()));
    }
}

/// As the help lists them.
fn subcommands(help: &str) -> Vec<String> {
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let first = list.filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next());
    first.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[tokio::test]
async fn an_address_that_is_taken_and_a_folder_that_is_not_there_are_errors_that_name_them() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = folder(&[]);
    let path = folder.path().to_str().unwrap();
    let free = "127.0.0.1:0";
    for (folder, http, names) in [(path, address.as_str(), address.as_str()), ("not-there", free, "not-there")] {
        let output = Command::new(env!("CARGO_BIN_EXE_ravelin"))
            .args(["standalone", folder, "--http", http, "--https", free, "--admin", free])
            .output();
        let output = tokio::time::timeout(client::DEADLINE, output).await.expect("it does not end").unwrap();
        assert_eq!(output.status.code(), Some(2));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(names), "{error}");
        assert!(output.stdout.is_empty());
    }
}

#[tokio::test]
async fn what_comes_from_outside_begins_no_line_of_a_text_log_and_commands_no_terminal() {
    let folder = folder(&[("good.yaml", GOOD)]);
    fs::write(folder.path().join("a\nFORGED\u{1b}[2J\u{202e}.yaml"), "{").unwrap();
    let gateway = Gateway::standalone(folder.path(), &["--log", "text"]).await;
    let line = gateway.logged("FORGED").await;
    assert!(line.contains("WARN") && line.contains(r"a\nFORGED\u{1b}[2J\u{202e}.yaml"), "{line}");
    for line in gateway.stop().await.log {
        assert!(!line.starts_with("FORGED") && !line.contains("\u{202e}"), "{line:?}");
    }
}
