//! Limits that replicas share, in a real `redis-server`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "shared/broken.rs"]
mod broken;
#[path = "process/gateway.rs"]
mod gateway;
#[path = "shared/proxy.rs"]
mod proxy;
#[path = "shared/several.rs"]
mod several;
#[path = "shared/store.rs"]
mod store;
#[path = "shared/together.rs"]
mod together;

use std::{fs, path::Path};

use gateway::Gateway;
use ravelin_echo::client::{Answer, Client, Protocol};
use store::Store;
use tempfile::TempDir;

/// A site whose every answer is 200, behind these limits.
fn site(policy: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let site = format!(
        "{{apiVersion: ravelin.dev/v1alpha1, kind: ApiRoute, metadata: {{name: all}}, spec: {{rules: [{{filters: [{{directResponse: {{status: 200}}}}]}}]}}}}
---
apiVersion: ravelin.dev/v1alpha1
kind: RateLimitPolicy
metadata: {{name: few}}
spec:
  targetRefs: [{{kind: ApiRoute, name: all}}]
  scope: Shared
{policy}"
    );
    fs::write(folder.path().join("site.yaml"), site).unwrap();
    folder
}

async fn replica(site: &Path, redis: &str, more: &[&str]) -> Gateway {
    // A busy machine is no store that is away.
    let patience: &[&str] = if more.contains(&"--redis-timeout") { &[] } else { &["--redis-timeout", "5s"] };
    Gateway::standalone(site, &[&["--redis", redis][..], patience, more].concat()).await
}

/// Asks until it is refused, and says how often it was not.
async fn passing(gateway: &Gateway, who: &str, most: usize) -> usize {
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    for n in 0..most {
        let answer = ask(&mut client, who).await;
        match answer.status.as_u16() {
            200 => {}
            429 => return n,
            other => panic!("{other}: {}", answer.text()),
        }
    }
    most
}

async fn ask(client: &mut Client, who: &str) -> Answer {
    client.get_with("/", &[("x-who", who)]).await.unwrap()
}

const TEN: &str = "  limits:\n  - {name: bucket, key: \"request.headers['x-who']\", rate: {requests: 10, per: 1h}}\n";

fn on_failure(what: &str) -> TempDir {
    site(&format!("  onStoreFailure: {what}\n{TEN}"))
}

#[tokio::test]
async fn two_replicas_together_admit_exactly_what_the_limit_says() {
    let store = Store::start(&[]).await;
    let site = site(
        "  limits:
  - {name: bucket, key: \"request.headers['x-who']\", rate: {requests: 10, per: 1h}}
",
    );
    let (one, two) = (replica(site.path(), &store.url(), &[]).await, replica(site.path(), &store.url(), &[]).await);
    let mut clients = [
        Client::connect(one.http(), Protocol::Http1).await.unwrap(),
        Client::connect(two.http(), Protocol::Http1).await.unwrap(),
    ];
    let mut passed = 0;
    for n in 0..40 {
        passed += usize::from(ask(&mut clients[n % 2], "a").await.status == 200);
    }
    assert_eq!(passed, 10);
    assert_eq!(passing(&two, "b", 100).await, 10, "another key");
    assert_eq!(passing(&one, "b", 100).await, 0);
}

/// The store is there, or is not.
async fn connected(gateway: &Gateway, is: bool) {
    let line = format!("ravelin_limit_store_connected {}", u8::from(is));
    gateway.page_until("/metrics", |page| page.text().lines().any(|said| said == line)).await;
}

#[tokio::test]
async fn five_replicas_asked_at_once_admit_exactly_what_child_and_parent_allow() {
    let store = Store::start(&[]).await;
    let site = site(
        "  limits:
  - {name: child, key: \"request.headers['x-who']\", algorithm: SlidingWindow, rate: {requests: 20, per: 1h}, parent: all}
  - {name: all, rate: {requests: 30, per: 1h}}
",
    );
    let mut replicas = Vec::new();
    for _ in 0..5 {
        replicas.push(replica(site.path(), &store.url(), &[]).await);
    }
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..20 {
        let (to, who) = (replicas[n % 5].http(), ["a", "b"][n % 2]);
        tasks.spawn(async move {
            let mut client = Client::connect(to, Protocol::Http1).await.unwrap();
            let mut passed = [0; 2];
            for _ in 0..10 {
                passed[n % 2] += u32::from(ask(&mut client, who).await.status == 200);
            }
            passed
        });
    }
    let mut passed = [0; 2];
    for one in tasks.join_all().await {
        passed = [passed[0] + one[0], passed[1] + one[1]];
    }
    assert!(passed[0] <= 20 && passed[1] <= 20, "{passed:?}");
    assert_eq!(passed[0] + passed[1], 30, "a refused request takes nothing: {passed:?}");
}

#[tokio::test]
async fn a_busy_key_costs_the_store_less_than_one_call_for_twenty_requests_and_the_limit_holds() {
    let store = Store::start(&[]).await;
    let site = site("  limits:\n  - {name: bucket, rate: {requests: 1000, per: 1h, burst: 1000}}\n");
    let (one, two) = (replica(site.path(), &store.url(), &[]).await, replica(site.path(), &store.url(), &[]).await);
    let (before, begun) = (store.calls().await, std::time::Instant::now());
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..8 {
        let to = [one.http(), two.http()][n % 2];
        tasks.spawn(async move {
            let mut client = Client::connect(to, Protocol::Http1).await.unwrap();
            let mut passed = 0_u64;
            for _ in 0..1_000 {
                passed += u64::from(ask(&mut client, "a").await.status == 200);
            }
            passed
        });
    }
    let passed: u64 = tasks.join_all().await.into_iter().sum();
    let calls = store.calls().await - before;
    // What is leased and not used is given back by the next question; who has no next one keeps it.
    let refilled = begun.elapsed().as_millis() as u64 * 1_000 / 3_600_000;
    assert!((900..=1_001 + refilled).contains(&passed), "{passed} passed");
    // A lease lasts for 100 ms at most: a machine that is slow asks for more of them.
    let leases = begun.elapsed().as_millis() as u64 / 100 * 2;
    assert!(calls <= 8_000 / 20 + leases, "{calls} calls for 8000 requests");
    println!("{passed} of 1000 passed with {calls} calls for 8000 requests");
}

#[tokio::test]
async fn a_user_with_few_rights_is_enough_and_its_password_is_nowhere() {
    // The rights that the page of shared limits names.
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/src/run/shared.md")).unwrap();
    let rights = page.lines().find_map(|line| line.strip_prefix("ACL SETUSER ravelin on >PASSWORD ")).unwrap();
    let store = Store::start(&[]).await;
    let rights: Vec<&str> = rights.split(' ').collect();
    let said = store.tell(&[&["ACL", "SETUSER", "ravelin", "on", ">s3cret/@"][..], &rights].concat()).await;
    assert_eq!(said, "OK");
    store.tell(&["ACL", "SETUSER", "default", "off"]).await;
    let site = site(&format!("{TEN}  - {{name: month, quota: {{requests: 1000, per: Month}}}}\n"));
    let url = format!("redis://ravelin:s3cret%2F%40@127.0.0.1:{}", store.port);
    let gateway = replica(site.path(), &url, &["--log-level", "trace"]).await;
    assert_eq!(passing(&gateway, "a", 100).await, 10);
    let usage = gateway.page("/usage").await;
    assert_eq!(usage.json()["usage"][0]["used"], 10, "{}", usage.text());
    for page in ["/snapshot", "/metrics", "/objects", "/usage"] {
        assert!(!gateway.page(page).await.text().contains("s3cret"), "{page}");
    }
    let log = gateway.log().join("\n");
    assert!(log.contains("connected to the store") && !log.contains("s3cret"));
    let wrong = Gateway::standalone(site.path(), &["--redis", &url.replace("s3cret", "wr0ng")]).await;
    let line = wrong.logged("is away").await;
    assert!(!line.contains("wr0ng"), "{line}");
    let broken = tokio::process::Command::new(env!("CARGO_BIN_EXE_ravelin"))
        .args(["standalone", site.path().to_str().unwrap(), "--redis", "redis://ravelin:s3cret@:x"])
        .output();
    let broken = broken.await.unwrap();
    let said = String::from_utf8(broken.stderr).unwrap();
    assert!(
        !broken.status.success() && said.contains("--redis is no URL of a store") && !said.contains("s3cret"),
        "{said}"
    );
}

#[tokio::test]
async fn tls_is_spoken_to_a_store_whose_certificate_is_vouched_for_and_to_no_other() {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (pem, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    fs::write(&pem, cert.pem()).unwrap();
    fs::write(&key, signing_key.serialize_pem()).unwrap();
    let (pem, key) = (pem.to_str().unwrap(), key.to_str().unwrap());
    let port = store::free_port().to_string();
    let arguments = ["--tls-port", &port, "--tls-cert-file", pem, "--tls-key-file", key, "--tls-ca-cert-file", pem];
    let store = Store::start(&[&arguments[..], &["--tls-auth-clients", "no"]].concat()).await;
    let site = on_failure("Deny");
    let url = format!("rediss://localhost:{port}");
    let gateway = replica(site.path(), &url, &["--redis-ca", pem]).await;
    assert_eq!(passing(&gateway, "a", 100).await, 10);
    let stranger = replica(site.path(), &url, &[]).await;
    let mut client = Client::connect(stranger.http(), Protocol::Http1).await.unwrap();
    assert_eq!(ask(&mut client, "b").await.status, 503);
    drop(store);
}

#[tokio::test]
async fn what_is_used_of_a_shared_quota_outlives_all_replicas_and_is_reset_and_granted_by_any() {
    let store = Store::start(&[]).await;
    let site = site(
        "  limits:\n  - {name: month, key: \"request.headers['x-who']\", quota: {requests: 3, per: Month, timeZone: Europe/Paris}}\n",
    );
    let first = replica(site.path(), &store.url(), &[]).await;
    assert_eq!(passing(&first, "a", 2).await, 2);
    drop(first);
    let (one, two) = (replica(site.path(), &store.url(), &[]).await, replica(site.path(), &store.url(), &[]).await);
    assert_eq!((passing(&one, "a", 9).await, passing(&two, "a", 9).await, passing(&two, "b", 1).await), (1, 0, 1));
    let usage = async |gateway: &Gateway, query: &str| gateway.page(&format!("/usage{query}")).await.json();
    let all = usage(&one, "").await;
    let rows: Vec<_> =
        all["usage"].as_array().unwrap().iter().map(|row| (row["key"].clone(), row["used"].clone())).collect();
    assert_eq!(rows, [("a".into(), 3.into()), ("b".into(), 1.into())]);
    assert_eq!(usage(&one, "?key=b").await["usage"].as_array().unwrap().len(), 1);
    assert_eq!(usage(&one, "?key=c").await["usage"].as_array().unwrap().len(), 0);
    let admin = two.address("admin").to_string();
    let tell = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_ravelin"));
        let run = command.arg("usage").args(arguments).args(["--admin", &admin]).output().await.unwrap();
        String::from_utf8(run.stdout).unwrap()
    };
    assert_eq!(tell(&["grant", "default/few", "month", "a", "2"]).await, "granted\n");
    assert_eq!(tell(&["grant", "default/few", "month", "new", "1"]).await, "granted\n");
    assert_eq!(tell(&["reset", "default/few", "month", "nobody"]).await, "nothing was used\n");
    // Who was refused is asked about again within a second.
    let mut client = Client::connect(one.http(), Protocol::Http1).await.unwrap();
    let again = async {
        while ask(&mut client, "a").await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(ravelin_echo::client::DEADLINE, again).await.unwrap();
    assert_eq!((passing(&one, "a", 9).await, passing(&two, "new", 9).await), (1, 4));
    assert_eq!(tell(&["reset", "default/few", "month", "b"]).await, "reset\n");
    assert_eq!(passing(&one, "b", 9).await, 3);
    assert_eq!(store.tell(&["KEYS", "*"]).await.lines().count(), 5, "three accounts, their index, the replicas");
    for key in store.tell(&["KEYS", "*"]).await.lines() {
        assert_ne!(store.tell(&["TTL", key]).await, "-1", "{key} never goes");
    }
}

#[tokio::test]
async fn a_change_of_plan_keeps_the_shared_counts() {
    let store = Store::start(&[]).await;
    let site = site("  plans: {select: \"request.headers['x-plan']\", key: \"request.headers['x-who']\"}\n");
    let plans = "{apiVersion: ravelin.dev/v1alpha1, kind: Plan, metadata: {name: free}, spec: {limits: [{name: rate, rate: {requests: 5, per: 1h}}]}}
---
{apiVersion: ravelin.dev/v1alpha1, kind: Plan, metadata: {name: gold}, spec: {limits: [{name: rate, rate: {requests: 8, per: 1h}}]}}
";
    fs::write(site.path().join("plans.yaml"), plans).unwrap();
    let (one, two) = (replica(site.path(), &store.url(), &[]).await, replica(site.path(), &store.url(), &[]).await);
    let passing = async |gateway: &Gateway, plan: &str| {
        let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
        let mut passed = 0;
        while client.get_with("/", &[("x-who", "a"), ("x-plan", plan)]).await.unwrap().status == 200 {
            passed += 1;
        }
        passed
    };
    assert_eq!(passing(&one, "free").await, 5);
    assert_eq!(passing(&two, "gold").await, 3);
}

#[tokio::test]
async fn without_a_store_a_shared_limit_is_refused_by_a_verdict_that_says_what_to_do() {
    let site = on_failure("Allow");
    let gateway = Gateway::standalone(site.path(), &[]).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    let answer = ask(&mut client, "a").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["reason"]), (503, &"policy_invalid".into()));
    let objects = gateway.page("/objects").await.text();
    assert!(objects.contains("there is no store in which replicas could share limits"), "{objects}");
    assert!(objects.contains("--redis URL"));
}

#[tokio::test]
async fn the_example_is_carried_out_with_two_replicas() {
    let store = Store::start(&[]).await;
    let site = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/shared"));
    let (one, two) = (replica(site, &store.url(), &[]).await, replica(site, &store.url(), &[]).await);
    let mut passed = [0; 2];
    for (at, who) in ["a", "b"].into_iter().enumerate() {
        for gateway in [&one, &two].into_iter().cycle().take(14) {
            let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
            let answer = client.get_with("/", &[("x-client", who)]).await.unwrap();
            passed[at] += u32::from(answer.status == 200);
            if answer.status != 200 {
                let (limit, reason) = [("month", "quota_exceeded"), ("per-address", "rate_limited")][at];
                assert_eq!((&answer.json()["limit"], &answer.json()["reason"]), (&limit.into(), &reason.into()));
            }
        }
    }
    // 12 by the quota; 20 by the address, of which 14 are gone: two were refused by a later phase.
    assert_eq!(passed, [12, 6]);
}

#[tokio::test]
async fn in_shadow_a_shared_limit_counts_for_all_and_refuses_nothing() {
    let store = Store::start(&[]).await;
    let site = site(&format!("  mode: Shadow\n{TEN}"));
    let (one, two) = (replica(site.path(), &store.url(), &[]).await, replica(site.path(), &store.url(), &[]).await);
    assert_eq!((passing(&one, "a", 8).await, passing(&two, "a", 8).await), (8, 8));
    let row = "ravelin_rate_limited_total{policy=\"default/few\",limit=\"bucket\",mode=\"shadow\"} 6";
    two.page_until("/metrics", |page| page.text().contains(row)).await;
}
