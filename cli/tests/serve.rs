//! `ravelin standalone` and `ravelin dataplane` as processes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command as Blocking, ExitStatus, Stdio},
};

use ravelin_echo::client::{DEADLINE, get};
use ravelin_snapshot::{
    HostPattern, ObjectKey, Part, Snapshot,
    channel::unix,
    route::{Action, DirectResponse, Guard, HeaderChanges, Match, PathMatch, Route, Rule, Timeouts},
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    ready: Value,
}

impl Program {
    /// Returns when it has said that it is ready.
    async fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ravelin"));
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap().unwrap();
        Self { child, lines, ready: serde_json::from_str(&line).unwrap() }
    }

    fn address(&self, name: &str) -> SocketAddr {
        self.ready[name].as_str().unwrap().parse().unwrap()
    }

    /// SIGTERM, by the shell's own `kill`: the standard library only knows SIGKILL.
    async fn end(mut self) -> ExitStatus {
        Command::new("kill").arg(self.child.id().unwrap().to_string()).status().await.unwrap();
        let more = timeout(DEADLINE, self.lines.next_line()).await.unwrap().unwrap();
        assert_eq!(more, None, "stdout has one line");
        timeout(DEADLINE, self.child.wait()).await.unwrap().unwrap()
    }
}

fn route(path: &str, says: &str) -> String {
    format!(
        "{{apiVersion: ravelin.dev/v1alpha1, kind: ApiRoute, metadata: {{name: a}}, spec: {{rules: [{{matches: [{{path: {{value: {path}}}}}], \
         filters: [{{directResponse: {{status: 200, body: {says}}}}}]}}]}}}}"
    )
}

fn write(folder: &Path, text: &str) {
    fs::write(folder.join("a.new"), text).unwrap();
    fs::rename(folder.join("a.new"), folder.join("a.yaml")).unwrap();
}

#[tokio::test]
async fn standalone_says_one_line_when_all_is_served_follows_its_folder_and_ends_well() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &route("/", "one"));
    let place = folder.path().to_str().unwrap();
    let any = "127.0.0.1:0";
    let program = Program::start(&["standalone", place, "--http", any, "--https", any, "--admin", any]).await;
    assert_eq!(program.ready["event"], "ready");
    assert_eq!(get(program.address("http"), "a", "/").await.unwrap().text(), "one");
    let admin = program.address("admin");
    let objects = || async move { get(admin, "localhost", "/objects").await.unwrap().json() };
    let before = objects().await;
    assert_eq!(before["objects"][0]["conditions"][2]["type"], "Programmed");
    assert_eq!(before["objects"][0]["conditions"][2]["status"], "True");
    write(folder.path(), &route("/", "two"));
    let served = async { while objects().await["revision"] == before["revision"] {} };
    timeout(DEADLINE, served).await.unwrap();
    assert_eq!(get(program.address("http"), "a", "/").await.unwrap().text(), "two");
    assert_eq!(get(admin, "localhost", "/readyz").await.unwrap().status, 200);
    let explained = get(admin, "localhost", "/explain?method=GET&url=http://a/").await.unwrap();
    assert_eq!(explained.json()["rule"]["route"], "default/a", "{}", explained.text());
    assert!(program.end().await.success());
}

fn says(text: &str) -> Snapshot {
    let any = Match {
        path: PathMatch::Prefix("/".to_owned()),
        method: None,
        headers: Vec::new(),
        query: Vec::new(),
        when: None,
    };
    let rule = Rule {
        name: "0".to_owned(),
        matches: vec![any],
        auth: Guard::Open,
        limits: Vec::new(),
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
        action: Action::Respond(DirectResponse { status: 200, content_type: None, body: text.to_owned() }),
        timeouts: Timeouts::default(),
    };
    let route = Route { created: None, hosts: vec![HostPattern::Any], certificates: Vec::new(), rules: vec![rule] };
    let mut snapshot = Snapshot::default();
    snapshot.routes.insert(ObjectKey::new("shop", "a"), Part::new(route));
    snapshot
}

#[tokio::test]
async fn dataplane_serves_what_a_controller_says_and_afterwards_what_it_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, state) = (folder.path().join("s.sock"), folder.path().join("state"));
    let any = "127.0.0.1:0";
    let flags = [
        "dataplane",
        "--socket",
        socket.to_str().unwrap(),
        "--state",
        state.to_str().unwrap(),
        "--http",
        any,
        "--admin",
        any,
        "--probe",
        any,
    ];
    let publisher = unix::listen(&socket).unwrap();
    let revision = publisher.publish(says("one"));
    let program = Program::start(&flags).await;
    assert_eq!(get(program.address("http"), "a", "/").await.unwrap().text(), "one");
    let mut delivery = publisher.delivery();
    let acknowledged = delivery.wait_for(|delivery| delivery.acknowledged == Some(revision));
    timeout(DEADLINE, acknowledged).await.unwrap().unwrap();
    assert_eq!(get(program.address("probe"), "localhost", "/readyz").await.unwrap().status, 200);
    assert_eq!(get(program.address("probe"), "localhost", "/snapshot").await.unwrap().status, 404);
    let kept = async {
        while !state.join("snapshot").exists() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, kept).await.unwrap();
    assert!(program.end().await.success());
    drop(publisher);
    let alone = Program::start(&flags).await;
    assert_eq!(get(alone.address("http"), "a", "/").await.unwrap().text(), "one");
    assert!(alone.end().await.success());
}

#[test]
fn what_a_flag_cannot_mean_is_an_error_that_names_it() {
    for (arguments, said) in [
        (&["standalone", "/nowhere-at-all"][..], "/nowhere-at-all"),
        (&["standalone", ".", "--trusted-proxies", "10.0.0.0/8,nonsense"], "`nonsense` is no range"),
        (&["standalone", ".", "--idle-timeout", "10"], "--idle-timeout"),
        (&["standalone", ".", "--max-header-bytes", "64KB"], "--max-header-bytes"),
        (
            &["standalone", ".", "--admin", "0.0.0.0:0", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0"],
            "--admin 0.0.0.0:0",
        ),
        (&["standalone", ".", "--redis", "redis://a"], "--redis"),
        (&["dataplane"], "--socket"),
    ] {
        let output = Blocking::new(env!("CARGO_BIN_EXE_ravelin")).args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(said), "{arguments:?}: {text}");
    }
}
