//! A thousand random edits, good and bad, under load: nothing is lost, every answer is right by what is or was in force while
//! its request was open, and after each edit the live table equals a fresh compile of what the folder says.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "process/gateway.rs"]
mod gateway;
#[path = "soak/oracle.rs"]
mod oracle;
#[path = "soak/site.rs"]
mod site;

use std::{fs, os::unix::fs::symlink, path::Path, process::Stdio, sync::Arc, time::Duration};

use gateway::{Gateway, is_access};
use oracle::{History, Judged};
use ravelin_echo::{
    Echo,
    client::{Load, Protocol, Pulse, Report},
};
use serde_json::Value;
use site::{Edit, Seed, Site};
use tempfile::TempDir;
use tokio::process::Command;

/// Fixed, so that a failure comes again.
const SEED: u64 = 20_251;
const EDITS: usize = 1_000;
/// Of each of the two loads.
const PER_SECOND: u32 = 80;

#[tokio::test]
async fn a_thousand_edits_under_load_lose_nothing_and_leave_what_a_fresh_compile_gives() {
    let backends = ["steady", "a0", "a1", "b"].map(|name| Echo::on_thread(name).unwrap());
    let ports = backends.each_ref().map(|echo| echo.address().port());
    let folder = TempDir::new().unwrap();
    let mut site = Site::new(ports);
    lay_out(folder.path(), &site);
    let gateway = Gateway::standalone(folder.path(), &["--idle-timeout", "1h"]).await;
    let history = Arc::new(History::beginning_with(site.state()));
    let http1 = load(&gateway, Protocol::Http1, &history);
    let http2 = load(&gateway, Protocol::Http2, &history);
    let pulse = Pulse::start(gateway.http(), "steady.example", "/socket", Duration::from_millis(20)).await.unwrap();

    let mut seed = Seed(SEED);
    for number in 1..=EDITS {
        let edit = site.draw(number, &mut seed);
        if let Edit::Recreate { slot, .. } = &edit {
            history.begin(site.state_after(&Edit::Delete { slot: *slot }));
        }
        history.begin(site.state_after(&edit));
        carry_out(folder.path(), &mut site, &edit, &mut seed);
        in_force(&gateway, &site, number, &edit).await;
        history.confirm();
    }

    let beats = pulse.stop().await.unwrap();
    assert!(beats > 0);
    let reports = [http1.stop().await, http2.stop().await];
    for report in &reports {
        report.assert_no_request_lost();
        report.assert_no_connection_lost();
    }
    assert_eq!(digest_of(folder.path(), &site).await, site.fresh().digest, "check says another digest");
    counted(gateway, &reports).await;
}

/// All that the loads and the socket sent is in the metrics, by status, and in the access log, a line each.
async fn counted(gateway: Gateway, reports: &[Report]) {
    let sent: u64 = reports.iter().map(|report| report.sent).sum::<u64>() + 1;
    let metrics = gateway.page("/metrics").await.text();
    let total: f64 = metrics
        .lines()
        .filter(|line| line.starts_with("ravelin_requests_total{"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum();
    let ended = gateway.stop().await;
    assert!(ended.status.success());
    assert_eq!(ended.stdout, Vec::<String>::new(), "nothing but the ready line");
    let lines = ended.log.iter().filter(|line| is_access(line)).count();
    for line in &ended.log {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "no JSON: {line}");
    }
    assert_eq!((total as u64, lines as u64), (sent, sent), "metrics and access log, beside what was sent");
}

fn load(gateway: &Gateway, protocol: Protocol, history: &Arc<History>) -> ravelin_echo::client::Running {
    let judged = Arc::new(Judged::new(Arc::clone(history), protocol));
    let maker = Arc::clone(&judged);
    Load::to(gateway.http(), protocol)
        .rate(PER_SECOND)
        .connections(4)
        .requests(move |number| maker.make(number))
        .judging(move |number, answer| judged.judge(number, answer))
        .start()
}

/// The folder at the start.
fn lay_out(root: &Path, site: &Site) {
    for (name, text) in site.plain_files() {
        fs::write(root.join(name), text).unwrap();
    }
    let mounted = root.join("mounted");
    fs::create_dir(&mounted).unwrap();
    mount(&mounted, site, 0);
    for (name, _) in site.mounted_files() {
        symlink(Path::new("..data").join(&name), mounted.join(&name)).unwrap();
    }
}

/// As a kubelet changes a mounted ConfigMap: a whole new folder, and one link that is turned.
fn mount(mounted: &Path, site: &Site, number: usize) {
    let version = format!("..version-{number}");
    fs::create_dir(mounted.join(&version)).unwrap();
    for (name, text) in site.mounted_files() {
        fs::write(mounted.join(&version).join(name), text).unwrap();
    }
    let before = fs::read_link(mounted.join("..data")).ok();
    symlink(&version, mounted.join("..data_tmp")).unwrap();
    fs::rename(mounted.join("..data_tmp"), mounted.join("..data")).unwrap();
    if let Some(before) = before {
        fs::remove_dir_all(mounted.join(before)).unwrap();
    }
}

fn carry_out(root: &Path, site: &mut Site, edit: &Edit, seed: &mut Seed) {
    site.apply(edit);
    match edit {
        Edit::Mount { number, .. } => mount(&root.join("mounted"), site, *number),
        Edit::Delete { slot } => fs::remove_file(root.join(site::slot_file(*slot))).unwrap(),
        Edit::Recreate { slot, .. } => {
            fs::remove_file(root.join(site::slot_file(*slot))).unwrap();
            fs::write(root.join(site::slot_file(*slot)), site.text(&site::slot_file(*slot))).unwrap();
        }
        Edit::Slot { .. } | Edit::Backend { .. } | Edit::Key { .. } => {
            let name = edit.file();
            let text = site.text(&name);
            // In place, which is no atom, and by a new file.
            match seed.below(2) {
                0 => fs::write(root.join(&name), text).unwrap(),
                _ => gateway::replace(&root.join(&name), &text),
            }
        }
    }
}

/// Returns when the live table and the findings are those of a fresh compile.
async fn in_force(gateway: &Gateway, site: &Site, number: usize, edit: &Edit) {
    let wanted = site.fresh();
    let mut different = String::new();
    let wait = async {
        let mut news = gateway.subscribe();
        loop {
            news.mark_unchanged();
            let mut table = gateway.page("/snapshot").await.json();
            table["revision"] = 0.into();
            if table == wanted.table {
                let said = messages(&gateway.page("/objects").await.json());
                if said == wanted.messages {
                    return;
                }
                different = format!("findings are {said:#?}, not {:#?}", wanted.messages);
            } else {
                different = "the table is another".to_owned();
                if std::env::var_os("SOAK_SHOW").is_some() {
                    different = format!("the table is {table:#}, not {:#}", wanted.table);
                }
            }
            gateway.news(&mut news).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(30), wait).await.is_err() {
        panic!("edit {number}, {edit:?}: {different}; {:#?}", gateway.tail());
    }
}

fn messages(objects: &Value) -> std::collections::BTreeSet<String> {
    let objects = objects["objects"].as_array().unwrap().iter();
    let findings = objects.flat_map(|object| object["findings"].as_array().unwrap());
    findings.map(|finding| finding["message"].as_str().unwrap().to_owned()).collect()
}

/// By the program, of the folder as it stands: broken files are mended first, for what they said before is not in them.
async fn digest_of(root: &Path, site: &Site) -> String {
    for (name, text) in site.said_files() {
        gateway::replace(&root.join(name), &text);
    }
    let output = Command::new(env!("CARGO_BIN_EXE_ravelin"))
        .args(["check", "-o", "json"])
        .arg(root)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["digest"].as_str().unwrap().to_owned()
}
