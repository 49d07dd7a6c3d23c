//! `ravelin standalone` and `ravelin dataplane` as processes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "process/gateway.rs"]
mod gateway;

use std::process::Command as Blocking;

use gateway::{Gateway, replace};
use ravelin_controller::{
    compile::{Options, compile},
    files::read_text_once,
};
use ravelin_echo::client::{DEADLINE, get};
use ravelin_snapshot::{Snapshot, channel::unix};
use tokio::time::timeout;

fn route(path: &str, says: &str) -> String {
    format!(
        "{{apiVersion: ravelin.dev/v1alpha1, kind: ApiRoute, metadata: {{name: a}}, spec: {{rules: [{{matches: [{{path: {{value: {path}}}}}], \
         filters: [{{directResponse: {{status: 200, body: {says}}}}}]}}]}}}}"
    )
}

async fn end(program: Gateway) {
    let ended = program.stop().await;
    assert!(ended.status.success());
    assert_eq!(ended.stdout, Vec::<String>::new(), "stdout has one line");
}

#[tokio::test]
async fn standalone_says_one_line_when_all_is_served_follows_its_folder_and_ends_well() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    replace(&file, &route("/", "one"));
    let program = Gateway::standalone(folder.path(), &[]).await;
    assert_eq!(program.ready["event"], "ready");
    assert_eq!(get(program.address("http"), "a", "/").await.unwrap().text(), "one");
    let admin = program.address("admin");
    let objects = || async move { get(admin, "localhost", "/objects").await.unwrap().json() };
    let before = objects().await;
    assert_eq!(before["objects"][0]["conditions"][2]["type"], "Programmed");
    assert_eq!(before["objects"][0]["conditions"][2]["status"], "True");
    replace(&file, &route("/", "two"));
    let served = async { while objects().await["revision"] == before["revision"] {} };
    timeout(DEADLINE, served).await.unwrap();
    assert_eq!(get(program.address("http"), "a", "/").await.unwrap().text(), "two");
    assert_eq!(get(admin, "localhost", "/readyz").await.unwrap().status, 200);
    let explained = get(admin, "localhost", "/explain?method=GET&url=http://a/").await.unwrap();
    assert_eq!(explained.json()["rule"]["route"], "default/a", "{}", explained.text());
    end(program).await;
}

/// As a controller would say it.
fn says(text: &str) -> Snapshot {
    let model = read_text_once("all", route("/", text).as_bytes()).world.model;
    compile(&model, Options::default(), None).snapshot
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
    let program = Gateway::start(&flags).await;
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
    end(program).await;
    drop(publisher);
    let alone = Gateway::start(&flags).await;
    assert_eq!(get(alone.address("http"), "a", "/").await.unwrap().text(), "one");
    end(alone).await;
}

#[test]
fn what_a_flag_cannot_mean_is_an_error_that_names_it() {
    for (arguments, said) in [
        (&["standalone", "/nowhere-at-all"][..], "/nowhere-at-all"),
        (&["standalone", ".", "--trusted-proxies", "10.0.0.0/8,nonsense"], "`nonsense` is no range"),
        (&["standalone", ".", "--idle-timeout", "10"], "--idle-timeout"),
        (&["standalone", ".", "--max-header-bytes", "64KB"], "--max-header-bytes"),
        (&["standalone", ".", "--max-header-bytes", "0"], "`0` is no size for a head: write 1Ki to 16Mi"),
        (&["standalone", ".", "--max-header-bytes", "1Ti"], "`1Ti` is no size for a head"),
        (&["standalone", ".", "--max-headers", "0"], "--max-headers"),
        (&["standalone", ".", "--max-connections", "0"], "--max-connections"),
        (&["standalone", ".", "--max-streams", "0"], "--max-streams"),
        (&["standalone", ".", "--header-timeout", "0s"], "nothing is done in no time: write one such as 10s"),
        (&["standalone", ".", "--idle-timeout", "0s"], "--idle-timeout"),
        (&["standalone", ".", "--body-idle-timeout", "0s"], "--body-idle-timeout"),
        (
            &["standalone", ".", "--proxy-protocol", "10.1.2.3/8"],
            "`10.1.2.3/8` has bits beyond its length: write 10.0.0.0/8 for the whole range, or 10.1.2.3 for the one",
        ),
        (&["standalone", ".", "--trusted-proxies", "2001:db8::1/32"], "write 2001:db8::/32"),
        (
            &["standalone", ".", "--admin", "0.0.0.0:0", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0"],
            "--admin 0.0.0.0:0",
        ),
        (&["standalone", ".", "--redis", "http://a"], "--redis"),
        (&["dataplane"], "--socket"),
    ] {
        let output = Blocking::new(env!("CARGO_BIN_EXE_ravelin")).args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(said), "{arguments:?}: {text}");
    }
}
