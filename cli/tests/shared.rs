//! Limits that replicas share, in a real `redis-server`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "process/gateway.rs"]
mod gateway;
#[path = "shared/store.rs"]
mod store;

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
    Gateway::standalone(site, &[&["--redis", redis][..], more].concat()).await
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
    let before = store.calls().await;
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
    assert!((900..=1_000).contains(&passed), "{passed} passed");
    assert!(calls * 20 <= 8_000, "{calls} calls for 8000 requests");
    println!("{passed} of 1000 passed with {calls} calls for 8000 requests");
}

const TEN: &str = "  limits:\n  - {name: bucket, key: \"request.headers['x-who']\", rate: {requests: 10, per: 1h}}\n";

fn on_failure(what: &str) -> TempDir {
    site(&format!("  onStoreFailure: {what}\n{TEN}"))
}

#[tokio::test]
async fn while_the_store_is_away_each_replica_has_its_share_or_all_pass_or_none_and_then_it_counts_again() {
    let mut store = Store::start(&[]).await;
    let sites = ["Local", "Allow", "Deny"].map(on_failure);
    let mut gateways = Vec::new();
    for site in &sites {
        // Of an installation of its own each, of two replicas where they are counted.
        let prefix = format!("p{}", gateways.len());
        gateways.push(replica(site.path(), &store.url(), &["--redis-prefix", &prefix]).await);
    }
    let twin = replica(sites[0].path(), &store.url(), &["--redis-prefix", "p0"]).await;
    let [local, allow, deny] = &gateways[..] else { unreachable!() };
    // A beat later each knows of the other.
    assert_eq!(passing(local, "a", 5).await, 5);
    local.page_until("/metrics", |page| page.text().contains("ravelin_limit_store_replicas 2\n")).await;
    store.kill().await;
    for gateway in gateways.iter().chain([&twin]) {
        connected(gateway, false).await;
    }
    assert_eq!((passing(local, "b", 100).await, passing(&twin, "b", 100).await), (5, 5), "half of it each");
    assert_eq!(passing(allow, "b", 100).await, 100);
    let mut client = Client::connect(deny.http(), Protocol::Http1).await.unwrap();
    let denied = ask(&mut client, "b").await;
    assert_eq!((denied.status.as_u16(), &denied.json()["reason"]), (503, &"limit_unavailable".into()));
    assert_eq!((&denied.json()["limit"], denied.header("retry-after")), (&"bucket".into(), Some("1")));
    store.restart().await; // and has lost everything, scripts too
    for gateway in gateways.iter().chain([&twin]) {
        connected(gateway, true).await;
        let passed = passing(gateway, "c", 100).await;
        assert_eq!(passed, if std::ptr::eq(gateway, &twin) { 0 } else { 10 });
    }
}

#[tokio::test]
async fn a_store_that_hangs_keeps_nobody_waiting_for_long() {
    let store = Store::start(&[]).await;
    let site = on_failure("Deny");
    let gateway = replica(site.path(), &store.url(), &["--redis-timeout", "100ms"]).await;
    assert_eq!(passing(&gateway, "a", 3).await, 3);
    store.signal("STOP").await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    assert_eq!(ask(&mut client, "a").await.status, 503, "it is answered");
    connected(&gateway, false).await;
    for _ in 0..100 {
        assert_eq!(ask(&mut client, "a").await.status, 503);
    }
    let metrics = gateway.page("/metrics").await.text();
    let late = metrics.lines().find(|line| line.contains("store_calls_total{result=\"timeout\"}")).unwrap();
    assert_eq!(late.rsplit(' ').next(), Some("1"), "one has waited, the others have not");
    store.signal("CONT").await;
    connected(&gateway, true).await;
    let passed = passing(&gateway, "a", 100).await;
    assert!((6..=7).contains(&passed), "what was counted is there, and perhaps what was asked while it hung: {passed}");
}

#[tokio::test]
async fn a_key_that_is_not_ours_is_refused_as_the_policy_says_and_others_are_not_touched() {
    let store = Store::start(&[]).await;
    let site = on_failure("Deny");
    let gateway = replica(site.path(), &store.url(), &[]).await;
    assert_eq!(passing(&gateway, "a", 1).await, 1);
    let keys = store.tell(&["KEYS", "*:few:*"]).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    for broken in
        [&["LPUSH", &keys, "1"][..], &["SET", &keys, "nonsense"], &["SET", &keys, ""], &["SET", &keys, "\u{1}"]]
    {
        store.tell(&["DEL", &keys]).await;
        store.tell(broken).await;
        assert_eq!(ask(&mut client, "a").await.status, 503, "{broken:?}");
        assert_eq!(ask(&mut client, "b").await.status, 200);
        connected(&gateway, true).await;
    }
    store.tell(&["DEL", &keys]).await;
    assert_eq!(ask(&mut client, "a").await.status, 200);
}

#[tokio::test]
async fn a_store_that_only_reads_is_none() {
    let store = Store::start(&[]).await;
    let site = on_failure("Deny");
    let gateway = replica(site.path(), &store.url(), &[]).await;
    assert_eq!(passing(&gateway, "a", 1).await, 1);
    store.tell(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
    assert_eq!(ask(&mut client, "a").await.status, 503);
    connected(&gateway, false).await;
    store.tell(&["REPLICAOF", "NO", "ONE"]).await;
    connected(&gateway, true).await;
    assert_eq!(ask(&mut client, "a").await.status, 200);
}

#[tokio::test]
async fn no_answer_of_a_store_is_taken_for_an_admission() {
    for answer in [
        "-LOADING Redis is loading\r\n",
        "-MOVED 1 127.0.0.1:1\r\n",
        "$100\r\nhalf",
        "*1\r\n:1\r\n",
        "+OK\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
        "",
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let fake = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.spawn(async move {
                    use tokio::io::{AsyncReadExt, AsyncWriteExt};
                    let mut bytes = [0; 4096];
                    while let Ok(1..) = stream.read(&mut bytes).await {
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        let site = on_failure("Deny");
        let gateway = replica(site.path(), &url, &["--redis-timeout", "100ms"]).await;
        let mut client = Client::connect(gateway.http(), Protocol::Http1).await.unwrap();
        assert_eq!(ask(&mut client, "a").await.status, 503, "{answer:?}");
        fake.abort();
    }
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
async fn a_cluster_of_three_nodes_is_one_store_and_a_lost_node_lets_nobody_in() {
    let mut nodes = Store::cluster().await;
    let sites = ["default", "bank", "club", "shop", "blog", "news"].map(|namespace| {
        let folder = on_failure("Deny");
        let path = folder.path().join("site.yaml");
        let site = fs::read_to_string(&path).unwrap();
        fs::write(&path, site.replace("metadata: {name: ", &format!("metadata: {{namespace: {namespace}, name: ")))
            .unwrap();
        folder
    });
    let url = format!("redis-cluster://127.0.0.1:{},127.0.0.1:{}", nodes[0].port, nodes[1].port);
    let (mut gateways, mut homes) = (Vec::new(), Vec::new());
    for site in &sites {
        let [one, two] = [replica(site.path(), &url, &[]).await, replica(site.path(), &url, &[]).await];
        assert_eq!((passing(&one, "a", 6).await, passing(&two, "a", 100).await), (6, 4));
        gateways.push(one);
    }
    for namespace in ["default", "bank", "club", "shop", "blog", "news"] {
        let mut home = None;
        for (at, node) in nodes.iter().enumerate() {
            if !node.tell(&["KEYS", &format!("{{ravelin:{namespace}}}*")]).await.is_empty() {
                home = Some(at);
            }
        }
        homes.push(home.expect("a node has its keys"));
    }
    assert!(homes.iter().any(|home| *home != homes[0]), "namespaces are spread: {homes:?}");
    nodes[homes[0]].kill().await;
    let mut client = Client::connect(gateways[0].http(), Protocol::Http1).await.unwrap();
    assert_eq!(ask(&mut client, "b").await.status, 503);
}

#[tokio::test]
async fn the_master_that_a_sentinel_names_is_the_store() {
    let master = Store::start(&[]).await;
    let sentinel = Store::sentinel(&master).await;
    let site = on_failure("Deny");
    let url = format!("redis-sentinel://127.0.0.1:{}/main", sentinel.port);
    let (one, two) = (replica(site.path(), &url, &[]).await, replica(site.path(), &url, &[]).await);
    assert_eq!((passing(&one, "a", 6).await, passing(&two, "a", 100).await), (6, 4));
    assert!(master.tell(&["KEYS", "*"]).await.contains("few"));
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
