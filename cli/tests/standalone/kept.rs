//! What is served on: by a data plane whose controller does not answer, and of a certificate that has become broken or has ended.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use ravelin_controller::{
    compile::{Options, compile},
    files::read_text_once,
};
use ravelin_echo::{Echo, client};
use ravelin_snapshot::{Revision, store::Store};
use rcgen::CertificateParams;
use tempfile::TempDir;

use crate::{
    Gateway, folder,
    gateway::replace,
    secret::{tls, tls_of},
    site,
};

/// What a data plane would have left behind.
fn keep(state: &Path, text: &str) {
    let model = read_text_once("all", text.as_bytes()).world.model;
    let mut snapshot = compile(&model, Options::default(), None).snapshot;
    snapshot.revision = Revision(41);
    Store::new(state.join("snapshot")).save(&snapshot).unwrap();
}

async fn alone(state: &Path) -> Gateway {
    let socket = state.join("nobody.sock");
    let (socket, state) = (socket.to_str().unwrap(), state.to_str().unwrap());
    let free = "127.0.0.1:0";
    let more = ["--http", free, "--admin", free, "--probe", free, "--workers", "1"];
    Gateway::start(&[&["dataplane", "--socket", socket, "--state", state], &more[..]].concat()).await
}

#[tokio::test]
async fn without_a_controller_the_kept_snapshot_is_served_and_that_is_said() {
    let echo = Echo::on_thread("echo").unwrap();
    let state = TempDir::new().unwrap();
    keep(state.path(), &site(echo.address()));
    let gateway = alone(state.path()).await;
    let answer = client::get(gateway.http(), "any.example", "/").await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.json()["server"]), (200, &"echo".into()));
    let ready = client::get(gateway.address("probe"), "any", "/readyz").await.unwrap();
    assert_eq!(ready.status, 200, "it serves");
    assert!(ready.text().contains("kept snapshot"), "it says what: {}", ready.text());
    let line = gateway.logged("serving the kept snapshot").await;
    assert!(line.contains("\"revision\":41"), "{line}");
    let metrics = client::get(gateway.address("probe"), "any", "/metrics").await.unwrap().text();
    for wanted in ["ravelin_snapshot_revision 41", "ravelin_snapshot_from_disk 1", "ravelin_controller_connected 0"] {
        assert!(metrics.lines().any(|line| line == wanted), "{wanted} is not in {metrics}");
    }
    let elsewhere = client::get(gateway.address("probe"), "any", "/snapshot").await.unwrap();
    assert_eq!(elsewhere.status, 404, "the probe shows no more than health and metrics");
    assert_eq!(gateway.stop().await.status.code(), Some(0));
}

#[tokio::test]
async fn a_certificate_whose_file_breaks_or_goes_is_served_on_and_its_route_says_so() {
    let echo = Echo::on_thread("echo").unwrap();
    let route = site(echo.address()).replace(
        "spec:\n  rules",
        "spec:\n  hostnames: [shop.example]\n  tls: {certificateRefs: [{name: tls}]}\n  rules",
    );
    let (good, _) = tls();
    let folder = folder(&[("tls.yaml", &good), ("route.yaml", &route)]);
    let file = folder.path().join("tls.yaml");
    let gateway = Gateway::standalone(folder.path(), &[]).await;
    let certificates = || async { gateway.page("/snapshot").await.json()["certificates"].clone() };
    let before = certificates().await;
    assert!(before.to_string().contains("BEGIN CERTIFICATE"), "{before}");
    replace(&file, &good.replace("BEGIN CERTIFICATE", "BEGIN NOTHING"));
    let holds_none = "Secret default/tls holds no certificate";
    let said = gateway.page_until("/objects", |page| page.text().contains(holds_none)).await.text();
    assert!(said.contains("is served until that expires") && said.contains("InvalidReference"), "{said}");
    assert_eq!(certificates().await, before);
    fs::remove_file(&file).unwrap();
    gateway.page_until("/objects", |page| page.text().contains("there is no Secret default/tls")).await;
    assert_eq!(certificates().await, before);
    let (new, chain) = tls();
    replace(&file, &new);
    gateway.page_until("/objects", |page| !page.text().contains("is served until that expires")).await;
    let line = chain.lines().nth(1).unwrap();
    gateway.page_until("/snapshot", |page| page.text().contains(line)).await;
}

#[tokio::test]
async fn a_certificate_that_ends_while_it_is_served_is_told_though_no_file_changes() {
    let echo = Echo::on_thread("echo").unwrap();
    let route = site(echo.address()).replace(
        "spec:\n  rules",
        "spec:\n  hostnames: [shop.example]\n  tls: {certificateRefs: [{name: tls}]}\n  rules",
    );
    let mut params = CertificateParams::new(vec!["shop.example".to_owned()]).unwrap();
    params.not_after = (SystemTime::now() + Duration::from_secs(2)).into();
    let end = params.not_after.unix_timestamp();
    let (secret, _) = tls_of(&params);
    let folder = folder(&[("tls.yaml", &secret), ("route.yaml", &route)]);
    let gateway = Gateway::standalone(folder.path(), &[]).await;
    let said = gateway.page_until("/objects", |page| page.text().contains("ended at")).await.json();
    let route = said["objects"].as_array().unwrap().iter().find(|object| object["kind"] == "ApiRoute").unwrap();
    assert_eq!(route["findings"][0]["field"], "spec.tls.certificateRefs[0]");
    assert_eq!(route["findings"][0]["severity"], "warning");
    assert!(route["findings"][0]["remedy"].as_str().unwrap().contains("Secret default/tls"));
    let metrics = gateway.page("/metrics").await.text();
    let row = "ravelin_certificate_expiry_timestamp_seconds{certificate=\"default/tls\"} ";
    let told = metrics.lines().find_map(|line| line.strip_prefix(row)).unwrap().parse::<f64>().unwrap();
    assert_eq!(told, end as f64);
}
